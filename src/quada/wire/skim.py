"""Skim a response: sections as plain records of octets, without message objects.

What a resolver, an ALIAS lookup and a transfer read from the other side. Cost is bounded by the
message: each record is visited once, names go strictly backwards and are remembered by offset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.edns import Edns, parse_opt
from quada.wire.faults import MalformedMessage
from quada.wire.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_OCTETS: Final = 12  # RFC 1035 4.1.1
MAX_TTL_S: Final = 0x7FFFFFFF  # RFC 2181 8: a TTL with the top bit set is read as zero

# How names lie in RDATA that may be compressed: octets before, count of names (RFC 1035 3.3,
# RFC 3597 4 for the later ones that senders wrongly compress). What follows the names is kept.
_NAMES_IN_RDATA: Final[dict[int, tuple[int, int]]] = {
    codes.NS: (0, 1),
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    codes.CNAME: (0, 1),
    codes.SOA: (0, 2),
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    codes.PTR: (0, 1),
    14: (0, 2),  # MINFO
    codes.MX: (2, 1),
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    26: (2, 2),  # PX
    codes.SRV: (6, 1),
    36: (2, 1),  # KX
    codes.DNAME: (0, 1),
}


class Skimmed(NamedTuple):
    """A message, skimmed. Owner names are lower-cased, RDATA uncompressed with its case kept.

    `qname` keeps the case it came with, for the 0x20 check. `edns` is None without an OPT record;
    `rcode` includes its upper bits (RFC 6891 6.1.3). Records of a class other than IN are left out.
    """

    query_id: int
    flags: int
    rcode: int
    qname: bytes
    qtype: int
    qclass: int
    answer: list[Record]
    authority: list[Record]
    additional: list[Record]
    edns: Edns | None


def skim(message: bytes, *, needs_question: bool = True) -> Skimmed:
    """Skim one message with exactly one question, or with none where that is allowed.

    Raises: MalformedMessage for anything else; octets after the last record are ignored.
    RFC: 1035 4.1
    """
    if len(message) < HEADER_OCTETS:
        raise MalformedMessage("message is shorter than a header")
    flags = message[2] << 8 | message[3]
    qname, qtype, qclass, at = names.ROOT, 0, 0, HEADER_OCTETS
    known: dict[int, bytes] = {}
    if message[4:6] == b"\x00\x01":
        qname, at = names.parse_name(message, HEADER_OCTETS)
        if at + 4 > len(message):
            raise MalformedMessage("question is cut short")
        qtype = message[at] << 8 | message[at + 1]
        qclass = message[at + 2] << 8 | message[at + 3]
        known[HEADER_OCTETS] = qname.lower()
        at += 4
    elif needs_question or message[4:6] != b"\x00\x00":
        raise MalformedMessage("message does not have exactly one question")
    sections: list[list[Record]] = []
    edns: Edns | None = None
    for field in (6, 8, 10):
        count = message[field] << 8 | message[field + 1]
        records: list[Record] = []
        for _ in range(count):
            if field == 10 and message[at : at + 3] == b"\x00\x00\x29":
                if edns is not None:
                    raise MalformedMessage("more than one OPT record")  # RFC 6891 6.1.1
                edns, at = parse_opt(message, at)
                continue
            record, at = _skim_record(message, at, known)
            if record is not None:
                records.append(record)
        sections.append(records)
    rcode = flags & 0xF | (edns.extended_rcode << 4 if edns else 0)
    return Skimmed(
        message[0] << 8 | message[1],
        flags,
        rcode,
        qname,
        qtype,
        qclass,
        sections[0],
        sections[1],
        sections[2],
        edns,
    )


def _skim_record(message: bytes, at: int, known: dict[int, bytes]) -> tuple[Record | None, int]:
    """Skim the record at an offset; None for one of a class other than IN."""
    start = at
    size = len(message)
    if at + 1 < size and message[at] >= 0xC0:
        target = (message[at] & 0x3F) << 8 | message[at + 1]
        owner = known.get(target)
        if owner is None:
            name, at = names.parse_name(message, at)
            owner = known[target] = name.lower()
        else:
            at += 2
    else:
        name, at = names.parse_name(message, at)
        owner = known[start] = name.lower()
    if at + 10 > size:
        raise MalformedMessage("record is cut short")
    rdtype = message[at] << 8 | message[at + 1]
    ttl = int.from_bytes(message[at + 4 : at + 8], "big")
    end = at + 10 + (message[at + 8] << 8 | message[at + 9])
    if end > size:
        raise MalformedMessage("RDATA runs past the end of the message")
    if message[at + 2 : at + 4] != b"\x00\x01":
        return None, end
    shape = _NAMES_IN_RDATA.get(rdtype)
    rdata = message[at + 10 : end] if shape is None else _uncompress(message, at + 10, end, shape)
    return Record(owner, rdtype, ttl if ttl <= MAX_TTL_S else 0, rdata), end


def _uncompress(message: bytes, at: int, end: int, shape: tuple[int, int]) -> bytes:
    before, count = shape
    parts = [message[at : at + before]]
    at += before
    for _ in range(count):
        name, at = names.parse_name(message, at)
        if at > end:
            raise MalformedMessage("a name runs past its RDATA")
        parts.append(name)
    parts.append(message[at:end])
    return b"".join(parts)


def follow(
    records: Sequence[Record], qname: bytes, qtype: int, *, max_links: int = 16
) -> tuple[bytes, list[Record], list[Record]]:
    """Follow CNAMEs of an answer section from a name to records of a type.

    Takes a lower-cased `qname`. Gives the last name reached, the CNAME records on the way, and the
    records of `qtype` found there. A loop, or more than `max_links`, ends without records.
    RFC: 1034 3.6.2
    """
    by_owner: dict[tuple[bytes, int], list[Record]] = {}
    for record in records:
        by_owner.setdefault((record.owner, record.rdtype), []).append(record)
    links: list[Record] = []
    while True:
        found = by_owner.get((qname, qtype))
        if found:
            return qname, links, found
        link = by_owner.get((qname, codes.CNAME))
        if not link or len(links) >= max_links:
            return qname, links, []
        links.append(link[0])
        qname = link[0].rdata.lower()
