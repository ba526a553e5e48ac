"""The journal: who changed which zone, when, from where and why, and what was there before."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.zones import Change, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

SELECTED: Final = (
    "SELECT id, zone, revision, serial_from, serial_to, at, who, place, why, removed, added"
    " FROM change"
)


class Author(NamedTuple):
    """Who changes something, from where, and why: for the journal."""

    who: str
    place: str = ""
    why: str = ""


class Entry(NamedTuple):
    """One change in the journal. `serial_from` is None for the first version, and for removal."""

    number: int
    zone: bytes
    revision: int
    serial_from: int | None
    serial_to: int
    at: int
    author: Author
    change: Change

    @property
    def is_removal(self) -> bool:
        """Whether the zone went with this change."""
        return self.serial_from is None and not self.change.added


def pack_records(records: Iterable[Record]) -> bytes:
    """Pack records for the journal."""
    return b"".join(
        struct.pack("!BHIH", len(r.owner), r.rdtype, r.ttl, len(r.rdata)) + r.owner + r.rdata
        for r in records
    )


def unpack_records(packed: bytes) -> tuple[Record, ...]:
    """Unpack records of the journal."""
    out = []
    at = 0
    while at < len(packed):
        owner_octets, rdtype, ttl, rdata_octets = struct.unpack_from("!BHIH", packed, at)
        at += 9
        middle, end = at + owner_octets, at + owner_octets + rdata_octets
        out.append(Record(packed[at:middle], rdtype, ttl, packed[middle:end]))
        at = end
    return tuple(out)


def is_one_life(entries: Iterable[Entry]) -> bool:
    """Tell whether entries are changes of one zone: none of them made it or removed it."""
    return all(entry.serial_from is not None for entry in entries)


def entry_of(row: Any) -> Entry:
    """Make an entry of a row that SELECTED gives."""
    change = Change(unpack_records(row[9]), unpack_records(row[10]))
    return Entry(
        row[0], row[1], row[2], row[3], row[4], row[5], Author(row[6], row[7], row[8]), change
    )
