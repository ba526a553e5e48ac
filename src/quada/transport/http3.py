"""DNS over HTTPS, the server's side over QUIC: HTTP/3 (RFC 9114), on aioquic.

Beside the bounds of every QUIC connection: a request's head, its body, and what may come on the
streams that carry no requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pylsqpack
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection, Setting
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import ProtocolNegotiated, QuicEvent, StreamDataReceived

from quada.transport.doh import MESSAGE_OCTETS, TOO_LARGE, Request, answer_request, refuse
from quada.transport.quic import QuicGuest, serve_quic

if TYPE_CHECKING:
    import asyncio

    from aioquic.quic.connection import QuicConnection

    from quada.transport.doh import Headers
    from quada.transport.exchange import Exchange
    from quada.transport.guests import Guests
    from quada.transport.tls import Certificate

_STREAM_OCTETS: Final = 1 << 17  # our choice: the longest GET is 88 KiB, the longest POST less
_SIDE_STREAMS_MAX: Final = 16  # our choice: three are needed (RFC 9114 6.2), some grease is usual
_SIDE_OCTETS: Final = 1 << 14  # our choice: SETTINGS and the like, in a connection's whole life


class _H3(H3Connection):
    """HTTP/3 without a dynamic table: a few octets must not unfold to megabytes (RFC 9204 7.2)."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self._decoder = pylsqpack.Decoder(0, 0)

    def _get_local_settings(self) -> dict[int, int]:
        return {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: _STREAM_OCTETS,
        }


class Http3Connection(QuicGuest):
    """One client. A stream carries one request; many are answered in any order."""

    overload = ErrorCode.H3_EXCESSIVE_LOAD

    def __init__(self, *args: Any, exchange: Exchange, path: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange = exchange
        self._path = path
        self._h3: _H3 | None = None
        self._heads: dict[int, dict[bytes, bytes]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._octets: dict[int, int] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic parsed from the wire."""
        super().quic_event_received(event)
        if isinstance(event, ProtocolNegotiated):
            self._h3 = _H3(self._quic)
        if self._h3 is None or self._is_over:
            return
        if isinstance(event, StreamDataReceived) and not self._fits(event):
            self.refuse(ErrorCode.H3_EXCESSIVE_LOAD)
            return
        for found in self._h3.handle_event(event):
            self._take(found)
        if isinstance(event, StreamDataReceived) and event.end_stream and not event.stream_id & 2:
            self.forget(event.stream_id)

    def forget(self, stream: int) -> None:
        """Drop what has come of a request."""
        self._heads.pop(stream, None)
        self._bodies.pop(stream, None)
        self._octets.pop(stream, None)

    def _fits(self, event: StreamDataReceived) -> bool:
        """Count what comes on a stream, in whatever frames."""
        stream = event.stream_id
        so_far = self._octets.get(stream, 0) + len(event.data)
        self._octets[stream] = so_far
        if not stream & 2:
            return so_far <= _STREAM_OCTETS
        side_count = sum(1 for one in self._octets if one & 2)
        return so_far <= _SIDE_OCTETS and side_count <= _SIDE_STREAMS_MAX

    def _take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            if event.stream_id not in self._bodies:  # else trailers, which say nothing here
                self._heads[event.stream_id] = dict(event.headers)
                self._bodies[event.stream_id] = bytearray()
        elif isinstance(event, DataReceived):
            body = self._bodies.get(event.stream_id, bytearray())
            body += event.data
            if len(body) > MESSAGE_OCTETS:
                self._turn_down(event.stream_id)
                return
        else:
            return
        if event.stream_ended:
            self._ended(event.stream_id)

    def _turn_down(self, stream: int) -> None:
        """Answer a request that is too large before it has ended (RFC 9114 4.1)."""
        self.forget(stream)
        self.served(stream)
        refuse(TOO_LARGE, partial(self._respond, stream))
        self._quic.stop_stream(stream, ErrorCode.H3_NO_ERROR)

    def _ended(self, stream: int) -> None:
        head, body = self._heads.pop(stream, None), self._bodies.pop(stream, None)
        if head is None or body is None:
            return
        self.served(stream)
        texts = [
            head.get(name, b"").decode("utf-8", "replace")
            for name in (b":method", b":path", b"content-type")
        ]
        request = Request(texts[0], texts[1], texts[2], bytes(body))
        answer_request(
            self._exchange, request, self._path, self.peer, partial(self._respond, stream)
        )

    def _respond(self, stream: int, status: int, headers: Headers, body: bytes) -> None:
        if stream not in self.owed or self._h3 is None:
            return
        self.owed.discard(stream)
        head = [(":status", str(status)), ("content-length", str(len(body))), *headers]
        self._h3.send_headers(
            stream, [(name.encode(), value.encode()) for name, value in head], not body
        )
        if body:
            self._h3.send_data(stream, body, end_stream=True)
        self.transmit()


async def serve_http3(
    sock: Any,
    certificate: Certificate,
    exchange: Exchange,
    guests: Guests,
    *,
    path: str = "/dns-query",
) -> asyncio.DatagramTransport:
    """Serve DoH over HTTP/3 on a bound UDP socket."""
    make = partial(Http3Connection, exchange=exchange, guests=guests, path=path)
    return await serve_quic(sock, certificate, H3_ALPN[0], guests, make)
