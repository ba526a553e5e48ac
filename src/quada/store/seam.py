"""Where events are stored: in files of the state directory, or in a ClickHouse server.

The running server settles it; commands that share its state directory find it there.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Protocol

import quada.store.events as files
from quada.store.clickhouse import ClickHouseHistory, ClickHouseStore, Place
from quada.store.history import History
from quada.store.queue import QueuedStore
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from quada.store.rows import Row
    from quada.telemetry.event import Event
    from quada.telemetry.filter import Term

_POINTER = "clickhouse.json"


class Events(Protocol):
    """What a store of events does; see `EventStore` for each."""

    def put(self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int) -> None: ...
    def positions(self) -> dict[str, Any]: ...
    def forget(self, source: str) -> None: ...
    def settle(self) -> None: ...
    def compact(self, now_s: int) -> int: ...
    def status(self) -> dict[str, Any]: ...


class PatientEvents(Events, Protocol):
    """A store that may have to wait for its server; `trouble` says why, empty where it does not."""

    @property
    def trouble(self) -> str: ...
    @property
    def waiting_octets(self) -> int: ...


class Told(Protocol):
    """Stored events read back; see `History` for each."""

    positions: dict[str, Any]

    def since(self, since_ns: int, terms: Sequence[Term] = ()) -> Iterator[Event]: ...
    def fresh(self, terms: Sequence[Term] = ()) -> list[Event]: ...


def settle_place(history: Path, place: Place | None) -> None:
    """Note for every command that shares this directory where events are; None is its files."""
    history.mkdir(parents=True, exist_ok=True, mode=0o750)
    pointer = history / _POINTER
    if place is None:
        pointer.unlink(missing_ok=True)
        return
    made = history / f".{_POINTER}.{os.getpid()}"
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(place._asdict(), file)
    made.replace(pointer)


def open_events(history: Path, policy: files.Policy) -> Events:
    """Open the store. Raises: ReachFault, ConfigFault, DataFault."""
    place = _place(history)
    if place is None:
        return files.EventStore(history, policy)
    return ClickHouseStore(history, place, policy)


def open_patiently(history: Path, policy: files.Policy, queue_octets: int) -> PatientEvents:
    """Open the store for the collector, whose server may be away: events then wait on disk.

    Raises: ReachFault for a disk that cannot be written, ConfigFault, DataFault.
    """
    place = _place(history)
    if place is None:
        return files.EventStore(history, policy)
    return QueuedStore(history, place, policy, queue_octets)


def open_history(history: Path) -> Told:
    """Open the store to read events back. Raises: ReachFault, DataFault."""
    place = _place(history)
    return History(history) if place is None else ClickHouseHistory(place)


def settled_clients(history: Path) -> str:
    """Give the server's policy for client addresses. Raises: ReachFault, DataFault."""
    place = _place(history)
    if place is None:
        return files.settled_clients(history)
    return ClickHouseStore(history, place, files.Policy()).settled_clients()


def ask(
    history: Path, sql: str, values: Sequence[Any] = (), *, rows_max: int = 100_000
) -> tuple[list[str], list[Row]]:
    """Ask in SQL, which is DuckDB's for files and ClickHouse's for that.

    Raises: ConfigFault with the database's own words, ReachFault where there is no store.
    """
    place = _place(history)
    if place is None:
        return files.ask(history, sql, values, rows_max=rows_max)
    return ClickHouseStore(history, place, files.Policy()).ask(sql, values, rows_max=rows_max)


def seconds_of(history: Path, column: str) -> str:
    """Give SQL for the seconds of the Unix epoch of a column of times, as that store has it."""
    return f"toUnixTimestamp({column})" if _place(history) is not None else f"epoch({column})"


def _place(history: Path) -> Place | None:
    try:
        return Place(**json.loads((history / _POINTER).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DataFault(
            f"where events are stored cannot be read: {error}", place=str(history / _POINTER)
        ) from error
