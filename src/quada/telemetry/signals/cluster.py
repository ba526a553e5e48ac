"""Where failures come from: the smallest prefixes that hold them (CHECKS.md 4.4).

A prefix stands out where its failures are many times what its share of the attempts would give.
Going down from /32 to /64, the smallest set of prefixes that covers most of the excess is named; if
there is none, the failures are everywhere.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

UNSURE: Final = "too few failures to say where"
_LENGTHS: Final = {6: (32, 48, 56, 64, 128), 4: (16, 24, 32)}  # by depth
_RISK_MIN: Final = 3.0
_EVENTS_MIN: Final = 12
_COVER: Final = 0.8
_SITES_MIN: Final = 3
_PREFIXES_MAX: Final = 4
_OUTSIDE_MIN: Final = 5  # failures outside that there would be if all failed alike


class Place(NamedTuple):
    """Where failures are: `everywhere`, or prefixes with their failures and attempts."""

    verdict: str
    prefixes: tuple[tuple[str, int, int], ...] = ()

    def text(self) -> str:
        """Say it in words."""
        if not self.prefixes:
            return self.verdict
        named = ", ".join(f"{p} ({failed} of {tried})" for p, failed, tried in self.prefixes)
        return f"{self.verdict}: {named}"


def locate(attempts: Iterable[str], failures: Iterable[str]) -> Place:
    """Find where failures are. Takes the clients of all attempts, and of those that failed."""
    tried, failed = Counter(attempts), Counter(failures)
    total, bad = sum(tried.values()), sum(failed.values())
    if bad < _EVENTS_MIN or not total:
        return Place(UNSURE)
    rate = bad / total
    best: tuple[tuple[str, int, int], ...] = ()
    best_depth = 0
    for depth in range(5):
        by_prefix: dict[str, list[int]] = {}
        for client, count in tried.items():
            counts = by_prefix.setdefault(_key(client, depth), [0, 0])
            counts[0] += count
            counts[1] += failed.get(client, 0)
        chosen = sorted(
            (
                (prefix, counts[1], counts[0])
                for prefix, counts in by_prefix.items()
                if counts[1] >= 4 and counts[1] > _expected(counts[0], total, bad, rate, counts[1])
            ),
            key=lambda one: -one[1],
        )
        covered = 0
        cover = []
        for one in chosen:
            cover.append(one)
            covered += one[1]
            if covered >= _COVER * bad:
                break
        others = total - sum(one[2] for one in cover)
        # Where too few stand outside, their being well shows nothing.
        if (
            covered >= _COVER * bad
            and len(cover) <= _PREFIXES_MAX
            and others * rate >= _OUTSIDE_MIN
        ):
            best, best_depth = tuple(cover), depth
    if not best:
        return Place("everywhere")
    inside = {key for key, *_ in best}
    sites = {net_of(client) for client in failed if _key(client, best_depth) in inside}
    verdict = "in one part of the network" if len(sites) >= _SITES_MIN else "at few clients"
    return Place(verdict, tuple((_text(key, best_depth), f, n) for key, f, n in best))


def net_of(client: str) -> str:
    """Give a key of the network a client counts under: /64, or /24."""
    return _key(client, 3 if ":" in client else 1)


def site_of(client: str) -> str:
    """Give the prefix a site usually has: /48, or /24."""
    return _text(_key(client, 1), 1)


def _expected(tried: int, total: int, bad: int, rate: float, here: int) -> float:
    """The failures that a prefix must exceed: three times the rate of everybody else."""
    others = total - tried
    rest = (bad - here) / others if others else rate
    return _RISK_MIN * max(rest, 0.001) * tried


def _key(client: str, depth: int) -> str:
    """Give what addresses of one prefix have in common, quickly: for text as servers write it."""
    if ":" not in client:
        count = _LENGTHS[4][min(depth, 2)] // 8
        return client if count == 4 else ".".join(client.split(".", count)[:count])
    if depth >= 4:
        return client
    head, gap, tail = client.partition("%")[0].partition("::")
    parts = head.split(":") if head else []
    if gap and len(parts) < 4:
        rest = tail.split(":") if tail else []
        # The last 32 bits may be written as an IPv4 address (RFC 4291 2.2).
        missing = 8 - len(parts) - len(rest) - ("." in tail)
        parts = [*parts, *("0",) * missing, *rest]
    if depth == 2:
        return f"{':'.join(parts[:3])}:{int(parts[3], 16) & 0xFF00:x}"
    return ":".join(parts[: (2, 3, 4, 4)[depth]])


@functools.lru_cache(maxsize=65_536)
def _text(key: str, depth: int) -> str:
    """Write a key of a depth as a prefix."""
    if ":" in key:
        address = key if depth >= 4 else f"{key}::"
        return str(ipaddress.ip_network((address, _LENGTHS[6][depth]), strict=False))
    length = _LENGTHS[4][min(depth, 2)]
    whole = key + ".0" * (4 - length // 8)
    return str(ipaddress.ip_network((whole, length), strict=False))
