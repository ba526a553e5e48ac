"""How a connection meets a role: one query in, one or more messages out, now or later."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from quada.wire.ask import Transport


class Send(Protocol):
    """Sends one whole message to the client that asked; `is_last` ends the exchange."""

    def __call__(self, message: bytes, *, is_last: bool = True) -> None: ...


class Exchange(Protocol):
    """Answers one query. Calls `send` at once or later; an empty last message means no answer."""

    def __call__(self, packet: bytes, peer: bytes, transport: Transport, send: Send) -> None: ...


def raw_peer(address: Any) -> bytes:
    """Turn asyncio's peer name into the raw socket address that events and limits use.

    Takes `(host, port)` or `(host, port, flow, scope)`; an unknown shape gives 28 zero octets.
    """
    if not isinstance(address, tuple) or len(address) < 2:
        return bytes(28)
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    port = int(address[1]).to_bytes(2, "big")
    if ip.version == 6:
        scope = struct.pack("=I", int(address[3])) if len(address) > 3 else bytes(4)
        return struct.pack("=H", socket.AF_INET6) + port + bytes(4) + ip.packed + scope
    return struct.pack("=H", socket.AF_INET) + port + ip.packed + bytes(20)
