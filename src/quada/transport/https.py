"""DNS over HTTPS, the server's side over TCP: HTTP/2 by h2, HTTP/1.1 by h11.

One asyncio protocol a connection; what ALPN chose decides which of the two speaks. Everything a
client sends is bounded: header size and stream count by the libraries' settings, bodies by the size
of a DNS message, idle time and connection count by the listener's guests.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11

from quada.transport.doh import MESSAGE_OCTETS, TOO_LARGE, Request, answer_request, refuse
from quada.transport.exchange import raw_peer
from quada.transport.frames import PREFACE_OCTETS, FrameLengths

if TYPE_CHECKING:
    from quada.transport.doh import Headers
    from quada.transport.exchange import Exchange
    from quada.transport.guests import Guests

_STREAMS_MAX: Final = 100  # RFC 9113 6.5.2 recommends no fewer
_RESETS_MAX: Final = 200  # streams a client may reset before it is taken for an attack
_UNSENT_OCTETS: Final = 1 << 20  # our choice: answers a client leaves unread before we hang up


class DohConnection(asyncio.Protocol):
    """One client connection. Takes the Exchange that answers, and the path queries come to.

    `alt_svc` is what clients are told of HTTP/3 (RFC 7838 3); empty tells nothing.
    """

    def __init__(
        self, exchange: Exchange, guests: Guests, *, path: str = "/dns-query", alt_svc: str = ""
    ) -> None:
        self._exchange = exchange
        self._guests = guests
        self._path = path
        self._more: Headers = [("alt-svc", alt_svc)] if alt_svc else []
        self._transport: asyncio.Transport | None = None
        self._speaker: _Http2 | _Http1 | None = None
        self._active_at = time.monotonic()
        self._owed_count = 0
        self._peer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Choose what to speak, by ALPN."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = raw_peer(transport.get_extra_info("peername"))
        if not self._guests.admit(self, self._peer):
            transport.abort()
            return
        ssl_object = transport.get_extra_info("ssl_object")
        is_h2 = ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"
        self._speaker = _Http2(self) if is_h2 else _Http1(self)

    def data_received(self, data: bytes) -> None:
        """Feed the speaker."""
        if self._speaker is not None:
            self._speaker.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; answers that come later are dropped."""
        self._speaker = None
        self._guests.leave(self)

    def is_idle_since(self, moment: float) -> bool:
        """Tell whether no whole request has come since a moment, and no response is owed."""
        return self._active_at < moment and not self._owed_count

    def write(self, octets: bytes) -> None:
        """Write, unless the client has stopped reading."""
        if self._transport is None or self._transport.is_closing() or not octets:
            return
        if self._transport.get_write_buffer_size() > _UNSENT_OCTETS:
            self._transport.abort()
            return
        self._transport.write(octets)

    def close(self) -> None:
        """Close after what is written has gone."""
        if self._transport is not None:
            self._transport.close()

    def serve(self, request: Request, number: int) -> None:
        """Answer one request; `number` is the speaker's name for it."""
        self._active_at = time.monotonic()
        self._owed_count += 1

        def respond(status: int, headers: Headers, body: bytes) -> None:
            self._owed_count -= 1
            if self._speaker is not None:
                self._speaker.respond(number, status, headers + self._more, body)

        answer_request(self._exchange, request, self._path, self._peer, respond)


class _Http2:
    """Speaks HTTP/2: many requests at once, answered in any order."""

    def __init__(self, connection: DohConnection) -> None:
        self._out = connection
        self._h2 = h2.connection.H2Connection(
            # What comes is checked as RFC 9113 8.2 and 8.3 want; what goes is our own, and right.
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = _STREAMS_MAX
        self._h2.local_settings[h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE] = 100_000
        self._h2.initiate_connection()
        self._lengths = FrameLengths(PREFACE_OCTETS)
        self._heads: dict[int, dict[bytes, bytes]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._unsent: dict[int, bytes] = {}
        self._resets = 0
        self._out.write(self._h2.data_to_send())

    def take(self, data: bytes) -> None:
        if not self._lengths.are_fair(data):
            self._h2.close_connection(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)
            self._out.write(self._h2.data_to_send())
            self._out.close()
            return
        try:
            for event in self._h2.receive_data(data):
                self._event(event)
        except h2.exceptions.ProtocolError:
            self._out.write(self._h2.data_to_send())
            self._out.close()
            return
        self._out.write(self._h2.data_to_send())

    def respond(self, number: int, status: int, headers: Headers, body: bytes) -> None:
        try:
            self._h2.send_headers(
                number,
                [
                    (b":status", b"%d" % status),
                    (b"content-length", b"%d" % len(body)),
                    *((name.encode(), value.encode()) for name, value in headers),
                ],
                end_stream=not body,
            )
            if body:
                self._unsent[number] = body
                self._send_body(number)
        except h2.exceptions.ProtocolError:
            self._unsent.pop(number, None)  # the client has reset that stream
        # One write a response: dnsperf 2.10 loses the second of two that come in one TLS record.
        self._out.write(self._h2.data_to_send())

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            number = event.stream_id or 0
            if event.headers is not None:
                self._heads[number] = dict(event.headers)
                self._bodies[number] = bytearray()
        elif isinstance(event, h2.events.DataReceived):
            self._body(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended(event.stream_id or 0)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(event.stream_id or 0)
            self._resets += 1  # rapid reset (CVE-2023-44487)
            if self._resets > _RESETS_MAX:
                self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                self._out.close()
        elif isinstance(event, h2.events.WindowUpdated):
            for number in list(self._unsent):
                self._send_body(number)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._out.close()

    def _body(self, event: h2.events.DataReceived) -> None:
        number = event.stream_id or 0
        body = self._bodies.get(number)
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        if body is None:
            return
        body += event.data or b""
        if len(body) > MESSAGE_OCTETS:
            self._forget(number)
            refuse(TOO_LARGE, partial(self.respond, number))

    def _ended(self, number: int) -> None:
        head, body = self._heads.pop(number, None), self._bodies.pop(number, None)
        if head is None or body is None:
            return
        self._out.serve(
            Request(
                head.get(b":method", b"").decode("utf-8", "replace"),
                head.get(b":path", b"").decode("utf-8", "replace"),
                head.get(b"content-type", b"").decode("utf-8", "replace"),
                bytes(body),
            ),
            number,
        )

    def _send_body(self, number: int) -> None:
        """Send as much of an answer as flow control lets through; the rest waits for a window."""
        body = self._unsent.get(number)
        while body:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._unsent[number] = body
                return
            chunk, body = body[:room], body[room:]
            self._h2.send_data(number, chunk, end_stream=not body)
        self._unsent.pop(number, None)

    def _forget(self, number: int) -> None:
        self._heads.pop(number, None)
        self._bodies.pop(number, None)
        self._unsent.pop(number, None)


class _Http1:
    """Speaks HTTP/1.1: one request at a time, connections kept."""

    def __init__(self, connection: DohConnection) -> None:
        self._out = connection
        self._h11 = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()

    def take(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._go_on()

    def _go_on(self) -> None:
        try:
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                if isinstance(event, h11.Request):
                    self._request = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MESSAGE_OCTETS:
                        refuse(TOO_LARGE, partial(self.respond, 0))
                        self._out.close()
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._ended()
                elif isinstance(event, h11.ConnectionClosed):
                    self._out.close()
                    return
        except h11.RemoteProtocolError as error:
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.respond(0, error.error_status_hint, [], b"this is not HTTP/1.1\n")
            self._out.close()

    def _ended(self) -> None:
        request, body = self._request, bytes(self._body)
        self._request = None
        self._body.clear()
        if request is None:
            return
        media_type = dict(request.headers).get(b"content-type", b"")
        self._out.serve(
            Request(
                request.method.decode("ascii", "replace"),
                request.target.decode("ascii", "replace"),
                media_type.decode("ascii", "replace"),
                body,
            ),
            0,
        )

    def respond(self, number: int, status: int, headers: Headers, body: bytes) -> None:
        try:
            octets = self._h11.send(
                h11.Response(
                    status_code=status, headers=[("content-length", str(len(body))), *headers]
                )
            )
            octets = (octets or b"") + (self._h11.send(h11.Data(data=body)) or b"")
            octets += self._h11.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            self._out.close()
            return
        self._out.write(octets)
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            # What was pipelined waits in h11's buffer; go on once the present event is done with.
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._h11.our_state is h11.MUST_CLOSE:
            self._out.close()
