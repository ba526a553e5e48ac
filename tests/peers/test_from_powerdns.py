"""A zone taken over from a running PowerDNS: by transfer over IPv6, and as its own tool writes it."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from conftest import until

pytestmark = pytest.mark.peers

TEXT = """$TTL 300
@ SOA ns1.example.com. host.example.com. 7 3600 600 86400 60
@ NS ns1.example.com.
ns1 AAAA 2001:db8::53
www AAAA 2001:db8::80
note TXT "a text with spaces"
"""


@pytest.fixture
def powerdns(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[Path, int]]:
    program = shutil.which("pdns_server", path="/usr/sbin:/usr/bin")
    assert program, "tests/peers/install.sh installs pdns-server"
    place, port = tmp_path / "pdns", free_port()
    place.mkdir()
    (place / "db").write_text(TEXT)
    (place / "named.conf").write_text(
        f'zone "example.com" {{ type master; file "{place}/db"; }};\n'
    )
    (place / "pdns.conf").write_text(
        f"launch=bind\nbind-config={place}/named.conf\nlocal-address=::1\nlocal-port={port}\n"
        f"allow-axfr-ips=::1\nsocket-dir={place}\nguardian=no\ndaemon=no\nsetuid=0\nsetgid=0\n"
    )
    with (place / "log").open("w") as log:
        running = subprocess.Popen([program, f"--config-dir={place}"], stdout=log, stderr=log)
    question = dns.message.make_query("example.com.", "SOA")
    until(lambda: dns.query.udp(question, "::1", port=port, timeout=1).answer, what="PowerDNS")
    yield place, port
    running.terminate()
    running.wait(10)


def test_a_zone_comes_by_transfer_and_by_pdnsutil(
    serve, powerdns: tuple[Path, int], tmp_path: Path
) -> None:
    place, port = powerdns
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[[zone]]\nname = "example.com"\nrole = "secondary"\n'
        f'primaries = ["[::1]:{port}"]\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    until(lambda: served.udp("www.example.com.", "AAAA").answer, within_s=30, what="transferred")
    listed = subprocess.run(
        ["pdnsutil", f"--config-dir={place}", "list-zone", "example.com"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    file = tmp_path / "db.example.com"
    file.write_text(listed.stdout)
    state = tmp_path / "store"
    for words in (["zone", "add", "example.com", str(file)], ["zone", "show", "example.com"]):
        done = subprocess.run(
            [sys.executable, "-m", "quada", *words, "--state-dir", str(state)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2001:db8::80" in done.stdout
    assert '"a text with spaces"' in done.stdout
