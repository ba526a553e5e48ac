"""How a connection meets a role: one query in, one or more messages out, now or later."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Protocol

from quada.wire.respond import Deferred

if TYPE_CHECKING:
    from quada.wire.ask import Transport
    from quada.wire.respond import Responder


class Sink(Protocol):
    """Where event records go (see server.ring)."""

    def append(self, head: bytes, peer: bytes, tail: bytes) -> None:
        """Take one record in its three parts: time, raw peer, tail."""

    def extend(self, block: bytes, count: int) -> None:
        """Take whole records."""


class Pending(Protocol):
    """A client that waits for a deferred answer."""

    @property
    def is_gone(self) -> bool:
        """Whether the client has hung up, so that work for it may stop."""

    def send(self, response: bytes, tail: bytes) -> None:
        """Send one message, less its id octets; empty for none. An empty tail logs no event."""

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent."""


class Defer(Protocol):
    """Takes over what a role could not answer at once."""

    def __call__(self, deferred: Deferred, pending: Pending) -> None: ...


class Send(Protocol):
    """Sends one whole message to the client that asked; `is_last` ends the exchange."""

    def __call__(self, message: bytes, *, is_last: bool = True) -> None: ...


class Exchange(Protocol):
    """Answers one query. Calls `send` at once or later; an empty last message means no answer."""

    def __call__(self, packet: bytes, peer: bytes, transport: Transport, send: Send) -> None: ...


def make_exchange(responder: Responder, sink: Sink, defer: Defer) -> Exchange:
    """Make an Exchange of a role, for transports that carry one query at a time."""

    def exchange(packet: bytes, peer: bytes, transport: Transport, send: Send) -> None:
        now_ns = time.time_ns()
        head = now_ns.to_bytes(8, "little")
        responder.begin(now_ns)
        found = responder.answer(packet, peer, transport)
        if isinstance(found, Deferred):
            defer(found, _OneAnswer(head, packet[:2], peer, sink, send))
            return
        response, tail = found
        sink.append(head, peer, tail)
        send(packet[:2] + response if response else b"")

    return exchange


class _OneAnswer:
    """A pending client of an Exchange."""

    is_gone = False

    def __init__(self, head: bytes, query_id: bytes, peer: bytes, sink: Sink, send: Send) -> None:
        self._head, self._query_id, self._peer = head, query_id, peer
        self._sink, self._send = sink, send

    def send(self, response: bytes, tail: bytes) -> None:
        if tail:
            self._sink.append(self._head, self._peer, tail)
        self._send(self._query_id + response if response else b"")

    async def drain(self) -> None:
        """Nothing to wait for: one answer."""


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
