"""`alias-failing`: ALIAS answers made of old addresses, or of none, as targets cannot be found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from quada.telemetry.event import Kind, Provenance
from quada.telemetry.signals.minute import KEPT, forget, zone_of
from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.signal import Signal, State, closed

if TYPE_CHECKING:
    from quada.telemetry.event import Event

KIND: Final = "alias-failing"
_WINDOW: Final = 5
_NAMES_MAX: Final = 5_000
_COUNT_MIN: Final = 4
_SHARE_MIN: Final = 0.1
_EDE_NO_REACHABLE: Final = 22  # RFC 8914 4.23: what a failed ALIAS is answered with


class _Counts:
    """Answers of one name: all, of old addresses, failed."""

    __slots__ = ("all", "failed", "stale")

    def __init__(self) -> None:
        self.all = self.stale = self.failed = 0


class AliasAnswers:
    """Judges the ALIAS answers of the authoritative role, zone by zone."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._minutes: dict[int, dict[tuple[str, str], _Counts]] = {}
        self._openings = Openings()

    def resume(self, scope: str) -> None:
        """Take on what was open."""
        self._openings.resume(scope)

    def feed(self, event: Event, at: int) -> None:
        """Count an answer."""
        if event.kind is not Kind.QUERY or event.qname is None:
            return
        is_failed = event.ede == _EDE_NO_REACHABLE
        if not is_failed and not (event.provenance or 0) & Provenance.ALIAS:
            return
        minute = self._minutes.get(at)
        if minute is None:
            minute = self._minutes[at] = {}
            forget(self._minutes, at - KEPT)
        key = event.zone or zone_of(event.qname), event.qname
        counts = minute.get(key)
        if counts is None:
            if len(minute) >= _NAMES_MAX:
                return
            counts = minute[key] = _Counts()
        counts.all += event.weight
        counts.failed += event.weight * is_failed
        counts.stale += event.weight * bool((event.provenance or 0) & Provenance.STALE)

    def judge(self, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        forget(self._minutes, at - _WINDOW)
        total: Counter[str] = Counter()
        stale: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        names: dict[str, Counter[str]] = {}
        bad_minutes: Counter[str] = Counter()
        for minute in (self._minutes.get(n, {}) for n in range(at - _WINDOW + 1, at + 1)):
            bad_minutes.update(
                {zone for (zone, _), one in minute.items() if one.stale + one.failed}
            )
            for (zone, name), counts in minute.items():
                total[zone] += counts.all
                stale[zone] += counts.stale
                failed[zone] += counts.failed
                if counts.stale or counts.failed:
                    names.setdefault(zone, Counter())[name] += counts.stale + counts.failed
        failing = [
            zone
            for zone, count in total.items()
            if stale[zone] + failed[zone] >= max(_COUNT_MIN, _SHARE_MIN * count)
        ]
        is_open, is_over = self._openings.step(
            failing, [zone for zone in failing if bad_minutes[zone] > 1]
        )
        out = [
            Signal(
                KIND, f"{self._role}/{zone}", State.OPEN, at * 60,
                f"ALIAS targets of {zone} cannot be looked up",
                f"{stale[zone]} of {total[zone]} answers are stale, {failed[zone]} failed",
                "failed" if failed[zone] else "stale", "",
                tuple(name for name, _ in names[zone].most_common(5)), "quada status",
            )
            for zone in is_open
        ]  # fmt: skip
        return out + [closed(KIND, f"{self._role}/{zone}", at) for zone in is_over]
