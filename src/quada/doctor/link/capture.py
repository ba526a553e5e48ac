"""Packet captures, pcap and pcapng: the router advertisements and DHCPv6 answers in them."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Final

from quada.doctor.link.messages import CLIENT_PORT, ROUTER_ADVERT, SERVER_PORT, Heard
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES_MAX: Final = 1_000_000
_ETHERNET: Final = 1
# Octets before the IPv6 header, by link type of the capture.
_OFFSETS: Final = {_ETHERNET: 14, 0: 4, 12: 0, 101: 0, 229: 0, 113: 16, 276: 20}
_NEXT_SKIPPED: Final = (0, 43, 60)  # hop-by-hop, routing, destination options


def read_capture(octets: bytes, place: str = "capture") -> list[Heard]:
    """Read what routers and DHCPv6 servers said in a capture. Raises: DataFault for another file.

    A capture cut short gives what it holds.
    """
    magic = octets[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        frames = _pcapng(octets)
    elif magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        frames = _pcap(octets, "<", is_nano=magic[0] == 0x4D)
    elif magic in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        frames = _pcap(octets, ">", is_nano=magic[3] == 0x4D)
    else:
        raise DataFault("this is neither pcap nor pcapng", place=place, remedy="tcpdump -w FILE")
    found = []
    for count, (kind, at, frame) in enumerate(frames):
        if count >= _FRAMES_MAX:
            break
        heard = _heard(kind, at, frame)
        if heard is not None:
            found.append(heard)
    return found


def _heard(kind: int, at: float, frame: bytes) -> Heard | None:
    offset = _OFFSETS.get(kind)
    if offset is None:
        return None
    if kind == _ETHERNET:
        while frame[offset - 2 : offset] in (b"\x81\x00", b"\x88\xa8"):  # VLAN tags
            offset += 4
        if frame[offset - 2 : offset] != b"\x86\xdd":
            return None
    packet = frame[offset:]
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    protocol, start = packet[6], 40
    end = min(len(packet), 40 + int.from_bytes(packet[4:6], "big"))
    for _ in range(8):
        if protocol not in _NEXT_SKIPPED or start + 2 > end:
            break
        protocol, start = packet[start], start + (packet[start + 1] + 1) * 8
    payload = packet[start:end]
    source, hops = str(ipaddress.IPv6Address(packet[8:24])), packet[7]
    if protocol == 58 and payload[:1] == bytes([ROUTER_ADVERT]):
        return Heard("ra", source, payload.hex(), at, hops, packet[24] == 0xFF)
    ports = struct.pack(">HH", SERVER_PORT, CLIENT_PORT)
    if protocol == 17 and payload[:4] == ports and len(payload) > 8:
        return Heard("dhcpv6", source, payload[8:].hex(), at, hops)
    return None


def _pcap(octets: bytes, order: str, *, is_nano: bool) -> Iterator[tuple[int, float, bytes]]:
    if len(octets) < 24:
        return
    kind = struct.unpack_from(f"{order}I", octets, 20)[0] & 0xFFFF
    head = struct.Struct(f"{order}IIII")
    at = 24
    while at + 16 <= len(octets):
        seconds, fraction, size, _ = head.unpack_from(octets, at)
        frame = octets[at + 16 : at + 16 + size]
        yield kind, seconds + fraction / (1e9 if is_nano else 1e6), frame
        at += 16 + size


def _pcapng(octets: bytes) -> Iterator[tuple[int, float, bytes]]:
    """Blocks of draft-ietf-opsawg-pcapng: section, interface, enhanced packet."""
    order, at = "<", 0
    interfaces: list[tuple[int, float]] = []
    while at + 12 <= len(octets):
        if octets[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if octets[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        block, size = struct.unpack_from(f"{order}II", octets, at)
        if size < 12 or size % 4 or at + size > len(octets):
            return
        body = octets[at + 8 : at + size - 4]
        if block == 1 and len(body) >= 8 and len(interfaces) < 1_000:
            kind = struct.unpack_from(f"{order}H", body)[0]
            interfaces.append((kind, _resolution(body[8:], order)))
        elif block == 6 and len(body) >= 20:
            which, high, low, kept = struct.unpack_from(f"{order}IIII", body)
            if which < len(interfaces):
                kind, unit = interfaces[which]
                yield kind, ((high << 32) | low) * unit, body[20 : 20 + kept]
        at += size


def _resolution(options: bytes, order: str) -> float:
    """The unit of an interface's times in seconds (option 9), a microsecond where none is said."""
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(f"{order}HH", options, at)
        if code == 9 and size == 1 and at + 4 < len(options):
            power = options[at + 4]
            return float(2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power)
        at += 4 + (size + 3) // 4 * 4
        if not code:
            break
    return 1e-6
