"""Alerts: one for each incident, from opening to closing, and what must still be delivered.

A signal opens an alert or changes an open one; nothing is told twice. Deliveries wait on disk until
a receiver has taken them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.store.database import open_database, reading, writing
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from quada.telemetry.signals import Signal

FILE: Final = "alerts.db"
_KEPT_MAX: Final = 10_000
_WAITING_MAX: Final = 1_000  # for one receiver; the oldest are given up
_MIGRATIONS: Final = (
    (
        "CREATE TABLE alert (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL,"
        " kind TEXT NOT NULL, state TEXT NOT NULL, opened_at INTEGER NOT NULL,"
        " closed_at INTEGER, told TEXT NOT NULL, acked_by TEXT)",
        "CREATE INDEX alert_of_key ON alert (key, state)",
        "CREATE TABLE silence (id INTEGER PRIMARY KEY AUTOINCREMENT, pattern TEXT NOT NULL,"
        " until INTEGER NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL)",
        "CREATE TABLE delivery (id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL,"
        " body TEXT NOT NULL, tries INTEGER NOT NULL, due_at INTEGER NOT NULL)",
    ),
    ("ALTER TABLE alert ADD COLUMN incident TEXT",),
)


class Alert(NamedTuple):
    """One incident. `told` is what its signal last said; times are seconds of the Unix epoch.

    `incident` is the checklist walked for it, where it was.
    """

    number: int
    key: str
    kind: str
    state: str
    opened_at: int
    closed_at: int | None
    told: dict[str, Any]
    acked_by: str | None
    incident: dict[str, Any] | None = None


class Silence(NamedTuple):
    """Alerts whose key holds a text are not delivered until a time."""

    number: int
    pattern: str
    until: int
    who: str
    why: str


class Delivery(NamedTuple):
    """A message to one receiver that has not been taken yet."""

    number: int
    receiver: str
    body: dict[str, Any]
    tries: int


class AlertStore:
    """The alerts of a state directory. Every method is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, path: Path) -> AlertStore:
        """Open the file, and make it where there is none. Raises: ConfigFault."""
        return cls(open_database(path, _MIGRATIONS))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def note(self, signal: Signal, now_s: int, receivers: tuple[str, ...]) -> Alert | None:
        """Open, update or close the alert of a signal, and have receivers told unless silenced.

        Gives the alert; None where there is nothing to close.
        """
        told = signal._asdict() | {"state": str(signal.state)}
        is_over = signal.state == "closed"
        with writing(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT id FROM alert WHERE key = ? AND state = 'open'", (signal.key,)
            ).first()
            if row is None and is_over:
                return None
            if row is None:
                number = connection.exec_driver_sql(
                    "INSERT INTO alert (key, kind, state, opened_at, told)"
                    " VALUES (?, ?, 'open', ?, ?) RETURNING id",
                    (signal.key, signal.kind, signal.since, json.dumps(told)),
                ).scalar_one()
                what = "opened"
                connection.exec_driver_sql(
                    "DELETE FROM alert WHERE state = 'closed' AND id <= ?", (number - _KEPT_MAX,)
                )
            elif is_over:
                number, what = row[0], "closed"
                connection.exec_driver_sql(
                    "UPDATE alert SET state = 'closed', closed_at = ? WHERE id = ?", (now_s, number)
                )
            else:
                number, what = row[0], "updated"
                connection.exec_driver_sql(
                    "UPDATE alert SET told = ? WHERE id = ?", (json.dumps(told), number)
                )
            found = _alert(_row(connection, number))
            is_silent = connection.exec_driver_sql(
                "SELECT 1 FROM silence WHERE until > ? AND instr(?, pattern)", (now_s, signal.key)
            ).first()
            if is_silent is None:
                body = json.dumps({"what": what, **alert_data(found)})
                for receiver in receivers:
                    connection.exec_driver_sql(
                        "INSERT INTO delivery (receiver, body, tries, due_at) VALUES (?, ?, 0, ?)",
                        (receiver, body, now_s),
                    )
                    connection.exec_driver_sql(
                        "DELETE FROM delivery WHERE receiver = ? AND id <="
                        " (SELECT max(id) FROM delivery WHERE receiver = ?) - ?",
                        (receiver, receiver, _WAITING_MAX),
                    )
        return found

    def open_keys(self) -> list[str]:
        """Give the keys of open alerts, so that a new start closes what is over."""
        with reading(self._engine) as connection:
            return [
                row[0]
                for row in connection.exec_driver_sql("SELECT key FROM alert WHERE state = 'open'")
            ]

    def alerts(self, *, is_open: bool = False, limit: int = 100) -> list[Alert]:
        """Give alerts, the newest first."""
        only = "WHERE state = 'open'" if is_open else ""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                f"{_SELECT} {only} ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [_alert(row) for row in rows]

    def alert(self, number: int) -> Alert:
        """Give one alert. Raises: DataFault where there is none."""
        with reading(self._engine) as connection:
            return _alert(_row(connection, number))

    def acknowledge(self, number: int, who: str) -> None:
        """Note that somebody has taken an alert on. Raises: DataFault where there is none."""
        with writing(self._engine) as connection:
            _row(connection, number)
            connection.exec_driver_sql("UPDATE alert SET acked_by = ? WHERE id = ?", (who, number))

    def attach(self, number: int, incident: dict[str, Any]) -> None:
        """Keep the incident checklist that was walked for an alert."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "UPDATE alert SET incident = ? WHERE id = ?", (json.dumps(incident), number)
            )

    def silence(self, pattern: str, until: int, who: str, why: str) -> None:
        """Deliver nothing about keys that hold a text, until a time."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "INSERT INTO silence (pattern, until, who, why) VALUES (?, ?, ?, ?)",
                (pattern, until, who, why),
            )

    def silences(self, now_s: int) -> list[Silence]:
        """Give the silences in force."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT id, pattern, until, who, why FROM silence WHERE until > ?", (now_s,)
            )
            return [Silence(*row) for row in rows]

    def due(self, now_s: int, limit: int = 20) -> list[Delivery]:
        """Give deliveries whose time has come, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT id, receiver, body, tries FROM delivery WHERE due_at <= ?"
                " ORDER BY id LIMIT ?",
                (now_s, limit),
            )
            return [Delivery(row[0], row[1], json.loads(row[2]), row[3]) for row in rows]

    def delivered(self, number: int) -> None:
        """Forget a delivery that was taken."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql("DELETE FROM delivery WHERE id = ?", (number,))

    def put_off(self, number: int, due_at: int) -> None:
        """Have a delivery tried again later."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "UPDATE delivery SET tries = tries + 1, due_at = ? WHERE id = ?", (due_at, number)
            )


_SELECT: Final = (
    "SELECT id, key, kind, state, opened_at, closed_at, told, acked_by, incident FROM alert"
)


def alert_data(alert: Alert) -> dict[str, Any]:
    """Give an alert as JSON data."""
    told = {key: value for key, value in alert.told.items() if key not in ("state", "kind")}
    return {
        "number": alert.number, "key": alert.key, "kind": alert.kind, "state": alert.state,
        "opened_at": alert.opened_at, "closed_at": alert.closed_at, "acked_by": alert.acked_by,
        **told, **({"incident": alert.incident} if alert.incident else {}),
    }  # fmt: skip


def _row(connection: sa.Connection, number: int) -> Any:
    row = connection.exec_driver_sql(f"{_SELECT} WHERE id = ?", (number,)).first()
    if row is None:
        raise DataFault(
            f"there is no alert {number}", place="NUMBER", remedy="`quada alerts list` shows them"
        )
    return row


def _alert(row: Any) -> Alert:
    incident = json.loads(row[8]) if row[8] else None
    told = json.loads(row[6])
    return Alert(row[0], row[1], row[2], row[3], row[4], row[5], told, row[7], incident)
