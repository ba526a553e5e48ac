"""DNS over TCP and over TLS, the server's side (RFC 7766, RFC 7858).

All whole queries of one read are answered with one write; what must wait is answered out of order.
A client may be slow, silent, or many: each of these has a bound.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from quada.transport.exchange import raw_peer
from quada.transport.guests import Guests
from quada.wire.respond import Deferred

if TYPE_CHECKING:
    from quada.transport.exchange import Defer, Sink
    from quada.transport.guests import StreamLimits
    from quada.wire.ask import Transport
    from quada.wire.respond import Responder

_UNSENT_OCTETS: Final = 1 << 20  # our choice: answers a client may leave unread before we hang up
_PENDING_MAX: Final = 256  # our choice: deferred queries of one connection


class StreamStation:
    """What all connections of one listener share: the role behind it, and who is there."""

    def __init__(
        self,
        responder: Responder,
        sink: Sink,
        defer: Defer,
        transport: Transport,
        limits: StreamLimits,
    ) -> None:
        self.responder = responder
        self.sink = sink
        self.defer = defer
        self.transport = transport
        self.guests = Guests(limits)

    def protocol(self) -> StreamConnection:
        """Make the protocol of a new connection."""
        return StreamConnection(self)


class StreamConnection(asyncio.BufferedProtocol):
    """One client connection."""

    def __init__(self, station: StreamStation) -> None:
        self._station = station
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(4096)
        self._filled = 0
        self._active_at = time.monotonic()
        self._peer = b""
        self._pending = 0
        self._is_writable = asyncio.Event()
        self._is_writable.set()

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client, or end the connection where a bound is reached."""
        assert isinstance(transport, asyncio.Transport)
        self._peer = raw_peer(transport.get_extra_info("peername"))
        if not self._station.guests.admit(self, self._peer):
            transport.abort()
            return
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._is_writable.set()
        self._transport = None
        self._station.guests.leave(self)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def is_idle_since(self, moment: float) -> bool:
        """Tell whether nothing whole has come since a moment, and nothing is owed."""
        return self._active_at < moment and not self._pending

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._is_writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._is_writable.set()

    async def drain(self) -> None:
        """Wait until the client has caught up."""
        await self._is_writable.wait()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the room after what has come so far; it grows only as far as a message needs."""
        if self._filled == len(self._buffer):
            self._buffer.extend(bytes(min(len(self._buffer), 2 + 65535)))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Answer every query that is whole."""
        if self._transport is None:
            return
        self._filled += nbytes
        buffer, filled = self._buffer, self._filled
        if filled < 2:
            return
        at = 0
        packets = []
        while filled - at >= 2:
            end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
            if end > filled:
                break
            packets.append(bytes(buffer[at + 2 : end]))
            at = end
        if at:
            rest = filled - at
            buffer[:rest] = buffer[at:filled]
            self._filled = rest
            self._active_at = time.monotonic()
            self._answer(packets)

    def eof_received(self) -> bool:
        """A client that has said all still gets its answers (RFC 7766 6.2.4)."""
        if not self._pending and self._transport is not None:
            self._transport.close()
        return bool(self._pending)

    def _answer(self, packets: list[bytes]) -> None:
        station = self._station
        responder, append = station.responder, station.sink.append
        now_ns = time.time_ns()
        responder.begin(now_ns)
        head = now_ns.to_bytes(8, "little")
        peer = self._peer
        out = []
        for packet in packets:
            found = responder.answer(packet, peer, station.transport)
            if isinstance(found, Deferred):
                self._put_off(found, head)
                continue
            response, tail = found
            append(head, peer, tail)
            if response:
                out.append((len(response) + 2).to_bytes(2, "big") + packet[:2] + response)
            else:
                self.close()  # what is not DNS will not become DNS
                return
        if out:
            self._write(b"".join(out))

    def _put_off(self, deferred: Deferred, head: bytes) -> None:
        if self._pending >= _PENDING_MAX:
            self.close()
            return
        self._pending += 1
        waiting = _Waiting(self, deferred, head)
        self._station.defer(deferred, waiting)

    def done(self) -> None:
        """One deferred query is answered."""
        self._pending -= 1
        self._active_at = time.monotonic()

    def send(self, query_id: bytes, response: bytes) -> None:
        """Send one message."""
        self._write((len(response) + 2).to_bytes(2, "big") + query_id + response)

    def log(self, head: bytes, tail: bytes) -> None:
        """Log an event about this client."""
        self._station.sink.append(head, self._peer, tail)

    def _write(self, octets: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _UNSENT_OCTETS:
            transport.abort()
            return
        transport.write(octets)


class _Waiting:
    """A pending query of a connection."""

    def __init__(self, connection: StreamConnection, deferred: Deferred, head: bytes) -> None:
        self._connection = connection
        self._query_id = deferred.packet[:2]
        self._head = head
        self._is_done = False

    @property
    def is_gone(self) -> bool:
        return self._connection.is_gone

    def send(self, response: bytes, tail: bytes) -> None:
        if tail:
            self._connection.log(self._head, tail)
        if response:
            self._connection.send(self._query_id, response)
        if not self._is_done:
            self._is_done = True
            self._connection.done()

    async def drain(self) -> None:
        await self._connection.drain()
