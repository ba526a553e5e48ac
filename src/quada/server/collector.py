"""The collector: an own process that gathers events, hands them to subscribers and stores them.

It reads our own rings, follows the logs that are configured, and takes dnstap from others. Nobody
waits for it: rings and sockets lose with a count where it is behind, files are read later. Events
and positions are stored together, so its end at any moment loses no line and doubles none in the
store; a subscriber may see the last seconds again after such an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from quada.disk import replacing
from quada.server.patience import Patience
from quada.server.plan import LogSource
from quada.server.sources import FileSource, RingSource, TapFileSource, TapSource, TextSource
from quada.server.watching import Watcher
from quada.store.alerts import FILE as ALERTS_FILE
from quada.store.clickhouse import Place
from quada.store.events import Policy
from quada.store.seam import open_patiently, settle_place
from quada.wire.faults import ConfigFault, DataFault, Fault

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from quada.server.outputs import Output
    from quada.server.plan import Plan
    from quada.store.seam import PatientEvents
    from quada.telemetry.event import Event

    Subscriber = Callable[[Sequence[Event]], None]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_PAUSE_S: Final = 0.1
_COMMIT_S: Final = 5.0  # what tail and dashboards may lag behind, and commits stay few
_COMMIT_EVENTS: Final = 50_000
_BUFFER_MAX: Final = 200_000  # our choice: some 100 MB while the disk does not take them
_COMPACT_S: Final = 600.0
GC_THRESHOLDS: Final = (100_000, 50, 100)  # measured: a fifth of what ingest takes
_NICE: Final = 10  # where cores are scarce the servers go first


class Collector:
    """Gathers for one state directory.

    Takes its directories of rings and of the store, the sources of the configuration, and who is
    to get every batch of events. Raises: ReachFault where the store cannot be opened.
    """

    def __init__(
        self,
        rings: Path,
        history: Path,
        configured: Sequence[LogSource] = (),
        *,
        policy: Policy | None = None,
        jsonl: Path | None = None,
        subscribers: Sequence[Subscriber] = (),
        per_second: int = 0,
        place: Place | None = None,
        queue_octets: int = 1 << 28,
    ) -> None:
        self._rings = rings
        self._history = history
        self._configured = configured
        self._jsonl = jsonl
        self._per_second = per_second
        self._subscribers = list(subscribers)
        settle_place(history, place)
        self._store: PatientEvents = open_patiently(history, policy or Policy(), queue_octets)
        self._store.settle()
        self._sources: dict[str, TextSource | TapFileSource | TapSource | RingSource] = {}
        self._running: dict[str, LogSource] = {}
        self._buffer: list[Event] = []
        self._dropped_count = 0
        self._committed_at = self._compacted_at = time.monotonic()
        self._has_news = False
        self._said = ""
        self._patience = Patience()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have every batch of events handed to one more."""
        self._subscribers.append(subscriber)

    @property
    def lost_count(self) -> int:
        """How many events of rings and sockets went by unread."""
        lossy = [one for one in self._sources.values() if not isinstance(one, FileSource)]
        return self._dropped_count + sum(one.lost_count for one in lossy)

    @property
    def sampled_count(self) -> int:
        """How many events of rings were passed over while every n-th was taken."""
        return sum(s.sampled_count for s in self._sources.values() if isinstance(s, RingSource))

    @property
    def waiting_octets(self) -> int:
        """How much waits on disk for a store that is away."""
        return self._store.waiting_octets

    def logs(self) -> dict[str, dict[str, Any]]:
        """Tell of each followed log its lines, those not understood, and what keeps it."""
        return {
            name: {**source.account(), "trouble": source.trouble}
            for name, source in self._sources.items()
            if not isinstance(source, RingSource)
        }

    async def run(self, until: asyncio.Event) -> None:
        """Gather until told to end, and then store what there is."""
        for path in sorted(self._rings.glob("*.ring")):
            name = f"ring:{path.stem}"
            with contextlib.suppress(DataFault, OSError):
                self._sources[name] = RingSource(
                    path, self._store.positions().get(name), self._per_second
                )
        while True:
            is_last = until.is_set()
            await self._refresh()
            if is_last:
                self._end_rings()
            has_more = self._patience.run(self._gather)
            age_s = time.monotonic() - self._committed_at
            if is_last or age_s > _COMMIT_S or (len(self._buffer) >= _COMMIT_EVENTS and age_s > 1):
                self._patience.run(self._commit)
            if is_last:
                for source in self._sources.values():
                    source.close()
                self._patience.close()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), 0 if has_more else _PAUSE_S)

    def _end_rings(self) -> None:
        """Let the last pass take what still waits in the rings."""
        for source in self._sources.values():
            if isinstance(source, RingSource):
                source.is_ending = True

    async def _refresh(self) -> None:
        """Start the sources that came, end those that went."""
        try:
            added = read_sources(self._history)
        except DataFault as fault:
            if str(fault) != self._said:
                self._said = str(fault)
                log.error("log sources cannot be read", fault=self._said)
            return
        wanted = {one.name: one for one in (*added, *self._configured)}
        for name in [n for n, one in self._running.items() if wanted.get(n) != one]:
            self._commit()
            self._sources.pop(name).close()
            del self._running[name]
        for name, one in wanted.items():
            if name in self._running:
                continue
            self._running[name] = one
            self._has_news = True  # where it begins is worth storing: it may be rotated next
            if one.is_socket:
                self._sources[name] = tap = TapSource(one, lambda: len(self._buffer) < _BUFFER_MAX)
                await tap.start()
            else:
                kind = TapFileSource if one.format == "dnstap" else TextSource
                self._sources[name] = kind(one, self._store.positions().get(name))

    def _gather(self) -> bool:
        """Take one batch of every source; tells whether a file may have more."""
        now_ns = time.time_ns()
        batch: list[Event] = []
        has_more = False
        for source in self._sources.values():
            if isinstance(source, FileSource) and len(self._buffer) >= _BUFFER_MAX:
                continue  # a file can wait
            events = source.take(now_ns)
            # Rings are paced: what they have more of is taken at the next beat.
            has_more = has_more or (bool(events) and not isinstance(source, RingSource))
            batch += events
        if not batch:
            return False
        self._has_news = True
        for subscriber in self._subscribers:
            try:
                subscriber(batch)
            except Exception:
                log.exception("a subscriber failed")  # its loss, not the store's
        self._write_lines(batch)
        room = _BUFFER_MAX * 2 - len(self._buffer)
        self._dropped_count += max(0, len(batch) - room)
        self._buffer += batch[:room]
        return has_more

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        if not self._has_news:
            return
        positions: dict[str, Any] = {n: source.position() for n, source in self._sources.items()}
        for name, source in self._sources.items():
            positions[name]["trouble"] = source.trouble
        positions["dropped"] = {"lost": self._dropped_count}
        now_s = int(time.time())
        try:
            self._store.put(self._buffer, positions, now_s)
            self._buffer, self._has_news = [], False
            if self._store.trouble != self._said:
                self._said = self._store.trouble
                log.warning("events wait for their store", why=self._said or "no more")
            if time.monotonic() - self._compacted_at > _COMPACT_S:
                self._compacted_at = time.monotonic()
                self._store.compact(now_s)
        except Fault as fault:
            # The events stay here and are tried again; beyond the bound they are lost and counted.
            if str(fault) != self._said:
                self._said = str(fault)
                log.error("events cannot be stored", fault=self._said)

    def _write_lines(self, batch: list[Event]) -> None:
        if self._jsonl is None:
            return
        with contextlib.suppress(OSError), self._jsonl.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(event.to_json()) + "\n" for event in batch)


async def collect(plan: Plan, metrics_sockets: Sequence[socket.socket] = ()) -> None:
    """Run a collector until SIGTERM; beside it the watch and /metrics, where those are on."""
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, until.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.nice(_NICE)
    # Events are many and hold no circles: Python would walk them for nothing.
    gc.set_threshold(*GC_THRESHOLDS)
    settings = plan.settings.events
    collector = Collector(
        plan.events_dir, plan.history_dir, plan.log_sources,
        policy=Policy(settings.history_days * 86_400, settings.history_mib << 20, settings.clients),
        jsonl=plan.state_dir / settings.jsonl if settings.jsonl else None,
        # A file of every event is worth what it costs to who asks for one.
        per_second=0 if settings.jsonl else settings.store_per_second,
        place=Place(settings.clickhouse, settings.clickhouse_user, settings.clickhouse_secret)
        if settings.clickhouse else None,
        queue_octets=settings.queue_mib << 20,
    )  # fmt: skip
    beside: list[asyncio.Task[None]] = []
    watcher: Watcher | None = None
    if plan.settings.signals.on:
        watcher = Watcher(
            plan.state_dir / ALERTS_FILE, plan.settings.alert_receiver,
            lambda: collector.lost_count, plan.control_path,
        )  # fmt: skip
        collector.subscribe(watcher.feed)
        beside.append(asyncio.create_task(watcher.run(until)))
    outputs: list[Output] = []
    if plan.settings.event_output:
        from quada.server.outputs import make_output

        for section in plan.settings.event_output:
            outputs.append(make_output(section, settings.clients, plan.history_dir / "address.key"))
            collector.subscribe(outputs[-1].feed)
    if metrics_sockets:
        from quada.server.metrics import Exposition, serve_metrics

        exposition = Exposition(collector, watcher, plan.control_path, outputs)
        collector.subscribe(exposition.meter.feed)
        beside.append(asyncio.create_task(serve_metrics(exposition, metrics_sockets, until)))
    # Outputs end after the collector, with what it saw last.
    is_over = asyncio.Event()
    sending = [asyncio.create_task(output.run(is_over)) for output in outputs]
    await collector.run(until)
    is_over.set()
    await asyncio.gather(*beside, *sending)


def read_sources(history: Path) -> list[LogSource]:
    """Give the sources that `quada logs add` has added. Raises: DataFault."""
    path = history / "sources.json"
    try:
        return [LogSource(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise DataFault(f"the list of log sources is broken: {error}", place=str(path)) from error


def write_sources(history: Path, sources: Sequence[LogSource]) -> None:
    """Replace the sources that were added; a running collector sees it. Raises: ConfigFault."""
    for one in sources:
        one.check()
    try:
        history.mkdir(parents=True, exist_ok=True, mode=0o750)
        with replacing(history / "sources.json") as file:
            json.dump(
                [{"name": s.name, "path": s.path, "format": s.format, "role": s.role}
                 for s in sources],
                file,
            )  # fmt: skip
    except OSError as error:
        raise ConfigFault(f"cannot write: {error.strerror}", place=str(history)) from error
