"""Pools: addresses that leave the answer when their health check fails, and come back.

A pool's state is a value that advances by check results; what a query gets is chosen from it when
an answer is compiled, so that pools cost the hot path nothing. Health is kept per address: a
member's dead IPv6 address is out while its IPv4 address stays.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = "local"
"""The vantage point that this server is."""
LATE_CHECKS: Final = 3  # our choice: who has missed so many checks cannot tell any more
MAX_MEMBERS: Final = 256  # our choice because a larger RRset does not fit in a message anyway


class Probe(StrEnum):
    """How a member's health is asked."""

    TCP = "tcp"
    HTTP = "http"
    HTTPS = "https"
    ICMP = "icmp"
    DNS = "dns"
    NONE = "none"


class Policy(StrEnum):
    """Which of the healthy addresses an answer gives."""

    ALL = "all"
    BEST = "best"  # the `answer_count` heaviest
    WEIGHTED = "weighted"  # `answer_count` drawn by weight
    FAILOVER = "failover"  # all of the lowest priority number that has a healthy one


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A health check. `port` 0 means the probe's usual port; `status` is the HTTP status wanted.

    `rise` good results in a row bring an address back, `fall` bad ones take it out; `interval_s` is
    spread by ±10% so that checks of many members do not beat together.
    """

    probe: Probe = Probe.TCP
    port: int = 0
    path: str = "/"
    host: str = ""
    status: int = 200
    interval_s: float = 10.0
    timeout_s: float = 2.0
    rise: int = 2
    fall: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One address of a pool. A lower priority is preferred; a weight of 0 drains the member."""

    address: str
    weight: int = 1
    priority: int = 1
    label: str = ""

    @property
    def rdtype(self) -> int:
        """AAAA or A."""
        return codes.AAAA if ":" in self.address else codes.A

    @property
    def rdata(self) -> bytes:
        """The address as RDATA."""
        return ipaddress.ip_address(self.address).packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A named set of members with one check and one policy. TTL of answers is at most `ttl_s`.

    `vantage` names who checks: `HERE`, and agents. A member is out when `agree` of them say so.
    """

    name: str
    members: tuple[Member, ...]
    check: Check = Check()
    policy: Policy = Policy.ALL
    answer_count: int = 1
    ttl_s: int = 30
    vantage: tuple[str, ...] = (HERE,)
    agree: int = 1

    def __post_init__(self) -> None:
        if len(set(self.vantage)) != len(self.vantage) or not self.vantage:
            raise ConfigFault(
                f"pool {self.name} wants each vantage point once, and one at least",
                place=f"pools.{self.name}.vantage",
            )
        if not 0 < self.agree <= len(self.vantage):
            raise ConfigFault(
                f"{self.agree} of {len(self.vantage)} vantage points cannot agree",
                place=f"pools.{self.name}.agree",
                remedy=f"give between 1 and {len(self.vantage)}",
            )
        if not 0 < len(self.members) <= MAX_MEMBERS:
            raise ConfigFault(
                f"pool {self.name} has {len(self.members)} members",
                place=f"pools.{self.name}.members",
                remedy=f"give between 1 and {MAX_MEMBERS}",
            )
        seen: set[bytes] = set()
        for member in self.members:
            try:
                rdata = member.rdata
            except ValueError:
                raise ConfigFault(
                    f"{member.address!r} is not an address",
                    place=f"pools.{self.name}.members",
                    remedy="write it as 2001:db8::1 or 192.0.2.1",
                ) from None
            if rdata in seen:
                raise ConfigFault(
                    f"address {member.address} is there twice", place=f"pools.{self.name}.members"
                )
            seen.add(rdata)


class Result(NamedTuple):
    """How one check of one member went from a vantage point; `detail` in words for people.

    `is_good` is None where the vantage point cannot tell.
    """

    pool: str
    address: str
    is_good: bool | None
    took_ms: float
    detail: str = ""
    vantage: str = HERE


class Turned(NamedTuple):
    """A member changed sides: an event, with its cause."""

    pool: str
    address: str
    is_healthy: bool
    at: float
    detail: str
    is_pool_down: bool  # no address of this family is healthy: all are given (fail open)


@dataclass(slots=True)
class Sight:
    """What one vantage point says of one member; `is_good` is None while it cannot tell."""

    is_good: bool | None = None
    leans_good: bool = True
    in_a_row: int = 0  # results that lean to one side, and have not turned it yet
    checked_at: float = 0.0
    took_ms: float = 0.0
    detail: str = "not checked yet"

    def take(self, result: Result, check: Check, now: float) -> None:
        """Take a check's result: enough in a row turn it (hysteresis)."""
        self.checked_at, self.took_ms, self.detail = now, result.took_ms, result.detail
        is_good = result.is_good
        if is_good is None or is_good == self.is_good:
            self.is_good, self.in_a_row = is_good, 0
            return
        self.in_a_row = self.in_a_row + 1 if is_good == self.leans_good else 1
        self.leans_good = is_good
        if self.in_a_row >= (check.rise if is_good else check.fall):
            self.is_good, self.in_a_row = is_good, 0

    def fade(self, check: Check, now: float) -> None:
        """Say nothing any more where nothing was heard for some checks."""
        if self.checked_at + LATE_CHECKS * (check.interval_s + check.timeout_s) < now:
            self.is_good, self.in_a_row = None, 0


@dataclass(slots=True)
class Health:
    """What is known of one member; a new one counts as healthy until checks say otherwise.

    `is_known` is False while too few vantage points can tell: then it stays what it was.
    """

    is_healthy: bool = True
    is_known: bool = False
    since: float = 0.0
    sights: dict[str, Sight] = field(default_factory=dict)
    last: Sight = field(default_factory=Sight)


@dataclass(slots=True)
class PoolState:
    """A pool and its members' health; `version` counts changes of what answers would be."""

    pool: Pool
    health: dict[str, Health] = field(default_factory=dict)
    version: int = 0

    def __post_init__(self) -> None:
        for member in self.pool.members:
            self.health.setdefault(member.address, Health())

    def redefined(self, pool: Pool) -> PoolState:
        """Take a new definition and keep the health of the members that stay."""
        addresses = {member.address for member in pool.members}
        kept = {address: h for address, h in self.health.items() if address in addresses}
        return PoolState(pool, kept, self.version + 1)

    def take(self, result: Result, now: float) -> Turned | None:
        """Take a check's result; gives the event if the member changed sides."""
        health = self.health.get(result.address)
        if health is None or result.vantage not in self.pool.vantage:
            return None
        sight = health.last = health.sights.setdefault(result.vantage, Sight())
        sight.take(result, self.pool.check, now)
        is_healthy = self._agreed(health, now)
        health.is_known = is_healthy is not None
        if is_healthy is None or is_healthy == health.is_healthy:
            return None
        health.is_healthy, health.since = is_healthy, now
        self.version += 1
        rdtype = codes.AAAA if ":" in result.address else codes.A
        return Turned(
            self.pool.name,
            result.address,
            is_healthy,
            now,
            self.reason(result.address),
            not any(self.health[m.address].is_healthy for m in self.of_family(rdtype)),
        )

    def _agreed(self, health: Health, now: float) -> bool | None:
        """Tell whether a member is in, whatever the silent would say; None where that decides."""
        said = {}
        for name, sight in health.sights.items():
            sight.fade(self.pool.check, now)
            said[name] = sight.is_good
        bad = sum(one is False for one in said.values())
        good = sum(one is True for one in said.values())
        if bad >= self.pool.agree:
            return False
        return True if good > len(self.pool.vantage) - self.pool.agree else None

    def reason(self, address: str) -> str:
        """Say what was seen of a member, with names where several look."""
        health = self.health[address]
        if self.pool.vantage == (HERE,):
            return health.last.detail
        return "; ".join(f"{name}: {one.detail}" for name, one in sorted(health.sights.items()))

    def of_family(self, rdtype: int) -> list[Member]:
        """Give the members of AAAA or A, in the order configured."""
        return [member for member in self.pool.members if member.rdtype == rdtype]

    def choose(self, rdtype: int, draws: Sequence[float]) -> tuple[bytes, ...]:
        """Choose the addresses an answer gives, as RDATA; empty where none is of that family.

        Takes `draws`, numbers in [0, 1) from the caller's source of chance, used by WEIGHTED only;
        fewer draws than addresses wanted repeat. When no member is healthy all are given, because a
        failing check is weaker evidence than a client's own attempt.
        """
        family = self.of_family(rdtype)
        members = [m for m in family if self.health[m.address].is_healthy and m.weight > 0]
        if not members:
            return tuple(member.rdata for member in family)
        policy, count = self.pool.policy, max(1, self.pool.answer_count)
        if policy is Policy.FAILOVER:
            best = min(member.priority for member in members)
            members = [member for member in members if member.priority == best]
        elif policy is Policy.BEST:
            members = sorted(members, key=lambda member: -member.weight)[:count]
        elif policy is Policy.WEIGHTED:
            members = _drawn(members, count, draws)
        return tuple(member.rdata for member in members)

    def usable(self, rdtype: int) -> tuple[bytes, ...]:
        """Give the addresses that answers may choose from now, for those who cannot choose."""
        if self.pool.policy is not Policy.WEIGHTED:
            return self.choose(rdtype, ())
        family = self.of_family(rdtype)
        good = [m for m in family if self.health[m.address].is_healthy and m.weight > 0]
        return tuple(member.rdata for member in good or family)


def _drawn(members: list[Member], count: int, draws: Sequence[float]) -> list[Member]:
    """Draw members by weight without putting back."""
    left, out = list(members), []
    for number in range(min(count, len(members))):
        total = sum(member.weight for member in left)
        mark = (draws[number % len(draws)] if draws else 0.0) * total
        for member in left:
            mark -= member.weight
            if mark < 0:
                break
        out.append(member)
        left.remove(member)
    return out
