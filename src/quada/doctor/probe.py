"""Probes as a domain's or a resolver's observer makes them: composed, performed at once, noted."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
from quada.doctor.observation import Exchange, Resolved
from quada.resolver.task import Task
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome, Reply, Transport
from quada.zones.rdata import write_rdata

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.resolver.iterate import Iterator

_T = TypeVar("_T")
Steps = Generator[list[Ask], list[Outcome], _T]

_UDP_S: Final = 2.0
_TCP_S: Final = 4.0
_TLS_S: Final = 4.0
ASKS_MAX: Final = 3_000  # a whole run; the largest zones of the real DNS need some hundreds
_UNKNOWN_OPTION: Final = dns.edns.GenericOption(
    dns.edns.OptionType.make(65_001), b""
)  # local use: RFC 6891 9
_UNKNOWN_FLAG: Final = 0x40  # of those that RFC 6891 6.1.4 leaves to come
_PORTS: Final = {Transport.DOT: 853, Transport.DOH: 443, Transport.DOQ: 853}


class Wanted(NamedTuple):
    """One probe: why, and the question.

    `name` is whom an encrypted server must prove to be; `port` 0 is the transport's own. `version`
    is that of EDNS; `has_unknown` adds an option and a flag of EDNS that nobody knows.
    """

    about: str
    qname: str
    qtype: str
    transport: Transport = Transport.UDP
    payload: int = 0
    is_do: bool = False
    is_rd: bool = False
    is_cd: bool = False
    is_ad: bool = False
    name: str = ""
    port: int = 0
    path: str = "/dns-query"
    version: int = 0
    has_unknown: bool = False


class Prober:
    """Makes probes for observers, and counts them.

    Takes resolvers for `ipv6`, `ipv4` and `both` families, and the clock.
    """

    def __init__(
        self,
        resolvers: dict[str, Iterator],
        now: Callable[[], float],
        port: int = 53,
        udp_s: float = _UDP_S,
    ) -> None:
        self.ask_count = 0
        self._resolvers = resolvers
        self._now = now
        self._port = port
        self._udp_s = udp_s

    def resolve(self, kind: str, name: str, qtype: int) -> Steps[Resolved]:
        """Have one of our resolvers resolve a name; addresses, or other data as text."""
        iterator = self._resolvers[kind]
        task = Task()
        iterator.now = self._now()
        steps = iterator.resolve(names.from_text(name).lower(), qtype, task)
        outcome: Outcome | None = None
        while True:
            try:
                ask = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as end:
                resolution = end.value
                break
            self.ask_count += 1
            outcome = (yield [ask])[0]
            iterator.now = self._now()
        rdtype = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(qtype))
        found = []
        for record in resolution.answer:
            if record.rdtype == qtype and qtype in (codes.AAAA, codes.A):
                found.append(str(ipaddress.ip_address(record.rdata)))
            elif record.rdtype == qtype == codes.PTR:
                found.append(names.to_text(record.rdata).lower())
            elif record.rdtype == qtype:
                found.append(write_rdata(record.rdtype, record.rdata))
        return Resolved(
            name,
            rdtype,
            kind,
            dns.rcode.to_text(dns.rcode.Rcode.make(resolution.rcode)),
            resolution.validation.name.lower(),
            found,
            resolution.reason,
            len(task.attempts),
        )

    def probe(self, wanted: list[tuple[str, str, str, Wanted]]) -> Steps[list[Exchange]]:
        """Perform probes at once, each for a zone, server and address; gives what came."""
        wanted = wanted[: max(0, ASKS_MAX - self.ask_count)]
        asks = [self.compose(address, one) for _, _, address, one in wanted]
        outcomes = (yield asks) if asks else []
        self.ask_count += len(asks)
        noted = []
        for at, ((zone, server, address, one), outcome) in enumerate(
            zip(wanted, outcomes, strict=True)
        ):
            elapsed = outcome.rtt_s if isinstance(outcome, Reply) else outcome.elapsed_s
            noted.append(
                Exchange(
                    zone,
                    server,
                    address,
                    one.transport.name.lower(),
                    one.about,
                    one.qname,
                    one.qtype,
                    round(elapsed * 1000, 2),
                    outcome.message.hex() if isinstance(outcome, Reply) else "",
                    "" if isinstance(outcome, Reply) else outcome.why.name.lower(),
                    asks[at].to.port,
                    one.name,
                    "" if isinstance(outcome, Reply) else outcome.detail,
                )
            )
        return noted

    def compose(self, address: str, wanted: Wanted) -> Ask:
        query = dns.message.make_query(
            wanted.qname,
            wanted.qtype,
            use_edns=wanted.version if wanted.payload else -1,
            want_dnssec=wanted.is_do,
            payload=wanted.payload or None,
            flags=dns.flags.RD * wanted.is_rd
            | dns.flags.CD * wanted.is_cd
            | dns.flags.AD * wanted.is_ad,
        )
        if wanted.has_unknown:
            query.use_edns(0, _UNKNOWN_FLAG, wanted.payload, options=[_UNKNOWN_OPTION])
        port = wanted.port or _PORTS.get(wanted.transport, self._port)
        to = Endpoint(address, port, wanted.transport, wanted.name, wanted.path)
        wait_s = {Transport.UDP: self._udp_s, Transport.TCP: _TCP_S}.get(wanted.transport, _TLS_S)
        return Ask(to, query.to_wire(), wait_s)


def read_answer(outcome: Outcome) -> dns.message.Message | None:
    """Give the answer as a message; None where there is none."""
    if isinstance(outcome, NoReply):
        return None
    return Exchange(
        "", "", outcome.ask.to.address, "", "", "", "", 0.0, outcome.message.hex()
    ).answer
