"""ALIAS: what a target's addresses are now, and what to say when nobody knows.

Two halves that meet in values. The `Keeper` (one per server) looks targets up through Asks and
keeps them warm; the `View` (one per worker) holds what it found and is all a query ever reads.
Order of an answer, from DNSimple's description of ALIAS: fresh, else looked up within the client's
budget, else what was known last (stale), else retried, else empty; never NXDOMAIN.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome
from quada.wire.edns import compose_opt
from quada.wire.faults import MalformedMessage
from quada.wire.skim import follow, skim

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILIES: Final = (codes.AAAA, codes.A)  # looked up together, so that the sibling query is warm
HELD_MAX_S: Final = 5  # our choice: an answer is composed so much less often
_HELD_SHARE: Final = 20  # of what remains, at most a twentieth is lost by that
MAX_ADDRESSES: Final = 64  # a family, our choice because 64 AAAA fill what TCP clients expect
_ENDED_MAX: Final = 10_000
MAX_CHAIN: Final = 16  # CNAMEs and ALIASes followed, Technitium's precedent
EDE_STALE: Final = 3  # RFC 8914 4.4
EDE_NO_REACHABLE_AUTHORITY: Final = 22  # RFC 8914 4.23
EDE_NETWORK_ERROR: Final = 23  # RFC 8914 4.24


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSettings:
    """How targets are looked up.

    `upstreams` are recursive resolvers, asked in turn. `budget_s` is what a client query may wait
    in all; an attempt that has not answered after `spacing_s` is joined by the next, up to
    `attempts`, and any may still win, for `attempt_s`: a target that is slower than clients may
    wait is known a little later. NODATA is kept `nodata_max_s` at most. A failed target is
    left alone for `failure_s`. Addresses may be served `stale_max_s` past their end with TTL
    `stale_ttl_s` (RFC 8767 4 and 5).
    """

    upstreams: tuple[Endpoint, ...] = ()
    budget_s: float = 0.5
    attempts: int = 2
    spacing_s: float = 0.2
    attempt_s: float = 2.0
    failure_s: float = 5.0
    nodata_max_s: int = 60
    stale_max_s: float = 86_400.0
    stale_ttl_s: int = 30
    ttl_min_s: int = 0
    ttl_max_s: int = 86_400
    negative_ttl_s: int = 5
    is_failure_empty: bool = True
    targets_max: int = 100_000
    lookups_max: int = 1_000
    prefetch_share: float = 0.1


class Found(IntEnum):
    """How a lookup of one family ended."""

    ADDRESSES = 1
    NODATA = 2  # also a target that is NXDOMAIN: the alias exists, its target has no address
    FAILED = 3


class Expansion(NamedTuple):
    """What one lookup of one family of one target gave, as it goes from the keeper to every worker.

    `addresses` are RDATA in the order received. `expires_at` and `looked_up_at` are seconds of the
    Unix epoch. `detail` says in words what went wrong, for EDE and log.
    """

    target: bytes
    rdtype: int
    found: Found
    addresses: tuple[bytes, ...]
    expires_at: float
    looked_up_at: float
    lookup_ms: float
    upstream: str
    detail: str = ""


class Source(IntEnum):
    """Where an expanded answer came from, as metrics and `explain` name it."""

    FRESH = 1
    STALE = 2
    FAILED = 3
    LOCAL = 4


class Standing(NamedTuple):
    """What a worker may say about a target: the expansion, where it is from, and its TTL.

    It may say so for `held_s`; at the end of that the TTL is exact, before it is the shorter.
    """

    expansion: Expansion
    source: Source
    ttl_s: int
    held_s: int = 1


@dataclass(slots=True)
class _Known:
    good: Expansion | None = None
    failed: Expansion | None = None


class View:
    """A worker's knowledge of ALIAS targets: a bounded table, read by queries, fed by the keeper.

    `asked` collects targets that queries used since it was last taken; the keeper prefetches those.
    `news_count` grows when a target is no longer what was said of it.
    """

    def __init__(self, settings: AliasSettings) -> None:
        self.settings = settings
        self.asked: set[bytes] = set()
        self.news_count = 0
        self._known: OrderedDict[tuple[bytes, int], _Known] = OrderedDict()

    def put(self, expansion: Expansion) -> None:
        """Take news from the keeper. A failure never hides the addresses known before."""
        key = (expansion.target, expansion.rdtype)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            while len(self._known) > 2 * self.settings.targets_max:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        if expansion.found is Found.FAILED:
            known.failed = expansion
            return
        before = known.good
        if before is None or set(before.addresses) != set(expansion.addresses):
            self.news_count += 1
        known.good, known.failed = expansion, None

    def standing(self, target: bytes, rdtype: int, now: float, *, is_last: bool) -> Standing | None:
        """Tell what to say about a target, or None where a lookup should be waited for.

        Takes `is_last` when the client's budget is spent or the attempt has failed: then there is
        always a Standing, stale or FAILED.
        """
        self.asked.add(target)
        known = self._known.get((target, rdtype))
        good = known.good if known else None
        if good is not None and good.expires_at > now:
            remaining_s = int(good.expires_at - now)
            held_s = max(1, min(HELD_MAX_S, remaining_s // _HELD_SHARE))
            return Standing(good, Source.FRESH, self._ttl_s(remaining_s - held_s + 1), held_s)
        failed = known.failed if known else None
        # While a failed target is looked up again nobody waits for it: it is likely to fail again.
        grace_s = 2 * self.settings.budget_s
        has_failed = failed is not None and failed.expires_at + grace_s > now
        if not (is_last or has_failed):
            return None
        if good is not None and now - good.expires_at < self.settings.stale_max_s:
            return Standing(good, Source.STALE, self.settings.stale_ttl_s)
        if failed is None or not has_failed:
            failed = Expansion(
                target,
                rdtype,
                Found.FAILED,
                (),
                now,
                now,
                0.0,
                "",
                "lookup of the target timed out",
            )
        return Standing(failed, Source.FAILED, self.settings.negative_ttl_s)

    def _ttl_s(self, remaining_s: int) -> int:
        settings = self.settings
        return min(settings.ttl_max_s, max(settings.ttl_min_s, remaining_s, 1))


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


def compose_query(query_id: int, qname: bytes, qtype: int) -> bytes:
    """Compose a recursive query with EDNS (RFC 1035 4.1.1, RFC 6891)."""
    return b"".join(
        (
            query_id.to_bytes(2, "big"),
            codes.RD.to_bytes(2, "big"),
            b"\x00\x01\x00\x00\x00\x00\x00\x01",
            qname,
            qtype.to_bytes(2, "big"),
            codes.IN.to_bytes(2, "big"),
            compose_opt(),
        )
    )


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
