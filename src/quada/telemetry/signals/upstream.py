"""`ipv6-fallback`: servers that are asked over IPv6 in vain while IPv4 answers (CHECKS.md 4.3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import alarm_at, surprise, wilson

if TYPE_CHECKING:
    from quada.telemetry.signals.minute import Minutes

_Key = TypeVar("_Key")

KIND: Final = "ipv6-fallback"
_WINDOW: Final = 10  # minutes, and every shorter one that ends now
_TRIES_MIN: Final = 20
_BAD_BELOW: Final = 0.8
_GOOD_ABOVE: Final = 0.95
_WELL_ABOVE: Final = 0.9
_FEW_MIN: Final = 8  # tries of several minutes, where what fails is plain
_BAD_AT: Final = 0.75  # of few
_HISTORY_MIN: Final = 60  # minutes
_SERVERS_MAX: Final = 5_000
_COMPLAINTS_MIN: Final = 0.1  # a minute, whatever is usual
_MANY_TIMES: Final = 3
_FORGET_BELOW: Final = 0.001
_USUAL_MIN: Final = 0.02  # of tries that go unanswered, whatever IPv4 shows


class _Servers(NamedTuple):
    """Upstream tries and answers: by server, by zone and family, and each server's zone.

    `bad` counts the minutes in which a server left something unanswered.
    """

    tries: dict[str, list[int]]
    families: dict[tuple[str, int], list[int]]
    zones: dict[str, str]
    bad: dict[str, int]


class Upstreams:
    """Judges the servers that a resolver asks.

    Some logs (BIND's, systemd-resolved's) tell of failures alone: there a server's complaints are
    compared with what is usual for it.
    """

    def __init__(self) -> None:
        self._complaints: dict[str, float] = {}  # a minute, by server
        self._minute_count = 0

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        spans = [_servers(minutes, at, count) for count in range(1, _WINDOW + 1)]
        if not any(good for _, good in spans[-1].tries.values()):
            return self._judge_complaints(spans, at)
        fours = [counts for (_, family), counts in spans[-1].families.items() if family == 4]
        tried = sum(count for count, _ in fours)
        usual = 2 * (1 - sum(good for _, good in fours) / tried) if tried else 0.0
        usual = min(max(usual, _USUAL_MIN), 1 - _BAD_BELOW)
        alarm = alarm_at(len(spans[-1].tries))
        found = (_judge_server(a, spans, usual, alarm, at) for a in spans[-1].tries if ":" in a)
        return [signal for signal in found if signal is not None]

    def _judge_complaints(self, spans: list[_Servers], at: int) -> list[Signal]:
        """Judge servers of which only failures are told: by how many more than usual there are."""
        out = []
        alarm = alarm_at(len(spans[-1].tries))
        for address in spans[-1].tries:
            if ":" in address and self._minute_count >= _HISTORY_MIN:
                found = self._judge_server(address, spans, alarm, at)
                if found is not None:
                    out.append(found)
        now = spans[0].tries
        for address in [*self._complaints, *now.keys() - self._complaints.keys()]:
            if any(signal.scope == address and signal.state is State.OPEN for signal in out):
                continue  # what is judged abnormal must not become usual
            if address in self._complaints or len(self._complaints) < _SERVERS_MAX:
                here = now.get(address, (0, 0))[0]
                usual = self._complaints.get(address, 0.0)
                self._complaints[address] = usual + (here - usual) / _HISTORY_MIN
                if self._complaints[address] < _FORGET_BELOW:
                    del self._complaints[address]
        self._minute_count += bool(spans[-1].tries)
        return out

    def _judge_server(
        self, address: str, spans: list[_Servers], alarm: float, at: int
    ) -> Signal | None:
        usual = max(self._complaints.get(address, 0.0), _COMPLAINTS_MIN)
        zone = spans[-1].zones.get(address, "?")
        fours = spans[-1].families.get((zone, 4), (0, 0))[0]
        for minutes, seen in enumerate(spans, 1):
            count = seen.tries.get(address, (0, 0))[0]
            expected = usual * minutes
            if (
                count >= max(_FEW_MIN, _MANY_TIMES * expected)
                and seen.bad[address] > 1
                and count * math.log(count / expected) - (count - expected) > alarm
                and fours * _MANY_TIMES <= spans[-1].tries[address][0]
            ):
                return Signal(
                    KIND, address, State.OPEN, at * 60,
                    f"{count} complaints in {minutes} minutes that {address} of {zone} does not"
                    " answer over IPv6",
                    f"usually {expected:.1f}; of IPv4 of {zone} {fours}", "reachability", zone, (),
                    f"quada doctor {zone}",
                )  # fmt: skip
        whole = spans[-1].tries[address][0]
        return closed(KIND, address, at) if whole <= 2 * usual * _WINDOW else None


def _servers(minutes: Minutes, at: int, count: int) -> _Servers:
    """Put the upstream tries of some minutes together."""
    made = _Servers({}, {}, {}, {})
    for minute in minutes.span(at, count):
        for address, counts in minute.servers.items():
            _add(made.tries, address, counts)
            made.bad[address] = made.bad.get(address, 0) + (counts[1] < counts[0])
        for family, counts in minute.families.items():
            _add(made.families, family, counts)
        made.zones.update(minute.server_zone)
    return made


def _judge_server(
    address: str, spans: list[_Servers], usual: float, alarm: float, at: int
) -> Signal | None:
    """Judge a server by every span, the shortest first.

    A short one shows early what fails by and large, a long one what fails in part.
    """
    for seen in spans:
        count, good = seen.tries.get(address, (0, 0))
        zone = seen.zones.get(address, "?")
        there, answered = spans[-1].families.get((zone, 4), (0, 0))
        is_bad = count >= _TRIES_MIN and wilson(good, count)[1] < _BAD_BELOW
        is_plain = (
            count >= _FEW_MIN
            and good < _BAD_AT * count
            and seen.bad[address] > 1
            and surprise(count - good, count, usual) > alarm
        )
        if (is_bad or is_plain) and there and answered / there >= _GOOD_ABOVE:
            return Signal(
                KIND, address, State.OPEN, at * 60,
                f"{address} of {zone} answered {good} of {count} over IPv6",
                f"IPv4 of {zone} answered {answered} of {there}", "reachability", zone, (),
                f"quada doctor {zone}",
            )  # fmt: skip
    enough = [
        seen.tries[address] for seen in spans if seen.tries.get(address, (0,))[0] >= _TRIES_MIN
    ]
    if enough and wilson(enough[0][1], enough[0][0])[0] > _WELL_ABOVE:
        return closed(KIND, address, at)
    return None


def _add(table: dict[_Key, list[int]], key: _Key, counts: list[int]) -> None:
    held = table.setdefault(key, [0, 0])
    held[0] += counts[0]
    held[1] += counts[1]
