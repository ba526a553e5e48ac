"""What one minute of one stream held, as far as signals need it. Bounded whatever comes.

An attempt is a client and a name: repeated questions within the minute count once, because retry
storms must not look like demand.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

import quada.wire.codes as codes
from quada.telemetry.event import Cause, Kind
from quada.telemetry.signals.cluster import site_of

if TYPE_CHECKING:
    from quada.telemetry.event import Event

_Key = TypeVar("_Key")

_ATTEMPTS_MAX: Final = 200_000  # a minute and type; more are counted and not told apart
_ZONES_MAX: Final = 2_000
_SERVERS_MAX: Final = 5_000
_EVIDENCE_MAX: Final = 5
_KEPT: Final = 21  # minutes: the longest window, behind the oldest that is still judged


class ZoneMinute:
    """A zone's attempts and failures of one type in a minute. `failed` gives the client of each."""

    __slots__ = ("attempts", "causes", "evidence", "failed")

    def __init__(self) -> None:
        self.attempts: set[tuple[str, str]] = set()
        self.failed: dict[tuple[str, str], str] = {}
        self.causes: Counter[Cause] = Counter()
        self.evidence: list[str] = []


class Minute:
    """One minute of one role."""

    def __init__(self) -> None:
        self.event_count = 0
        self.attempts: dict[int, set[tuple[str, str]]] = {
            codes.AAAA: set(), codes.A: set(), codes.HTTPS: set(),
        }  # fmt: skip
        self.zones: dict[tuple[str, int], ZoneMinute] = {}
        self.sites: Counter[str] = Counter()  # AAAA attempts by the client's site
        # Upstream tries and successes by server address, and by zone and family.
        self.servers: dict[str, list[int]] = {}
        self.families: dict[tuple[str, int], list[int]] = {}
        self.server_zone: dict[str, str] = {}

    def add(self, event: Event) -> None:
        """Count an event."""
        self.event_count += 1
        if event.kind is Kind.UPSTREAM:
            self._add_upstream(event)
            return
        qtype, client, name = event.qtype, event.client, event.qname
        if qtype not in self.attempts or client is None or name is None:
            return
        attempt = (client, name)
        attempts = self.attempts[qtype]
        if attempt not in attempts and len(attempts) < _ATTEMPTS_MAX:
            attempts.add(attempt)
            if qtype == codes.AAAA:
                self.sites[site_of(client)] += 1
        if qtype == codes.HTTPS:
            return
        key = (event.zone or zone_of(name), qtype)
        zone = self.zones.get(key)
        if zone is None:
            if len(self.zones) >= _ZONES_MAX:
                return
            zone = self.zones[key] = ZoneMinute()
        if len(zone.attempts) < _ATTEMPTS_MAX:
            zone.attempts.add(attempt)
        if event.rcode == codes.SERVFAIL:
            zone.failed[attempt] = client
            zone.causes[event.cause or Cause.UNKNOWN] += 1
            if len(zone.evidence) < _EVIDENCE_MAX:
                zone.evidence.append(f"{client} {name} {event.detail}".strip())

    def _add_upstream(self, event: Event) -> None:
        address = event.client
        if address is None:
            return
        is_good = event.rcode is not None and event.cause not in (
            Cause.REACHABILITY, Cause.DELEGATION,
        )  # fmt: skip
        # systemd-resolved complains of its servers without saying what it asked.
        zone = event.zone or (zone_of(event.qname) if event.qname else ".")
        family = 6 if ":" in address else 4
        _count(self.servers, address, is_good=is_good)
        _count(self.families, (zone, family), is_good=is_good)
        if len(self.server_zone) < _SERVERS_MAX:
            self.server_zone[address] = zone


class Minutes:
    """The last minutes of one role."""

    def __init__(self) -> None:
        self.table: dict[int, Minute] = {}

    def at(self, at: int) -> Minute:
        """Give the minute to count in."""
        found = self.table.get(at)
        if found is None:
            found = self.table[at] = Minute()
            for old in [one for one in self.table if one < at - _KEPT]:
                del self.table[old]
        return found

    def span(self, at: int, count: int) -> list[Minute]:
        """Give the last minutes, up to one."""
        return [self.table[one] for one in range(at - count + 1, at + 1) if one in self.table]


def _count(table: dict[_Key, list[int]], key: _Key, *, is_good: bool) -> None:
    """Count a try, and whether it was answered."""
    counts = table.get(key)
    if counts is None:
        if len(table) >= _SERVERS_MAX:
            return
        counts = table[key] = [0, 0]
    counts[0] += 1
    counts[1] += is_good


def zone_of(name: str) -> str:
    """Guess a zone where an event does not say it: the last two labels."""
    labels = name.rstrip(".").rsplit(".", 2)
    return ".".join(labels[-2:]) + "."
