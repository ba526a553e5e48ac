"""DNSSEC's RDATA as text, written directly: a signed zone is mostly made of it.

dnspython takes some 100 µs a record, which is most of a minute for a zone of 100,000 names. Names
are written absolute. A record that is not what its type says raises DataFault, and the caller
writes it in the generic form.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
import quada.zones.signature as signature
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Callable

_type_texts: dict[int, str] = {}  # at most 65,536


def _type_text(rdtype: int) -> str:
    text = _type_texts.get(rdtype)
    if text is None:
        text = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))
        _type_texts[rdtype] = text
    return text


def _types(bitmap: bytes) -> str:
    rdtypes = denial.bitmap_types(bitmap)
    if denial.compose_bitmap(rdtypes) != bitmap:
        raise DataFault("type bitmap is not in its one form")
    return "".join(f" {_type_text(rdtype)}" for rdtype in rdtypes)


def _time(seconds: int) -> str:
    """Write a time as YYYYMMDDHHmmSS (RFC 4034 3.2)."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%S}"


def _base64(octets: bytes) -> str:
    if not octets:
        raise DataFault("nothing to write in base64")
    return base64.b64encode(octets).decode("ascii")


def _rrsig(wire: bytes, _origin: bytes | None) -> str:
    rrsig = signature.parse_rrsig(wire)
    if rrsig is None or wire[18 : 18 + len(rrsig.signer)] != rrsig.signer:
        raise DataFault("not an RRSIG, or its signer is not in lower case")
    return (
        f"{_type_text(rrsig.covered)} {rrsig.algorithm} {rrsig.labels} {rrsig.original_ttl} "
        f"{_time(rrsig.expiration)} {_time(rrsig.inception)} {rrsig.key_tag} "
        f"{names.to_text(rrsig.signer)} {_base64(rrsig.signature)}"
    )


def _nsec(wire: bytes, _origin: bytes | None) -> str:
    after, end = names.parse_name(wire, 0)
    if end != len(after):
        raise DataFault("the next name is compressed")
    return names.to_text(after) + _types(wire[end:])


def _nsec3(wire: bytes, _origin: bytes | None) -> str:
    nsec3 = denial.parse_nsec3(wire)
    if nsec3 is None or len(nsec3.next_hash) != denial.HASH_OCTETS:
        raise DataFault("not an NSEC3 with a SHA-1 hash")
    salt = nsec3.salt.hex() or "-"
    after = denial.hash_label(nsec3.next_hash)[1:].decode("ascii")
    head = f"{nsec3.algorithm} {nsec3.flags} {nsec3.iterations} {salt} {after}"
    return head + _types(nsec3.bitmap)


def _nsec3param(wire: bytes, _origin: bytes | None) -> str:
    if len(wire) < 5 or len(wire) != 5 + wire[4]:
        raise DataFault("not an NSEC3PARAM")
    rounds = int.from_bytes(wire[2:4], "big")
    return f"{wire[0]} {wire[1]} {rounds} {wire[5:].hex() or '-'}"


def _dnskey(wire: bytes, _origin: bytes | None) -> str:
    if len(wire) < 5:
        raise DataFault("not a DNSKEY")
    return f"{int.from_bytes(wire[:2], 'big')} {wire[2]} {wire[3]} {_base64(wire[4:])}"


def _ds(wire: bytes, _origin: bytes | None) -> str:
    if len(wire) < 5:
        raise DataFault("not a DS")
    return f"{int.from_bytes(wire[:2], 'big')} {wire[2]} {wire[3]} {wire[4:].hex()}"


WRITERS: Final[dict[int, Callable[[bytes, bytes | None], str]]] = {
    codes.DS: _ds,
    codes.RRSIG: _rrsig,
    codes.NSEC: _nsec,
    codes.DNSKEY: _dnskey,
    codes.NSEC3: _nsec3,
    codes.NSEC3PARAM: _nsec3param,
    codes.CDS: _ds,
    codes.CDNSKEY: _dnskey,
}
