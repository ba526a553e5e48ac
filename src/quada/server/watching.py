"""The watch: beside the collector it judges what was gathered, keeps alerts, delivers them.

It cannot slow the servers: what the collector does not read in time is lost and counted, and makes
the watch say that it is blind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.server.control as control
from quada.disk import replacing
from quada.server.receivers import send
from quada.store.alerts import AlertStore
from quada.telemetry.signals import Signal, State, Watch
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from quada.config.settings import ReceiverSection
    from quada.telemetry.event import Event

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_JUDGE_S: Final = 5.0
_BACKOFF_S: Final = 10
_BACKOFF_MAX_S: Final = 3600
_TRIES_MAX: Final = 50
_MEMORY_FILE: Final = "usual.json"
_MEMORY_MAX_S: Final = 2 * 86_400  # what was usual before a longer pause may not be any more
_REMEMBER_S: Final = 600.0


class Watcher:
    """Ties events to the watch, and its signals to alerts and receivers.

    Takes where alerts are kept, the receivers, what gives the number of events lost so far, and the
    control socket of the supervisor to be asked how zones and pools stand; None asks nobody.
    """

    def __init__(
        self,
        path: Path,
        receivers: Sequence[ReceiverSection],
        lost: Callable[[], int] = lambda: 0,
        control_path: Path | None = None,
    ) -> None:
        self._receivers = {one.name: one for one in receivers}
        self._store = AlertStore.open(path)
        self._lost = lost
        self._control_path = control_path
        self._lost_before: int | None = None
        self._watch = Watch()
        self._memory_path = path.with_name(_MEMORY_FILE)
        self._remembered_at = time.monotonic()
        self._recall()
        self._watch.resume(
            Signal(**alert.told)._replace(state=State(alert.told["state"]))
            for alert in self._store.alerts(is_open=True, limit=500)
        )

    def open_kinds(self) -> list[str]:
        """Give the kind of each open alert."""
        return [alert.kind for alert in self._store.alerts(is_open=True, limit=500)]

    @property
    def left_out_count(self) -> int:
        """How many events samples stood for, in minutes that held too much to keep."""
        return self._watch.left_out_count

    def feed(self, events: Sequence[Event]) -> None:
        """Take a batch of events."""
        self._watch.feed(events)

    async def run(self, until: asyncio.Event) -> None:
        """Judge and deliver until told to end."""
        beside: dict[str, asyncio.Task[None]] = {}
        while not until.is_set():
            try:
                self.judge(int(time.time()))
            except Exception:
                log.exception("a minute cannot be judged")  # the next one may be
            for name, work in (("deliver", self.deliver), ("look", self.look)):
                if name not in beside or beside[name].done():
                    beside[name] = asyncio.create_task(work())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), _JUDGE_S)
            if time.monotonic() - self._remembered_at > _REMEMBER_S:
                self.remember()
        self.remember()
        for task in beside.values():
            task.cancel()

    def remember(self) -> None:
        """Write down what is usual, so that the next watch need not learn it again."""
        self._remembered_at = time.monotonic()
        try:
            with replacing(self._memory_path) as file:
                json.dump({"at": int(time.time()), "usual": self._watch.memory()}, file)
        except OSError as error:
            log.warning("what is usual cannot be kept", why=error.strerror)

    def _recall(self) -> None:
        try:
            found = json.loads(self._memory_path.read_text(encoding="utf-8"))
            if 0 <= time.time() - found["at"] < _MEMORY_MAX_S:
                self._watch.recall(found["usual"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("what was usual cannot be read", why=repr(error))
            self._watch = Watch()

    async def look(self) -> None:
        """Ask the supervisor how zones and pools stand; what cannot be asked stays as it was."""
        if self._control_path is None:
            return
        with contextlib.suppress(ReachFault, ValueError):
            status = await asyncio.to_thread(control.command, self._control_path, "status")
            now_s = int(time.time())
            for one in self._watch.judge_standing(status, now_s):
                self.note(one, now_s)

    def judge(self, now_s: int) -> None:
        """Judge the minutes that are over, and keep what changed."""
        lost = self._lost()
        # What was lost before the watch began is nothing to judge by.
        if self._lost_before is not None and lost > self._lost_before:
            self._watch.lose(lost - self._lost_before, now_s)
        self._lost_before = lost
        for one in self._watch.judge(now_s):
            self.note(one, now_s)

    def note(self, found: Signal, now_s: int) -> None:
        """Keep a signal as an alert."""
        if found.state is State.CLOSED and found.key not in self._store.open_keys():
            return
        alert = self._store.note(found, now_s, tuple(self._receivers))
        if alert is not None:
            tell = log.info if found.state is State.CLOSED else log.warning
            tell("alert", number=alert.number, state=alert.state, key=alert.key,
                 summary=found.summary)  # fmt: skip

    async def deliver(self) -> None:
        """Send what is due; a receiver that hangs keeps nobody else waiting."""
        now_s = int(time.time())
        by_receiver: dict[str, list[Any]] = {}
        for one in self._store.due(now_s, 100):
            by_receiver.setdefault(one.receiver, []).append(one)
        await asyncio.gather(*(self._deliver_all(name, all_) for name, all_ in by_receiver.items()))

    async def _deliver_all(self, name: str, deliveries: list[Any]) -> None:
        receiver = self._receivers.get(name)
        for one in deliveries:
            if receiver is None or one.tries >= _TRIES_MAX:
                self._store.delivered(one.number)
                continue
            why = await send(receiver, one.body)
            if why:
                wait_s = min(_BACKOFF_MAX_S, _BACKOFF_S * 2 ** min(one.tries, 10))
                self._store.put_off(one.number, int(time.time()) + wait_s)
                log.warning("alert not delivered", receiver=name, why=why, again_in_s=wait_s)
                return
            self._store.delivered(one.number)
