"""`aaaa-share`: fewer AAAA questions beside A than usual (CHECKS.md 4.1)."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.telemetry.signals.cluster import net_of
from quada.telemetry.signals.opening import CLOSE_AFTER
from quada.telemetry.signals.signal import Signal, State, closed

if TYPE_CHECKING:
    from quada.telemetry.signals.minute import Minutes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KIND: Final = "aaaa-share"
_WINDOW: Final = 5
_HISTORY_MIN: Final = 60  # minutes before anything is compared with what is usual
_HISTORY_MAX: Final = 7 * 1440
_TRIES_MIN: Final = 120
_NETS_MIN: Final = 5
_DRIFT: Final = 1.5
_ALARM: Final = 6.0
_DROP_MIN: Final = 0.35
_SPREAD_MIN: Final = 0.04


class Share:
    """Judges one role's mix of types: a one-sided cumulative sum."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._history: deque[tuple[int, float]] = deque(maxlen=_HISTORY_MAX)
        self._sum = 0.0
        self._quiet = 0

    def memory(self) -> list[list[float]]:
        """Give what is usual, minute by minute, for `recall`."""
        return [[at, round(share, 4)] for at, share in self._history]

    def recall(self, memory: Iterable[Sequence[float]]) -> None:
        """Take on what an earlier watch found usual."""
        self._history.extend((int(at), float(share)) for at, share in memory)

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        window = minutes.span(at, _WINDOW)
        six = set().union(*(minute.attempts[codes.AAAA] for minute in window)) if window else set()
        four = set().union(*(minute.attempts[codes.A] for minute in window)) if window else set()
        tries = len(six) + len(four)
        if tries < _TRIES_MIN or not _are_many(four):
            return []
        share = math.log((len(six) + 0.5) / (len(four) + 0.5))
        baseline = self._baseline(at)
        if baseline is None:
            self._history.append((at, share))
            return []
        usual, spread, is_sure = baseline
        z = (share - usual) / max(spread, math.sqrt(4 / tries), _SPREAD_MIN)
        self._sum = max(0.0, self._sum - z - _DRIFT)
        if self._sum > _ALARM and usual - share >= _DROP_MIN:
            self._quiet = 0
            self._sum = min(self._sum, 4 * _ALARM)
            missing = {net_of(c) for c, _ in four} - {net_of(c) for c, _ in six}
            return [
                Signal(KIND, self._role, State.OPEN, at * 60,
                       f"AAAA questions fell to {math.exp(share):.2f} for each A",
                       f"usually {math.exp(usual):.2f}" + ("" if is_sure else ", by one day alone"),
                       "clients ask less", f"{len(missing)} networks ask A alone"
                       if missing else "everywhere", (), "quada tail a not aaaa")
            ]  # fmt: skip
        # What is judged abnormal must not become usual.
        if self._sum <= _ALARM / 2:
            self._history.append((at, share))
        self._quiet = self._quiet + 1 if z > -_DRIFT else 0
        if self._quiet >= CLOSE_AFTER:
            self._sum = 0.0
            return [closed(KIND, self._role, at)]
        return []

    def _baseline(self, at: int) -> tuple[float, float, bool] | None:
        """Give what is usual, how it spreads, and whether several days say so."""
        if len(self._history) < _HISTORY_MIN:
            return None
        same = [
            share
            for minute, share in self._history
            if at - minute > 720 and abs((at - minute + 15) % 1440 - 15) <= 15
        ]
        is_sure = len(same) >= 3 * 20
        values = (
            same if is_sure else [share for minute, share in self._history if at - minute <= 1440]
        )
        if len(values) < _HISTORY_MIN // 2:
            values = [share for _, share in self._history]
        usual = median(values)
        spread = 1.4826 * median(abs(value - usual) for value in values)
        return usual, spread, is_sure


def _are_many(attempts: Iterable[tuple[str, str]]) -> bool:
    """Whether attempts are of several networks; looks no further than it must."""
    nets = set()
    for client, _ in attempts:
        nets.add(net_of(client))
        if len(nets) >= _NETS_MIN:
            return True
    return False
