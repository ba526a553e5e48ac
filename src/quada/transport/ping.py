"""Echo requests of a given size, by ICMPv6 or ICMP: does a packet of so many octets come back?"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import time
from typing import Final

from quada.wire.call import Call, Called

_ECHO_REQUEST: Final = {6: 128, 4: 8}  # RFC 4443 4.1, RFC 792
_ECHO_REPLY: Final = {6: 129, 4: 0}
_HEADERS: Final = {6: 48, 4: 28}  # IP and ICMP
_TOKEN_OCTETS: Final = 16
_MAY_NOT_FRAGMENT: Final = 2  # IPV6_PMTUDISC_DO, IP_PMTUDISC_DO: linux/in6.h, linux/in.h
_MTU_DISCOVER: Final = {6: (socket.IPPROTO_IPV6, 23), 4: (socket.IPPROTO_IP, 10)}


async def ping(wanted: Call) -> Called:
    """Send an echo request and wait; once more after half of the time. Never raises.

    `refused` where this machine may send none. A packet that some router says is too large ends in
    `dial`, at once where this machine knows of it already.
    """
    began = time.monotonic()
    try:
        sock = _open(wanted.family)
    except OSError as error:
        return Called(wanted, "refused", f"this machine sends no pings: {error.strerror}")
    with sock:
        try:
            why = await _echo(sock, wanted)
        except OSError as error:
            too_large = error.errno == errno.EMSGSIZE
            why = "too large for the path" if too_large else error.strerror or str(error)
    elapsed = time.monotonic() - began
    return Called(wanted, "dial" if why else "", why, elapsed, elapsed)


def _open(family: int) -> socket.socket:
    """Open a socket for pings: one that needs no rights where the system lets us, or a raw one."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if family == 6 else socket.IPPROTO_ICMP
    try:
        sock = socket.socket(kind, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        sock = socket.socket(kind, socket.SOCK_RAW, protocol)
    sock.setblocking(False)
    level, option = _MTU_DISCOVER[family]
    sock.setsockopt(level, option, _MAY_NOT_FRAGMENT)
    return sock


async def _echo(sock: socket.socket, wanted: Call) -> str:
    """Gives why no reply came, nothing where one did. Raises: OSError."""
    loop = asyncio.get_running_loop()
    token = os.urandom(_TOKEN_OCTETS)
    body = token + bytes(max(0, wanted.octets - _HEADERS[wanted.family] - _TOKEN_OCTETS))
    for number in (1, 2):
        header = struct.pack(
            "!BBHHH", _ECHO_REQUEST[wanted.family], 0, 0, os.getpid() & 0xFFFF, number
        )
        packet = header + body
        if wanted.family == 4:  # ICMPv6's checksum is the kernel's to make
            packet = header[:2] + struct.pack("!H", _checksum(packet)) + packet[4:]
        await loop.sock_sendto(sock, packet, (wanted.address, 0))
        try:
            async with asyncio.timeout(wanted.timeout_s / 2):
                while not _is_reply(await loop.sock_recv(sock, 2_048), wanted.family, token):
                    pass
        except TimeoutError:
            continue
        return ""
    return f"nothing within {wanted.timeout_s:.0f} s"


def _is_reply(packet: bytes, family: int, token: bytes) -> bool:
    """Whether this is the reply; a raw socket gives everybody's, for IPv4 with the IP header."""
    if family == 4 and packet[:1] >= b"\x45":
        packet = packet[(packet[0] & 0xF) * 4 :]
    return packet[:1] == bytes([_ECHO_REPLY[family]]) and packet[8 : 8 + len(token)] == token


def _checksum(packet: bytes) -> int:
    """RFC 1071."""
    even = packet + bytes(len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
