"""Compose the sections of a response: names compressed, counts kept.

A body is composed for a question it does not contain. It only relies on an ancestor of the question
name (the *anchor*: the name itself, its closest encloser, or the apex) lying a known number of
octets after the start of the question. So one body serves every name of the same length under an
anchor, which is what lets floods of random names be answered without composing anything.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes

if TYPE_CHECKING:
    from collections.abc import Iterable

QUESTION_OFFSET: Final = 12  # the question follows the header (RFC 1035 4.1.1)
QNAME_POINTER: Final = b"\xc0\x0c"
_PLAIN: Final = struct.Struct("!HHHIH").pack  # pointer, type, class, TTL, octets of RDATA
_POINTER_MAX: Final = 0x3FFF  # RFC 1035 4.1.4

# Types whose RDATA may be compressed (RFC 3597 4: those of RFC 1035): octets before, names.
_COMPRESSED: Final[dict[int, tuple[int, int]]] = {
    codes.NS: (0, 1),
    codes.CNAME: (0, 1),
    codes.SOA: (0, 2),
    codes.PTR: (0, 1),
    codes.MX: (2, 1),
}


class Composer:
    """Collects records of one response, after a question whose octets are not needed.

    Takes the anchor's name and how many octets of the question name lie before it. An owner of None
    stands for the question name itself.
    """

    __slots__ = ("_anchor", "_at", "_offsets", "_parts")

    def __init__(self, anchor: bytes, prefix_octets: int) -> None:
        self._parts: list[bytes] = []
        self._offsets: dict[bytes, int] | None = None  # made when the first name is put
        at = QUESTION_OFFSET + prefix_octets
        self._anchor = anchor, at
        self._at = at + len(anchor) + 4

    @property
    def octets(self) -> bytes:
        """What was added so far."""
        return b"".join(self._parts)

    @property
    def size(self) -> int:
        """Octets from the start of the message to the end of what was added."""
        return self._at

    def add(self, owner: bytes | None, rdtype: int, ttl_s: int, rdatas: Iterable[bytes]) -> int:
        """Add an RRset of class IN; gives the number of records."""
        count = 0
        shape = _COMPRESSED.get(rdtype)
        if owner is None and shape is None:  # nothing to compress, nothing to remember
            for rdata in rdatas:
                record = _PLAIN(0xC00C, rdtype, codes.IN, ttl_s, len(rdata)) + rdata
                self._parts.append(record)
                self._at += len(record)
                count += 1
            return count
        fixed = rdtype.to_bytes(2, "big") + b"\x00\x01" + ttl_s.to_bytes(4, "big")
        for rdata in rdatas:
            name = QNAME_POINTER if owner is None else self._name(owner)
            self._put(name)
            self._put(fixed)
            if shape is None:
                self._put(len(rdata).to_bytes(2, "big") + rdata)
            else:
                self._put_compressed(rdata, shape)
            count += 1
        return count

    def _put(self, octets: bytes) -> None:
        self._parts.append(octets)
        self._at += len(octets)

    def _put_compressed(self, rdata: bytes, shape: tuple[int, int]) -> None:
        before, count = shape
        at = before
        start = self._at
        self._at += 2 + before
        parts = [rdata[:before]]
        for _ in range(count):
            end = at
            while rdata[end]:
                end += rdata[end] + 1
            end += 1
            name = self._name(rdata[at:end])
            parts.append(name)
            self._at += len(name)
            at = end
        parts.append(rdata[at:])
        packed = b"".join(parts)
        self._parts.append(len(packed).to_bytes(2, "big") + packed)
        self._at = start + 2 + len(packed)

    def _name(self, name: bytes) -> bytes:
        """Compress a name that will be put at the present offset, and remember its suffixes."""
        at = 0
        if self._offsets is None:
            self._offsets = {}
            self._note(*self._anchor)
        offsets = self._offsets
        key = name.lower()
        while key[at]:
            offset = offsets.get(key[at:])
            if offset is not None:
                self._note(key, self._at, at)
                return name[:at] + (0xC000 | offset).to_bytes(2, "big")
            at += key[at] + 1
        self._note(key, self._at, at)
        return name

    def _note(self, name: bytes, offset: int, until: int = 255) -> None:
        """Remember where a name and its suffixes (those that start before `until`) lie."""
        at = 0
        offsets = self._offsets
        assert offsets is not None
        while at < until and name[at] and offset + at <= _POINTER_MAX:
            offsets.setdefault(name[at:], offset + at)
            at += name[at] + 1
