"""The event store in a ClickHouse server, over its HTTP interface: same seam, same questions.

ClickHouse has no transactions over tables. Every put is a batch with a number; its rows go in
first, and one row of `commits`, with the positions, makes them count. Views leave out what is above
the last commit, and batches that were given up on. Writers of one state directory take turns under
the lock there; one database serves one state directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.store.rows import TABLES, Row, address_policy, event_of, event_rows, rollup_rows
from quada.telemetry.rollup import roll_up
from quada.wire.faults import ConfigFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import httpx

    from quada.store.events import Policy
    from quada.telemetry.event import Event
    from quada.telemetry.filter import Term

_TIMEOUT_S: Final = 15.0  # our choice: the collector waits for it, and rings hold minutes
_CONNECT_S: Final = 3.0
_ROWS_MAX: Final = 100_000
_COMMITS_KEPT_S: Final = 2 * 86_400
_KINDS: Final = {"TIMESTAMP": "DateTime('UTC')", "VARCHAR": "String", "BIGINT": "Int64",
                 "INTEGER": "Int32", "TINYINT": "Int8", "BOOLEAN": "UInt8"}  # fmt: skip
_ORDER: Final = {"events": "at_ns", "rollups": "stored", "clients": "stored"}
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,63}")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_NUMBERS: Final = ("Int", "UInt", "Nullable(Int", "Nullable(UInt")


class Place(NamedTuple):
    """Where the server is: URL with the database as its path, user, password."""

    url: str
    user: str = ""
    secret: str = ""


class Connection:
    """Speaks to one database. Raises: ReachFault where the server does not answer."""

    def __init__(self, place: Place) -> None:
        import httpx

        base, _, self.database = place.url.rstrip("/").rpartition("/")
        if not base.startswith(("http://", "https://")) or not _NAME.fullmatch(self.database):
            raise ConfigFault(
                f"{place.url!r} names no database of a server", place="events.clickhouse",
                remedy="as in http://[::1]:8123/quada",
            )  # fmt: skip
        self._url = base
        self._client = httpx.Client(
            auth=(place.user, place.secret) if place.user else None, trust_env=False,
            timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    def run(self, sql: str, data: bytes = b"", *, is_reading: bool = False) -> str:
        """Run a statement. Raises: ConfigFault with the server's own words for what it refuses."""
        options = {"output_format_json_quote_64bit_integers": "0", "database": self.database}
        if sql.startswith("CREATE DATABASE"):
            del options["database"]
        if is_reading:
            options["readonly"] = "2"  # reads, and may set formats
        answer = self._post(options, sql, data)
        if answer.status_code != 200:
            said = answer.text.strip().splitlines() or [f"status {answer.status_code}"]
            if answer.status_code >= 500 and "DB::Exception" not in said[0]:
                raise ReachFault(said[0][:300], place=self._url)
            raise ConfigFault(said[0][:300], place="SQL")
        return answer.text

    def ask(self, sql: str, rows_max: int = _ROWS_MAX) -> tuple[list[str], list[Row]]:
        """Ask: column names, and rows. Raises: ConfigFault, ReachFault."""
        text = self.run(f"{sql.rstrip().rstrip(';')}\nFORMAT JSONCompact", is_reading=True)
        told = json.loads(text)
        return [one["name"] for one in told["meta"]], [tuple(r) for r in told["data"][:rows_max]]

    def _post(self, options: dict[str, str], sql: str, data: bytes) -> httpx.Response:
        import httpx

        try:
            if data:
                return self._client.post(self._url, params=options | {"query": sql}, content=data)
            return self._client.post(self._url, params=options, content=sql.encode())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReachFault(
                f"ClickHouse does not answer: {error}", place=self._url,
                remedy="start it, or empty events.clickhouse to store in files",
            ) from error  # fmt: skip

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class ClickHouseStore:
    """The events of one state directory, in a ClickHouse database. See `EventStore`."""

    def __init__(self, directory: Path, place: Place, policy: Policy) -> None:
        self._directory = directory
        self._policy = policy
        self._connection = Connection(place)
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._show_client = address_policy(policy.clients, directory / "address.key")
        # What was under way when a put failed: its batch, and how many events it had.
        self._under_way: tuple[int, int] | None = None
        with self._locked():
            self._make()
            self._recover()

    def put(self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int) -> None:
        """Store events and the positions of the sources they came from, both or neither.

        After a ReachFault the same events, and more, are to be put again.
        """
        self._put(events, positions, now_s, self._show_client)

    def put_shown(self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int) -> None:
        """Store events whose client addresses are already what is kept of them."""
        self._put(events, positions, now_s, str)

    def _put(
        self, events: Sequence[Event], positions: Mapping[str, Any], now_s: int,
        show_client: Callable[[str], str],
    ) -> None:  # fmt: skip
        with self._locked():
            last, _, known = self._last()
            if self._under_way is not None:
                number, count = self._under_way
                if last == number:
                    events = events[count:]  # it had come through, only its answer had not
                else:
                    self._recover()
            number = max(last, self._voided()) + 1
            self._under_way = number, len(events)
            for table, rows in self._rows(events, show_client):
                self._insert(table, rows, number, now_s)
            self._commit(number, {**known, **positions}, now_s)
            self._under_way = None

    def positions(self) -> dict[str, Any]:
        """Give the positions that the last commits stored, by source."""
        return self._last()[2]

    def forget(self, source: str) -> None:
        """Forget a source's position; its events stay."""
        with self._locked():
            last, _, known = self._last()
            known.pop(source, None)
            self._commit(max(last, self._voided()) + 1, known, int(time.time()))

    def settle(self) -> None:
        """Make this one's policy for client addresses that of whoever else writes here."""
        with self._locked():
            last, clients, known = self._last()
            if clients != self._policy.clients:
                self._commit(max(last, self._voided()) + 1, known, int(time.time()))

    def settled_clients(self) -> str:
        """Give the server's policy for client addresses."""
        return self._last()[1] or "whole"

    def compact(self, now_s: int) -> int:
        """Drop the days that age and space do not let stay; ClickHouse merges by itself."""
        run = self._connection
        _, parts = run.ask(
            "SELECT partition, table, sum(bytes_on_disk) FROM system.parts WHERE active AND"
            f" database = '{run.database}' AND table LIKE '%_rows' GROUP BY partition, table"
            " ORDER BY partition DESC"
        )
        oldest = time.strftime("%Y%m%d", time.gmtime(now_s - self._policy.keep_s))
        today = time.strftime("%Y%m%d", time.gmtime(now_s))
        left, gone = self._policy.keep_octets, 0
        for partition, table, octets in parts:
            left -= int(octets)
            if partition < oldest or (left < 0 and partition < today):
                run.run(f"ALTER TABLE {table} DROP PARTITION {int(partition)}")
                gone += 1
        day = time.strftime("%Y%m%d", time.gmtime(now_s - _COMMITS_KEPT_S))
        last = self._last()[0]
        _, days = run.ask(
            "SELECT toYYYYMMDD(stored) AS day, max(batch) FROM commits GROUP BY day ORDER BY day"
        )
        for number, batch in days:
            if int(number) < int(day) and int(batch) < last:
                run.run(f"ALTER TABLE commits DROP PARTITION {int(number)}")
        return gone

    def status(self) -> dict[str, Any]:
        """Tell how much is kept."""
        _, ((count,),) = self._connection.ask("SELECT count() FROM events")
        _, ((parts, octets),) = self._connection.ask(
            "SELECT count(), sum(bytes_on_disk) FROM system.parts WHERE active AND database ="
            f" '{self._connection.database}'"
        )
        return {"events": int(count), "segments": int(parts), "octets": int(octets)}

    def ask(
        self, sql: str, values: Sequence[Any] = (), *, rows_max: int = _ROWS_MAX
    ) -> tuple[list[str], list[Row]]:
        """Ask in ClickHouse's SQL over the views events, rollups and clients."""
        return self._connection.ask(filled(sql, values), rows_max)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    # ------------------------------------------------------------------------------------ within

    def _make(self) -> None:
        run = self._connection.run
        run(f"CREATE DATABASE IF NOT EXISTS {self._connection.database}")
        run(
            "CREATE TABLE IF NOT EXISTS commits (batch UInt64, stored DateTime('UTC'),"
            " clients String, positions String) ENGINE = MergeTree"
            " PARTITION BY toYYYYMMDD(stored) ORDER BY batch"
        )
        run("CREATE TABLE IF NOT EXISTS voided (batch UInt64) ENGINE = MergeTree ORDER BY batch")
        for table, columns in TABLES.items():
            made = ", ".join(f"`{name}` {_kind(table, name)}" for name in columns)
            run(
                f"CREATE TABLE IF NOT EXISTS {table}_rows ({made}, batch UInt64,"
                f" stored DateTime('UTC')) ENGINE = MergeTree PARTITION BY toYYYYMMDD(stored)"
                f" ORDER BY {_ORDER[table]}"
            )
            listed = ", ".join(f"`{name}`" for name in columns)
            run(
                f"CREATE VIEW IF NOT EXISTS {table} AS SELECT {listed} FROM {table}_rows"
                " WHERE batch <= (SELECT max(batch) FROM commits)"
                " AND batch NOT IN (SELECT batch FROM voided)"
            )

    def _recover(self) -> None:
        """Give up on batches that were begun and never committed."""
        self._under_way = None
        last = max(self._last()[0], self._voided())
        begun: set[int] = set()
        for table in TABLES:
            _, rows = self._connection.ask(
                f"SELECT DISTINCT batch FROM {table}_rows WHERE batch > {last}"
            )
            begun |= {int(row[0]) for row in rows}
        if begun:
            lines = "".join(f"{number}\n" for number in sorted(begun))
            self._connection.run("INSERT INTO voided FORMAT TabSeparated", lines.encode())

    def _last(self) -> tuple[int, str, dict[str, Any]]:
        """Give the last commit: its batch, the policy for addresses, the positions."""
        _, rows = self._connection.ask(
            "SELECT batch, clients, positions FROM commits ORDER BY batch DESC LIMIT 1"
        )
        if not rows:
            return 0, "", {}
        batch, clients, positions = rows[0]
        return int(batch), clients, json.loads(positions)

    def _voided(self) -> int:
        _, ((number,),) = self._connection.ask("SELECT max(batch) FROM voided")
        return int(number)

    def _commit(self, number: int, positions: Mapping[str, Any], now_s: int) -> None:
        row = (number, _moment(now_s), self._policy.clients, json.dumps(positions))
        self._connection.run("INSERT INTO commits FORMAT TabSeparated", _lines([row]))

    def _rows(
        self, events: Sequence[Event], show_client: Callable[[str], str]
    ) -> Iterator[tuple[str, list[Row]]]:
        if not events:
            return
        rollups, clients = rollup_rows(roll_up(events))
        yield "events", event_rows(events, show_client)
        yield "rollups", rollups
        if clients and self._policy.clients != "hashed":
            yield "clients", clients

    def _insert(self, table: str, rows: list[Row], number: int, now_s: int) -> None:
        # The first column of each table is a time in microseconds; DateTime has seconds.
        tail = (number, _moment(now_s))
        made = [((row[0] or "")[:19] or None, *row[1:], *tail) for row in rows]
        self._connection.run(f"INSERT INTO {table}_rows FORMAT TabSeparated", _lines(made))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._directory / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class ClickHouseHistory:
    """Stored events read back, and those that come in; see `History`."""

    def __init__(self, place: Place) -> None:
        self._connection = Connection(place)
        self._seen = 0
        self.positions: dict[str, Any] = {}

    def since(self, since_ns: int, terms: Sequence[Term] = ()) -> Iterator[Event]:
        """Give the events from a time on, in the order of time, that may fit terms."""
        self._look()
        yield from self._read(f"at_ns >= {int(since_ns)} AND batch <= {self._seen}", terms)

    def fresh(self, terms: Sequence[Term] = ()) -> list[Event]:
        """Give the events that were stored since the last call."""
        before = self._seen
        self._look()
        if self._seen == before:
            return []
        return list(self._read(f"batch > {before} AND batch <= {self._seen}", terms))

    def _look(self) -> None:
        _, rows = self._connection.ask(
            "SELECT batch, positions FROM commits ORDER BY batch DESC LIMIT 1"
        )
        if rows:
            self._seen, self.positions = int(rows[0][0]), json.loads(rows[0][1])

    def _read(self, where: str, terms: Sequence[Term]) -> Iterator[Event]:
        from quada.store.history import condition

        narrowed, values = condition(terms)
        columns = ", ".join(f"`{name}`" for name in TABLES["events"])
        _, rows = self._connection.ask(
            f"SELECT {columns} FROM events_rows WHERE {where}"
            " AND batch NOT IN (SELECT batch FROM voided)"
            + filled(narrowed.replace("ends_with(", "endsWith("), values)
            + " ORDER BY at_ns",
            1 << 62,
        )
        for row in rows:
            yield event_of(_as_stored(row))


_FLAGS_AT: Final = [n for n, kind in enumerate(TABLES["events"].values()) if kind == "BOOLEAN"]


def _as_stored(row: Row) -> Row:
    """Make truth of ClickHouse's 0 and 1."""
    made = list(row)
    for at in _FLAGS_AT:
        made[at] = None if made[at] is None else bool(made[at])
    return tuple(made)


def filled(sql: str, values: Sequence[Any]) -> str:
    """Put values in place of each `?`, quoted. Raises: ConfigFault where they are not as many."""
    if not values:
        return sql
    parts = sql.split("?")
    if len(parts) != len(values) + 1:
        raise ConfigFault("there are not as many values as places for them", place="SQL")
    out = parts[0]
    for value, part in zip(values, parts[1:], strict=True):
        out += (str(value) if isinstance(value, int) else _quoted(str(value))) + part
    return out


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _kind(table: str, name: str) -> str:
    kind = _KINDS[TABLES[table][name]]
    is_key = name in ("at_ns", "count", "weight", "timed_count")
    return kind if is_key else f"Nullable({kind})"


def _lines(rows: Sequence[Row]) -> bytes:
    """Write rows in ClickHouse's TabSeparated format."""
    return "".join("\t".join(map(_cell, row)) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    if value is None or value == "":  # as files have it: what is empty is not known
        return "\\N"
    if value is True or value is False:
        return "1" if value else "0"
    return value.translate(_ESCAPES) if isinstance(value, str) else str(value)


def _moment(at_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
