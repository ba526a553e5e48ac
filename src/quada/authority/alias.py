"""ALIAS: what a target's addresses are now, and what to say when nobody knows.

Two halves that meet in values. The `Keeper` (one per server) looks targets up through Asks and
keeps them warm; the `View` (one per worker) holds what it found and is all a query ever reads.
Order of an answer, from DNSimple's description of ALIAS: fresh, else looked up within the client's
budget, else what was known last (stale), else retried, else empty; never NXDOMAIN.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint

    pass

FAMILIES: Final = (codes.AAAA, codes.A)  # looked up together, so that the sibling query is warm
HELD_MAX_S: Final = 5  # our choice: an answer is composed so much less often
_HELD_SHARE: Final = 20  # of what remains, at most a twentieth is lost by that
MAX_ADDRESSES: Final = 64  # a family, our choice because 64 AAAA fill what TCP clients expect
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
