"""A record as somebody wrote it: names, types and values read, with the field at fault named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.zones import Record
from quada.zones.rdata import read_value, type_number, write_name

if TYPE_CHECKING:
    pass

_TTL_MAX_S: Final = 2**31 - 1  # RFC 2181 8


class Draft(NamedTuple):
    """A record as somebody wrote it: owner relative to the zone or absolute, data as in zone text.

    In an update None leaves a field as it is.
    """

    name: str | None
    rdtype: str | None
    value: str | None
    ttl: int | None = None


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
