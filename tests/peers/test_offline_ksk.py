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


MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


@pytest.mark.parametrize("algorithm", ["ecdsap256sha256", "rsasha256"])
def test_a_ksk_in_a_token_signs_and_never_leaves_it(
    tmp_path: Path, make_zone, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    if not MODULE.exists():
        pytest.skip("softhsm2 is not there: tests/peers/install.sh installs it")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    (tmp_path / "pin").write_text("1234\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    run("softhsm2-util", "--init-token", "--free", "--label", "quada", "--so-pin", "5678",
        "--pin", "1234", cwd=tmp_path)  # fmt: skip
    held = ("--pkcs11-module", str(MODULE), "--pin-file", "pin")

    def quada(*command: str) -> str:
        return run(sys.executable, "-m", "quada", "dnssec", *command, cwd=tmp_path)

    quada("skr", "key", "example", *held, "--algorithm", algorithm, "-o", "K.key")
    quada("enable", "example", "--offline-ksk", "K.key", "--state-dir", "var")
    quada("skr", "request", "example", "--days", "10", "-o", "ask", "--state-dir", "var")
    quada("skr", "sign", "ask", *held, "-o", "signed")
    quada("skr", "import", "example", "signed", "--state-dir", "var")
    serve_and_verify(tmp_path, make_zone)


def serve_and_verify(place: Path, make_zone) -> None:
    desk = SigningDesk(KeyStore.open(place / "var"))
    version = desk.publish(make_zone(TEXT, "example."), int(time.time()))
    assert version.rrset(names.from_text("example."), codes.DNSKEY) is not None
    (place / "zone").write_text("\n".join(write_zone(version, is_portable=True)) + "\n")
    run("dnssec-verify", "-o", "example", "zone", cwd=place)


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
    serve_and_verify(here, make_zone)
    # Taking it back to unsigned is for the key's holder to agree to.
    quada("disable", "example", "--state-dir", "var")
    quada("skr", "request", "example", "-o", str(away / "ask"), "--state-dir", "var")
    with pytest.raises(AssertionError, match="--removal"):
        quada("skr", "sign", "ask", "--key", key, "-o", "end", cwd=away)
    quada("skr", "sign", "ask", "--key", key, "--removal", "-o", str(here / "end"), cwd=away)
    quada("skr", "import", "example", "end", "--state-dir", "var")


@pytest.mark.parametrize("algorithm", ["13", "15"])
def test_one_offline_ksk_replaces_another_by_way_of_files(
    tmp_path: Path, make_zone, algorithm: str
) -> None:
    away, here = tmp_path / "away", tmp_path / "here"
    away.mkdir()
    here.mkdir()
    keys = []
    for number in ("13", algorithm):
        keys.append(run("dnssec-keygen", "-q", "-a", number, "-f", "KSK", "example", cwd=away))
        (here / f"{keys[-1]}.key").write_text((away / f"{keys[-1]}.key").read_text())
    old, new = keys

    def quada(*command: str, cwd: Path = here) -> str:
        return run(sys.executable, "-m", "quada", "dnssec", *command, cwd=cwd)

    state = ("--state-dir", "var")
    quada("enable", "example", "--offline-ksk", f"{old}.key", *state)
    assert "once both KSKs have signed" in quada(
        "skr", "replace", "example", "--offline-ksk", f"{new}.key", *state
    )
    quada("skr", "request", "example", "--days", "30", "-o", str(away / "ask"), *state)
    for number, (key, other) in enumerate(((old, new), (new, old))):
        with pytest.raises(AssertionError, match="without key"):
            quada("skr", "sign", "ask", "--key", key, "-o", "alone", cwd=away)
        made = str(here / f"signed{number}")
        quada("skr", "sign", "ask", "--key", key, "--beside", f"{other}.key", "-o", made, cwd=away)
        quada("skr", "import", "example", made, *state)
    serve_and_verify(here, make_zone)
    # Nobody had been served the old one, so nobody needs it.
    told = quada("status", "example", *state)
    assert f"KSK {new.rpartition('+')[2].lstrip('0')} " in told
