"""Catalog zones (RFC 9432): a zone that lists zones, for secondaries to learn them from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.wire.records import Record
from quada.zones.zone import Zone

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION: Final = b"\x012"  # RFC 9432 4.2.1: schema version 2
_TTL_S: Final = 0  # RFC 9432 4.1: TTLs of catalog records have no meaning; 0 is recommended
_INVALID: Final = b"\x07invalid\x00"  # RFC 9432 4.1: nobody is to look catalogs up
_GROUP: Final = b"\x05group"
_MEMBERS_MAX: Final = 100_000  # our choice: a longer list is refused, not followed in part


def members(catalog: Zone) -> dict[bytes, tuple[str, ...]]:
    """Give the member zones of a catalog, each with its groups in order (RFC 9432 4.3.2).

    Raises: DataFault where it is not a catalog of version 2, which must then change nothing
    (RFC 9432 5.1), or lists a zone twice.
    """
    place = names.to_text(catalog.origin)
    version = catalog.rrset(b"\x07version" + catalog.origin, codes.TXT)
    if version is None or version.rdatas != (_VERSION,):
        raise DataFault("the catalog is not of version 2", place=place)
    found: dict[bytes, tuple[str, ...]] = {}
    above = b"\x05zones" + catalog.origin
    for owner, node in catalog.nodes.items():
        if names.parent(owner) != above:
            continue
        for rrset in node:
            if rrset.rdtype != codes.PTR:
                continue
            if len(rrset.rdatas) != 1:
                raise DataFault("a member has more than one PTR", place=names.to_text(owner))
            member = rrset.rdatas[0].lower()
            if member in found:
                raise DataFault(f"{names.to_text(member)} is listed twice", place=place)
            found[member] = _groups(catalog, owner)
    if len(found) > _MEMBERS_MAX:
        raise DataFault(f"the catalog lists more than {_MEMBERS_MAX} zones", place=place)
    return found


def _groups(catalog: Zone, member: bytes) -> tuple[str, ...]:
    found = catalog.rrset(_GROUP + member, codes.TXT)
    if found is None:
        return ()
    # A group is one character string; what is more than that is no group (RFC 9432 4.3.2).
    texts = [one[1:] for one in found.rdatas if len(one) > 1 and one[0] == len(one) - 1]
    return tuple(sorted(text.decode("utf-8", "replace") for text in texts))


def make_catalog(origin: bytes, zones: Mapping[bytes, str], serial: int) -> Zone:
    """Make a catalog of zones, each with its group or none.

    A member's label is a hash of its name, and so stays.
    """
    soa = (
        _INVALID
        + _INVALID
        + b"".join(number.to_bytes(4, "big") for number in (serial, 60, 10, 2_147_483_646, 0))
    )
    records = [
        Record(origin, codes.SOA, _TTL_S, soa),
        Record(origin, codes.NS, _TTL_S, _INVALID),
        Record(b"\x07version" + origin, codes.TXT, _TTL_S, _VERSION),
    ]
    for zone, group in sorted(zones.items()):
        label = hashlib.sha256(zone).hexdigest()[:32].encode()
        owner = bytes((len(label),)) + label + b"\x05zones" + origin
        records.append(Record(owner, codes.PTR, _TTL_S, zone))
        if group:
            text = group.encode()
            records.append(Record(_GROUP + owner, codes.TXT, _TTL_S, bytes((len(text),)) + text))
    return Zone.build(origin, records)
