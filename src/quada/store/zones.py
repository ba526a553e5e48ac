"""Zones that live in the store: their records, and the journal of every change to them.

The store is the single truth. A change is one transaction: checked, numbered, applied and
journaled, or nothing of it happened. Servers, the command line and the API write here alike and
read what others wrote from the journal.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.store.database import open_database, reading, writing
from quada.store.journal import SELECTED, Author, Entry, entry_of, is_one_life, pack_records
from quada.wire.faults import DataFault
from quada.wire.serial import is_later
from quada.zones import Change, Record, RRset, Zone, diff, refusals_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import sqlalchemy as sa

_MIGRATIONS: Final = (
    (
        """CREATE TABLE zone (
            name BLOB PRIMARY KEY, serial INTEGER NOT NULL, revision INTEGER NOT NULL,
            settings TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE rrset (
            zone BLOB NOT NULL, owner BLOB NOT NULL, rdtype INTEGER NOT NULL,
            ttl INTEGER NOT NULL, rdatas BLOB NOT NULL,
            PRIMARY KEY (zone, owner, rdtype)
        ) WITHOUT ROWID""",
        """CREATE TABLE change (
            id INTEGER PRIMARY KEY AUTOINCREMENT, zone BLOB NOT NULL, revision INTEGER NOT NULL,
            serial_from INTEGER, serial_to INTEGER NOT NULL, at INTEGER NOT NULL,
            who TEXT NOT NULL, place TEXT NOT NULL, why TEXT NOT NULL,
            removed BLOB NOT NULL, added BLOB NOT NULL
        )""",
        "CREATE INDEX change_of_zone ON change (zone, id)",
    ),
)
_FOLLOWED_MAX: Final = 64  # our choice: more changes than this, and reading the zone is as quick
SERIAL_POLICIES: Final = ("increment", "date", "unixtime")


class SerialConflict(DataFault):
    """Somebody else changed the zone since it was read."""

    code = "serial-conflict"


class Applied(NamedTuple):
    """What a change led to. `change` is what happened in all, the SOA's included."""

    zone: Zone
    change: Change


class Summary(NamedTuple):
    """A stored zone as lists show it; `number` is that of its first journal entry."""

    number: int
    origin: bytes
    serial: int
    rrset_count: int
    is_active: bool
    created_at: int
    updated_at: int


class ZoneStore:
    """The zones of a state directory. Every method is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._cached: dict[bytes, tuple[int, Zone]] = {}

    @classmethod
    def open(cls, path: Path) -> ZoneStore:
        """Open a store, and make it where there is none. Raises: ConfigFault."""
        return cls(open_database(path, _MIGRATIONS))

    def close(self) -> None:
        """Close the database: before a fork, and at the end."""
        self._engine.dispose()

    def zones(self) -> dict[bytes, int]:
        """Give the zones there are, with their revisions: numbers that grow with each change."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql("SELECT name, revision FROM zone ORDER BY name")
            return {row[0]: row[1] for row in rows}

    def active_zones(self) -> dict[bytes, int]:
        """Give the zones that are to be served, with their revisions."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT name, revision FROM zone"
                " WHERE json_extract(settings, '$.inactive') IS NULL ORDER BY name"
            )
            return {row[0]: row[1] for row in rows}

    def summaries(self) -> list[Summary]:
        """Give all zones as lists show them."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT (SELECT min(id) FROM change WHERE zone = name), name, serial,"
                " (SELECT count(*) FROM rrset WHERE zone = name),"
                " json_extract(settings, '$.inactive') IS NULL, created_at, updated_at"
                " FROM zone ORDER BY name"
            )
            return [Summary(r[0], r[1], r[2], r[3], bool(r[4]), r[5], r[6]) for r in rows]

    def zone(self, origin: bytes) -> Zone | None:
        """Give the present version of a zone."""
        with reading(self._engine) as connection:
            return self._load(connection, origin)

    def settings(self, origin: bytes) -> dict[str, Any]:
        """Give what is set for a zone: `serial` policy, transfer and update rules."""
        with reading(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT settings FROM zone WHERE name = ?", (origin,)
            ).first()
        if row is None:
            raise _absent(origin)
        found: dict[str, Any] = json.loads(row[0])
        return found

    def set(self, origin: bytes, **settings: Any) -> None:
        """Change what is set for a zone; None takes a setting away."""
        with writing(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT settings FROM zone WHERE name = ?", (origin,)
            ).first()
            if row is None:
                raise _absent(origin)
            kept = {k: v for k, v in {**json.loads(row[0]), **settings}.items() if v is not None}
            connection.exec_driver_sql(
                "UPDATE zone SET settings = ? WHERE name = ?", (json.dumps(kept), origin)
            )

    def create(self, zone: Zone, author: Author, now_s: int, **settings: Any) -> Applied:
        """Add a zone. Raises: DataFault where it is there already, or its checks refuse it."""
        _refuse(zone)
        change = diff(None, zone)
        with writing(self._engine) as connection:
            if self._revision(connection, zone.origin) is not None:
                raise DataFault("the zone is there already", place=names.to_text(zone.origin))
            revision = self._next_revision(connection)
            connection.exec_driver_sql(
                "INSERT INTO zone VALUES (?, ?, ?, ?, ?, ?)",
                (zone.origin, zone.serial, revision, json.dumps(settings), now_s, now_s),
            )
            self._write_owners(connection, zone, zone.nodes)
            self._journal(
                connection, zone.origin, revision, None, zone.serial, author, now_s, change
            )
        self._cached[zone.origin] = (revision, zone)
        return Applied(zone, change)

    def apply(
        self,
        origin: bytes,
        change: Change,
        author: Author,
        now_s: int,
        *,
        expect_serial: int | None = None,
    ) -> Applied:
        """Change a zone: check, number, write and journal, or leave everything as it was.

        The serial is raised by the zone's policy, unless the change brings a greater one itself.
        Raises: SerialConflict where `expect_serial` is not the present one; DataFault where there
        is no such zone or the checks refuse what would come.
        """
        with writing(self._engine) as connection:
            before = self._load(connection, origin)
            if before is None:
                raise _absent(origin)
            if expect_serial is not None and before.serial != expect_serial:
                raise SerialConflict(
                    f"the zone has serial {before.serial}, not {expect_serial}",
                    place=names.to_text(origin),
                    remedy="read it again and repeat the change",
                )
            after = before.changed(change)
            if not any(diff(before, after)):
                return Applied(before, Change((), ()))
            policy = json.loads(
                connection.exec_driver_sql(
                    "SELECT settings FROM zone WHERE name = ?", (origin,)
                ).scalar_one()
            ).get("serial", "increment")
            after = _numbered(before, after, policy, now_s)
            _refuse(after)
            whole = diff(before, after)
            revision = self._next_revision(connection)
            owners = {record.owner for side in whole for record in side}
            self._write_owners(connection, after, owners)
            connection.exec_driver_sql(
                "UPDATE zone SET serial = ?, revision = ?, updated_at = ? WHERE name = ?",
                (after.serial, revision, now_s, origin),
            )
            self._journal(
                connection, origin, revision, before.serial, after.serial, author, now_s, whole
            )
        self._cached[origin] = (revision, after)
        return Applied(after, whole)

    def replace(self, zone: Zone, author: Author, now_s: int) -> Applied:
        """Make a zone's content this, as one change; adds the zone where it is not there."""
        before = self.zone(zone.origin)
        if before is None:
            return self.create(zone, author, now_s)
        return self.apply(zone.origin, diff(before, zone), author, now_s)

    def remove(self, origin: bytes, author: Author, now_s: int) -> Applied:
        """Remove a zone; its journal stays, and ends with all that the zone held (see `undo`).

        Raises: DataFault where there is none.
        """
        with writing(self._engine) as connection:
            zone = self._load(connection, origin)
            if zone is None:
                raise _absent(origin)
            gone = Change(tuple(zone.records()), ())
            revision = self._next_revision(connection)
            self._journal(connection, origin, revision, None, zone.serial, author, now_s, gone)
            for table, column in (("zone", "name"), ("rrset", "zone")):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (origin,))
        self._cached.pop(origin, None)
        return Applied(zone, gone)

    def history(
        self, origin: bytes, *, limit: int = 100, after: int = 0, until: int = 1 << 62
    ) -> list[Entry]:
        """Give entries of a zone's journal, newest first: numbers above `after`, up to `until`."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                f"{SELECTED} WHERE zone = ? AND id > ? AND id <= ? ORDER BY id DESC LIMIT ?",
                (origin, after, until, limit),
            )
            return [entry_of(row) for row in rows]

    def since_revision(self, origin: bytes, revision: int) -> list[Entry] | None:
        """Give the entries that lead from a revision to the present, oldest first.

        None where the journal does not know the revision: the zone was removed and added again.
        """
        with reading(self._engine) as connection:
            return self._since(connection, origin, revision)

    def since_serial(self, origin: bytes, serial: int, *, limit: int = 1000) -> list[Entry] | None:
        """Give the entries that lead from a serial to the present, oldest first (RFC 1995 4).

        None where the journal does not reach back to it.
        """
        with reading(self._engine) as connection:
            start = connection.exec_driver_sql(
                "SELECT max(id) FROM change WHERE zone = ? AND serial_from = ?", (origin, serial)
            ).scalar()
            rows = connection.exec_driver_sql(
                f"{SELECTED} WHERE zone = ? AND id >= ? ORDER BY id LIMIT ?",
                (origin, start or 0, limit + 1),
            )
            entries = [entry_of(row) for row in rows] if start else []
        return entries if 0 < len(entries) <= limit and is_one_life(entries) else None

    def undo(self, origin: bytes, number: int, author: Author, now_s: int) -> Applied:
        """Take one change back, whatever came after it; its SOA stays out of it.

        A removed zone comes back whole by its last entry, the removal; its settings do not.

        Raises: DataFault for no such entry, or where the checks refuse what would come.
        """
        entry = self._entry(origin, number)
        if entry.is_removal and origin not in self.zones():
            return self.create(Zone.build(origin, entry.change.removed), author, now_s)
        return self.apply(origin, self.back(origin, number), author, now_s)

    def back(self, origin: bytes, number: int) -> Change:
        """Give the change that takes one change back. Raises: DataFault for no such entry."""

        def without_soa(records: Iterable[Record]) -> tuple[Record, ...]:
            return tuple(record for record in records if record.rdtype != codes.SOA)

        change = self._entry(origin, number).change
        return Change(without_soa(change.added), without_soa(change.removed))

    def _entry(self, origin: bytes, number: int) -> Entry:
        found = self.history(origin, limit=1, after=number - 1, until=number)
        if not found:
            raise DataFault(
                f"the journal has no change {number}",
                place=names.to_text(origin),
                remedy="`quada zone history` lists them",
            )
        return found[0]

    def data_version(self) -> int:
        """Give a number that changes when another process has written."""
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def _load(self, connection: sa.Connection, origin: bytes) -> Zone | None:
        revision = self._revision(connection, origin)
        if revision is None:
            return None
        cached = self._cached.get(origin)
        if cached is not None:
            zone = self._followed(connection, *cached, revision)
            if zone is not None:
                self._cached[origin] = (revision, zone)
                return zone
        rows = connection.exec_driver_sql(
            "SELECT owner, rdtype, ttl, rdatas FROM rrset WHERE zone = ?", (origin,)
        )
        zone = Zone.build(
            origin,
            (
                Record(owner, rdtype, ttl, rdata)
                for owner, rdtype, ttl, rdatas in rows
                for rdata in _unpack_rdatas(rdatas)
            ),
        )
        self._cached[origin] = (revision, zone)
        return zone

    def _followed(
        self, connection: sa.Connection, known: int, zone: Zone, revision: int
    ) -> Zone | None:
        """Bring a version up to a revision by the journal, if it is not too far behind."""
        if known == revision:
            return zone
        entries = self._since(connection, zone.origin, known, limit=_FOLLOWED_MAX)
        if not entries or entries[-1].revision != revision:
            return None
        for entry in entries:
            zone = zone.changed(entry.change)
        return zone

    @staticmethod
    def _since(
        connection: sa.Connection, origin: bytes, revision: int, *, limit: int = -1
    ) -> list[Entry] | None:
        # A revision is its entry's id. The entry itself is not read: it may be the whole zone.
        is_known = connection.exec_driver_sql(
            "SELECT 1 FROM change WHERE zone = ? AND id = ?", (origin, revision)
        ).first()
        if is_known is None:
            return None
        rows = connection.exec_driver_sql(
            f"{SELECTED} WHERE zone = ? AND id > ? ORDER BY id LIMIT ?", (origin, revision, limit)
        )
        entries = [entry_of(row) for row in rows]
        return entries if is_one_life(entries) else None

    @staticmethod
    def _next_revision(connection: sa.Connection) -> int:
        """Give a revision that no zone ever had: the number the next journal entry will get."""
        found = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = 'change'"
        ).scalar()
        return int(found or 0) + 1

    @staticmethod
    def _revision(connection: sa.Connection, origin: bytes) -> int | None:
        row = connection.exec_driver_sql(
            "SELECT revision FROM zone WHERE name = ?", (origin,)
        ).first()
        return None if row is None else int(row[0])

    @staticmethod
    def _write_owners(connection: sa.Connection, zone: Zone, owners: Iterable[bytes]) -> None:
        """Write what owners hold now over what they held."""
        rows = []
        gone = []
        for owner in owners:
            gone.append((zone.origin, owner))
            rows += [
                (zone.origin, owner, rrset.rdtype, rrset.ttl, _pack_rdatas(rrset))
                for rrset in zone.nodes.get(owner, ())
            ]
        if gone:
            connection.exec_driver_sql("DELETE FROM rrset WHERE zone = ? AND owner = ?", gone)
        if rows:
            connection.exec_driver_sql("INSERT INTO rrset VALUES (?, ?, ?, ?, ?)", rows)

    @staticmethod
    def _journal(
        connection: sa.Connection,
        origin: bytes,
        revision: int,
        serial_from: int | None,
        serial_to: int,
        author: Author,
        now_s: int,
        change: Change,
    ) -> None:
        connection.exec_driver_sql(
            "INSERT INTO change (zone, revision, serial_from, serial_to, at, who, place, why,"
            " removed, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                origin, revision, serial_from, serial_to, now_s, author.who, author.place,
                author.why, pack_records(change.removed), pack_records(change.added),
            ),
        )  # fmt: skip


def next_serial(serial: int, policy: str, now_s: int) -> int:
    """Give the serial after one: by one, by date (YYYYMMDDnn), or the time, and always later."""
    wanted = serial + 1
    if policy == "date":
        wanted = int(datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%d")) * 100
    elif policy == "unixtime":
        wanted = now_s
    if is_later(wanted % (1 << 32), serial):
        return wanted % (1 << 32)
    return (serial + 1) % (1 << 32) or 1


def _numbered(before: Zone, after: Zone, policy: str, now_s: int) -> Zone:
    """Raise the serial of a version, unless it is later already."""
    soa = after.soa
    if soa is None or is_later(after.serial, before.serial):
        return after
    rdata = soa.rdatas[0]
    serial = next_serial(before.serial, policy, now_s)
    numbered = rdata[:-20] + serial.to_bytes(4, "big") + rdata[-16:]
    origin = after.origin
    return after.changed(
        Change(
            tuple(Record(origin, codes.SOA, soa.ttl, old) for old in soa.rdatas),
            (Record(origin, codes.SOA, soa.ttl, numbered),),
        )
    )


def _refuse(zone: Zone) -> None:
    found = refusals_of(zone)
    if found:
        first = found[0]
        raise DataFault(
            f"{first.message} [{first.code}]",
            place=f"{names.to_text(first.owner)} in {names.to_text(zone.origin)}",
            remedy=first.fix,
        )


def _absent(origin: bytes) -> DataFault:
    return DataFault(
        "there is no such zone in the store",
        place=names.to_text(origin),
        remedy="`quada zone list` shows those there are",
    )


def _pack_rdatas(rrset: RRset) -> bytes:
    return b"".join(len(rdata).to_bytes(2, "big") + rdata for rdata in rrset.rdatas)


def _unpack_rdatas(packed: bytes) -> list[bytes]:
    out = []
    at = 0
    while at < len(packed):
        end = at + 2 + (packed[at] << 8 | packed[at + 1])
        out.append(packed[at + 2 : end])
        at = end
    return out
