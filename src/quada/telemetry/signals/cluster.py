"""Where failures come from: the smallest prefixes that hold them.

Prefixes of all lengths are scanned at once for the one whose failures are the least likely if all
failed alike (a scan statistic: Kulldorff 1997); it is taken out, and the rest is scanned again
(Zhang, Assunção, Kulldorff 2010). Where few prefixes hold most failures they are named, be it a
whole site beside one network of another; if none do, the failures are everywhere.
"""

from __future__ import annotations

import functools
import ipaddress
import math
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
_BACKGROUND: Final = 10  # our choice: times less often than where failures are
_HERE_MIN: Final = 4  # failures of one prefix
_OUTSIDE_MIN: Final = 5  # failures outside that there would be if all failed alike
_CHANCE_MAX: Final = 0.01  # of naming a prefix in vain, over all that were scanned


class Place(NamedTuple):
    """Where failures are: `everywhere`, or prefixes with their failures and attempts.

    `outside` are the failures and attempts of everybody else.
    """

    verdict: str
    prefixes: tuple[tuple[str, int, int], ...] = ()
    outside: tuple[int, int] = (0, 0)

    def text(self) -> str:
        """Say it in words."""
        if not self.prefixes:
            return self.verdict
        named = ", ".join(f"{p} ({failed} of {tried})" for p, failed, tried in self.prefixes)
        return f"{self.verdict}: {named}; elsewhere ({self.outside[0]} of {self.outside[1]})"


class _Prefix(NamedTuple):
    """A candidate: its key and depth, failures and attempts, and how unlikely it is."""

    key: str
    depth: int
    failed: int
    tried: int
    surprise: float


def locate(attempts: Iterable[str], failures: Iterable[str]) -> Place:
    """Find where failures are. Takes the clients of all attempts, and of those that failed."""
    tried, failed = Counter(attempts), Counter(failures)
    for client, count in failed.items():  # the attempt may have been before the window
        tried[client] = max(tried[client], count)
    total, bad = sum(tried.values()), sum(failed.values())
    if bad < _EVENTS_MIN:
        return Place(UNSURE)
    keys = {client: _keys(client) for client in tried}
    named: list[_Prefix] = []
    left = set(tried)
    covered, inside = 0, 0
    while covered < _COVER * bad:
        best = _scan(left, keys, tried, failed) if len(named) < _PREFIXES_MAX else None
        if best is None:
            if not _is_background(bad - covered, total - inside, covered, inside):
                return Place("everywhere")
            break
        named.append(best)
        covered, inside = covered + best.failed, inside + best.tried
        left = {
            client for client in left
            if best.key not in keys[client][best.depth : best.depth + 1]
        }  # fmt: skip
    # Where too few stand outside, their being well shows nothing.
    if (total - inside) * bad / total < _OUTSIDE_MIN:
        return Place("everywhere")
    sites = {net_of(client) for client in failed if client in keys and client not in left}
    verdict = "in one part of the network" if len(sites) >= _SITES_MIN else "at few clients"
    prefixes = tuple((_text(one.key, one.depth), one.failed, one.tried) for one in named)
    return Place(verdict, prefixes, (bad - covered, total - inside))


def _is_background(bad: int, tried: int, covered: int, inside: int) -> bool:
    """Whether what is left is the failing that there always is: spread, rare, and not the most."""
    return covered > bad and bad * inside * _BACKGROUND <= covered * tried


def _scan(
    left: set[str], keys: dict[str, tuple[str, ...]], tried: Counter[str], failed: Counter[str]
) -> _Prefix | None:
    """Find the prefix whose failures are the least likely; of equal ones the longest."""
    total = sum(tried[client] for client in left)
    bad = sum(failed[client] for client in left)
    counts: dict[tuple[int, str], list[int]] = {}
    for client in left:
        if failed[client]:
            for depth, key in enumerate(keys[client]):
                counts.setdefault((depth, key), [0, 0])[0] += failed[client]
    wide = {key for depth, key in counts if depth == 0}
    for client in left:
        if keys[client][0] in wide:  # else nothing that holds it has failed
            count = tried[client]
            for pair in enumerate(keys[client]):
                here = counts.get(pair)
                if here is None:
                    break  # and nothing longer
                here[1] += count
    best: _Prefix | None = None
    for (depth, key), (here_bad, here_tried) in counts.items():
        if here_bad < _HERE_MIN or not _stands_out(here_bad, here_tried, bad, total):
            continue
        surprise = _unlikely(here_bad, here_tried, bad, total)
        if best is None or (surprise, depth) > (best.surprise, best.depth):
            best = _Prefix(key, depth, here_bad, here_tried, surprise)
    if (
        best is None
        or 0.5 * math.erfc(math.sqrt(max(0.0, best.surprise))) * len(counts) > _CHANCE_MAX
    ):
        return None
    return best


def _stands_out(here_bad: int, here_tried: int, bad: int, total: int) -> bool:
    """Whether a prefix fails three times as often as everybody else."""
    others = total - here_tried
    rest = (bad - here_bad) / others if others else bad / total
    return here_bad > _RISK_MIN * max(rest, 0.001) * here_tried


def _unlikely(here_bad: int, here_tried: int, bad: int, total: int) -> float:
    """Give the log-likelihood ratio of two rates against one (Bernoulli)."""
    return _fit(here_bad, here_tried) + _fit(bad - here_bad, total - here_tried) - _fit(bad, total)


def _fit(bad: int, tried: int) -> float:
    """Give the log-likelihood of the rate that is seen."""
    if not 0 < bad < tried:
        return 0.0
    return bad * math.log(bad / tried) + (tried - bad) * math.log(1 - bad / tried)


def net_of(client: str) -> str:
    """Give a key of the network a client counts under: /64, or /24."""
    return _key(client, 3 if ":" in client else 1)


def site_of(client: str) -> str:
    """Give the prefix a site usually has: /48, or /24."""
    return _text(_key(client, 1), 1)


def _keys(client: str) -> tuple[str, ...]:
    """Give a client's keys by depth."""
    if ":" not in client:
        return _key(client, 0), _key(client, 1), client
    one, two, three, four = _groups(client)
    whole = f"{one}:{two}:{three}"
    return f"{one}:{two}", whole, f"{whole}:{_upper(four)}", f"{whole}:{four}", client


def _key(client: str, depth: int) -> str:
    """Give what addresses of one prefix have in common, quickly: for text as servers write it."""
    if ":" not in client:
        count = _LENGTHS[4][min(depth, 2)] // 8
        return client if count == 4 else ".".join(client.split(".", count)[:count])
    if depth >= 4:
        return client
    parts = _groups(client)
    if depth == 2:
        return f"{':'.join(parts[:3])}:{_upper(parts[3])}"
    return ":".join(parts[: (2, 3, 4, 4)[depth]])


def _groups(client: str) -> list[str]:
    """Give the first four groups of an IPv6 address; of what is none, four of something."""
    head, gap, tail = client.partition("%")[0].partition("::")
    parts = head.split(":") if head else []
    if gap and len(parts) < 4:
        rest = tail.split(":") if tail else []
        # The last 32 bits may be written as an IPv4 address (RFC 4291 2.2).
        missing = 8 - len(parts) - len(rest) - ("." in tail)
        parts = [*parts, *("0",) * missing, *rest]
    return parts[:4] if len(parts) >= 4 else [*parts, *("0",) * (4 - len(parts))]


def _upper(group: str) -> str:
    """Write the upper half of a group, as a /56 has it."""
    try:
        return f"{int(group, 16) & 0xFF00:x}"
    except ValueError:
        return group  # a log said that this is an address


@functools.lru_cache(maxsize=65_536)
def _text(key: str, depth: int) -> str:
    """Write a key of a depth as a prefix; what is no address as a quoted word."""
    try:
        if ":" in key:
            address = key if depth >= 4 else f"{key}::"
            return str(ipaddress.ip_network((address, _LENGTHS[6][depth]), strict=False))
        length = _LENGTHS[4][min(depth, 2)]
        whole = key + ".0" * (4 - length // 8)
        return str(ipaddress.ip_network((whole, length), strict=False))
    except ValueError:
        return repr(key)
