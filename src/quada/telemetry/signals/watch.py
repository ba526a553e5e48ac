"""The watch: events in, minute by minute signals out.

Each role is judged by itself (`role.py`); one file holds one judge. What is open is told again only
where its cause or place has changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from quada.telemetry.event import Role
from quada.telemetry.signals.cluster import UNSURE
from quada.telemetry.signals.role import RoleWatch
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.standing import KINDS, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quada.telemetry.event import Event

_WATERMARK_S: Final = 30  # events may come that late
_LATE_MAX_S: Final = 600
_KEPT_S: Final = 1200  # older events are of minutes that are gone
_AHEAD_MAX_S: Final = 120  # what comes from the future has a clock that is wrong
_SCOPES_MAX: Final = 500
_MOVES: Final = 3  # our choice: minutes in a row that name another place before it is told


class Watch:
    """Judges the events of one or several servers, roles apart."""

    def __init__(self) -> None:
        self.open: dict[str, Signal] = {}
        self._roles: dict[Role, RoleWatch] = {}
        self._judged_until = 0
        self._now_s = 0
        self.mistimed_count = 0
        self._lost: dict[int, int] = {}
        self._standing = Standing()
        self._moving: dict[str, tuple[str, int]] = {}

    def resume(self, signals: Iterable[Signal]) -> None:
        """Take on what was open when an earlier watch ended, to close it when it is over."""
        for signal in signals:
            self.open[signal.key] = signal
            name, _, scope = signal.scope.partition("/")
            if name.upper() in Role.__members__:
                role = Role[name.upper()]
                self._roles.setdefault(role, RoleWatch(role)).resume(signal.kind, scope)

    @property
    def left_out_count(self) -> int:
        """How many events samples stand for: those of minutes that held too much to keep."""
        return sum(watch.left_out_count for watch in self._roles.values())

    def memory(self) -> dict[str, Any]:
        """Give what is usual, role by role, as JSON data for `recall`."""
        return {role.name: watch.memory() for role, watch in self._roles.items()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take on what an earlier watch found usual. Raises: KeyError, TypeError, ValueError."""
        for name, one in memory.items():
            role = Role[name]
            self._roles.setdefault(role, RoleWatch(role)).recall(one)

    def feed(self, events: Iterable[Event]) -> None:
        """Take events; those that come ten minutes late, or too early, are left out.

        A wrong clock elsewhere must not push the minutes out that are judged.
        """
        for event in events:
            if self._now_s and not -_KEPT_S < event.at_ns // 10**9 - self._now_s < _AHEAD_MAX_S:
                self.mistimed_count += 1
                continue
            role = event.role or Role.RECURSIVE
            watch = self._roles.get(role)
            if watch is None:
                watch = self._roles[role] = RoleWatch(role)
            at_s = event.at_ns // 1_000_000_000
            if at_s // 60 * 60 >= self._judged_until:
                watch.feed(event, at_s // 60)

    def lose(self, count: int, now_s: int) -> None:
        """Note events that were lost before they could be seen."""
        minute = now_s // 60
        self._lost[minute] = self._lost.get(minute, 0) + count
        for old in [at for at in self._lost if at < minute - 60]:
            del self._lost[old]

    def judge(self, now_s: int) -> list[Signal]:
        """Judge every whole minute up to now; gives the signals that opened, changed or closed."""
        out: list[Signal] = []
        ready = (now_s - _WATERMARK_S) // 60
        if now_s < self._now_s - _AHEAD_MAX_S:
            # Our own clock went back: what it was ahead of is judged from now on.
            self._judged_until = ready * 60
        self._now_s = now_s
        first = self._judged_until // 60 or min(
            (at for watch in self._roles.values() for at in watch.minutes.table), default=ready
        )
        for minute in range(max(first, ready - _LATE_MAX_S // 60), ready):
            for watch in self._roles.values():
                out += self._changes(watch.judge(minute, self._lost.get(minute, 0)))
        self._judged_until = max(self._judged_until, ready * 60)
        return out

    def judge_standing(self, status: Mapping[str, Any], now_s: int) -> list[Signal]:
        """Judge what the supervisor tells; gives the signals that opened, changed or closed."""
        found = self._standing.judge(status, now_s)
        keys = {signal.key for signal in found}
        over = [
            closed(signal.kind, signal.scope, now_s // 60)
            for key, signal in self.open.items()
            if signal.kind in KINDS and key not in keys
        ]
        return self._changes([*found, *over])

    def _changes(self, found: list[Signal]) -> list[Signal]:
        changed = []
        for signal in found:
            before = self.open.get(signal.key)
            if signal.state is State.CLOSED:
                self._moving.pop(signal.key, None)
                if before is not None:
                    del self.open[signal.key]
                    changed.append(signal._replace(since=before.since))
            elif before is None:
                if len(self.open) < _SCOPES_MAX:
                    self.open[signal.key] = signal
                    changed.append(signal)
            elif (before.cause, before.where) != (signal.cause, signal.where):
                if signal.where == UNSURE or self._is_wavering(before, signal):
                    # Fewer failures now do not make unknown what was known.
                    signal = signal._replace(where=before.where)
                self.open[signal.key] = signal._replace(since=before.since)
                if _word(before.where) != _word(signal.where) or before.cause != signal.cause:
                    changed.append(self.open[signal.key])
            else:
                self._moving.pop(signal.key, None)
        return changed

    def _is_wavering(self, before: Signal, signal: Signal) -> bool:
        """Whether a place is another than before, but not yet three times the same other one."""
        word = _word(signal.where)
        if before.where == UNSURE or word == _word(before.where):
            self._moving.pop(signal.key, None)
            return False
        last, count = self._moving.get(signal.key, (word, 0))
        count = count + 1 if last == word else 1
        self._moving[signal.key] = word, count
        return count < _MOVES


def _word(where: str) -> str:
    """Give the verdict of a place without its counts, which change every minute."""
    return re.sub(r" \(\d+ of \d+\)", "", where)
