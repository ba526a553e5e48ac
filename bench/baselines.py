"""Other methods over the same traffic, as CHECKS.md 4 names them: what most tools do.

Each is a class with the two methods of `Watch` that an evaluation needs. What they see alike opens
and closes as ours does (two of three minutes, ten quiet ones); only the judgement differs.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.telemetry.event import Event, Kind, Role
from quada.telemetry.fallback import is_unanswered
from quada.telemetry.signals import Signal, State
from quada.telemetry.signals.opening import Openings
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

_DAY: Final = 1440
_HISTORY_MIN: Final = 60
_DEVIATIONS: Final = 5


class _Counts:
    """Raw counts of minutes, without telling attempts from retries or one zone from another."""

    def __init__(self) -> None:
        self.minutes: dict[int, Counter[str]] = {}

    def feed(self, events: Iterable[Event]) -> None:
        """Count events."""
        for event in events:
            if event.role is not Role.RECURSIVE:
                continue
            minute = self.minutes.setdefault(event.at_ns // 60_000_000_000, Counter())
            if event.kind is Kind.UPSTREAM:
                if event.family == 6:
                    minute["upstream"] += 1
                    minute["unanswered"] += is_unanswered(event)
                continue
            minute["all"] += 1
            minute["nxdomain"] += event.rcode == codes.NXDOMAIN
            if event.qtype == codes.AAAA:
                minute["aaaa"] += 1
                minute["failed"] += event.rcode == codes.SERVFAIL
            elif event.qtype == codes.A:
                minute["a"] += 1
            if event.family == 6:
                minute["six"] += 1
                minute["six_tcp"] += event.transport is Transport.TCP

    def window(self, at: int, count: int) -> Counter[str]:
        """Put minutes together."""
        whole: Counter[str] = Counter()
        for one in range(at - count + 1, at + 1):
            whole.update(self.minutes.get(one, {}))
        return whole


class Baseline:
    """What the methods share: minutes judged once each, openings and closings."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._openings = Openings()
        self._open: set[str] = set()
        self._judged = 0

    def feed(self, events: Iterable[Event]) -> None:
        """Count events."""
        self._counts.feed(events)

    def judge(self, now_s: int) -> list[Signal]:
        """Judge whole minutes up to now."""
        out: list[Signal] = []
        ready = (now_s - 30) // 60
        for at in range(self._judged or ready - 1, ready):
            is_open, is_over = self._openings.step(self.alarms(at))
            for kind in is_open:
                if kind not in self._open:
                    self._open.add(kind)
                    out.append(
                        Signal(kind, "recursive", State.OPEN, at * 60, "", where="everywhere")
                    )
            self._open -= set(is_over)
        self._judged = ready
        return out

    def alarms(self, at: int) -> list[str]:
        """Give the kinds of signal that a minute shows."""
        raise NotImplementedError


class Static(Baseline):
    """Fixed thresholds on five minutes of raw counts; for the mix, 25% below the day's mean."""

    def alarms(self, at: int) -> list[str]:
        """Give what is over its threshold."""
        now = self._counts.window(at, 5)
        day = self._counts.window(at - 5, _DAY)
        out = []
        if now["aaaa"] and now["failed"] / now["aaaa"] > 0.05:
            out.append("aaaa-servfail")
        known = len(self._counts.minutes) >= _HISTORY_MIN
        if known and now["a"] and now["aaaa"] / now["a"] < 0.75 * day["aaaa"] / max(1, day["a"]):
            out.append("aaaa-share")
        if now["upstream"] and now["unanswered"] / now["upstream"] > 0.1:
            out.append("ipv6-fallback")
        if now["six"] and now["six_tcp"] / now["six"] > 0.1:
            out.append("client-retry")
        return out


class ZTest(Baseline):
    """Two proportions, five minutes against the hour before, z > 5, on raw counts."""

    def alarms(self, at: int) -> list[str]:
        """Give what differs."""
        if len(self._counts.minutes) < _HISTORY_MIN:
            return []
        now, hour = self._counts.window(at, 5), self._counts.window(at - 5, 60)
        pairs = {
            "aaaa-servfail": ("failed", ("aaaa",), 1),
            "ipv6-fallback": ("unanswered", ("upstream",), 1),
            "aaaa-share": ("aaaa", ("aaaa", "a"), -1), "client-retry": ("six_tcp", ("six",), 1),
        }  # fmt: skip
        out = []
        for kind, (part, parts, sign) in pairs.items():
            tries, before = (sum(counts[w] for w in parts) for counts in (now, hour))
            if sign * _z(now[part], tries, hour[part], before) > _DEVIATIONS:
                out.append(kind)
        return out


class Rates(Baseline):
    """As SpatiumDDI does: fifteen minutes; NXDOMAIN 40% and 200, or three times the rate and 1,000.

    It has no rule for AAAA or IPv6; what it raises is in vain or of no help here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rates: deque[int] = deque(maxlen=_DAY)

    def alarms(self, at: int) -> list[str]:
        """Give what is over its threshold."""
        now = self._counts.window(at, 15)
        usual = sum(self._rates) / len(self._rates) if len(self._rates) >= _HISTORY_MIN else None
        self._rates.append(now["all"])
        out = []
        if now["nxdomain"] >= 200 and now["nxdomain"] >= 0.4 * now["all"]:
            out.append("nxdomain-ratio")
        if usual is not None and now["all"] >= 1000 and now["all"] >= 3 * usual:
            out.append("query-rate")
        return out


def _z(hits: int, tries: int, other_hits: int, other_tries: int) -> float:
    """Give how many deviations a share is above another."""
    if not tries or not other_tries:
        return 0.0
    share = (hits + other_hits) / (tries + other_tries)
    deviation = math.sqrt(share * (1 - share) * (1 / tries + 1 / other_tries))
    return (hits / tries - other_hits / other_tries) / deviation if deviation else 0.0
