"""A zone that quada signs, on other people's secondaries: AXFR, then IXFR, and their copy verifies."""

import contextlib
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.zone
import pytest

pytestmark = pytest.mark.peers

ZONE = "$TTL 300\n@ SOA ns1 host {serial} 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 AAAA 2001:db8::1\n"
ZONE += 'ns2 AAAA 2001:db8::2\n*.w TXT "x"\nsub NS ns.sub\nns.sub AAAA 2001:db8::3\n'
ZONE += "".join(f"host{number} AAAA 2001:db8::{number:x}\n" for number in range(200))


def named_secondary(place: Path, port: int, primary: int) -> list[str]:
    (place / "named.conf").write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }}; recursion no;'
        f" listen-on-v6 port {port} {{ ::1; }}; notify no; allow-transfer {{ any; }};"
        f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        f'zone example.com {{ type secondary; file "copy"; allow-notify {{ ::1; }};'
        f" primaries {{ ::1 port {primary}; }}; }};\n"
    )
    return ["named", "-g", "-n", "1", "-c", str(place / "named.conf")]


def knot_secondary(place: Path, port: int, primary: int) -> list[str]:
    (place / "knot.conf").write_text(
        f"server:\n  listen: ::1@{port}\n  rundir: {place}\ndatabase:\n  storage: {place}\n"
        f"remote:\n  - id: quada\n    address: ::1@{primary}\n"
        "acl:\n  - id: notify\n    address: ::1\n    action: [notify, transfer]\n"
        f"zone:\n  - domain: example.com\n    storage: {place}\n    master: quada\n"
        "    acl: notify\n"
    )
    return ["knotd", "-c", str(place / "knot.conf")]


def nsd_secondary(place: Path, port: int, primary: int) -> list[str]:
    (place / "nsd.conf").write_text(
        f'server:\n  ip-address: ::1@{port}\n  server-count: 1\n  username: ""\n  do-ip4: no\n'
        f'  pidfile: "{place}/pid"\n  database: ""\n  zonelistfile: "{place}/list"\n'
        f'  xfrdfile: "{place}/xfrd"\n  xfrdir: "{place}"\n  zonesdir: "{place}"\n'
        "remote-control:\n  control-enable: no\n"
        f"zone:\n  name: example.com\n  zonefile: copy\n  request-xfr: ::1@{primary} NOKEY\n"
        "  allow-notify: ::1 NOKEY\n  provide-xfr: ::1 NOKEY\n"
    )
    return ["nsd", "-d", "-c", str(place / "nsd.conf")]


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


@contextlib.contextmanager
def running(command: list[str], log: Path):
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("chain", [[], ["--nsec3"]], ids=["nsec", "nsec3"])
@pytest.mark.parametrize("make", [named_secondary, knot_secondary, nsd_secondary])
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
