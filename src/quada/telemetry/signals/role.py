"""One role's minutes, and who judges them."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from quada.telemetry.event import Role
from quada.telemetry.rollup import prefix_of
from quada.telemetry.signals.alias import AliasAnswers
from quada.telemetry.signals.delegation import Delegations
from quada.telemetry.signals.failures import Failures
from quada.telemetry.signals.masking import Masking
from quada.telemetry.signals.minute import Minute, Minutes, forget
from quada.telemetry.signals.retry import Retries
from quada.telemetry.signals.share import Share
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.upstream import Upstreams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quada.telemetry.event import Event

_HISTORY_MIN: Final = 60  # minutes before anything is compared with what is usual
_BLIND_SHARE: Final = 0.2  # events lost, of all, that make a minute unfit
_WINDOW_MAX: Final = 10  # minutes that any judge looks back
_USUAL_MIN: Final = 50  # events a minute, below which quiet is no sign


class RoleWatch:
    """Counts the events of one role, and has each minute judged when it is over."""

    def __init__(self, role: Role) -> None:
        self.minutes = Minutes()
        self.left_out_count = 0
        self._name = role.name.lower()
        self._is_recursive = role is Role.RECURSIVE
        self._volume: deque[int] = deque(maxlen=1440)
        self._failures = Failures(self._name)
        self._share = Share(self._name)
        self._retries = Retries(self._name)
        self._upstreams = Upstreams()
        self._delegations = Delegations(self._name)
        self._masking = Masking(self._name)
        self._alias = AliasAnswers(self._name)

    def feed(self, event: Event, at: int) -> None:
        """Count an event in its minute. What claims to be an address and is none is left out."""
        client = event.client
        if client is not None and event.source != "quada" and prefix_of(client) is None:
            return
        self.minutes.at(at).add(event)
        self._retries.feed(event, at)
        if self._is_recursive:
            self._masking.feed(event, at)
        else:
            self._alias.feed(event, at)

    def resume(self, kind: str, scope: str) -> None:
        """Take on what was open."""
        judges: dict[str, Failures | Retries | Masking | AliasAnswers | Delegations] = {
            "aaaa-servfail": self._failures,
            "client-retry": self._retries,
            "dns64-masking": self._masking,
            "alias-failing": self._alias,
            "delegation-failing": self._delegations,
        }
        if kind in judges:
            judges[kind].resume(scope)

    def memory(self) -> dict[str, Any]:
        """Give what is usual here, as JSON data."""
        return {
            "volume": list(self._volume),
            "share": self._share.memory(),
            "pairs": self._share.pairs(),
            "retries": self._retries.memory(),
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take on what an earlier watch found usual."""
        self._volume.extend(int(count) for count in memory["volume"])
        self._share.recall(memory["share"], memory.get("pairs", ()))
        self._retries.recall(memory["retries"])

    def judge(self, at: int, lost: int) -> list[Signal]:
        """Judge the minute that is over."""
        now = self.minutes.table.get(at) or Minute()
        self.left_out_count += now.left_out
        forget(self.minutes.table, at - _WINDOW_MAX)
        usual = median(self._volume) if len(self._volume) >= _HISTORY_MIN else None
        is_starved = usual is not None and usual >= _USUAL_MIN and now.event_count < usual / 5
        is_lossy = lost > _BLIND_SHARE * max(now.event_count, 1)
        self._volume.append(now.event_count)
        if is_starved or is_lossy:
            why = "events are being lost" if is_lossy else "far fewer events come than usual"
            return [
                Signal("blind", self._name, State.BLIND, at * 60, f"cannot judge: {why}",
                       f"{now.event_count} events in the minute, usually {usual or 0:.0f};"
                       f" {lost} lost",
                       next_command="quada status")
            ]  # fmt: skip
        found = [closed("blind", self._name, at)]
        found += self._failures.judge(self.minutes, at)
        found += self._share.judge(self.minutes, at)
        found += self._retries.judge(at)
        if self._is_recursive:
            found += self._upstreams.judge(self.minutes, at)
            found += self._delegations.judge(self.minutes, at)
            found += self._masking.judge(at)
        else:
            found += self._alias.judge(at)
        if now.left_out:
            found = [_of_sample(one) for one in found]
        return found


def _of_sample(signal: Signal) -> Signal:
    """Say that counts are of a sample."""
    if signal.state is not State.OPEN:
        return signal
    return signal._replace(compared="; ".join(filter(None, (signal.compared, "of a sample"))))
