"""Skim a response: sections as plain records of octets, without message objects.

What a resolver, an ALIAS lookup and a transfer read from the other side. Cost is bounded by the
message: each record is visited once, names go strictly backwards and are remembered by offset.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.edns import Edns, parse_opt
from quada.wire.faults import MalformedMessage
from quada.wire.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_OCTETS: Final = 12  # RFC 1035 4.1.1
_HEADER: Final = struct.Struct("!6H").unpack_from
_TYPE_CLASS: Final = struct.Struct("!2H").unpack_from
_FIXED: Final = struct.Struct("!HHIH").unpack_from  # type, class, TTL, octets of RDATA
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


def skim(
    message: bytes,
    *,
    needs_question: bool = True,
    qname: bytes | None = None,
    is_brief: bool = False,
) -> Skimmed:
    """Skim one message with exactly one question, or with none where that is allowed.

    Takes `qname`, lower-cased, where the caller has compared the question with it: it is then taken
    as the name there, also where records point to it. With `is_brief`, what follows an answer
    section that has records is left unread.

    Raises: MalformedMessage for anything else; octets after the last record are ignored.
    RFC: 1035 4.1
    """
    size = len(message)
    if size < HEADER_OCTETS:
        raise MalformedMessage("message is shorter than a header")
    query_id, flags, questions, *counts = _HEADER(message)
    qtype, qclass, at = 0, 0, HEADER_OCTETS
    known: dict[int, bytes] = {}
    if questions == 1:
        if qname is None:
            qname, at = names.parse_name(message, HEADER_OCTETS)
        else:
            at += len(qname)
        if at + 4 > size:
            raise MalformedMessage("question is cut short")
        qtype, qclass = _TYPE_CLASS(message, at)
        known[HEADER_OCTETS] = qname.lower()
        at += 4
    elif needs_question or questions:
        raise MalformedMessage("message does not have exactly one question")
    sections: tuple[list[Record], list[Record], list[Record]] = [], [], []
    edns: Edns | None = None
    for records, count in zip(sections, counts, strict=True):
        for _ in range(count):
            # The owner: most often a pointer to a name met before.
            if at + 1 < size and message[at] >= 0xC0:
                target = (message[at] & 0x3F) << 8 | message[at + 1]
                owner = known.get(target)
                if owner is None:
                    owner = known[target] = names.parse_name(message, at)[0].lower()
                at += 2
            elif records is sections[2] and message[at : at + 3] == b"\x00\x00\x29":
                if edns is not None:
                    raise MalformedMessage("more than one OPT record")  # RFC 6891 6.1.1
                edns, at = parse_opt(message, at)
                continue
            else:
                start = at
                name, at = names.parse_name(message, at)
                owner = known[start] = name.lower()
            if at + 10 > size:
                raise MalformedMessage("record is cut short")
            rdtype, rdclass, ttl, octets = _FIXED(message, at)
            at += 10
            end = at + octets
            if end > size:
                raise MalformedMessage("RDATA runs past the end of the message")
            if rdclass == codes.IN:
                shape = _NAMES_IN_RDATA.get(rdtype)
                rdata = message[at:end] if shape is None else _uncompress(message, at, end, shape)
                records.append(Record(owner, rdtype, ttl if ttl <= MAX_TTL_S else 0, rdata))
            at = end
        if is_brief and records:
            break
    rcode = flags & 0xF | (edns.extended_rcode << 4 if edns else 0)
    return Skimmed(query_id, flags, rcode, qname or names.ROOT, qtype, qclass, *sections, edns)


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
