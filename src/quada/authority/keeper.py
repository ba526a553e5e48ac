"""The keeper of ALIAS targets: looks them up through Asks, once for all who want them.

One per server, without sockets or clock: what it wants asked and what it found leave as a `Turn`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.alias import (
    FAMILIES,
    MAX_ADDRESSES,
    MAX_CHAIN,
    AliasSettings,
    Expansion,
    Found,
)
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome
from quada.wire.faults import MalformedMessage
from quada.wire.question import compose_query
from quada.wire.skim import follow, skim

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENDED_MAX: Final = 10_000


@dataclass(slots=True)
class _Lookup:
    """One family of one target being looked up: attempts made so far and those still out."""

    target: bytes
    rdtype: int
    started_at: float
    made: int = 0
    out: int = 0
    next_at: float = 0.0
    is_late: bool = False
    detail: str = ""


@dataclass(slots=True)
class _Family:
    """What the keeper remembers of one family of a target."""

    expires_at: float = 0.0
    ttl_s: float = 0.0
    failed_until: float = 0.0
    lookups: int = 0
    failures: int = 0

    def due_at(self, share: float) -> float:
        """Give when it is to be looked up again: a share of its life early.

        That is at least a second, for a lookup to end in, and at most half of it.
        """
        early_s = min(max(1.0, self.ttl_s * share), self.ttl_s / 2)
        return max(self.failed_until, self.expires_at - early_s)


@dataclass(slots=True)
class _Target:
    """What the keeper remembers of a target; `due_at` is the one time it is to be woken for it."""

    aaaa: _Family = field(default_factory=_Family)
    a: _Family = field(default_factory=_Family)
    asked_at: float = 0.0
    due_at: float = 0.0

    def family(self, rdtype: int) -> _Family:
        """Give what is remembered of AAAA or A."""
        return self.aaaa if rdtype == codes.AAAA else self.a


@dataclass(slots=True)
class Counters:
    """What the keeper did, for metrics."""

    lookups: int = 0
    attempts: int = 0
    failures: int = 0
    prefetches: int = 0
    refused: int = 0


class Turn(NamedTuple):
    """What follows from one event: messages to send, and news for every worker."""

    asks: list[Ask]
    news: list[Expansion]


class Keeper:
    """Looks targets up once for all workers, and again before they expire.

    Single-flight: a (target, family) being looked up is never looked up twice. Bounded: at most
    `lookups_max` at a time and `targets_max` remembered; what is over the bound fails at once with
    words. Give every Outcome to `take`, and call `wake` no later than `next_at`. `ended` holds type
    and milliseconds of lookups that came to an end; take them out.
    """

    def __init__(self, settings: AliasSettings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.ended: deque[tuple[int, float]] = deque(maxlen=_ENDED_MAX)
        self._targets: OrderedDict[bytes, _Target] = OrderedDict()
        self._lookups: dict[tuple[bytes, int], _Lookup] = {}
        self._asks: dict[Ask, _Lookup] = {}
        self._times: list[tuple[float, int, tuple[bytes, int] | bytes]] = []
        self._counted = 0

    @property
    def next_at(self) -> float | None:
        """When `wake` has something to do, in seconds of the Unix epoch; None for never."""
        return self._times[0][0] if self._times else None

    def want(self, target: bytes, now: float) -> Turn:
        """Look a target up, both families, unless that is under way or has just failed."""
        known = self._target(target)
        known.asked_at = now
        turn = Turn([], [])
        self._start_due(target, known, now, turn)
        return turn

    def asked(self, targets: Iterable[bytes], now: float) -> None:
        """Note that queries used these targets, so that they are worth keeping warm."""
        for target in targets:
            known = self._targets.get(target)
            if known is not None:
                known.asked_at = now
                self._targets.move_to_end(target)

    def explain(self, target: bytes, now: float) -> dict[str, object]:
        """Tell what is known of a target, for people and programs."""
        known = self._targets.get(target)
        if known is None:
            return {"target": names.to_text(target), "known": False}
        families = (known.aaaa, known.a)
        return {
            "target": names.to_text(target),
            "known": True,
            "expires_in_s": round(min(one.expires_at for one in families) - now, 3),
            "ttl_s": min(one.ttl_s for one in families),
            "asked_s_ago": round(now - known.asked_at, 3),
            "failed_for_s": round(max(0.0, *(one.failed_until - now for one in families)), 3),
            "under_way": [t for n, t in self._lookups if n == target],
        }

    def standings(self, now: float, *, limit: int) -> list[dict[str, object]]:
        """Tell of targets, those in trouble first: lookups, failures, families that are stale."""
        rows = []
        for target, known in self._targets.items():
            families = (known.aaaa, known.a)
            stale = sum(0 < one.expires_at <= now < one.failed_until for one in families)
            failures = sum(one.failures for one in families)
            rows.append((-stale, -failures, target, sum(one.lookups for one in families)))
        return [
            {"target": names.to_text(target), "lookups": lookups, "failures": -failures,
             "stale_families": -stale}
            for stale, failures, target, lookups in heapq.nsmallest(limit, rows)
        ]  # fmt: skip

    def take(self, outcome: Outcome, now: float) -> Turn:
        """Take the outcome of an Ask. A late or unknown one is dropped."""
        turn = Turn([], [])
        lookup = self._asks.pop(outcome.ask, None)
        if lookup is None:
            return turn
        lookup.out -= 1
        if (lookup.target, lookup.rdtype) not in self._lookups:
            return turn
        if isinstance(outcome, NoReply):
            lookup.detail = f"{outcome.why.name.lower()} {outcome.detail}".strip()
        else:
            expansion = self._judge(lookup, outcome.message, outcome.ask.to, now)
            if expansion is not None:
                self._end(lookup, expansion, now, turn)
                return turn
        if lookup.made < self.settings.attempts:
            self._attempt(lookup, now, turn)
        elif lookup.out == 0:
            self._fail(lookup, now, turn)
        return turn

    def wake(self, now: float) -> Turn:
        """Do what is due: further attempts, and refreshing of targets in use."""
        turn = Turn([], [])
        while self._times and self._times[0][0] <= now:
            at, _, what = heapq.heappop(self._times)
            if isinstance(what, bytes):
                self._refresh(what, at, now, turn)
            else:
                self._overdue(what, now, turn)
        return turn

    def _target(self, target: bytes) -> _Target:
        known = self._targets.get(target)
        if known is None:
            known = self._targets[target] = _Target()
            while len(self._targets) > self.settings.targets_max:
                self._targets.popitem(last=False)
        return known

    def _start_due(self, target: bytes, known: _Target, now: float, turn: Turn) -> None:
        """Look up the families that are at their end, or not known, and have not just failed."""
        for rdtype in FAMILIES:
            if known.family(rdtype).due_at(self.settings.prefetch_share) <= now:
                self._start(target, rdtype, now, turn)

    def _start(self, target: bytes, rdtype: int, now: float, turn: Turn) -> None:
        if (target, rdtype) in self._lookups:
            return
        lookup = _Lookup(target, rdtype, now)
        if len(self._lookups) >= self.settings.lookups_max or not self.settings.upstreams:
            self.counters.refused += 1
            lookup.detail = "too many lookups" if self.settings.upstreams else "no resolver is set"
            turn.news.append(self._failed(lookup, now))
            return
        self._lookups[target, rdtype] = lookup
        self._target(target).family(rdtype).lookups += 1
        self.counters.lookups += 1
        self._attempt(lookup, now, turn)
        self._at(now + self.settings.budget_s, (target, rdtype))

    def _attempt(self, lookup: _Lookup, now: float, turn: Turn) -> None:
        settings = self.settings
        to = settings.upstreams[lookup.made % len(settings.upstreams)]
        lookup.made += 1
        self._counted += 1
        query = compose_query(self._counted & 0xFFFF, lookup.target, lookup.rdtype)
        ask = Ask(to, query, max(settings.budget_s, settings.attempt_s))
        lookup.out += 1
        self.counters.attempts += 1
        self._asks[ask] = lookup
        turn.asks.append(ask)
        if lookup.made < settings.attempts:
            lookup.next_at = now + settings.spacing_s
            self._at(lookup.next_at, (lookup.target, lookup.rdtype))

    def _overdue(self, key: tuple[bytes, int], now: float, turn: Turn) -> None:
        """Make the next attempt when it is time, and tell when clients waited long enough."""
        lookup = self._lookups.get(key)
        if lookup is None:
            return
        if lookup.made < self.settings.attempts and lookup.next_at <= now:
            self._attempt(lookup, now, turn)
        if not lookup.is_late and now >= lookup.started_at + self.settings.budget_s:
            lookup.is_late = True
            lookup.detail = lookup.detail or "lookup of the target timed out"
            turn.news.append(self._failed(lookup, now))

    def _refresh(self, target: bytes, at: float, now: float, turn: Turn) -> None:
        """Look a target up again if it was asked for during the life of what is known."""
        known = self._targets.get(target)
        if known is None or known.due_at != at:
            return  # forgotten, or to be woken for at another time
        known.due_at = 0.0
        life_s = max(known.aaaa.ttl_s, known.a.ttl_s, self.settings.failure_s)
        if now - known.asked_at > life_s:
            return
        self.counters.prefetches += 1
        self._start_due(target, known, now, turn)

    def _judge(self, lookup: _Lookup, message: bytes, to: Endpoint, now: float) -> Expansion | None:
        """Turn a response into an expansion; None where it tells nothing (SERVFAIL, say)."""
        try:
            read = read_addresses(message, lookup.target, lookup.rdtype)
        except MalformedMessage as fault:
            lookup.detail = str(fault)
            return None
        if isinstance(read, str):
            lookup.detail = read
            return None
        addresses, ttl_s = read
        if not addresses:
            ttl_s = min(ttl_s, self.settings.nodata_max_s)
        # At least a second: a TTL of 0 would be looked up again for every query.
        ttl_s = max(1, self.settings.ttl_min_s, min(ttl_s, self.settings.ttl_max_s))
        return Expansion(
            lookup.target,
            lookup.rdtype,
            Found.ADDRESSES if addresses else Found.NODATA,
            addresses[:MAX_ADDRESSES],
            now + ttl_s,
            now,
            (now - lookup.started_at) * 1000,
            to.address,
        )

    def _end(self, lookup: _Lookup, expansion: Expansion, now: float, turn: Turn) -> None:
        self._lookups.pop((lookup.target, lookup.rdtype), None)
        family = self._target(lookup.target).family(lookup.rdtype)
        family.expires_at, family.ttl_s = expansion.expires_at, expansion.expires_at - now
        family.failed_until = 0.0
        self.ended.append((lookup.rdtype, expansion.lookup_ms))
        self._wake_for(lookup.target, now)
        turn.news.append(expansion)

    def _fail(self, lookup: _Lookup, now: float, turn: Turn) -> None:
        self._lookups.pop((lookup.target, lookup.rdtype), None)
        self.counters.failures += 1
        family = self._target(lookup.target).family(lookup.rdtype)
        family.failures += 1
        family.failed_until = now + self.settings.failure_s
        self.ended.append((lookup.rdtype, (now - lookup.started_at) * 1000))
        self._wake_for(lookup.target, now)
        turn.news.append(self._failed(lookup, now))

    def _wake_for(self, target: bytes, now: float) -> None:
        """Set the time to refresh a target, once both families have ended."""
        if any((target, rdtype) in self._lookups for rdtype in FAMILIES):
            return
        known, share = self._target(target), self.settings.prefetch_share
        known.due_at = max(now, min(known.family(rdtype).due_at(share) for rdtype in FAMILIES))
        self._at(known.due_at, target)

    def _failed(self, lookup: _Lookup, now: float) -> Expansion:
        return Expansion(
            lookup.target,
            lookup.rdtype,
            Found.FAILED,
            (),
            now + self.settings.failure_s,
            now,
            (now - lookup.started_at) * 1000,
            "",
            lookup.detail or "lookup of the target failed",
        )

    def _at(self, at: float, what: tuple[bytes, int] | bytes) -> None:
        self._counted += 1
        heapq.heappush(self._times, (at, self._counted, what))


def read_addresses(
    message: bytes, target: bytes, rdtype: int
) -> tuple[tuple[bytes, ...], int] | str:
    """Read a resolver's response: addresses and TTL in seconds, or in words why it tells nothing.

    No addresses means that the target is NODATA or NXDOMAIN, with the negative TTL. The TTL is the
    lowest of the addresses and every CNAME on the way. Raises: MalformedMessage.
    RFC: 2308 5 for negative TTLs
    """
    response = skim(message)
    if response.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        ede = response.edns.option(codes.OPTION_EDE) if response.edns else None
        words = ede[2:].decode("utf-8", "replace") if ede else ""
        return f"the resolver answered rcode {response.rcode} {words}".strip()
    if response.flags & codes.TC and not response.answer:
        return "the answer was truncated"
    _, links, found = follow(response.answer, target, rdtype, max_links=MAX_CHAIN)
    if found:
        ttl_s = min(record.ttl for record in (*links, *found))
        return tuple(dict.fromkeys(record.rdata for record in found)), ttl_s
    if len(links) >= MAX_CHAIN:
        return "alias loop"
    soa = next((r for r in response.authority if r.rdtype == codes.SOA), None)
    if soa is None:
        return (), min([0, *(record.ttl for record in links)])
    negative = min(soa.ttl, int.from_bytes(soa.rdata[-4:], "big"))
    return (), min([negative, *(record.ttl for record in links)])
