"""The event store: Parquet segments, and one manifest that says which of them count.

A commit writes its segments, then replaces the manifest: what came in and how far each source was
read become true in one rename. So a kill at any moment loses no line and doubles none, readers in
any number see whole commits, and whatever the manifest does not name is rubbish. Writers take turns
under a lock. Segments lie by role and by the hour they were stored in, which, unlike the hour an
event claims, strangers cannot choose.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.disk import replacing
from quada.store.rows import TABLES, Row, address_policy, event_rows, rollup_rows
from quada.telemetry.rollup import roll_up
from quada.wire.faults import ConfigFault, DataFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from quada.telemetry.event import Event

_VERSION: Final = 1
_ROWS_MAX: Final = 100_000
_TRIES: Final = 5
_COMPACT_MIN: Final = 8  # our choice: fewer segments of an hour are not worth rewriting


class Segment(NamedTuple):
    """One Parquet file: its table, its place in the store, what it holds, when it was stored."""

    table: str
    path: str
    rows: int
    octets: int
    stored_at_s: int


class Policy(NamedTuple):
    """What is kept: for how long, in how much space, and what of client addresses.

    `clients` is whole, truncated (/64, /24) or hashed.
    """

    keep_s: int = 30 * 86_400
    keep_octets: int = 10 << 30
    clients: str = "whole"


class EventStore:
    """A directory of events. Any number of readers, and writers one at a time.

    Raises: ReachFault where it cannot be made or written; nothing is changed then.
    """

    trouble = ""  # it is here, or not at all: nothing waits for a server
    waiting_octets = 0

    def __init__(self, directory: Path, policy: Policy = Policy()) -> None:  # noqa: B008
        self._directory = directory
        self._policy = policy
        with _disk(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            with self._locked():
                self._sweep(self._manifest())
            self._show_client = address_policy(policy.clients, directory / "address.key")

    def put(self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int) -> None:
        """Store events and the positions of the sources they came from, both or neither."""
        with _disk(self._directory), self._locked():
            manifest = self._manifest()
            number = manifest["sequence"] + 1
            segments = list(_segments(manifest))
            hour = time.strftime("%Y%m%d%H", time.gmtime(now_s))
            for table, role, rows in self._rows(events):
                name = f"{table}/role={role}/hour={hour}/{number:010d}.parquet"
                self._write(table, name, rows)
                size = (self._directory / name).stat().st_size
                segments.append(Segment(table, name, len(rows), size, now_s))
            kept = self._retained(segments, now_s)
            self._commit(number, kept, {**manifest["positions"], **positions})
            self._remove(set(segments) - set(kept))

    def settle(self) -> None:
        """Make this one's policy for client addresses that of whoever else writes here."""
        with _disk(self._directory), self._locked():
            manifest = self._manifest()
            if manifest.get("clients") != self._policy.clients:
                manifest["clients"] = self._policy.clients
                self._replace(manifest)

    def positions(self) -> dict[str, Any]:
        """Give the positions that the last commits stored, by source."""
        found: dict[str, Any] = self._manifest()["positions"]
        return found

    def forget(self, source: str) -> None:
        """Forget a source's position; its events stay."""
        with _disk(self._directory), self._locked():
            manifest = self._manifest()
            manifest["positions"].pop(source, None)
            self._commit(manifest["sequence"], list(_segments(manifest)), manifest["positions"])

    def compact(self, now_s: int) -> int:
        """Make the segments of each hour that is over one; gives how many were replaced."""
        current = time.strftime("%Y%m%d%H", time.gmtime(now_s))
        with _disk(self._directory), self._locked():
            manifest = self._manifest()
            hours: dict[str, list[Segment]] = {}
            for segment in _segments(manifest):
                hours.setdefault(str(Path(segment.path).parent), []).append(segment)
            number, gone, made = manifest["sequence"], [], []
            for place, segments in hours.items():
                if len(segments) < _COMPACT_MIN or place.endswith(current):
                    continue
                number += 1
                name = f"{place}/{number:010d}.parquet"
                paths = [str(self._directory / one.path) for one in segments]
                self._copy(_together(segments[0].table), [paths], name)
                made.append(
                    Segment(
                        segments[0].table, name, sum(one.rows for one in segments),
                        (self._directory / name).stat().st_size, segments[-1].stored_at_s,
                    )
                )  # fmt: skip
                gone += segments
            if made:
                left = [one for one in _segments(manifest) if one not in set(gone)]
                self._commit(number, [*left, *made], manifest["positions"])
                self._remove(set(gone))
            return len(gone)

    def status(self) -> dict[str, Any]:
        """Tell how much is kept."""
        segments = list(_segments(self._manifest()))
        return {
            "events": sum(one.rows for one in segments if one.table == "events"),
            "segments": len(segments),
            "octets": sum(one.octets for one in segments),
        }

    def _rows(self, events: Sequence[Event]) -> Iterator[tuple[str, str, list[Row]]]:
        by_role: dict[str, list[Event]] = {}
        for event in events:
            role = event.role.name.lower() if event.role else "unknown"
            by_role.setdefault(role, []).append(event)
        for role, some in by_role.items():
            yield "events", role, event_rows(some, self._show_client)
            rollups, clients = rollup_rows(roll_up(some))
            yield "rollups", role, rollups
            if clients and self._policy.clients != "hashed":
                yield "clients", role, clients

    def _write(self, table: str, name: str, rows: list[Row]) -> None:
        """Write one segment, by way of a CSV file: the quickest that Python and DuckDB share."""
        made = self._directory / f".{os.getpid()}.csv"
        columns = ", ".join(f"'{column}': '{kind}'" for column, kind in TABLES[table].items())
        try:
            with made.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
            self._copy(
                "SELECT * FROM read_csv(?, header=false, auto_detect=false, delim=',', quote='\"',"
                f" escape='\"', nullstr='', max_line_size=1048576, columns={{{columns}}})",
                [str(made)],
                name,
            )
        finally:
            made.unlink(missing_ok=True)

    def _copy(self, select: str, values: list[Any], name: str) -> None:
        import duckdb

        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        target = str(path).replace("'", "''")
        with contextlib.closing(duckdb.connect(config={"threads": 1})) as connection:
            try:
                connection.execute(
                    f"COPY ({select}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", values
                )
                _sync(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _retained(self, segments: list[Segment], now_s: int) -> list[Segment]:
        """Give what age and space let stay: the newest first, rollups before events."""
        young = [one for one in segments if now_s - one.stored_at_s <= self._policy.keep_s]
        left = self._policy.keep_octets
        kept = set()
        for one in sorted(young, key=lambda s: (s.table == "events", -s.stored_at_s)):
            left -= one.octets
            if left < 0:
                break
            kept.add(one)
        return [one for one in young if one in kept]

    def _manifest(self) -> dict[str, Any]:
        try:
            found = json.loads((self._directory / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"version": _VERSION, "sequence": 0, "segments": [], "positions": {}}
        except (OSError, ValueError) as error:
            raise DataFault(
                f"the manifest cannot be read: {error}",
                place=str(self._directory / "manifest.json"),
                remedy="restore it, or move the directory away to begin anew",
            ) from error
        if found.get("version") != _VERSION:
            raise DataFault("the event store has another version", place=str(self._directory))
        whole: dict[str, Any] = found
        return whole

    def _commit(self, number: int, segments: list[Segment], positions: Mapping[str, Any]) -> None:
        self._replace(
            self._manifest() | {"sequence": number, "segments": segments, "positions": positions}
        )

    def _replace(self, manifest: dict[str, Any]) -> None:
        with replacing(self._directory / "manifest.json") as file:
            json.dump(manifest, file)
        _sync(self._directory)

    def _remove(self, segments: set[Segment]) -> None:
        for one in segments:
            (self._directory / one.path).unlink(missing_ok=True)

    def _sweep(self, manifest: dict[str, Any]) -> None:
        """Remove what a commit that did not come about has left."""
        named = {one.path for one in _segments(manifest)}
        for path in self._directory.glob("*/*/*/*.parquet"):
            if str(path.relative_to(self._directory)) not in named:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._directory / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def settled_clients(directory: Path) -> str:
    """Give the server's policy for client addresses; whole where no server has run here.

    Raises: DataFault for a store that cannot be read.
    """
    try:
        found = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        return str(found.get("clients", "whole"))
    except FileNotFoundError:
        return "whole"
    except (OSError, ValueError, AttributeError) as error:
        raise DataFault(
            f"the manifest cannot be read: {error}", place=str(directory / "manifest.json")
        ) from error


def ask(
    directory: Path, sql: str, values: Sequence[Any] = (), *, rows_max: int = _ROWS_MAX
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Ask in SQL over the views events, rollups and clients: column names, and rows.

    Sees the commits made before it was called. Raises: ConfigFault with the database's own words;
    ReachFault where there is no store.
    """
    import duckdb

    if not (directory / "manifest.json").exists():
        raise ReachFault("no events are kept here", place=str(directory))
    for left in range(_TRIES, 0, -1):
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        with contextlib.closing(duckdb.connect()) as connection:
            try:
                _make_views(connection, directory, list(_segments(manifest)))
                found = connection.execute(sql, list(values))
                return [one[0] for one in found.description or ()], found.fetchmany(rows_max)
            except duckdb.IOException as error:
                # A segment went out of the store after we read of it: look again.
                if left == 1:
                    raise ReachFault(str(error).splitlines()[0], place=str(directory)) from error
            except duckdb.Error as error:
                raise ConfigFault(str(error).splitlines()[0], place="SQL") from error
    raise AssertionError


def _make_views(
    connection: duckdb.DuckDBPyConnection, directory: Path, segments: list[Segment]
) -> None:
    for table, columns in TABLES.items():
        paths = [str(directory / one.path) for one in segments if one.table == table]
        if paths:
            listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
            source = f"read_parquet([{listed}], hive_partitioning=false)"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {source}")
        else:
            made = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE {table} ({made})")


def _together(table: str) -> str:
    """Give the SELECT that puts segments together: rollups of the same minute and key add up."""
    source = "FROM read_parquet(?, hive_partitioning=false)"
    if table == "events":
        return f"SELECT * {source}"
    sums = [name for name, kind in TABLES[table].items() if kind == "BIGINT"]
    keys = ", ".join(f'"{name}"' for name in TABLES[table] if name not in sums)
    added = ", ".join(f'sum("{name}")::BIGINT AS "{name}"' for name in sums)
    return f"SELECT {keys}, {added} {source} GROUP BY {keys} ORDER BY minute"


def _segments(manifest: dict[str, Any]) -> Iterator[Segment]:
    return (Segment(*one) for one in manifest["segments"])


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _disk(directory: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise ReachFault(
            f"cannot write the event store: {str(error).splitlines()[0]}",
            place=str(directory),
            remedy="make room, or keep less with events.history_mib",
        ) from error
