"""DNS over QUIC, the server's side (RFC 9250)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aioquic.quic.events import QuicEvent, StreamDataReceived

from quada.transport.quic import QuicGuest, serve_quic
from quada.transport.tls import ALPN_DOQ
from quada.wire.ask import Transport

if TYPE_CHECKING:
    import asyncio

    from quada.transport.exchange import Exchange
    from quada.transport.guests import Guests
    from quada.transport.tls import Certificate

# Application error codes (RFC 9250 4.3).
DOQ_NO_ERROR: Final = 0x0
DOQ_PROTOCOL_ERROR: Final = 0x2
DOQ_EXCESSIVE_LOAD: Final = 0x4
_MESSAGE_OCTETS: Final = 2 + 65535


class DoqConnection(QuicGuest):
    """One client. A stream carries one query; its answer goes back on it, then the stream ends."""

    overload = DOQ_EXCESSIVE_LOAD

    def __init__(self, *args: Any, exchange: Exchange, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange = exchange
        self._partial: dict[int, bytearray] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic parsed from the wire."""
        super().quic_event_received(event)
        if isinstance(event, StreamDataReceived) and not self._is_over:
            self._take(event.stream_id, event.data, is_end=event.end_stream)

    def forget(self, stream: int) -> None:
        """Drop what has come of a query."""
        self._partial.pop(stream, None)

    def _take(self, stream: int, data: bytes, *, is_end: bool) -> None:
        if stream & 3:  # only client-initiated bidirectional streams carry queries (RFC 9250 4.2)
            self.refuse(DOQ_PROTOCOL_ERROR)
            return
        so_far = self._partial.setdefault(stream, bytearray())
        so_far += data
        if len(so_far) > _MESSAGE_OCTETS:
            self.refuse(DOQ_EXCESSIVE_LOAD)
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
            self.refuse(DOQ_PROTOCOL_ERROR)
            return
        self.served(stream)

        def send(message: bytes, *, is_last: bool = True) -> None:
            if stream not in self.owed:
                return
            if message:
                message = len(message).to_bytes(2, "big") + b"\x00\x00" + message[2:]
            self._quic.send_stream_data(stream, message, is_last)
            if is_last:
                self.owed.discard(stream)
            self.transmit()

        self._exchange(bytes(so_far[2:]), self.peer, Transport.DOQ, send)


async def serve_doq(
    sock: Any, certificate: Certificate, exchange: Exchange, guests: Guests
) -> asyncio.DatagramTransport:
    """Serve DoQ on a bound UDP socket."""
    make = partial(DoqConnection, exchange=exchange, guests=guests)
    return await serve_quic(sock, certificate, ALPN_DOQ, guests, make)
