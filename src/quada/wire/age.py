"""A composed response made older: its TTLs counted down in place (RFC 1034 5.3.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import quada.wire.names as names

if TYPE_CHECKING:
    from collections.abc import Iterable

_TTL: Final = struct.Struct("!I")
_COUNTS: Final = struct.Struct("!4H")
_TYPE_OPT: Final = b"\x00\x29"


def ttl_offsets(message: bytes) -> tuple[int, ...]:
    """Find where the TTLs of a response of our own lie; OPT has none (RFC 6891 6.1.3)."""
    questions, *counts = _COUNTS.unpack_from(message, 4)
    at = 12
    for _ in range(questions):
        at = names.parse_name(message, at)[1] + 4
    found = []
    for _ in range(sum(counts)):
        at = names.parse_name(message, at)[1]
        if message[at : at + 2] != _TYPE_OPT:
            found.append(at + 4)
        at += 10 + (message[at + 8] << 8 | message[at + 9])
    return tuple(found)


def aged(message: bytes, offsets: Iterable[int], elapsed_s: int) -> bytes:
    """Give a response as it is so many seconds later; no TTL falls below zero."""
    octets = bytearray(message)
    for at in offsets:
        (ttl_s,) = _TTL.unpack_from(octets, at)
        _TTL.pack_into(octets, at, max(0, ttl_s - elapsed_s))
    return bytes(octets)
