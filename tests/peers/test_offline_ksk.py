"""An offline KSK made by BIND's tools, by way of the commands; what comes of it, judged by BIND's."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore
from quada.zones.write import write_zone

pytestmark = pytest.mark.peers
TEXT = """
example. 300 IN SOA ns.example. host.example. 10 3600 900 86400 300
example. 300 IN NS ns.example.
ns.example. 300 IN AAAA 2001:db8::53
www.example. 300 IN AAAA 2001:db8::1
"""


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("algorithm", ["13", "8"])
def test_what_the_other_machine_signed_is_served(tmp_path: Path, make_zone, algorithm: str) -> None:
    away, here = tmp_path / "away", tmp_path / "here"
    away.mkdir()
    here.mkdir()
    size = ["-b", "2048"] if algorithm == "8" else []
    key = run("dnssec-keygen", "-q", "-a", algorithm, *size, "-f", "KSK", "example", cwd=away)
    (here / f"{key}.key").write_text((away / f"{key}.key").read_text())

    def quada(*command: str, cwd: Path = here) -> str:
        return run(sys.executable, "-m", "quada", "dnssec", *command, cwd=cwd)

    quada("enable", "example", "--offline-ksk", f"{key}.key", "--state-dir", "var")
    quada(
        "skr", "request", "example", "--days", "30", "-o", str(away / "ask"), "--state-dir", "var"
    )
    told = quada("skr", "sign", "ask", "--key", key, "-o", str(here / "signed"), cwd=away)
    assert key.rpartition("+")[2].lstrip("0") in told
    quada("skr", "import", "example", "signed", "--state-dir", "var")
    desk = SigningDesk(KeyStore.open(here / "var"))
    version = desk.publish(make_zone(TEXT, "example."), int(time.time()))
    assert version.rrset(names.from_text("example."), codes.DNSKEY) is not None
    (here / "zone").write_text("\n".join(write_zone(version, is_portable=True)) + "\n")
    run("dnssec-verify", "-o", "example", "zone", cwd=here)
