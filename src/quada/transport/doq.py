"""DNS over QUIC, the server's side (RFC 9250), on aioquic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset

from quada.transport.exchange import raw_peer
from quada.transport.tls import ALPN_DOQ
from quada.wire.ask import Transport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from aioquic.tls import SessionTicket

    from quada.transport.exchange import Exchange

# Application error codes (RFC 9250 4.3).
DOQ_NO_ERROR: Final = 0x0
DOQ_PROTOCOL_ERROR: Final = 0x2
DOQ_EXCESSIVE_LOAD: Final = 0x4
_STREAMS_MAX: Final = 256  # our choice: queries a connection may have open at once
_MESSAGE_OCTETS: Final = 2 + 65535
_TICKETS_MAX: Final = 10_000  # our choice because a ticket is kept until used or pushed out
_WINDOW_OCTETS: Final = 1 << 18  # our choice: what a connection may have unread


class Tickets:
    """Session tickets for resumption: bounded, each used once (RFC 8446 8.1)."""

    def __init__(self) -> None:
        self._kept: dict[bytes, SessionTicket] = {}

    def add(self, ticket: SessionTicket) -> None:
        """Keep a ticket, dropping the oldest beyond the bound."""
        while len(self._kept) >= _TICKETS_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[ticket.ticket] = ticket

    def pop(self, label: bytes) -> SessionTicket | None:
        """Take a ticket out."""
        return self._kept.pop(label, None)


class DoqConnection(QuicConnectionProtocol):
    """One client. A stream carries one query; its answer goes back on it, then the stream ends."""

    def __init__(
        self, *args: Any, exchange: Exchange, connections: set[DoqConnection], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._exchange = exchange
        self._connections = connections
        self._partial: dict[int, bytearray] = {}
        self._open: set[int] = set()
        connections.add(self)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic parsed from the wire."""
        if isinstance(event, StreamDataReceived):
            self._take(event.stream_id, event.data, is_end=event.end_stream)
        elif isinstance(event, StreamReset):
            self._partial.pop(event.stream_id, None)
            self._open.discard(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self._partial.clear()
            self._open.clear()
            self._connections.discard(self)

    def _take(self, stream: int, data: bytes, *, is_end: bool) -> None:
        if stream & 3:  # only client-initiated bidirectional streams carry queries (RFC 9250 4.2)
            self._refuse(DOQ_PROTOCOL_ERROR)
            return
        so_far = self._partial.setdefault(stream, bytearray())
        so_far += data
        if len(so_far) > _MESSAGE_OCTETS or len(self._partial) + len(self._open) > _STREAMS_MAX:
            self._refuse(DOQ_EXCESSIVE_LOAD)
            return
        if not is_end:
            return
        del self._partial[stream]
        # The length must match, and the id must be 0 (RFC 9250 4.2, 4.2.1).
        if (
            len(so_far) < 14
            or int.from_bytes(so_far[:2], "big") != len(so_far) - 2
            or so_far[2:4] != b"\x00\x00"
        ):
            self._refuse(DOQ_PROTOCOL_ERROR)
            return
        self._open.add(stream)
        peer = raw_peer(self._quic._network_paths[0].addr)

        def send(message: bytes, *, is_last: bool = True) -> None:
            if stream not in self._open:
                return
            if message:
                message = len(message).to_bytes(2, "big") + b"\x00\x00" + message[2:]
            self._quic.send_stream_data(stream, message, is_last)
            if is_last:
                self._open.discard(stream)
            self.transmit()

        self._exchange(bytes(so_far[2:]), peer, Transport.DOQ, send)

    def _refuse(self, code: int) -> None:
        self._partial.clear()
        self._open.clear()
        self.close(code)


async def serve_doq(
    loop: asyncio.AbstractEventLoop,
    sock: Any,
    chain: Path,
    key: Path,
    exchange: Exchange,
    *,
    idle_s: float = 30.0,
    connections_max: int = 1000,
) -> tuple[asyncio.DatagramTransport, Callable[[], None]]:
    """Serve DoQ on a bound UDP socket. Gives the transport and a function that reloads the files.

    Beyond `connections_max` a new connection is closed with DOQ_EXCESSIVE_LOAD. Addresses are
    validated by Retry, so that the server cannot be used to amplify (RFC 9000 8.1). No early data.
    """
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN_DOQ],
        idle_timeout=idle_s,
        max_data=_WINDOW_OCTETS,
        max_stream_data=_MESSAGE_OCTETS + 1,
    )
    configuration.load_cert_chain(chain, key)
    tickets = Tickets()
    connections: set[DoqConnection] = set()

    def connected(*args: Any, **kwargs: Any) -> DoqConnection:
        one = DoqConnection(*args, exchange=exchange, connections=connections, **kwargs)
        if len(connections) > connections_max:
            loop.call_soon(one.close, DOQ_EXCESSIVE_LOAD)
        return one

    transport, _ = await loop.create_datagram_endpoint(
        lambda: QuicServer(
            configuration=configuration,
            create_protocol=connected,
            session_ticket_fetcher=tickets.pop,
            session_ticket_handler=tickets.add,
            retry=True,
        ),
        sock=sock,
    )
    return transport, lambda: configuration.load_cert_chain(chain, key)
