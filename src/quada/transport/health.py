"""Health checks of pool members, performed: TCP, HTTP, HTTPS, ICMPv6 and ICMP, DNS.

Each check opens its own connection to the member's literal address, so that what is checked is the
address that answers give, never a name that might lead elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USUAL_PORT: Final = {"http": 80, "https": 443, "dns": 53, "tcp": 443}
_HEAD_OCTETS: Final = 4096  # our choice because a status line and a few headers are far smaller
_ECHO_REQUEST: Final = {6: 128, 4: 8}  # RFC 4443 4.1, RFC 792
_ECHO_REPLY: Final = {6: 129, 4: 0}


class MayNotProbe(Exception):
    """This process may not make such a check; nothing is known of the member by that."""


async def check_tcp(address: str, port: int) -> str:
    """Open and close a connection; gives words for the log. Raises OSError."""
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    return "connected"


async def check_http(
    address: str, port: int, *, is_tls: bool, host: str, path: str, status: int
) -> str:
    """Ask for a path and compare the status. Raises OSError for any other result.

    With TLS the certificate is checked for `host` if that is given; without a host it is not,
    because a certificate seldom names an address.
    """
    context: ssl.SSLContext | None = None
    if is_tls:
        context = ssl.create_default_context()
        if not host:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=(host or address) if is_tls else None
    )
    try:
        literal = f"[{address}]" if ":" in address else address
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host or literal}\r\nUser-Agent: quada-health\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        line = (await reader.readuntil(b"\n"))[:_HEAD_OCTETS].split(None, 2)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise OSError("no HTTP status line came back") from error
    finally:
        writer.close()
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
        raise OSError("what came back is not HTTP")
    if int(line[1]) != status:
        raise OSError(f"status {int(line[1])}, wanted {status}")
    return f"status {status}"


async def check_dns(address: str, port: int) -> str:
    """Ask for the root's SOA; any well-formed answer is health. Raises OSError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (address, port))
        query_id = os.urandom(2)
        query = query_id + struct.pack("!HHHHHBHH", 0, 1, 0, 0, 0, 0, codes.SOA, codes.IN)
        await loop.sock_sendall(sock, query)
        while True:
            answer = await loop.sock_recv(sock, 4096)
            if len(answer) >= 12 and answer[:2] == query_id and answer[2] & 0x80:
                return f"rcode {answer[3] & 0xF}"


async def check_icmp(address: str, _port: int) -> str:
    """Send an echo request and wait for its reply. Raises OSError; MayNotProbe without rights.

    Uses the unprivileged datagram socket of Linux where `net.ipv4.ping_group_range` allows it, else
    a raw socket.
    """
    version = ipaddress.ip_address(address).version
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        try:
            sock = socket.socket(family, socket.SOCK_RAW, protocol)
        except PermissionError as error:
            raise MayNotProbe("echo requests need rights that this process lacks") from error
    with sock:
        sock.setblocking(False)
        sock.connect((address, 0))  # no name to resolve, and nothing to wait for
        token = os.urandom(8)
        echo = struct.pack("!BBHHH", _ECHO_REQUEST[version], 0, 0, 0, 1) + token
        if version == 4:
            echo = echo[:2] + _checksum(echo) + echo[4:]
        await loop.sock_sendall(sock, echo)
        while True:
            answer = await loop.sock_recv(sock, 2048)
            if sock.type == socket.SOCK_RAW and version == 4:
                answer = answer[(answer[0] & 0xF) * 4 :]  # the IP header comes along
            if answer and answer[0] == _ECHO_REPLY[version] and token in answer:
                return "echo reply"


async def perform(
    probe: str,
    address: str,
    *,
    port: int = 0,
    host: str = "",
    path: str = "/",
    status: int = 200,
    timeout_s: float = 2.0,
) -> tuple[bool, float, str]:
    """Perform one check: whether it is good, milliseconds it took, words.

    Takes `probe`: tcp, http, https, icmp, dns, or none (always good). Raises: MayNotProbe where
    this process may not probe at all, which says nothing about the member.
    """
    if probe == "none":
        return True, 0.0, "not checked, as configured"
    port = port or USUAL_PORT.get(probe, 0)
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        "tcp": lambda: check_tcp(address, port),
        "http": lambda: check_http(
            address, port, is_tls=False, host=host, path=path, status=status
        ),
        "https": lambda: check_http(
            address, port, is_tls=True, host=host, path=path, status=status
        ),
        "dns": lambda: check_dns(address, port),
        "icmp": lambda: check_icmp(address, port),
    }
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            detail = await checks[probe]()
        is_good = True
    except TimeoutError:
        is_good, detail = False, f"no answer within {timeout_s:g} s"
    except OSError as error:
        is_good, detail = False, error.strerror or str(error)
    return is_good, (time.monotonic() - started) * 1000, detail


def _checksum(octets: bytes) -> bytes:
    """The Internet checksum (RFC 1071); the kernel makes ICMPv6's itself (RFC 3542 3.1)."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
