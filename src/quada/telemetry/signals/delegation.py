"""`delegation-failing`: a zone whose servers answered lately and now none does, or not for it.

From the attempts of our resolver, of dnstap, and of logs that tell of both outcomes. The world is
full of zones that never worked, so only one that did is a signal; and where other zones fail alike
it is the network and not the zone.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.signal import Signal, State, closed

if TYPE_CHECKING:
    from quada.telemetry.signals.minute import Minutes

KIND: Final = "delegation-failing"
_WINDOW: Final = 10
_TRIES_MIN: Final = 20
_BAD_MIN: Final = 0.8  # of the attempts at one zone's servers
_ELSEWHERE_MAX: Final = 0.2  # of the attempts at all others
_WELL_MIN: Final = 10  # answers that a zone gave, to be one that worked
_KNOWN_MAX: Final = 20_000


class Delegations:
    """Judges the zones that a resolver asks."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._well: OrderedDict[str, int] = OrderedDict()
        self._openings = Openings()

    def resume(self, scope: str) -> None:
        """Take on what was open: it worked once, else it would not be."""
        self._openings.resume(scope)
        self._well[scope] = _WELL_MIN

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        tries: Counter[str] = Counter()
        good: Counter[str] = Counter()
        lame: Counter[str] = Counter()
        servers: dict[str, set[str]] = {}
        for minute in minutes.span(at, _WINDOW):
            for zone, counts in minute.delegations.items():
                tries[zone] += counts[0]
                good[zone] += counts[1]
                lame[zone] += counts[2]
            for server, zone in minute.server_zone.items():
                servers.setdefault(zone, set()).add(server)
        all_tries, all_good = tries.total(), good.total()
        failing = {}
        for zone, count in tries.items():
            bad = count - good[zone]
            others = all_tries - count
            others_bad = others - (all_good - good[zone])
            if (
                count >= _TRIES_MIN
                and bad >= _BAD_MIN * count
                and self._well.get(zone, 0) >= _WELL_MIN
                and others
                and others_bad <= _ELSEWHERE_MAX * others
            ):
                failing[zone] = others_bad / others
        self._remember(minutes, at)
        is_open, is_over = self._openings.step(failing)
        out = []
        for zone in is_open:
            is_lame = lame[zone] * 2 > tries[zone] - good[zone]
            what = "do not answer for it" if is_lame else "do not answer"
            asked = sorted(servers.get(zone, ()), key=lambda one: (":" not in one, one))
            out.append(
                Signal(
                    KIND, f"{self._role}/{zone}", State.OPEN, at * 60,
                    f"the servers of {zone} {what}: {tries[zone] - good[zone]} of {tries[zone]}"
                    " attempts",
                    f"at other zones {failing[zone]:.0%} fail; {zone} answered before",
                    "delegation" if is_lame else "reachability", zone, tuple(asked[:5]),
                    f"quada doctor {zone}",
                )
            )  # fmt: skip
        return out + [closed(KIND, f"{self._role}/{zone}", at) for zone in is_over]

    def _remember(self, minutes: Minutes, at: int) -> None:
        for minute in minutes.span(at, 1):
            for zone, (_, good, _) in minute.delegations.items():
                if good:
                    self._well[zone] = min(_WELL_MIN, self._well.get(zone, 0) + good)
                    self._well.move_to_end(zone)
        while len(self._well) > _KNOWN_MAX:
            self._well.popitem(last=False)
