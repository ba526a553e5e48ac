"""Targets that move, vanish, fail, fall silent, answer late and flap, behind real resolvers."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET6, SOCK_DGRAM, socket

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

pytestmark = pytest.mark.peers

NAMES = ("edge", "never", "slow")
ZONE = "$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns AAAA 2001:db8::53\n"
ZONE += "static AAAA 2001:db8::5\n" + "".join(f"{n} ALIAS {n}.example.net.\n" for n in NAMES)
GOOD = {"AAAA": "2001:db8::e1", "A": "192.0.2.1"}
SLOW_S = 0.7  # later than the budget of 500 ms


class Targets:
    """The authoritative server of example.net: what it does is set by name."""

    def __init__(self) -> None:
        self.found = dict(GOOD)
        self.does = {"edge": "answer", "never": "silent", "slow": "slow"}
        self.answered: set[str] = set()
        self._socket = socket(AF_INET6, SOCK_DGRAM)
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
            name = query.question[0].name.to_text().lower().partition(".")[0]
            does = self.does.get(name, "answer")
            if does == "silent":
                continue
            made = self._answer(query, does).to_wire()
            wait_s = SLOW_S if does == "slow" else 0.0
            threading.Timer(wait_s, self._send, (made, peer, name)).start()

    def _send(self, wire: bytes, peer: tuple[str, int], name: str) -> None:
        self.answered.add(name)
        try:
            self._socket.sendto(wire, peer)
        except OSError:
            return  # closed meanwhile

    def _answer(self, query: dns.message.Message, does: str) -> dns.message.Message:
        made = dns.message.make_response(query)
        made.flags |= dns.flags.AA
        question = query.question[0]
        rdtype = dns.rdatatype.to_text(question.rdtype)
        if does == "servfail":
            made.set_rcode(dns.rcode.SERVFAIL)
        elif does != "nx" and rdtype in self.found:
            made.answer.append(
                dns.rrset.from_text(question.name, 1, "IN", rdtype, self.found[rdtype])
            )
        else:
            made.set_rcode(dns.rcode.NXDOMAIN if does == "nx" else dns.rcode.NOERROR)
            soa = dns.rrset.from_text("example.net.", 1, "IN", "SOA", "a. b. 1 2 3 4 1")
            made.authority.append(soa)
        return made


def unbound(place: Path, port: int, targets: int) -> list[str]:
    (place / "unbound.conf").write_text(
        f'server:\n  interface: ::1@{port}\n  do-daemonize: no\n  username: ""\n  chroot: ""\n'
        f"  directory: {place}\n  pidfile: {place}/pid\n  use-syslog: no\n  access-control: ::1 allow\n"
        "  do-not-query-localhost: no\n  module-config: iterator\n  infra-host-ttl: 1\n"
        "  cache-max-negative-ttl: 1\nremote-control:\n  control-enable: no\n"
        f"stub-zone:\n  name: example.net\n  stub-addr: ::1@{targets}\n"
    )
    return ["unbound", "-d", "-c", str(place / "unbound.conf")]


def pdns_recursor(place: Path, port: int, targets: int) -> list[str]:
    return [
        "pdns_recursor", "--daemon=no", f"--config-dir={place}", f"--socket-dir={place}",
        "--local-address=::1", f"--local-port={port}", "--allow-from=::1/128", "--threads=1",
        "--dnssec=off", "--query-local-address=::", "--security-poll-suffix=", "--dont-query=",
        f"--forward-zones=example.net=[::1]:{targets}", "--server-down-max-fails=0",
        "--disable-syslog=yes", "--max-negative-ttl=1", "--packetcache-servfail-ttl=0",
    ]  # fmt: skip


def own(place: Path, port: int, targets: int) -> list[str]:
    (place / "resolver.toml").write_text(
        f'version = 1\n[server]\nworkers = 1\nstate_dir = "{place}/resolver"\n'
        f'[resolver]\nlisten = ["[::1]:{port}"]\ndnssec = false\n'
        f'stub = ["example.net=[::1]:{targets}"]\nfamilies = "ipv6"\nserve_stale_s = 0\n'
    )
    config = str(place / "resolver.toml")
    return [sys.executable, "-m", "quada", "serve", "--role", "resolver", "--config", config]


@pytest.fixture(params=[own, unbound, pdns_recursor], ids=lambda one: one.__name__)
def world(request, serve, tmp_path: Path, free_port, until) -> Iterator[tuple[Targets, int]]:
    """The targets, and quada with ALIAS behind one of three resolvers."""
    targets, port = Targets(), free_port()
    with (tmp_path / "resolver.log").open("w") as log:
        resolver = subprocess.Popen(
            request.param(tmp_path, port, targets.port), stdout=log, stderr=log
        )

    def is_up() -> bool:
        query = dns.message.make_query("up.example.net.", "AAAA")
        return dns.query.udp(query, "::1", 1, port).rcode() == dns.rcode.NOERROR

    until(is_up, within_s=30, what=f"{request.param.__name__} answers")
    (tmp_path / "zone").write_text(ZONE)
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[alias]\nupstream = ["[::1]:{port}"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{tmp_path}/zone"\n'
    )
    yield targets, serve("--role", "authority", "--config", str(config)).port
    resolver.terminate()
    resolver.wait(20)
    targets.close()


def ask(port: int, name: str = "edge", rdtype: str = "AAAA") -> dns.message.Message:
    query = dns.message.make_query(f"{name}.example.com.", rdtype, use_edns=0)
    answer = dns.query.udp(query, "::1", 5, port)
    assert answer.rcode() == dns.rcode.NOERROR
    return answer


def found(port: int, rdtype: str = "AAAA", name: str = "edge") -> list[str]:
    answer = ask(port, name, rdtype)
    addresses = [item.to_text() for rrset in answer.answer for item in rrset]
    assert addresses or any(rrset.rdtype == dns.rdatatype.SOA for rrset in answer.authority)
    return addresses


def codes(answer: dns.message.Message) -> list[int]:
    return [int(one.code) for one in answer.options if isinstance(one, dns.edns.EDEOption)]


def test_every_fault_of_a_target_gets_its_answer_and_nobody_waits_for_it(world, until) -> None:
    targets, port = world
    assert found(port) == [GOOD["AAAA"]]
    assert found(port, "A") == [GOOD["A"]]

    targets.found["AAAA"] = "2001:db8::e2"
    until(lambda: found(port) == ["2001:db8::e2"], within_s=20, what="the move")

    del targets.found["AAAA"]
    until(lambda: found(port) == [], within_s=20, what="no AAAA any more")
    assert found(port, "A") == [GOOD["A"]]

    targets.found = {"AAAA": GOOD["AAAA"]}
    until(lambda: found(port) == [GOOD["AAAA"]], within_s=20, what="AAAA again")
    until(lambda: found(port, "A") == [], within_s=20, what="no A any more")

    targets.does["edge"] = "nx"
    until(lambda: found(port) == [], within_s=20, what="no addresses of a name that is not")
    assert found(port, "A") == []

    targets.found, targets.does["edge"] = dict(GOOD), "answer"
    until(lambda: found(port) == [GOOD["AAAA"]], within_s=20, what="it is back")
    until(lambda: found(port, "A") == [GOOD["A"]], within_s=20, what="A is back")

    for fault in ("servfail", "silent"):
        targets.does["edge"] = fault
        # pdns_recursor and unbound may serve what they have a while longer themselves.
        until(lambda: 3 in codes(ask(port)), within_s=30, what=f"stale where it is {fault}")
        for rdtype, address in GOOD.items():
            assert found(port, rdtype) == [address]
        targets.does["edge"] = "answer"
        until(lambda: not codes(ask(port)), within_s=30, what=f"fresh after {fault}")


def test_what_was_never_known_is_empty_in_time_and_harms_nobody(world, until) -> None:
    targets, port = world
    answer = ask(port, "never")
    assert not answer.answer
    assert codes(answer) == [22]
    assert "never" not in targets.answered
    assert found(port, name="static") == ["2001:db8::5"]

    late = ask(port, "slow")
    assert "slow" not in targets.answered, "the client had its answer before the target gave any"
    assert not late.answer
    assert codes(late) == [22]
    until(lambda: found(port, name="slow") == [GOOD["AAAA"]], within_s=30, what="the late answer")


def test_a_target_that_flaps_is_never_empty(world) -> None:
    targets, port = world
    assert found(port) == [GOOD["AAAA"]]
    assert found(port, "A") == [GOOD["A"]]
    for does in ("silent", "answer", "servfail", "answer", "silent"):
        targets.does["edge"] = does
        for _ in range(20):
            assert found(port) == [GOOD["AAAA"]]
            assert found(port, "A") == [GOOD["A"]]
            time.sleep(0.1)
