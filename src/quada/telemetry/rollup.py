"""Counts per minute: what dashboards and signals read instead of events.

Rollups add up: two of the same minute and key are one with their counts added, so each stored
segment carries its own and late events need no repair of what was written.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.rcode

from quada.telemetry.event import Cause, Event, Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.wire.ask import Transport

MINUTE_NS: Final = 60_000_000_000
PREFIX_V6_BITS: Final = 64  # one link (RFC 4291 2.5.1)
PREFIX_V4_BITS: Final = 24  # our choice because it is the longest prefix the Internet routes
_PREFIXES_MAX: Final = 1_000  # our choice: kept of a minute and stream
_PREFIX_CACHE_MAX: Final = 100_000
_CLASSES: Final = {28: "AAAA", 1: "A", 65: "HTTPS"}
_RCODES: Final = {n: dns.rcode.to_text(dns.rcode.Rcode.make(n)) for n in range(24)}


class Key(NamedTuple):
    """What one count is of. A field that the source cannot know is None.

    `qtype` is AAAA, A, HTTPS or other; `outcome` an rcode's name, or NODATA; `family` the client's,
    for upstream legs the asked server's.
    """

    role: Role | None
    source: str
    kind: Kind
    qtype: str | None
    outcome: str | None
    family: int | None
    transport: Transport | None
    cause: Cause | None


@dataclass(slots=True)
class Tally:
    """How many events a key had, and how long those took that say so, in microseconds."""

    count: int = 0
    timed_count: int = 0
    duration_us: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally of the same key."""
        self.count += other.count
        self.timed_count += other.timed_count
        self.duration_us += other.duration_us


class PrefixKey(NamedTuple):
    """A stream and one client prefix of it, /64 or /24, in presentation form."""

    role: Role | None
    source: str
    prefix: str


@dataclass(slots=True)
class PrefixTally:
    """What one client prefix did: all queries, those for AAAA, SERVFAILs, SERVFAILs for AAAA."""

    count: int = 0
    aaaa_count: int = 0
    servfail_count: int = 0
    aaaa_servfail_count: int = 0

    def add(self, other: PrefixTally) -> None:
        """Add another tally of the same prefix."""
        self.count += other.count
        self.aaaa_count += other.aaaa_count
        self.servfail_count += other.servfail_count
        self.aaaa_servfail_count += other.aaaa_servfail_count


@dataclass(slots=True)
class Minute:
    """One minute's counts. `minute` is minutes since the Unix epoch.

    Prefixes are bounded: clients of a new prefix beyond that count in `other_prefixes` alone.
    """

    minute: int
    counts: dict[Key, Tally] = field(default_factory=dict)
    prefixes: dict[PrefixKey, PrefixTally] = field(default_factory=dict)
    other_prefixes: PrefixTally = field(default_factory=PrefixTally)

    def add(self, other: Minute) -> None:
        """Add another part of the same minute."""
        for key, tally in other.counts.items():
            self.counts.setdefault(key, Tally()).add(tally)
        for prefix, clients in other.prefixes.items():
            self._clients(prefix).add(clients)
        self.other_prefixes.add(other.other_prefixes)

    def _clients(self, key: PrefixKey) -> PrefixTally:
        found = self.prefixes.get(key)
        if found is None:
            if len(self.prefixes) >= _PREFIXES_MAX:
                return self.other_prefixes
            found = self.prefixes[key] = PrefixTally()
        return found


def roll_up(events: Iterable[Event]) -> list[Minute]:
    """Count events by minute, earliest first. `weight` counts as so many events."""
    minutes: dict[int, Minute] = {}
    for event in events:
        number = event.at_ns // MINUTE_NS
        minute = minutes.get(number)
        if minute is None:
            minute = minutes[number] = Minute(number)
        weight = event.weight
        is_query = event.kind is Kind.QUERY
        key = Key(
            event.role, event.source, event.kind, qtype_class(event.qtype), outcome(event),
            event.family if is_query else event.upstream_family or event.family,
            event.transport, event.cause,
        )  # fmt: skip
        tally = minute.counts.get(key)
        if tally is None:
            tally = minute.counts[key] = Tally()
        tally.count += weight
        if event.duration_us is not None:
            tally.timed_count += weight
            tally.duration_us += event.duration_us * weight
        prefix = prefix_of(event.client) if is_query and event.client else None
        if prefix is not None:
            clients = minute._clients(PrefixKey(event.role, event.source, prefix))
            is_aaaa, is_failed = event.qtype == 28, event.rcode == 2
            clients.count += weight
            clients.aaaa_count += weight * is_aaaa
            clients.servfail_count += weight * is_failed
            clients.aaaa_servfail_count += weight * (is_aaaa and is_failed)
    return [minutes[number] for number in sorted(minutes)]


class Minutes:
    """Minutes that still grow: add what `roll_up` gives, take those that are over."""

    def __init__(self) -> None:
        self._open: dict[int, Minute] = {}

    def add(self, parts: Iterable[Minute]) -> None:
        """Add parts of minutes."""
        for part in parts:
            self._open.setdefault(part.minute, Minute(part.minute)).add(part)

    def take(self, before: int) -> list[Minute]:
        """Take the minutes before a minute, earliest first; later parts make a minute anew."""
        return [self._open.pop(number) for number in sorted(self._open) if number < before]


def qtype_class(qtype: int | None) -> str | None:
    """Say which class of types a type is of: AAAA, A, HTTPS or other."""
    return None if qtype is None else _CLASSES.get(qtype, "other")


def outcome(event: Event) -> str | None:
    """Say what the client got: NODATA or an rcode's name; None where unknown."""
    if event.is_nodata:
        return "NODATA"
    return None if event.rcode is None else _RCODES.get(event.rcode, f"RCODE{event.rcode}")


_prefixes: dict[str, str | None] = {}


def prefix_of(client: str) -> str | None:
    """Give the /64 or /24 that an address is in; None where it is no address."""
    try:
        return _prefixes[client]
    except KeyError:
        pass
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
        bits = PREFIX_V6_BITS if address.version == 6 else PREFIX_V4_BITS
        found = str(ipaddress.ip_network((address, bits), strict=False))
    except ValueError:
        found = None
    if len(_prefixes) >= _PREFIX_CACHE_MAX:
        _prefixes.clear()
    _prefixes[client] = found
    return found
