"""A zone that quada signs, on other people's secondaries: AXFR, then IXFR, and their copy verifies."""

import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.zone
import pytest

from secondaries import SECONDARIES, running

pytestmark = pytest.mark.peers

ZONE = "$TTL 300\n@ SOA ns1 host {serial} 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 AAAA 2001:db8::1\n"
ZONE += 'ns2 AAAA 2001:db8::2\n*.w TXT "x"\nsub NS ns.sub\nns.sub AAAA 2001:db8::3\n'
ZONE += "".join(f"host{number} AAAA 2001:db8::{number:x}\n" for number in range(200))


def quada(*arguments: object) -> str:
    command = [sys.executable, "-m", "quada", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def serial(port: int) -> int:
    query = dns.message.make_query("example.com.", "SOA")
    answer = dns.query.udp(query, "::1", port=port, timeout=1)
    return int(answer.answer[0][0].serial) if answer.answer else 0


def verify(port: int, place: Path) -> None:
    transfer = dns.query.xfr("::1", "example.com.", port=port, lifetime=30, relativize=False)
    copy = place / "copy.txt"
    dns.zone.from_xfr(transfer, relativize=False).to_file(str(copy), relativize=False)
    for command in (["dnssec-verify", "-z", "-o", "example.com."], ["ldns-verify-zone"]):
        done = subprocess.run([*command, copy], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("chain", [[], ["--nsec3"]], ids=["nsec", "nsec3"])
@pytest.mark.parametrize("make", SECONDARIES)
def test_secondaries_of_others_follow_a_zone_we_sign(
    serve, tmp_path, free_port, until, make, chain
):
    port, zone = free_port(), tmp_path / "example.com.zone"
    zone.write_text(ZONE.format(serial=1))
    quada("dnssec", "enable", "example.com", *chain, "--state-dir", tmp_path / "state0")
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\nallow_transfer = ["::1/128"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\nalso_notify = ["[::1]:{port}"]\n'
    )
    served = serve("--config", str(config), listen="")
    place = tmp_path / "secondary"
    place.mkdir(mode=0o777)
    with running(make(place, port, served.port), tmp_path / "log"):
        first = serial(served.port)
        until(lambda: serial(port) == first, within_s=30, what="AXFR")
        verify(port, tmp_path)
        zone.write_text(ZONE.format(serial=9) + "new AAAA 2001:db8::9\n")
        until(lambda: serial(served.port) == 9, what="the edit served")
        until(lambda: serial(port) == 9, within_s=30, what="IXFR after NOTIFY")
        verify(port, tmp_path)
    query = dns.message.make_query("example.com.", "IXFR")
    query.authority.append(
        dns.rrset.from_text("example.com.", 0, "IN", "SOA", f". . {first} 0 0 0 0")
    )
    answer = dns.query.tcp(query, "::1", port=served.port, timeout=5)
    assert 4 < sum(len(rrset) for rrset in answer.answer) < 40
