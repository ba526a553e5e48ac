"""A small internet without sockets: servers in memory, time that jumps, faults that are switched.

Servers answer with the authority's own code; what stands between them and the resolver is here. A
question is driven to its end by performing its Asks one after the other, and every one is noted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.resolver.answer import Recursor, ResolverSettings
from quada.resolver.cache import Cache, Delegation
from quada.resolver.composed import Recursed
from quada.resolver.iterate import Iterator
from quada.resolver.servers import Servers
from quada.resolver.task import Task
from quada.resolver.validate import Validator
from quada.server.recursion import plain_question
from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence, Transport
from quada.wire.limit import LimitSettings
from quada.zones import read_zone

Fault = Callable[[Ask, bytes], bytes | Silence]
_PEER = b"\x0a\x00\x00\x35" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(16)
_RTT_S = 0.02
ROOT_SERVER = "2001:db8::53"


class Asked(NamedTuple):
    """One message that reached the network."""

    at: float
    address: str
    transport: Transport
    name: str
    rdtype: int
    query: bytes


class SmallInternet:
    """Addresses with servers behind them, and one resolver that asks them."""

    def __init__(self, **options) -> None:
        self.now = 1_790_000_000.0
        self.asked: list[Asked] = []
        self._servers: dict[str, Authority] = {}
        self._faults: dict[str, Fault] = {}
        hint = names.from_text("ns.root.")
        roots = Delegation(
            names.ROOT, (hint,), {hint: options.pop("roots", (ROOT_SERVER,))}, float("inf")
        )
        chance = random.Random(1)
        validator: Validator | None = options.pop("validator", None)
        policy = options.pop("policy", None)
        families = options.pop("families", (6, 4))
        self.cache = Cache(options.pop("answers_max", 1000))
        self.iterator = Iterator(
            roots, answers=self.cache, servers=Servers(families), validator=validator,
            bits=chance.getrandbits, stale_s=options.pop("stale_s", 86_400),
        )  # fmt: skip
        settings = ResolverSettings(limit=LimitSettings(0), **options)
        self.recursor = Recursor(settings, self.iterator, policy)

    def serve(self, zone: str, text: str, *addresses: str) -> None:
        """Serve a zone's text at addresses; SOA and TTL are given."""
        soa = f"$TTL 300\n@ SOA ns.{zone.lstrip('.')} h 1 3600 600 86400 60\n"
        made = read_zone(f"$ORIGIN {zone}\n{soa}{text}", names.from_text(zone))
        for address in addresses:
            self.server(address).put(made)

    def server(self, address: str) -> Authority:
        """Give the server behind an address, made where there is none."""
        if address not in self._servers:
            self._servers[address] = Authority(AuthoritySettings(limit=LimitSettings(0)))
        return self._servers[address]

    def break_(self, address: str, fault: Fault) -> None:
        """Put something between an address and the resolver: it gets the Ask and the answer."""
        self._faults[address] = fault

    def mend(self, *addresses: str) -> None:
        """Take faults away; all of them where none is named."""
        for address in addresses or tuple(self._faults):
            self._faults.pop(address, None)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def ask(self, name: str, rdtype: int = codes.AAAA, *, flags: int = codes.RD) -> Recursed:
        """Resolve a question to its end."""
        return self.look(name, rdtype, flags=flags)[0]

    def look(
        self, name: str, rdtype: int = codes.AAAA, *, flags: int = codes.RD
    ) -> tuple[Recursed, Task]:
        """Resolve a question; gives the task too."""
        question = plain_question(names.from_text(name).lower(), rdtype)._replace(flags=flags)
        task = Task()
        self.iterator.now = self.now
        return self._drive(self.recursor.recurse(question, bytes(15) + b"\x01", task)), task

    def _drive(self, steps):
        outcome: Outcome | None = None
        for _ in range(1000):
            try:
                ask = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = self._perform(ask)
            self.iterator.now = self.now
        raise AssertionError("a question asks without end")

    def probe(self) -> int:
        """Ask servers that failed whether they are well again; gives how many were asked."""
        self.iterator.now = self.now
        due = self.iterator.servers.take_due()
        for one in due:
            self._drive(self.iterator.probe(one, Task()))
        return len(due)

    def prime(self) -> float | None:
        """Ask who serves the root."""
        self.iterator.now = self.now
        return self._drive(self.iterator.prime(Task()))

    def addresses(self, name: str, rdtype: int = codes.AAAA) -> list[str]:
        """Resolve a question; gives the data of the answer as text, or the rcode's number."""
        import dns.rdata

        resolution = self.ask(name, rdtype).resolution
        if resolution.rcode:
            return [f"rcode {resolution.rcode}"]
        return [
            dns.rdata.from_wire("IN", one.rdtype, one.rdata, 0, len(one.rdata)).to_text()
            for one in resolution.answer
        ]

    def questions(self, address: str = "") -> list[str]:
        """Give what was asked, of one server or of all, in order: `name TYPE`."""
        import dns.rdatatype

        return [
            f"{one.name} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(one.rdtype))}"
            for one in self.asked
            if one.address == address or not address
        ]

    def _perform(self, ask: Ask) -> Outcome:
        at = 12
        while ask.query[at]:
            at += ask.query[at] + 1
        name = names.to_text(ask.query[12 : at + 1].lower())
        rdtype = int.from_bytes(ask.query[at + 1 : at + 3], "big")
        where = ask.to.address
        self.asked.append(Asked(self.now, where, ask.to.transport, name, rdtype, ask.query))
        server = self._servers.get(where)
        if server is None:
            return self._silent(ask, Silence.TIMEOUT)
        server.begin(int(self.now * 1e9))
        found = server.answer(ask.query, _PEER, ask.to.transport)
        message = ask.query[:2] + found[0]
        if where in self._faults:
            heard = self._faults[where](ask, message)
            if isinstance(heard, Silence):
                return self._silent(ask, heard)
            message = heard
        self.now += _RTT_S
        return Reply(ask, message, _RTT_S)

    def _silent(self, ask: Ask, why: Silence) -> NoReply:
        waited_s = ask.timeout_s if why is Silence.TIMEOUT else 0.001
        self.now += waited_s
        return NoReply(ask, why, waited_s)


def silent(_ask: Ask, _answer: bytes) -> Silence:
    """Lose every message."""
    return Silence.TIMEOUT


def silent_over_udp(ask: Ask, answer: bytes) -> bytes | Silence:
    """Lose datagrams alone."""
    return Silence.TIMEOUT if ask.to.transport is Transport.UDP else answer


def cut(ask: Ask, answer: bytes) -> bytes:
    """Truncate every answer over UDP (RFC 1035 4.1.1)."""
    if ask.to.transport is not Transport.UDP:
        return answer
    end = 12
    while answer[end]:
        end += answer[end] + 1
    return (
        answer[:2] + bytes((answer[2] | 2, answer[3])) + b"\0\1" + bytes(6) + answer[12 : end + 5]
    )


def coded(rcode: int) -> Fault:
    """Answer with an rcode alone."""

    def fault(ask: Ask, answer: bytes) -> bytes:
        end = 12
        while answer[end]:
            end += answer[end] + 1
        head = answer[:2] + b"\x80" + bytes((rcode,)) + b"\0\1" + bytes(6)
        return head + ask.query[12 : end + 5]

    return fault


def without_edns(ask: Ask, answer: bytes) -> bytes:
    """Answer FORMERR to every query with EDNS, as servers from before 1999 do."""
    return coded(codes.FORMERR)(ask, answer) if ask.query[11] else answer


def folding(ask: Ask, answer: bytes) -> bytes:
    """Echo the question in lower case."""
    end = 12
    while answer[end]:
        end += answer[end] + 1
    return answer[:12] + answer[12:end].lower() + answer[end:]
