"""NSEC and NSEC3 on octets: type bitmaps, hashed owner names, and the order names stand in."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.names as names
from quada.wire.faults import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

NSEC3_SHA1: Final = 1  # the only hash ever assigned (RFC 5155 11)
NSEC3_OPT_OUT: Final = 0x01  # RFC 5155 3.1.2.1
HASH_OCTETS: Final = 20
NXNAME: Final = 128  # RFC 9824 2: the type that marks a name that is not there

_TO_HEX32: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv"
)
_FROM_HEX32: Final = bytes.maketrans(
    b"0123456789abcdefghijklmnopqrstuv", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)


def compose_bitmap(rdtypes: Iterable[int]) -> bytes:
    """Compose a type bitmap (RFC 4034 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for rdtype in rdtypes:
        window = windows.setdefault(rdtype >> 8, bytearray(32))
        low = rdtype & 0xFF
        window[low >> 3] |= 0x80 >> (low & 7)
    parts = []
    for number in sorted(windows):
        octets = bytes(windows[number]).rstrip(b"\x00")
        parts.append(bytes((number, len(octets))) + octets)
    return b"".join(parts)


def has_type(bitmap: bytes, rdtype: int) -> bool:
    """Tell whether a type bitmap names a type; a malformed bitmap names nothing."""
    at, number, low = 0, rdtype >> 8, rdtype & 0xFF
    while at + 2 <= len(bitmap):
        window, size = bitmap[at], bitmap[at + 1]
        if window == number:
            place = at + 2 + (low >> 3)
            if low >> 3 >= size or place >= len(bitmap):
                return False
            return bitmap[place] & (0x80 >> (low & 7)) != 0
        at += 2 + size
    return False


def bitmap_types(bitmap: bytes) -> list[int]:
    """Give the types a bitmap names, in order."""
    out = []
    at = 0
    while at + 2 <= len(bitmap):
        window, size = bitmap[at], bitmap[at + 1]
        for index, octet in enumerate(bitmap[at + 2 : at + 2 + size]):
            out += [window << 8 | index << 3 | bit for bit in range(8) if octet & 0x80 >> bit]
        at += 2 + size
    return out


def parse_nsec(rdata: bytes) -> tuple[bytes, bytes] | None:
    """Parse NSEC RDATA: next name (lower-cased) and bitmap; None where it is not one."""
    try:
        after, end = names.parse_name(rdata, 0)
    except MalformedMessage:
        return None
    return (after.lower(), rdata[end:]) if end == len(after) else None


class Nsec3(NamedTuple):
    """The fields of an NSEC3 (RFC 5155 3.2); `next_hash` is the raw hash."""

    algorithm: int
    flags: int
    iterations: int
    salt: bytes
    next_hash: bytes
    bitmap: bytes


def parse_nsec3(rdata: bytes) -> Nsec3 | None:
    """Parse NSEC3 RDATA; None where it is not one."""
    if len(rdata) < 6:
        return None
    after_salt = 5 + rdata[4]
    if after_salt >= len(rdata):
        return None
    after_hash = after_salt + 1 + rdata[after_salt]
    if after_hash > len(rdata):
        return None
    return Nsec3(
        rdata[0],
        rdata[1],
        int.from_bytes(rdata[2:4], "big"),
        rdata[5:after_salt],
        rdata[after_salt + 1 : after_hash],
        rdata[after_hash:],
    )


def compose_nsec3(nsec3: Nsec3) -> bytes:
    """Compose NSEC3 RDATA."""
    return b"".join(
        (
            bytes((nsec3.algorithm, nsec3.flags)),
            nsec3.iterations.to_bytes(2, "big"),
            bytes((len(nsec3.salt),)),
            nsec3.salt,
            bytes((len(nsec3.next_hash),)),
            nsec3.next_hash,
            nsec3.bitmap,
        )
    )


def nsec3_hash(name: bytes, iterations: int = 0, salt: bytes = b"") -> bytes:
    """Hash a lower-cased name (RFC 5155 5)."""
    digest = hashlib.sha1(name + salt).digest()
    for _ in range(iterations):
        digest = hashlib.sha1(digest + salt).digest()
    return digest


def hash_label(digest: bytes) -> bytes:
    """Write a hash as a label, length octet included: base32hex, lower case, no padding."""
    text = base64.b32encode(digest).translate(_TO_HEX32).rstrip(b"=")
    return bytes((len(text),)) + text


def label_hash(owner: bytes) -> bytes | None:
    """Read the hash in an NSEC3 owner's first label; None where it is not one."""
    label = owner[1 : 1 + owner[0]].lower()
    if len(label) != HASH_OCTETS * 8 // 5:
        return None
    try:
        return base64.b32decode(label.translate(_FROM_HEX32))
    except ValueError:
        return None
