"""DNS over HTTPS, the server's side (RFC 8484): HTTP/2 by h2, HTTP/1.1 by h11.

One asyncio protocol a connection; what ALPN chose decides which of the two speaks. Everything a
client sends is bounded: header size and stream count by the libraries' settings, bodies by the size
of a DNS message, idle time and connection count here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11

import quada.wire.codes as codes
from quada.transport.exchange import raw_peer
from quada.wire.ask import Transport
from quada.wire.faults import MalformedMessage
from quada.wire.skim import skim

if TYPE_CHECKING:
    from quada.transport.exchange import Exchange

MEDIA_TYPE: Final = "application/dns-message"  # RFC 8484 6
_MESSAGE_OCTETS: Final = 65535
_STREAMS_MAX: Final = 100  # RFC 9113 6.5.2 recommends no fewer
_RESETS_MAX: Final = 200  # streams a client may reset before it is taken for an attack
_UNSENT_OCTETS: Final = 1 << 20  # our choice: answers a client leaves unread before we hang up
_NOT_FOUND: Final = 404
_BAD: Final = 400


class Request(NamedTuple):
    """What of an HTTP request matters here."""

    method: str
    target: str
    media_type: str
    body: bytes


class Refusal(NamedTuple):
    """An HTTP status and, in words, why."""

    status: int
    reason: str


def query_of(request: Request, path: str) -> bytes | Refusal:
    """Take the DNS message out of a request, or say which HTTP status it deserves.

    RFC: 8484 4.1; statuses are those of RFC 9110 15.5
    """
    parts = urlsplit(request.target)
    if parts.path != path:
        return Refusal(_NOT_FOUND, f"DNS is served at {path}")
    if request.method == "POST":
        if request.media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            return Refusal(415, f"send {MEDIA_TYPE}")
        return request.body if request.body else Refusal(_BAD, "the body is empty")
    if request.method not in ("GET", "HEAD"):
        return Refusal(405, "use GET or POST")
    values = parse_qs(parts.query, max_num_fields=16).get("dns", [])
    if len(values) != 1:
        return Refusal(_BAD, "give one dns= parameter, base64url without padding")
    if len(values[0]) > 4 * _MESSAGE_OCTETS // 3 + 4:
        return Refusal(414, "the query is longer than a DNS message")
    try:
        padded = values[0].rstrip("=") + "=" * (-len(values[0].rstrip("=")) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return Refusal(_BAD, "dns= is not base64url")


def freshness_s(message: bytes) -> int | None:
    """Give how long an HTTP cache may keep a response: its lowest TTL, in seconds.

    A negative answer takes the SOA's (RFC 8484 5.1, RFC 2308 5); None where nothing says.
    """
    try:
        response = skim(message)
    except MalformedMessage:
        return None
    if response.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        return 0
    if response.answer:
        return min(record.ttl for record in response.answer)
    soa = next((r for r in response.authority if r.rdtype == codes.SOA), None)
    return min(soa.ttl, int.from_bytes(soa.rdata[-4:], "big")) if soa else None


class DohConnection(asyncio.Protocol):
    """One client connection. Takes the Exchange that answers, and the path queries come to."""

    def __init__(
        self,
        exchange: Exchange,
        connections: set[DohConnection],
        *,
        path: str = "/dns-query",
        idle_s: float = 30.0,
        connections_max: int = 1000,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._connections_max = connections_max
        self._path = path
        self._idle_s = idle_s
        self._transport: asyncio.Transport | None = None
        self._speaker: _Http2 | _Http1 | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._peer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Choose what to speak, by ALPN."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._connections) >= self._connections_max:
            transport.abort()
            return
        self._connections.add(self)
        self._peer = raw_peer(transport.get_extra_info("peername"))
        ssl_object = transport.get_extra_info("ssl_object")
        is_h2 = ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"
        self._speaker = _Http2(self) if is_h2 else _Http1(self)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Feed the speaker."""
        if self._speaker is not None:
            self._rest()
            self._speaker.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; answers that come later are dropped."""
        self._speaker = None
        self._connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()

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
        query = query_of(request, self._path)
        if isinstance(query, Refusal):
            self._refuse(query, number)
            return
        if not 12 <= len(query) <= _MESSAGE_OCTETS:
            self._refuse(Refusal(_BAD, "the query is not a DNS message"), number)
            return

        def send(message: bytes, *, is_last: bool = True) -> None:
            if self._speaker is None:
                return
            if not message or not is_last:  # nothing to say, or a transfer, which DoH cannot carry
                self._refuse(Refusal(_BAD, "the query is not one DoH can answer"), number)
                return
            headers = [("content-type", MEDIA_TYPE)]
            keep_s = freshness_s(message)
            if keep_s is not None:
                headers.append(("cache-control", f"max-age={keep_s}"))
            body = b"" if request.method == "HEAD" else message
            self._speaker.respond(number, 200, headers, body)

        self._exchange(query, self._peer, Transport.DOH, send)

    def _refuse(self, refusal: Refusal, number: int) -> None:
        if self._speaker is not None:
            headers = [("content-type", "text/plain; charset=utf-8")]
            if refusal.status == 405:
                headers.append(("allow", "GET, POST"))
            self._speaker.respond(number, refusal.status, headers, f"{refusal.reason}\n".encode())

    def _rest(self) -> None:
        """Start the idle clock again."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self.close)


class _Http2:
    """Speaks HTTP/2: many requests at once, answered in any order."""

    def __init__(self, connection: DohConnection) -> None:
        self._out = connection
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self._h2.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = _STREAMS_MAX
        self._h2.local_settings[h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE] = 100_000
        self._h2.initiate_connection()
        self._heads: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._unsent: dict[int, bytes] = {}
        self._resets = 0
        self._out.write(self._h2.data_to_send())

    def take(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._event(event)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            self._out.write(self._h2.data_to_send())
            self._out.close()
            return
        self._out.write(self._h2.data_to_send())

    def respond(
        self, number: int, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        try:
            self._h2.send_headers(
                number,
                [(":status", str(status)), ("content-length", str(len(body))), *headers],
                end_stream=not body,
            )
            if body:
                self._unsent[number] = body
                self._send_body(number)
        except h2.exceptions.ProtocolError:
            self._unsent.pop(number, None)  # the client has reset that stream
        self._out.write(self._h2.data_to_send())

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            number = event.stream_id or 0
            if event.headers is not None:
                self._heads[number] = {str(name): str(value) for name, value in event.headers}
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
        if len(body) > _MESSAGE_OCTETS:
            self._forget(number)
            self.respond(number, 413, [], b"a DNS message has at most 65535 octets\n")

    def _ended(self, number: int) -> None:
        head, body = self._heads.pop(number, None), self._bodies.pop(number, None)
        if head is None or body is None:
            return
        self._out.serve(
            Request(
                head.get(":method", ""),
                head.get(":path", ""),
                head.get("content-type", ""),
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
                    if len(self._body) > _MESSAGE_OCTETS:
                        self.respond(0, 413, [], b"a DNS message has at most 65535 octets\n")
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

    def respond(
        self, number: int, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
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
