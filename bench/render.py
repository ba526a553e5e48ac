"""The labelled traffic as logs of other servers, and read back by the ingest.

Each format gives what the real server writes (the shapes are those of `tests/peers`), so what it
cannot say is lost here as it is there: no rcode, no time, no upstream, no reason.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import dns.rcode
import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
from quada.telemetry.emit import compose_dnstap
from quada.telemetry.event import (
    NO_EDE,
    NO_ZONE,
    Cause,
    Event,
    Kind,
    Role,
    compose_head,
    compose_peer,
    compose_tail,
    parse_record,
)
from quada.telemetry.fallback import is_unanswered
from quada.telemetry.ingest import make_parser
from quada.telemetry.ingest.dnstap import DnstapParser
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quada.telemetry.ingest.parser import Parser

_BOTH: Final = (Role.RECURSIVE, Role.AUTHORITATIVE)
_RECURSIVE: Final = (Role.RECURSIVE,)
_AUTHORITATIVE: Final = (Role.AUTHORITATIVE,)
_REASONS: Final = {
    Cause.VALIDATION: "signature crypto failed from 2001:db8::53",
    Cause.REACHABILITY: "upstream server timeout",
}


class Through:
    """A format's logs of the servers that see the traffic, one log a role."""

    def __init__(self, format_name: str) -> None:
        self.name = format_name
        self._roles, self._render = _FORMATS[format_name]
        self._parsers: dict[Role, Parser | DnstapParser] = {}
        if self._render is not None:
            self._parsers = {role: make_parser(format_name, "ns", role) for role in self._roles}
        elif format_name != "own":
            self._parsers = {role: DnstapParser("ns") for role in self._roles}

    @property
    def counts(self) -> tuple[int, int]:
        """Lines, and those of them not understood."""
        made = self._parsers.values()
        return sum(p.line_count for p in made), sum(p.unknown_count for p in made)

    def read(self, events: Sequence[Event]) -> list[Event]:
        """Write events as lines and parse them, in the order of time."""
        out: list[Event] = []
        for event in sorted(events, key=lambda one: one.at_ns):
            if event.role is None or event.role not in self._roles:
                continue
            if self.name == "own":
                out.append(parse_record(_record(event)))
                continue
            parser = self._parsers[event.role]
            if isinstance(parser, DnstapParser):
                if self.name == "knot" and event.kind is Kind.UPSTREAM:
                    continue
                frame = compose_dnstap(event, b"ns")
                out += parser.feed([frame] if frame else [], event.at_ns)
            elif self._render is not None:
                # A format without times has that of the reading, which follows at once.
                out += parser.feed(list(self._render(event)), event.at_ns)
        return out


def _record(event: Event) -> bytes:
    qname = names.from_text(event.qname or ".")
    zone = names.from_text(event.zone) if event.zone else b""
    return compose_head(event.at_ns, compose_peer(event.client or "::", 40_000)) + compose_tail(
        role=event.role or Role.RECURSIVE, transport=event.transport or Transport.UDP, qname=qname,
        qtype=event.qtype or 0, rcode=event.rcode or 0, flags=event.flags, kind=event.kind,
        provenance=event.provenance or 0, ede=NO_EDE if event.ede is None else event.ede,
        validation=event.validation or 0, cause=event.cause or 0,
        upstream_family=event.upstream_family or 0,
        zone_offset=len(qname) - len(zone) if zone and qname.endswith(zone) else NO_ZONE,
    )  # fmt: skip


def _bind(event: Event) -> Iterator[str]:
    second, rest_ns = divmod(event.at_ns, 1_000_000_000)
    clock = time.strftime("%d-%b-%Y %H:%M:%S", time.gmtime(second))
    stamp = f"{clock}.{rest_ns // 1_000_000:03d}"
    name, rdtype = _name(event), _type(event)
    if event.kind is Kind.UPSTREAM:
        if is_unanswered(event):  # of what went well nothing is written
            yield (
                f"{stamp} lame-servers: info: timed out resolving '{name}/{rdtype}/IN':"
                f" {event.client}#53"
            )
        return
    client = f"client @0x7fa0 {event.client}#{_port(event)} ({name})"
    marks = "-E(0)" + ("T" if event.transport is not Transport.UDP else "") + "K"
    yield f"{stamp} queries: info: {client}: query: {name} IN {rdtype} {marks} (2001:db8::53)"
    if event.rcode == codes.SERVFAIL:
        if event.cause is Cause.VALIDATION:
            yield f"{stamp} dnssec: info: validating {name}/{rdtype}: no valid signature found"
        why = "timed out" if event.cause is Cause.REACHABILITY else "failure"
        yield (
            f"{stamp} query-errors: info: {client}: query failed ({why}) for {name}/IN/{rdtype}"
            " at query.c:7916"
        )


def _coredns(event: Event) -> Iterator[str]:
    if event.kind is Kind.UPSTREAM:
        return
    if event.rcode == codes.SERVFAIL and event.cause is Cause.REACHABILITY:
        yield (
            f"[ERROR] plugin/errors: 2 {event.qname} {_type(event)}: read udp"
            " [2001:db8::1]:3->[2001:db8::53]:53: i/o timeout"
        )
    flags = "qr,tc,rd,ra" if event.flags & codes.TC else "qr,rd,ra"
    proto = "udp" if event.transport is Transport.UDP else "tcp"
    yield (
        f"[INFO] {_bracketed(event)}:{_port(event)} - 29008"
        f' "{_type(event)} IN {event.qname} {proto} 41 false 1232"'
        f" {_rcode(event)} {flags} 68 0.000990251s"
    )


def _unbound(event: Event) -> Iterator[str]:
    if event.kind is Kind.UPSTREAM:
        return
    head = f"[{event.at_ns // 1_000_000_000}] unbound[9:0] "
    what = f"{event.qname} {_type(event)} IN"
    to = f" on {'udp' if event.transport is Transport.UDP else 'tcp'} 2001:db8::53 53"
    yield f"{head}query: {event.client} {what}{to}"
    if event.rcode == codes.SERVFAIL:
        if event.cause is Cause.VALIDATION:
            yield f"{head}info: validation failure <{what}>: {_REASONS[Cause.VALIDATION]}"
        reason = _REASONS.get(event.cause or Cause.UNKNOWN, "exceeded the maximum number of sends")
        yield f"{head}error: SERVFAIL <{what}>: {reason}"
    yield f"{head}reply: {event.client} {what} {_rcode(event)} 0.001594 0 127{to}"


def _recursor(event: Event) -> Iterator[str]:
    if event.kind is Kind.UPSTREAM:
        return
    is_bogus = event.cause is Cause.VALIDATION
    yield (
        f'msg="Answer" subsystem="syncres" level="0" prio="Info" ts="{event.at_ns / 1e9:.3f}"'
        f' answers="{int(not event.rcode)}" ecsanswers="" netmask="" outqueries="2"'
        f' proto="{"udp" if event.transport is Transport.UDP else "tcp"}"'
        f' qname="{_name(event)}" qtype="{_type(event)}"'
        f' rcode="{0 if is_bogus else event.rcode}" remote="{_bracketed(event)}:{_port(event)}"'
        f' tcpout="0" throttled="0" timeouts="{2 * (event.cause is Cause.REACHABILITY)}"'
        f' totms="1.293" validationState="{"Bogus - No valid RRSIG" if is_bogus else "Insecure"}"'
    )


def _pdns_auth(event: Event) -> Iterator[str]:
    tcp = "TCP " if event.transport is not Transport.UDP else ""
    yield (
        f"{tcp}Remote {event.client} wants '{_name(event)}|{_type(event)}', do = 0, bufsize = 1232:"
        " packetcache MISS"
    )


def _dnsmasq(event: Event) -> Iterator[str]:
    if event.kind is Kind.UPSTREAM:
        return
    head = f"dnsmasq[7]: {event.at_ns % 1_000_000_007} {event.client}/{_port(event)}"
    name = _name(event)
    yield f"{head} query[{_type(event)}] {name} from {event.client}"
    yield f"{head} forwarded {name} to 2001:db8::53"
    if event.rcode == codes.SERVFAIL:
        if event.cause is Cause.VALIDATION:
            yield f"{head} validation result is BOGUS"
        yield f"{head} reply error is SERVFAIL"
    else:
        yield f"{head} reply {name} is 2001:db8::80"


def _resolved(event: Event) -> Iterator[str]:
    if event.kind is Kind.UPSTREAM and is_unanswered(event):
        yield (
            f"Using degraded feature set UDP instead of UDP+EDNS0 for DNS server {event.client}."
        )


_FORMATS: Final[dict[str, tuple[Sequence[Role], Callable[[Event], Iterator[str]] | None]]] = {
    "own": (_BOTH, None),
    "dnstap": (_BOTH, None),
    "knot": (_AUTHORITATIVE, None),  # which writes dnstap
    "bind": (_BOTH, _bind),
    "coredns": (_BOTH, _coredns),
    "unbound": (_RECURSIVE, _unbound),
    "pdns-recursor": (_RECURSIVE, _recursor),
    "pdns-auth": (_AUTHORITATIVE, _pdns_auth),
    "dnsmasq": (_RECURSIVE, _dnsmasq),
    "systemd-resolved": (_RECURSIVE, _resolved),
}
NAMES: Final = tuple(_FORMATS)


def _name(event: Event) -> str:
    return (event.qname or ".").rstrip(".")


def _type(event: Event) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(event.qtype or 0))


def _rcode(event: Event) -> str:
    return dns.rcode.to_text(dns.rcode.Rcode.make(event.rcode or 0))


def _bracketed(event: Event) -> str:
    return f"[{event.client}]" if ":" in (event.client or "") else str(event.client)


def _port(event: Event) -> int:
    """A client's next question comes from another port."""
    return 1024 + event.at_ns // 1000 % 60_000
