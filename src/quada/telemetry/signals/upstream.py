"""`ipv6-fallback`: servers that are asked over IPv6 in vain while IPv4 answers (CHECKS.md 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import wilson

if TYPE_CHECKING:
    from quada.telemetry.signals.minute import Minutes

_Key = TypeVar("_Key")

KIND: Final = "ipv6-fallback"
_WINDOWS: Final = (3, 4, 5, 6, 8, 10)
_TRIES_MIN: Final = 20
_BAD_BELOW: Final = 0.8
_GOOD_ABOVE: Final = 0.95
_WELL_ABOVE: Final = 0.9


class _Servers(NamedTuple):
    """Upstream tries and answers: by server, by zone and family, and each server's zone."""

    tries: dict[str, list[int]]
    families: dict[tuple[str, int], list[int]]
    zones: dict[str, str]


class Upstreams:
    """Judges the servers that a resolver asks."""

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        spans = [_servers(minutes, at, count) for count in _WINDOWS]
        found = (_judge_server(a, spans, at) for a in spans[-1].tries if ":" in a)
        return [signal for signal in found if signal is not None]


def _servers(minutes: Minutes, at: int, count: int) -> _Servers:
    """Put the upstream tries of some minutes together."""
    made = _Servers({}, {}, {})
    for minute in minutes.span(at, count):
        for address, counts in minute.servers.items():
            _add(made.tries, address, counts)
        for family, counts in minute.families.items():
            _add(made.families, family, counts)
        made.zones.update(minute.server_zone)
    return made


def _judge_server(address: str, spans: list[_Servers], at: int) -> Signal | None:
    """Judge a server by every span in which it was asked often enough, the shortest first.

    A short one shows early what fails by and large, a long one what fails in part.
    """
    enough = [seen for seen in spans if seen.tries.get(address, [0])[0] >= _TRIES_MIN]
    for seen in enough:
        count, good = seen.tries[address]
        zone = seen.zones.get(address, "?")
        there, answered = seen.families.get((zone, 4), (0, 0))
        is_bad = wilson(good, count)[1] < _BAD_BELOW
        if is_bad and there and answered / there >= _GOOD_ABOVE:
            return Signal(
                KIND, address, State.OPEN, at * 60,
                f"{address} of {zone} answered {good} of {count} over IPv6",
                f"IPv4 of {zone} answered {answered} of {there}", "reachability", zone, (),
                f"quada doctor {zone}",
            )  # fmt: skip
    if enough:
        count, good = enough[0].tries[address]
        if wilson(good, count)[0] > _WELL_ABOVE:
            return closed(KIND, address, at)
    return None


def _add(table: dict[_Key, list[int]], key: _Key, counts: list[int]) -> None:
    held = table.setdefault(key, [0, 0])
    held[0] += counts[0]
    held[1] += counts[1]
