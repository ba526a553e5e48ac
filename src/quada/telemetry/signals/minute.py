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
from quada.telemetry.signals.sample import Sample

if TYPE_CHECKING:
    from quada.telemetry.event import Event

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ATTEMPTS_MAX: Final = 6_000  # a minute and type; of more a sample
_ZONE_ATTEMPTS_MAX: Final = 12_000  # a minute, of all zones and both types
_ZONE_MAX: Final = 2_000  # of them, a zone and type; less where zones are many
_ZONES_MAX: Final = 2_000
_SERVERS_MAX: Final = 5_000
_EVIDENCE_MAX: Final = 5
_LAME: Final = (codes.SERVFAIL, codes.REFUSED, codes.NOTAUTH)  # what servers say of others' zones
KEPT: Final = 21  # minutes: the longest window, behind the oldest that is still judged


class ZoneMinute:
    """A zone's attempts and failures of one type in a minute. `failed` gives the client of each."""

    __slots__ = ("attempts", "causes", "evidence", "failed", "sample")

    def __init__(self) -> None:
        self.attempts: set[tuple[str, str]] = set()
        self.failed: dict[tuple[str, str], str] = {}
        self.causes: Counter[Cause] = Counter()
        self.evidence: list[str] = []
        self.sample: Sample[tuple[str, str]] = Sample()

    def shrink(self, limit: int) -> None:
        """Keep a sample of no more attempts than a limit."""
        while len(self.attempts) > limit:
            self.sample.halve()
            self.attempts = {one for one in self.attempts if self.sample.still(one)}
            self.failed = {one: c for one, c in self.failed.items() if self.sample.still(one)}


class Minute:
    """One minute of one role.

    Of a zone that few ask everything is kept; of those that are asked most, a sample. `left_out`
    counts what is in no zone's sample.
    """

    def __init__(self) -> None:
        self.event_count = 0
        self.attempts: dict[int, set[tuple[str, str]]] = {codes.AAAA: set(), codes.A: set()}
        self.zones: dict[tuple[str, int], ZoneMinute] = {}
        self._sample: Sample[tuple[str, str]] = Sample()
        self._zone_limit = _ZONE_MAX
        self._held = 0  # at most, over all zones
        self._evicted = 0
        self._sites: tuple[int, Counter[str]] = (-1, Counter())
        # Upstream tries and successes by server address, and by zone and family.
        self.servers: dict[str, list[int]] = {}
        self.families: dict[tuple[str, int], list[int]] = {}
        self.server_zone: dict[str, str] = {}
        # By zone: attempts, those it answered, and those answered by a server not of the zone.
        self.delegations: dict[str, list[int]] = {}

    @property
    def left_out(self) -> int:
        """How many events were too many to be told apart."""
        return self._evicted + sum(zone.sample.left_out for zone in self.zones.values())

    @property
    def sites(self) -> Counter[str]:
        """AAAA attempts by the client's site."""
        if self._sites[0] != self.event_count:
            made: Counter[str] = Counter()
            for (_, rdtype), zone in self.zones.items():
                if rdtype == codes.AAAA:
                    made.update(site_of(client) for client, _ in zone.attempts)
            self._sites = self.event_count, made
        return self._sites[1]

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
        if not hash(attempt) & self._sample.mask:
            attempts = self.attempts[qtype]
            attempts.add(attempt)
            if len(attempts) > _ATTEMPTS_MAX:
                self._sample.halve()
                for rdtype, held in self.attempts.items():
                    self.attempts[rdtype] = {one for one in held if self._sample.still(one)}
        key = (event.zone or zone_of(name), qtype)
        zone = self.zones.get(key)
        if zone is None:
            if len(self.zones) >= _ZONES_MAX:
                self._evict()
            zone = self.zones[key] = ZoneMinute()
        if not zone.sample.has(attempt):
            return
        if attempt not in zone.attempts:
            zone.attempts.add(attempt)
            self._held += 1
            if len(zone.attempts) > self._zone_limit or self._held > _ZONE_ATTEMPTS_MAX:
                self._shrink(zone)
        if event.rcode == codes.SERVFAIL:
            zone.failed[attempt] = client
            zone.causes[event.blamed or Cause.UNKNOWN] += 1
            if len(zone.evidence) < _EVIDENCE_MAX:
                zone.evidence.append(f"{client} {name} {event.detail}".strip())

    def _evict(self) -> None:
        """Forget the half of the zones that have the fewest attempts."""
        counts = sorted(zone.sample.one_in * len(zone.attempts) for zone in self.zones.values())
        least = counts[len(counts) // 2]
        kept = {k: z for k, z in self.zones.items() if z.sample.one_in * len(z.attempts) > least}
        for key, zone in self.zones.items():
            if key not in kept:
                self._evicted += len(zone.attempts) + zone.sample.left_out
        self.zones = kept
        self._held = sum(len(zone.attempts) for zone in kept.values())

    def _shrink(self, zone: ZoneMinute) -> None:
        """Make room: in a zone, or, where all of them are too much, in those that have most."""
        zone.shrink(self._zone_limit)
        if self._held <= _ZONE_ATTEMPTS_MAX:
            return
        self._held = sum(len(one.attempts) for one in self.zones.values())
        while self._held > _ZONE_ATTEMPTS_MAX * 3 // 4 and self._zone_limit > 1:
            self._zone_limit //= 2
            for one in self.zones.values():
                one.shrink(self._zone_limit)
            self._held = sum(len(one.attempts) for one in self.zones.values())

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
        # Our own records of what was never answered hold an rcode as well.
        is_lame = event.cause is Cause.DELEGATION or (
            event.rcode in _LAME and event.cause is not Cause.REACHABILITY
        )
        counts = self.delegations.get(zone)
        if counts is None and len(self.delegations) < _SERVERS_MAX:
            counts = self.delegations[zone] = [0, 0, 0]
        if counts is not None:
            counts[0] += 1
            counts[1] += is_good and not is_lame
            counts[2] += is_lame
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
            forget(self.table, at - KEPT)
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


def forget(table: dict[int, _Value], before: int) -> None:
    """Drop the minutes before one: none of them will be judged again."""
    for old in [one for one in table if one < before]:
        del table[old]


def zone_of(name: str) -> str:
    """Guess a zone where an event does not say it: the last two labels."""
    labels = name.rstrip(".").rsplit(".", 2)
    return ".".join(labels[-2:]) + "."
