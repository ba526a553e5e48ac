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
_LENGTHS: Final = {6: (32, 48, 56, 64, 128), 4: (16, 24, 32)}
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
    for depth in range(5):
        by_prefix: dict[str, list[int]] = {}
        for client, count in tried.items():
            counts = by_prefix.setdefault(_prefix(client, depth), [0, 0])
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
            best = tuple(cover)
    if not best:
        return Place("everywhere")
    inside = [ipaddress.ip_network(prefix) for prefix, *_ in best]
    sites = {_prefix(c, 3) for c in failed if any(_within(c, net) for net in inside)}
    verdict = "in one part of the network" if len(sites) >= _SITES_MIN else "at few clients"
    return Place(verdict, best)


@functools.lru_cache(maxsize=65_536)
def net_of(client: str) -> str:
    """Give the network a client counts under: /64, or /24."""
    return _prefix(client, 3 if ":" in client else 1)


@functools.lru_cache(maxsize=65_536)
def site_of(client: str) -> str:
    """Give the prefix a site usually has: /48, or /24."""
    return _prefix(client, 1)


def _expected(tried: int, total: int, bad: int, rate: float, here: int) -> float:
    """The failures that a prefix must exceed: three times the rate of everybody else."""
    others = total - tried
    rest = (bad - here) / others if others else rate
    return _RISK_MIN * max(rest, 0.001) * tried


@functools.lru_cache(maxsize=65_536)
def _prefix(client: str, depth: int) -> str:
    address = ipaddress.ip_address(client.partition("%")[0])
    lengths = _LENGTHS[address.version]
    length = lengths[min(depth, len(lengths) - 1)]
    return str(ipaddress.ip_network((address, length), strict=False))


def _within(client: str, network: ipaddress.IPv6Network | ipaddress.IPv4Network) -> bool:
    address = ipaddress.ip_address(client.partition("%")[0])
    return address.version == network.version and address in network
