"""ALIAS and pools on secondaries of others that know neither: expanded, kept fresh, signed too."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest

from quada.server.control import command
from secondaries import SECONDARIES, running

pytestmark = pytest.mark.peers

ZONE = (
    "$TTL 300\n@ SOA ns1 host {serial} 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 AAAA 2001:db8::1\n"
    "ns2 AAAA 2001:db8::2\n@ MX 10 ns1\n@ ALIAS edge.test.\nwww ALIAS edge.test.\n"
    "lost ALIAS lost.test.\n*.wild ALIAS edge.test.\npool POOL web\nhere ALIAS ns1\n"
)
POOL = (
    '[[pool]]\nname = "web"\nprobe = "none"\n[[pool.member]]\naddress = "2001:db8::80"\n'
    '[[pool.member]]\naddress = "192.0.2.80"\n'
)


class Resolver:
    """A resolver's double for names below test.: `edge` has what it is told, `lost` is silent."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {"AAAA": ["2001:db8::e1"], "A": ["192.0.2.1"]}
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                wire, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            name, rdtype = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
            if name != "edge.test.":
                continue
            made = dns.message.make_response(query)
            addresses = self.found.get(rdtype, [])
            if addresses:
                made.answer.append(dns.rrset.from_text(name, 1, "IN", rdtype, *addresses))
            else:
                soa = dns.rrset.from_text("test.", 1, "IN", "SOA", "a. b. 1 2 3 4 1")
                made.authority.append(soa)
            with contextlib.suppress(OSError):  # closed meanwhile
                self._socket.sendto(made.to_wire(), peer)


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.close()


def ask(port: int, qname: str, rdtype: str) -> dns.message.Message:
    return dns.query.udp(dns.message.make_query(qname, rdtype), "::1", port=port, timeout=1)


def found(port: int, qname: str, rdtype: str) -> list[str]:
    answer = ask(port, qname, rdtype).answer
    return sorted(item.to_text() for rrset in answer for item in rrset)


def serial(port: int) -> int:
    answer = ask(port, "example.com", "SOA").answer
    return int(answer[0][0].serial) if answer else 0


def copy_of(port: int) -> dns.zone.Zone:
    transfer = dns.query.xfr("::1", "example.com.", port=port, lifetime=30, relativize=False)
    return dns.zone.from_xfr(transfer, relativize=False)


def verify(port: int, place: Path) -> None:
    path = place / "copy.txt"
    copy_of(port).to_file(str(path), relativize=False)
    for tool in (["dnssec-verify", "-z", "-o", "example.com."], ["ldns-verify-zone"]):
        done = subprocess.run([*tool, path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def configure(place: Path, resolver: Resolver, more: str = "", mode: str = "expanded") -> Path:
    zone = place / "example.com.zone"
    if not zone.exists():
        zone.write_text(ZONE.format(serial=1))
    config = place / f"quada-{mode}.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\nallow_transfer = ["::1/128"]\n'
        f'[alias]\nupstream = ["[::1]:{resolver.port}"]\nexpanded_interval_s = 0.5\n{POOL}'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\nalias_transfers = "{mode}"\n{more}'
    )
    return config


def enable_signing(state_dir: Path, *options: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "quada", "dnssec", "enable", "example.com", *options,
         "--state-dir", state_dir],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("make", SECONDARIES)
def test_secondaries_of_others_follow_targets_that_move(
    serve, tmp_path, free_port, until, resolver, make, is_signed
) -> None:
    port = free_port()
    if is_signed:
        enable_signing(tmp_path / "state0")
    config = configure(tmp_path, resolver, f'also_notify = ["[::1]:{port}"]\n')
    served = serve("--role", "authority", "--config", str(config), listen="")
    place = tmp_path / "secondary"
    place.mkdir(mode=0o777)
    with running(make(place, port, served.port), tmp_path / "log"):

        def has(*addresses: str, rdtype: str = "AAAA") -> bool:
            names = ("example.com", "www.example.com", "any.wild.example.com")
            return all(found(port, name, rdtype) == sorted(addresses) for name in names)

        until(lambda: has("2001:db8::e1"), within_s=30, what="first transfer")
        until(lambda: has("192.0.2.1", rdtype="A"), within_s=30, what="A")
        assert found(port, "pool.example.com", "AAAA") == ["2001:db8::80"]
        assert found(port, "here.example.com", "AAAA") == ["2001:db8::1"]
        assert found(port, "lost.example.com", "TXT") == ['"ALIAS for lost.test."']
        assert found(port, "example.com", "TYPE65401") == []
        before = serial(port)

        resolver.found["AAAA"] = ["2001:db8::e2", "2001:db8::e3"]
        until(lambda: has("2001:db8::e2", "2001:db8::e3"), within_s=30, what="the move")
        resolver.found["A"] = []
        until(lambda: has(rdtype="A"), within_s=30, what="the end of A")
        assert serial(port) > before
        zone = tmp_path / "example.com.zone"
        zone.write_text(zone.read_text().replace("host 1 ", "host 2 ") + "new AAAA ::9\n")
        until(lambda: found(port, "new.example.com", "AAAA") == ["::9"], within_s=30, what="edit")
        assert has("2001:db8::e2", "2001:db8::e3")
        assert serial(port) == serial(served.port) > before + 2
        assert copy_of(port) == copy_of(served.port)
        if is_signed:
            verify(port, tmp_path)

    query = dns.message.make_query("example.com.", "IXFR")
    query.authority.append(
        dns.rrset.from_text("example.com.", 0, "IN", "SOA", f". . {before} 0 0 0 0")
    )
    answer = dns.query.tcp(query, "::1", port=served.port, timeout=5, one_rr_per_rrset=True)
    soas = [item.serial for rrset in answer.answer for item in rrset if rrset.rdtype == 6]
    assert soas[1] == before, "IXFR, from the serial the secondary had"


def test_a_restart_forgets_neither_serial_nor_addresses(serve, tmp_path, until, resolver) -> None:
    config = configure(tmp_path, resolver)
    first = serve("--role", "authority", "--config", str(config), listen="")
    until(lambda: found(first.port, "www.example.com", "AAAA") == ["2001:db8::e1"], what="AAAA")
    until(lambda: found(first.port, "www.example.com", "A") == ["192.0.2.1"], what="A")
    resolver.found["AAAA"] = ["2001:db8::e2"]
    until(lambda: found(first.port, "www.example.com", "AAAA") == ["2001:db8::e2"], what="move")
    last = copy_of(first.port)
    first.stop()
    resolver.close()
    again = serve(
        "--role", "authority", "--config", str(config), "--state-dir", str(first.state_dir),
        listen="",
    )  # fmt: skip
    assert copy_of(again.port) == last
    status = command(first.state_dir / "control.sock", "status")["expanded"][0]
    assert status["content_serial"] == 1
    assert status["serial"] == serial(again.port) > 1
    assert status["without_address"] == ["lost.example.com."]
    assert "published without address" in first.log.read_text()
    again.stop()
    back = serve(
        "--role", "authority", "--config", str(configure(tmp_path, resolver, mode="private")),
        "--state-dir", str(first.state_dir), listen="",
    )  # fmt: skip
    assert serial(back.port) > status["serial"], "what secondaries have is not later than this"
    assert "TYPE65401" in copy_of(back.port).to_text(relativize=False)


def test_quada_peers_get_the_records_as_they_are(serve, tmp_path, until, resolver) -> None:
    config = configure(tmp_path, resolver, mode="private")
    primary = serve("--role", "authority", "--config", str(config), listen="")
    other = tmp_path / "secondary.toml"
    other.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\nalias_transfers = "expanded"\n'
        f'[alias]\nupstream = ["[::1]:{resolver.port}"]\n'
        f'[[zone]]\nname = "example.com"\nrole = "secondary"\nprimaries = ["[::1]:{primary.port}"]\n'
    )
    secondary = serve("--role", "authority", "--config", str(other), listen="")
    until(lambda: serial(secondary.port) == 1, within_s=20, what="transfer")
    until(
        lambda: found(secondary.port, "www.example.com", "AAAA") == ["2001:db8::e1"],
        what="the secondary's own lookup",
    )
    assert serial(secondary.port) == 1, "a secondary numbers nothing"
