"""A record as the API shows it: one of an RRset, with a number that stays when its content changes.

DNS has RRsets and no record numbers. A record's number is made of its own content (so a zone that
came from anywhere has numbers at once, and the same ones on every server); only when an edit
changes a record is its first number remembered.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.zones import Record
from quada.zones.rdata import read_value, type_number, write_name, write_rdata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.zones import Zone

_NUMBER_BITS: Final = 52  # what JSON numbers hold exactly (RFC 8259 6), and a bit to spare
_TTL_MAX_S: Final = 2**31 - 1  # RFC 2181 8


class Numbered(NamedTuple):
    """A record and its number."""

    number: int
    record: Record


class Draft(NamedTuple):
    """A record as somebody wrote it: owner relative to the zone or absolute, data as in zone text.

    In an update None leaves a field as it is.
    """

    name: str | None
    rdtype: str | None
    value: str | None
    ttl: int | None = None


def digest(record: Record) -> int:
    """Give the number a record has by its content: owner, type and data, not its TTL."""
    octets = record.owner + record.rdtype.to_bytes(2, "big") + record.rdata
    made = hashlib.blake2b(octets, digest_size=8).digest()
    return int.from_bytes(made, "big") >> (64 - _NUMBER_BITS) or 1


def number(records: Iterable[Record], kept: dict[int, int]) -> list[Numbered]:
    """Number records; `kept` maps what a changed record's content gives to the number it keeps."""
    out = []
    for record in records:
        made = digest(record)
        out.append(Numbered(kept.get(made, made) if kept else made, record))
    return out


def to_ascii(name: str) -> str:
    """Give a name as DNS has it: labels beyond ASCII as A-labels (RFC 5891). Raises: DataFault.

    Written as octets they would be names that no browser or mail server ever asks for.
    """
    if name.isascii():
        return name
    import idna

    try:
        labels = name.replace("。", ".").split(".")
        return ".".join(
            one if one.isascii() else idna.encode(one, uts46=True).decode() for one in labels
        )
    except idna.IDNAError as error:
        raise DataFault(
            f"this is no name in any language: {error}", place="name", remedy="see RFC 5890"
        ) from error


def to_unicode(name: str) -> str:
    """Give a name as people write it, where its A-labels are ones."""
    import idna

    try:
        return ".".join(
            idna.decode(one) if one.startswith("xn--") else one for one in name.split(".")
        )
    except idna.IDNAError:
        return name


def read_owner(name: str, origin: bytes) -> bytes:
    """Read an owner: empty or `@` is the apex. Raises: DataFault outside the zone."""
    try:
        ascii_name = to_ascii(name)
        owner = origin if name in ("", "@") else names.from_text(ascii_name, origin).lower()
    except DataFault as fault:
        raise DataFault(fault.message, place="name") from fault
    if not names.is_subdomain(owner, origin):
        raise DataFault(f"{name} is not in {names.to_text(origin)}", place="name")
    return owner


def read_type(text: str) -> int:
    """Read a type's name. Raises: DataFault for none."""
    found = type_number(text)
    if found is None:
        raise DataFault(f"{text!r} is not a record type", place="type", remedy="for instance AAAA")
    return found


def read_draft(draft: Draft, origin: bytes, before: Record | None = None) -> Record:
    """Make a record of a draft, over the record it updates where there is one.

    Raises: DataFault, its place the field at fault: name, type, content or ttl.
    """
    owner = read_owner(draft.name, origin) if draft.name is not None else None
    rdtype = read_type(draft.rdtype) if draft.rdtype is not None else None
    if before is not None:
        owner = before.owner if owner is None else owner
        rdtype = before.rdtype if rdtype is None else rdtype
    if owner is None or rdtype is None:
        missing = "name" if owner is None else "type"
        raise DataFault("it is missing", place=missing)
    ttl = draft.ttl if draft.ttl is not None else before.ttl if before else -1
    if draft.ttl is not None and not 0 <= draft.ttl <= _TTL_MAX_S:
        raise DataFault("a TTL is between 0 and 2147483647 seconds", place="ttl")
    if draft.value is None:
        if before is None:
            raise DataFault("it is missing", place="content")
        return Record(owner, rdtype, ttl, before.rdata)
    try:
        rdata = read_value(rdtype, draft.value, origin)
    except DataFault as fault:
        raise DataFault(fault.message, place="content", remedy=fault.remedy) from fault
    return Record(owner, rdtype, ttl, rdata)


def owner_text(owner: bytes, origin: bytes) -> str:
    """Write an owner relative to its zone; the apex is empty."""
    text = write_name(owner, origin)
    return "" if text == "@" else text


def is_system(record: Record, origin: bytes) -> bool:
    """Tell whether a record is the zone's own SOA, which changes by itself."""
    return record.rdtype == codes.SOA and record.owner == origin


class Listing:
    """One zone version's records with their numbers, and what searching them needs."""

    def __init__(self, zone: Zone, kept: dict[int, int]) -> None:
        self.zone = zone
        self.records = number(zone.records(), kept)
        self._texts: list[str] = []

    def find(self, wanted: int) -> Numbered | None:
        """Give the record of a number."""
        return next((one for one in self.records if one.number == wanted), None)

    def search(
        self, *, name: str | None = None, name_like: str = "", rdtype: int | None = None,
        text: str = "",
    ) -> list[Numbered]:  # fmt: skip
        """Choose records: by owner, by a part of it, by type, or by a part of owner or content."""
        found = self.records
        if text:
            if not self._texts:
                # Once a version: writing a large zone's data as text takes longer than a page may.
                self._texts = [self._text(one.record) for one in self.records]
            part = text.lower()
            pairs = zip(self.records, self._texts, strict=True)
            found = [one for one, written in pairs if part in written]
        if rdtype is not None:
            found = [one for one in found if one.record.rdtype == rdtype]
        if name is not None:
            owner = read_owner(name, self.zone.origin)
            found = [one for one in found if one.record.owner == owner]
        if name_like:
            part = name_like.lower()
            origin = self.zone.origin
            found = [one for one in found if part in owner_text(one.record.owner, origin)]
        return found

    def _text(self, record: Record) -> str:
        owner = owner_text(record.owner, self.zone.origin)
        return f"{owner} {write_rdata(record.rdtype, record.rdata)}".lower()
