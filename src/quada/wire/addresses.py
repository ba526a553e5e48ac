"""Addresses as octets and as text: what events and server choice do for every message."""

from __future__ import annotations

from typing import Final

_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2


def to_text(octets: bytes) -> str:
    """Write 16 octets as an IPv6 address, 4 as IPv4; raises ValueError for other counts.

    RFC: 5952 4 and 5
    """
    if len(octets) == 4:
        return f"{octets[0]}.{octets[1]}.{octets[2]}.{octets[3]}"
    if len(octets) != 16:
        raise ValueError("neither 16 octets nor 4")
    if octets[:12] == _MAPPED:
        return "::ffff:" + to_text(octets[12:])
    groups = [group.lstrip("0") or "0" for group in octets.hex(":", 2).split(":")]
    best_at, best_length = 0, 1
    at = 0
    while at < 8:
        end = at
        while end < 8 and groups[end] == "0":
            end += 1
        if end - at > best_length:
            best_at, best_length = at, end - at
        at = max(end, at + 1)
    if best_length < 2:
        return ":".join(groups)
    return ":".join(groups[:best_at]) + "::" + ":".join(groups[best_at + best_length :])


def unmapped(octets: bytes) -> bytes:
    """Give the IPv4 address in an IPv4-mapped one, else what came."""
    return octets[12:] if octets[:12] == _MAPPED else octets
