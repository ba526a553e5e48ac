"""A link, asked: router solicitation and DHCPv6, sent and listened to. Nothing is taken or set."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable

_ICMP6_FILTER: Final = 1  # <linux/icmpv6.h>
_MESSAGE_OCTETS: Final = 65_535
_HEARD_MAX: Final = 256  # our choice: a link with more talkers is under attack
_RESEND_S: Final = 1.0
_OTHERS_S: Final = 1.0  # once one has answered: others delay up to 0.5 s (RFC 4861 6.2.6)


class Packet(NamedTuple):
    """What came: from whom (no zone), the payload, when, hop limit, whether to all."""

    source: str
    octets: bytes
    at: float
    hop_limit: int
    is_multicast: bool


def solicit_routers(
    interface: str, message: bytes, group: str, wanted_type: int, wait_s: float
) -> list[Packet]:
    """Send an ICMPv6 message to a group on an interface and hear the answers of one type.

    Raises: ReachFault without the privilege, the interface or IPv6 on it.
    """
    index = _index(interface)
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    except PermissionError as error:
        raise ReachFault(
            "raw ICMPv6 needs a privilege",
            place=interface,
            remedy="run as root or with CAP_NET_RAW, or give a capture: --pcap FILE",
        ) from error
    with sock:
        passes = bytearray(b"\xff" * 32)
        passes[wanted_type // 8] &= 0xFF ^ (1 << wanted_type % 8)
        # The kernel's filter is in words of its own order.
        words = struct.unpack("<8I", passes)
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

        def send() -> None:
            sock.sendto(message, (group, 0, 0, index))

        return _listen(sock, send, index, interface, wait_s)


def ask_dhcpv6(
    interface: str, messages: list[bytes], group: str, ports: tuple[int, int], wait_s: float
) -> list[Packet]:
    """Send DHCPv6 messages from the client's port to the servers' and hear what comes.

    Raises: ReachFault where the client's port is taken or may not be bound.
    """
    index = _index(interface)
    source, to = ports
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        try:
            sock.bind((_link_local(interface), source, 0, index))
        except OSError as error:
            raise ReachFault(
                f"UDP port {source} cannot be bound: {error.strerror}",
                place=interface,
                remedy="run as root, and stop the DHCPv6 client of this interface or use --pcap",
            ) from error

        def send() -> None:
            for message in messages:
                sock.sendto(message, (group, to, 0, index))

        return _listen(sock, send, index, interface, wait_s)


def _listen(
    sock: socket.socket, send: Callable[[], None], index: int, interface: str, wait_s: float
) -> list[Packet]:
    heard: list[Packet] = []
    now = time.monotonic()
    end, again = now + wait_s, now
    while now < end and len(heard) < _HEARD_MAX:
        if now >= again:
            try:
                send()
            except OSError as error:
                raise ReachFault(
                    f"nothing can be sent: {error.strerror}",
                    place=interface,
                    remedy="is the interface up, and is IPv6 on?",
                ) from error
            again = now + _RESEND_S
        if select.select([sock], [], [], max(0.0, min(again, end) - now))[0]:
            packet = _receive(sock, index)
            now = time.monotonic()
            if packet is not None:
                end = end if heard else min(end, now + _OTHERS_S)
                heard.append(packet)
        now = time.monotonic()
    return heard


def _receive(sock: socket.socket, index: int) -> Packet | None:
    octets, extras, _, source = sock.recvmsg(_MESSAGE_OCTETS, 256)
    hop_limit, is_multicast, arrived = 255, False, index
    for level, kind, data in extras:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
            hop_limit = struct.unpack("i", data[:4])[0]
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            is_multicast = data[0] == 0xFF
            arrived = struct.unpack("I", data[16:20])[0]
    if arrived != index:
        return None
    return Packet(source[0].partition("%")[0], octets, time.time(), hop_limit, is_multicast)


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise ReachFault(
            f"there is no interface {interface}", place=interface, remedy=f"there are {known}"
        ) from error


def _link_local(interface: str) -> str:
    """Give an interface's link-local address. Raises: ReachFault where it has none."""
    with contextlib.suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as table:  # noqa: PTH123
        for line in table:
            octets, _, _, scope, _, name = line.split()
            if name == interface and scope == "20":
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(octets))
    raise ReachFault(
        "it has no link-local address", place=interface, remedy="bring it up, with IPv6 on"
    )
