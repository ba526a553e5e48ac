"""A query: composed, and parsed as far as an authority needs (question, EDNS, whether signed)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.edns as edns
import quada.wire.names as names
from quada.wire.faults import MalformedMessage

_TYPE_CLASS: Final = struct.Struct("!2H").unpack_from
_COUNTS: Final = struct.Struct("!3H").unpack_from
_RECORDS_MAX: Final = 4096  # our choice: an UPDATE of more is refused before its records are walked


class Question(NamedTuple):
    """One query. `octets` is the question section as it came; `has_tsig` tells of a last TSIG."""

    flags: int
    opcode: int
    qname: bytes
    qtype: int
    qclass: int
    octets: bytes
    edns: edns.Edns | None
    has_tsig: bool
    authority: bytes


def parse_question(packet: bytes) -> Question:
    """Parse a query of any opcode with one question, walking all its records.

    Raises: MalformedMessage for a wrong count of questions (RFC 9619), a record that does not fit,
    more than one OPT (RFC 6891 6.1.1), or octets after the last record.
    """
    flags = packet[2] << 8 | packet[3]
    if packet[4:6] != b"\x00\x01":
        raise MalformedMessage("a query has exactly one question")
    qname, at = names.parse_name(packet, 12)
    if packet[12:at] != qname or at + 4 > len(packet):
        raise MalformedMessage("the question is compressed or cut short")
    qtype, qclass = _TYPE_CLASS(packet, at)
    octets = packet[12 : at + 4]
    at += 4
    counts = _COUNTS(packet, 6)
    total = sum(counts)
    if total > _RECORDS_MAX:
        raise MalformedMessage("more records than any query has")
    found: edns.Edns | None = None
    has_tsig = False
    start_of_authority = at
    for index in range(total):
        if has_tsig:
            raise MalformedMessage("TSIG is not the last record")  # RFC 8945 5.1
        if index == counts[0]:
            start_of_authority = at
        if packet[at : at + 3] == b"\x00\x00\x29":
            if found is not None or index < counts[0] + counts[1]:
                raise MalformedMessage("OPT is there twice or in the wrong section")
            found, at = edns.parse_opt(packet, at)
            continue
        _, at = names.parse_name(packet, at)
        if at + 10 > len(packet):
            raise MalformedMessage("a record is cut short")
        has_tsig = packet[at : at + 2] == b"\x00\xfa" and index >= counts[0] + counts[1]
        at += 10 + int.from_bytes(packet[at + 8 : at + 10], "big")
        if at > len(packet):
            raise MalformedMessage("a record runs past the message")
    if at != len(packet):
        raise MalformedMessage("octets after the last record")
    opcode = flags >> 11 & 0xF
    return Question(
        flags, opcode, qname.lower(), qtype, qclass, octets, found, has_tsig,
        packet[start_of_authority:],
    )  # fmt: skip


def compose_query(query_id: int, qname: bytes, qtype: int) -> bytes:
    """Compose a recursive query with EDNS (RFC 1035 4.1.1, RFC 6891)."""
    return b"".join(
        (
            query_id.to_bytes(2, "big"),
            codes.RD.to_bytes(2, "big"),
            b"\x00\x01\x00\x00\x00\x00\x00\x01",
            qname,
            qtype.to_bytes(2, "big"),
            codes.IN.to_bytes(2, "big"),
            edns.compose_opt(),
        )
    )
