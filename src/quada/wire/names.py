"""Domain names as octets: the uncompressed wire form, which is how every room holds them.

A name is `bytes`: length-prefixed labels closed by the root's zero octet (RFC 1035 3.1). Lookups
use the lower-cased form (`name.lower()`): length octets are at most 63, below every letter, so
lowering a whole wire name changes letters only (RFC 4343 3).
"""

from __future__ import annotations

from typing import Final

import quada.wire.faults as faults

ROOT: Final = b"\x00"
MAX_NAME_OCTETS: Final = 255  # RFC 1035 2.3.4
MAX_LABEL_OCTETS: Final = 63  # RFC 1035 2.3.4
_POINTER: Final = 0xC0  # RFC 1035 4.1.4
_MAX_POINTERS: Final = 127  # our choice because a name of 255 octets has at most 127 labels

# Octets that presentation format escapes with a backslash (RFC 1035 5.1, RFC 4343 2.1).
_ESCAPED: Final = frozenset(b'"().;\\@$')


def parse_name(packet: bytes, offset: int) -> tuple[bytes, int]:
    """Parse a possibly compressed name at an offset of a message.

    Gives the uncompressed name, its case kept, and the offset after it in the message.
    Raises: MalformedMessage where it runs out of the message, is too long, or its pointers do not
    go strictly backwards (which also bounds the work).
    RFC: 1035 4.1.4
    """
    parts: list[bytes] = []
    after = -1
    start = at = limit = offset
    room = MAX_NAME_OCTETS
    try:
        for _ in range(_MAX_POINTERS):
            last = start + room
            while at < last:
                length = packet[at]
                if length == 0:
                    at += 1
                    if after < 0:
                        return packet[start:at], at
                    parts.append(packet[start:at])
                    return b"".join(parts), after
                if length >= 64:
                    break
                at += length + 1
            else:
                raise faults.MalformedMessage("name is longer than 255 octets")
            if length < _POINTER:
                raise faults.MalformedMessage("label type is neither a length nor a pointer")
            target = (length & 0x3F) << 8 | packet[at + 1]
            if after < 0:
                after = at + 2
            if target >= limit:
                raise faults.MalformedMessage("compression pointer does not point backwards")
            parts.append(packet[start:at])
            room -= at - start
            start = at = limit = target
    except IndexError:
        raise faults.MalformedMessage("name runs past the end of the message") from None
    raise faults.MalformedMessage("name has too many pointers")


def split(name: bytes) -> list[bytes]:
    """Split a name into its labels, leftmost first, without length octets and without the root."""
    labels = []
    at = 0
    while length := name[at]:
        labels.append(name[at + 1 : at + 1 + length])
        at += 1 + length
    return labels


def join(labels: list[bytes]) -> bytes:
    """Join labels into a name. Raises DataFault where a label or the name is too long."""
    if any(not 0 < len(label) <= MAX_LABEL_OCTETS for label in labels):
        raise faults.DataFault("a label is empty or longer than 63 octets")
    name = b"".join(bytes((len(label),)) + label for label in labels) + ROOT
    if len(name) > MAX_NAME_OCTETS:
        raise faults.DataFault("a name is longer than 255 octets")
    return name


def parent(name: bytes) -> bytes:
    """Give the name one label up; the root's parent is the root."""
    return name[name[0] + 1 :] or ROOT


def is_subdomain(name: bytes, ancestor: bytes) -> bool:
    """Tell whether a name is at or below another, octet by octet (lower both first)."""
    if not name.endswith(ancestor):
        return False
    at, start = 0, len(name) - len(ancestor)
    while at < start:
        at += name[at] + 1
    return at == start


def label_count(name: bytes) -> int:
    """Count a name's labels, the root not counted: `www.example.com.` has 3."""
    count = at = 0
    while length := name[at]:
        count += 1
        at += 1 + length
    return count


def canonical_key(name: bytes) -> tuple[bytes, ...]:
    """Give a sort key of the canonical order: labels from the root down (RFC 4034 6.1)."""
    return tuple(reversed(split(name.lower())))


def from_text(text: str, origin: bytes = ROOT) -> bytes:
    r"""Read a name in presentation format; relative names are completed with `origin`.

    Takes `@` for the origin and the escapes `\X` and `\DDD`. Case is kept.
    Raises: DataFault, saying what is wrong with the name.
    RFC: 1035 5.1
    """
    if text == "@":
        return origin
    if text == ".":
        return ROOT
    labels: list[bytes] = []
    label = bytearray()
    at, size = 0, len(text)
    while at < size:
        char = text[at]
        at += 1
        if char == ".":
            if not label:
                raise faults.DataFault(f"name {text!r} has an empty label")
            labels.append(bytes(label))
            label.clear()
        elif char == "\\":
            digits = text[at : at + 3]
            if len(digits) == 3 and digits.isascii() and digits.isdigit():
                if int(digits) > 255:
                    raise faults.DataFault(f"name {text!r} has an escape above \\255")
                label.append(int(digits))
                at += 3
            elif at < size:
                label += _octets(text[at])
                at += 1
            else:
                raise faults.DataFault(f"name {text!r} ends inside an escape")
        else:
            label += _octets(char)
    if not labels and not label:
        raise faults.DataFault("a name is empty")
    if label:  # no closing dot: relative
        labels.append(bytes(label))
        labels.extend(split(origin))
    return join(labels)


def _octets(char: str) -> bytes:
    """Give a character's octets; octets that were never UTF-8 come as surrogates (PEP 383)."""
    try:
        return char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise faults.DataFault(f"character {char!r} cannot stand in a name") from None


def to_text(name: bytes) -> str:
    """Write a name in presentation format, absolute, printable ASCII only (RFC 1035 5.1)."""
    if name == ROOT:
        return "."
    return "".join(f"{_label_text(label)}." for label in split(name))


def _label_text(label: bytes) -> str:
    if label.isalnum():
        return label.decode("ascii")
    return "".join(
        chr(octet)
        if 0x21 <= octet <= 0x7E and octet not in _ESCAPED
        else f"\\{chr(octet)}"
        if octet in _ESCAPED
        else f"\\{octet:03d}"
        for octet in label
    )
