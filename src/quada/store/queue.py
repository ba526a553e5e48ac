"""Events that wait on disk while the ClickHouse server is away, and go in when it is back.

What the server did not take is written to a file with a number, and is put again, oldest first; the
number goes with the positions into the server's commit, so what came through before the answer was
lost is not put twice. Addresses in the files are what the policy keeps.
"""

from __future__ import annotations

import contextlib
import json
import operator
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from quada.disk import replacing
from quada.store.clickhouse import ClickHouseStore
from quada.store.rows import address_policy
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.wire.ask import Transport
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from quada.store.clickhouse import Place
    from quada.store.events import Policy

_KEY: Final = "queue"  # in the positions: the number of the last put
_AGAIN_S: Final = 10.0
_AGAIN_MAX_S: Final = 60.0
_DRAIN_S: Final = 3.0  # at a time: rings hold minutes, and the collector has more to do
_NAMES: Final = tuple(one.name for one in fields(Event))
_values: Final = operator.attrgetter(*_NAMES)
_KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "kind": Kind, "role": Role, "transport": Transport, "validation": Validation,
    "provenance": Provenance, "cause": Cause,
}  # fmt: skip


class QueuedStore:
    """A ClickHouse store that need not be there. See `EventStore` for what it does.

    Takes how much may wait. Raises: ReachFault where that is full; ConfigFault, DataFault.
    """

    def __init__(self, directory: Path, place: Place, policy: Policy, octets_max: int) -> None:
        self._directory = directory
        self._place = place
        self._policy = policy
        self._octets_max = octets_max
        self._queue = directory / "queue"
        self._queue.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._show = address_policy(policy.clients, directory / "address.key")
        self._store: ClickHouseStore | None = None
        self._again_at = 0.0
        self._again_s = _AGAIN_S
        self.trouble = ""
        self._positions: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            self._positions = json.loads(self._kept_path.read_text(encoding="utf-8"))
        store = self._connected()
        if store is not None:
            self._positions = store.positions()
        for path in self._waiting():
            with contextlib.suppress(OSError, ValueError):
                self._positions |= json.loads(path.read_text(encoding="utf-8"))["positions"]

    @property
    def waiting_octets(self) -> int:
        """How much waits on disk."""
        return sum(path.stat().st_size for path in self._waiting())

    def put(self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int) -> None:
        """Store events and positions, in the server or in the queue."""
        number = self._positions.get(_KEY, {}).get("at", 0) + 1
        made = {**positions, _KEY: {"at": number}}
        store = self._drained()
        if store is not None and not self._waiting():
            try:
                store.put(events, made, now_s)
            except ReachFault as fault:
                self._lose(fault)
            else:
                self._positions |= made
                self._keep()
                return
        self._enqueue(events, made, number, now_s)
        self._positions |= made

    def positions(self) -> dict[str, Any]:
        """Give the positions that were stored last, in the server or in the queue."""
        return dict(self._positions)

    def forget(self, source: str) -> None:
        """Forget a source's position. Raises: ReachFault while the server is away."""
        self._there().forget(source)
        self._positions.pop(source, None)

    def settle(self) -> None:
        """Make this one's policy that of whoever else writes here, as soon as that can be."""
        store = self._connected()
        if store is not None:
            store.settle()

    def compact(self, now_s: int) -> int:
        """Drop what is too old. Nothing is done while the server is away."""
        return 0 if self._store is None else self._store.compact(now_s)

    def status(self) -> dict[str, Any]:
        """Tell how much is kept. Raises: ReachFault."""
        return self._there().status()

    # ------------------------------------------------------------------------------------ within

    @property
    def _kept_path(self) -> Path:
        return self._queue / "positions"

    def _waiting(self) -> list[Path]:
        return sorted(self._queue.glob("*.json"))

    def _connected(self) -> ClickHouseStore | None:
        """Give the store; looks for a server that was away only now and then."""
        if self._store is None and time.monotonic() >= self._again_at:
            try:
                self._store = ClickHouseStore(self._directory, self._place, self._policy)
                self._store.settle()
            except ReachFault as fault:
                self._lose(fault)
            else:
                self.trouble, self._again_s = "", _AGAIN_S
        return self._store

    def _there(self) -> ClickHouseStore:
        store = self._connected()
        if store is None:
            raise ReachFault(self.trouble, place=self._place.url)
        return store

    def _lose(self, fault: ReachFault) -> None:
        # Another one begins with a recovery, which gives up what was begun and never committed.
        if self._store is not None:
            self._store.close()
        self._store, self.trouble = None, f"{fault}; events wait in {self._queue}"
        self._again_at = time.monotonic() + self._again_s
        self._again_s = min(_AGAIN_MAX_S, 2 * self._again_s)

    def _drained(self) -> ClickHouseStore | None:
        """Put what waits, as far as that takes little time; gives the store where it is there."""
        store = self._connected()
        ends_at = time.monotonic() + _DRAIN_S
        try:
            for path in self._waiting() if store is not None else ():
                if store is None or time.monotonic() > ends_at:
                    break
                self._take(path, store)
                path.unlink()
        except ReachFault as fault:
            self._lose(fault)
        return self._store

    def _take(self, path: Path, store: ClickHouseStore) -> None:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            events = [_event(values) for values in told["events"]]
            positions, now_s = dict(told["positions"]), int(told["stored_s"])
            number = int(positions[_KEY]["at"])
        except (ValueError, KeyError, TypeError):
            path.rename(path.with_suffix(".broken"))
            path.touch()  # to be removed as one that was put
            return
        if store.positions().get(_KEY, {}).get("at", 0) < number:
            store.put_shown(events, positions, now_s)
            self._keep()

    def _enqueue(
        self, events: Sequence[Event], positions: Mapping[str, Any], number: int, now_s: int
    ) -> None:
        rows = []
        for event in events:
            values = dict(zip(_NAMES, _values(event), strict=True))
            if event.client is not None:
                values["client"] = self._show(event.client)
            rows.append(list(values.values()))
        text = json.dumps({"stored_s": now_s, "positions": positions, "events": rows})
        if self.waiting_octets + len(text) > self._octets_max:
            raise ReachFault(
                f"{self.trouble}, which is full", place=str(self._queue),
                remedy="start the ClickHouse server, or raise events.queue_mib",
            )  # fmt: skip
        try:
            with replacing(self._queue / f"{number:012d}.json", mode=0o600) as file:
                file.write(text)
        except OSError as error:
            raise ReachFault(f"cannot write: {error.strerror}", place=str(self._queue)) from error

    def _keep(self) -> None:
        """Keep the positions here too: the next start may not find the server."""
        with contextlib.suppress(OSError), replacing(self._kept_path, mode=0o600) as file:
            json.dump(self._positions, file)


def _event(values: Sequence[Any]) -> Event:
    told = dict(zip(_NAMES, values, strict=True))
    for name, kind in _KINDS.items():
        if told[name] is not None:
            told[name] = kind(told[name])
    return Event(**told)
