"""DNS over HTTPS, the client's side: HTTP/2, one connection, many requests at once (RFC 8484)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

import quada.wire.codes as codes
from quada.transport.client import is_answer
from quada.transport.doh import MEDIA_TYPE, MESSAGE_OCTETS
from quada.transport.frames import FrameLengths
from quada.transport.kept import IDLE_S, PENDING_MAX, HandshakeFailed, PeerBroke, client_context

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint

_STREAMS_MAX: Final = 100  # RFC 9113 6.5.2 recommends that servers allow no fewer


class _Request:
    """A request and what has come of its response."""

    __slots__ = ("age_s", "body", "done", "media_type", "status")

    def __init__(self) -> None:
        self.status = self.media_type = ""
        self.age_s = 0
        self.body = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class DohClientConnection(asyncio.Protocol):
    """One connection to one server."""

    def __init__(self, to: Endpoint) -> None:
        self._to = to
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self._h2.local_settings[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self._lengths = FrameLengths()
        self._transport: asyncio.Transport | None = None
        self._requests: dict[int, _Request] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = True
        self.uses = 0
        self.heard_at = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if the server speaks HTTP/2."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._end(HandshakeFailed("the server does not speak HTTP/2"))
            return
        self._rest()
        self._h2.initiate_connection()
        self._flush()

    async def ask(self, query: bytes) -> bytes:
        """Post a query and wait for its answer. Raises: ConnectionError."""
        if len(self._requests) + len(self._queue) >= PENDING_MAX:
            raise ConnectionResetError("too many questions wait on the connection")
        self.uses += 1
        sent = b"\x00\x00" + query[2:]  # RFC 8484 4.1: the id is 0
        request = await self._send(sent)
        await request.done
        if request.status != "200":
            raise PeerBroke(f"HTTP status {request.status[:3]}")
        if request.media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise PeerBroke(f"it sent {request.media_type[:40]!r}, not {MEDIA_TYPE}")
        message = bytes(request.body)
        if not is_answer(message, sent):
            raise PeerBroke("it sent no answer to the question")
        return aged(message, request.age_s) if request.age_s else message

    async def _send(self, query: bytes) -> _Request:
        while self.is_open and self._h2.open_outbound_streams >= min(
            _STREAMS_MAX, self._h2.remote_settings.max_concurrent_streams
        ):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        if not self.is_open:
            raise ConnectionResetError("the connection ended")
        request = _Request()
        authority = self._to.name or (
            f"[{self._to.address}]" if self._to.family == 6 else self._to.address
        )
        if self._to.port != 443:
            authority += f":{self._to.port}"
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(
                number,
                [
                    (":method", "POST"),
                    (":scheme", "https"),
                    (":authority", authority),
                    (":path", self._to.path),
                    ("accept", MEDIA_TYPE),
                    ("content-type", MEDIA_TYPE),
                    ("content-length", str(len(query))),
                ],
            )
            self._h2.send_data(number, query, end_stream=True)
        except h2.exceptions.ProtocolError as error:  # no stream or no window is left
            self._end(ConnectionResetError(str(error)))
            raise ConnectionResetError("the connection is used up") from error
        self._requests[number] = request
        self._flush()
        request.done.add_done_callback(lambda _: self._cancelled(number))
        return request

    def _cancelled(self, number: int) -> None:
        """Take back a request that nobody waits for any more."""
        if self._requests.pop(number, None) is not None and self.is_open:
            try:
                self._h2.reset_stream(number, 8)  # CANCEL (RFC 9113 7)
            except h2.exceptions.ProtocolError:
                return
            self._flush()
            self._next()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self.heard_at = time.monotonic()
        if not self._lengths.are_fair(data):
            self._end(PeerBroke("this is not HTTP/2: a frame is too long"))
            return
        try:
            for event in self._h2.receive_data(data):
                self._event(event)
        except h2.exceptions.ProtocolError as error:
            self._end(PeerBroke(f"this is not HTTP/2: {error}"))
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let all who wait know."""
        self._end(ConnectionResetError("the connection ended"))

    def close(self) -> None:
        """End it."""
        self._end(ConnectionResetError("the connection was closed"))

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            if not self.ready.done():
                self.ready.set_result(None)
            self._next()
        elif isinstance(event, h2.events.ResponseReceived):
            self._head(event)
        elif isinstance(event, h2.events.DataReceived):
            self._data(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended(event.stream_id or 0, None)
        elif isinstance(event, h2.events.StreamReset):
            self._ended(event.stream_id or 0, ConnectionResetError("the server took it back"))
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._end(ConnectionResetError("the server said goodbye"))

    def _head(self, event: h2.events.ResponseReceived) -> None:
        request = self._requests.get(event.stream_id or 0)
        if request is None or event.headers is None:
            return
        for name, value in event.headers:
            text = value.decode("latin-1")
            if name == b":status":
                request.status = text
            elif name == b"content-type":
                request.media_type = text
            elif name == b"age" and value.isdigit():
                request.age_s = min(int(text[:10]), 1 << 31)

    def _data(self, event: h2.events.DataReceived) -> None:
        number = event.stream_id or 0
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        request = self._requests.get(number)
        if request is None:
            return
        request.body += event.data or b""
        if len(request.body) > MESSAGE_OCTETS:
            self._ended(number, PeerBroke("it sent more than a DNS message"))

    def _ended(self, number: int, why: Exception | None) -> None:
        request = self._requests.pop(number, None)
        if request is not None and not request.done.done():
            if why is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(why)
        self._next()
        if not self._requests:
            self._rest()

    def _next(self) -> None:
        """Let those in the queue look again whether there is room."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_S, self._tired)

    def _tired(self) -> None:
        if not self._requests:
            self.close()

    def _end(self, why: Exception) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if self._idle is not None:
            self._idle.cancel()
        if not self.ready.done():
            self.ready.set_exception(why)
        for number in list(self._requests):
            self._ended(number, why)
        while self._queue:
            self._next()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        octets = self._h2.data_to_send()
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)


async def open_doh(to: Endpoint, ca_file: str) -> DohClientConnection:
    """Connect to a server and hear what it allows. Raises: OSError, ssl.SSLError."""
    made = DohClientConnection(to)
    await asyncio.get_running_loop().create_connection(
        lambda: made,
        to.address,
        to.port,
        ssl=client_context(ca_file, "h2", name=to.name),
        server_hostname=to.name or to.address,
    )
    await made.ready
    return made


def aged(message: bytes, age_s: int) -> bytes:
    """Take the time an HTTP cache has kept an answer off its TTLs (RFC 8484 5.1)."""
    out, at = bytearray(message), 12
    try:
        for _ in range(int.from_bytes(message[4:6], "big")):
            at = _after_name(message, at) + 4
        for _ in range(sum(int.from_bytes(message[i : i + 2], "big") for i in (6, 8, 10))):
            at = _after_name(message, at)
            if message[at : at + 2] != codes.OPT.to_bytes(2, "big"):
                ttl = int.from_bytes(message[at + 4 : at + 8], "big")
                out[at + 4 : at + 8] = max(0, ttl - age_s).to_bytes(4, "big")
            at += 10 + int.from_bytes(message[at + 8 : at + 10], "big")
    except IndexError:
        raise PeerBroke("it sent a message that ends too early") from None
    return bytes(out[: len(message)])


def _after_name(message: bytes, at: int) -> int:
    while (size := message[at]) and size < 0xC0:
        at += size + 1
    return at + (2 if size else 1)
