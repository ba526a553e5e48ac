"""`aaaa-share`: fewer AAAA questions beside A than usual (CHECKS.md 4.1).

Two measures. The mix of all questions works for every kind of log. Pairs are far sharper where
clients ask both types together, as stubs do: of those that ask A for a name, how many ask AAAA too.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.telemetry.signals.cluster import net_of
from quada.telemetry.signals.opening import CLOSE_AFTER
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import alarm_at, fitting, surprise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quada.telemetry.signals.minute import Minutes

KIND: Final = "aaaa-share"
_WINDOW: Final = 5
_HISTORY_MIN: Final = 60  # minutes before anything is compared with what is usual
_HISTORY_MAX: Final = 7 * 1440
_TRIES_MIN: Final = 120
_NETS_MIN: Final = 5
_DRIFT: Final = 1.5
_ALARM: Final = 8.0
_DROP_MIN: Final = 0.35
_SPREAD_MIN: Final = 0.04
_PAIR_DROP_MIN: Final = 0.29  # 25%: they tell small drops apart, too
_PAIR_TRIES_MIN: Final = 30
_PAIRED_MIN: Final = 0.1  # of those that ask A: with fewer, clients do not ask in pairs


class _Pairs:
    """Of the attempts for A in a minute, those that came with one for AAAA: a sequential test."""

    def __init__(self) -> None:
        self.history: deque[tuple[int, int]] = deque(maxlen=1440)  # alone, of all
        self._recent: deque[tuple[int, int]] = deque(maxlen=2 * _WINDOW)

    def take(self, alone: int, tries: int) -> tuple[float, float] | None:
        """Take a minute; gives the share of pairs now and usually where it fell, else None."""
        self._recent.append((alone, tries))
        tried = sum(n for _, n in self.history)
        if len(self.history) < _HISTORY_MIN or not tried:
            return None
        usual = max(sum(k for k, _ in self.history) / tried, 0.01)
        if 1 - usual < _PAIRED_MIN:
            return None
        spread = self._overdispersion(usual)
        alone = tries = bad_minutes = 0
        for here, count in reversed(self._recent):
            alone, tries = alone + here, tries + count
            bad_minutes += here > usual * count
            if (
                bad_minutes > 1
                and tries >= _PAIR_TRIES_MIN
                and (tries - alone) / tries < (1 - usual) * math.exp(-_PAIR_DROP_MIN)
                and surprise(alone, tries, usual) > (alarm_at() + fitting(tries)) * spread
            ):
                return 1 - alone / tries, 1 - usual
        return None

    def keep(self) -> None:
        """Count the last minute as usual."""
        self.history.append(self._recent[-1])

    def _overdispersion(self, usual: float) -> float:
        """Give how much more minutes differ than independent clients would make them."""
        deviations = [
            (k - usual * n) ** 2 / (usual * (1 - usual) * n) for k, n in self.history if n
        ]
        # The median of a squared normal deviate is 0.455.
        return max(1.0, median(deviations) / 0.455)


class Share:
    """Judges one role's mix of types: a one-sided cumulative sum."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._history: deque[tuple[int, float]] = deque(maxlen=_HISTORY_MAX)
        self._pairs = _Pairs()
        self._sum = 0.0
        self._quiet = 0

    def memory(self) -> list[list[float]]:
        """Give what is usual, minute by minute, for `recall`."""
        return [[at, round(share, 4)] for at, share in self._history]

    def pairs(self) -> list[list[int]]:
        """Give the attempts for A that were usual, those alone first, for `recall`."""
        return [list(one) for one in self._pairs.history]

    def recall(
        self, memory: Iterable[Sequence[float]], pairs: Iterable[Sequence[int]] = ()
    ) -> None:
        """Take on what an earlier watch found usual."""
        self._history.extend((int(at), float(share)) for at, share in memory)
        self._pairs.history.extend((int(alone), int(tries)) for alone, tries in pairs)

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
        now = window[-1].attempts
        paired = self._pairs.take(len(now[codes.A] - now[codes.AAAA]), len(now[codes.A]))
        if baseline is None:
            self._history.append((at, share))
            self._pairs.keep()
            return []
        usual, spread, is_sure = baseline
        z = (share - usual) / max(spread, math.sqrt(4 / tries), _SPREAD_MIN)
        self._sum = max(0.0, self._sum - z - _DRIFT)
        if paired is not None or (self._sum > _ALARM and usual - share >= _DROP_MIN):
            self._quiet = 0
            self._sum = min(self._sum, 4 * _ALARM)
            nets = {net_of(c) for c, _ in four}
            missing = nets - {net_of(c) for c, _ in six}
            summary = f"AAAA questions fell to {math.exp(share):.2f} for each A"
            compared = f"usually {math.exp(usual):.2f}" + ("" if is_sure else ", by one day alone")
            if paired is not None:
                summary = f"{paired[0]:.0%} of those that ask A ask AAAA too"
                compared = f"usually {paired[1]:.0%}"
            return [
                Signal(KIND, self._role, State.OPEN, at * 60, summary, compared,
                       "clients ask less", f"networks ask A alone ({len(missing)} of {len(nets)})"
                       if missing else "everywhere", (), "quada tail a not aaaa")
            ]  # fmt: skip
        # What is judged abnormal must not become usual.
        if self._sum <= _ALARM / 2:
            self._history.append((at, share))
            self._pairs.keep()
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
