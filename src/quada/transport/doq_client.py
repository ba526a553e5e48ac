"""DNS over QUIC, the client's side: a stream a question (RFC 9250)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from typing import TYPE_CHECKING, Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    QuicEvent,
    StreamDataReceived,
    StreamReset,
)

from quada.transport.client import is_answer
from quada.transport.kept import IDLE_S, PENDING_MAX, HandshakeFailed, PeerBroke
from quada.transport.tls import ALPN_DOQ

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint

_MESSAGE_OCTETS = 2 + 65535
logging.getLogger("quic").setLevel(logging.CRITICAL)  # what went wrong is told by the outcome
_CRYPTO_ERRORS = range(0x100, 0x200)  # RFC 9000 20.1: 0x100 and the TLS alert
_CANCELLED = 0x3  # DOQ_REQUEST_CANCELLED (RFC 9250 4.3)


class DoqClientConnection(QuicConnectionProtocol):
    """One connection to one server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[int, tuple[bytearray, asyncio.Future[bytes]]] = {}
        self.is_open = True
        self.uses = 0
        self.heard_at = time.monotonic()
        self.ended: ConnectionError | None = None

    async def ask(self, query: bytes) -> bytes:
        """Send a query on a stream of its own. Raises: ConnectionError."""
        if len(self._waiting) >= PENDING_MAX:
            raise ConnectionResetError("too many questions wait on the connection")
        if self.ended is not None:
            raise self.ended
        self.uses += 1
        sent = b"\x00\x00" + query[2:]  # RFC 9250 4.2.1: the id is 0
        stream = self._quic.get_next_available_stream_id()
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = bytearray(), done
        self._quic.send_stream_data(stream, len(sent).to_bytes(2, "big") + sent, end_stream=True)
        self.transmit()
        try:
            framed = await done
        except asyncio.CancelledError:
            self._cancel(stream)
            raise
        finally:
            self._waiting.pop(stream, None)
        message = framed[2:]
        if int.from_bytes(framed[:2], "big") != len(message) or not is_answer(message, sent):
            raise PeerBroke("it sent no answer to the question")
        return message

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic parsed from the wire."""
        self.heard_at = time.monotonic()
        if isinstance(event, StreamDataReceived):
            self._take(event)
        elif isinstance(event, StreamReset):
            found = self._waiting.get(event.stream_id)
            if found is not None and not found[1].done():
                found[1].set_exception(ConnectionResetError("the server took it back"))
        elif isinstance(event, ConnectionTerminated):
            kind = HandshakeFailed if event.error_code in _CRYPTO_ERRORS else ConnectionResetError
            self._over(kind(event.reason_phrase or "the connection ended"))

    def error_received(self, exc: Exception) -> None:
        """Hear that nobody is there."""
        if isinstance(exc, ConnectionRefusedError):
            self._over(exc)

    def close(self, error_code: int = 0, reason_phrase: str = "") -> None:
        """End it, without waiting for what the server says to that."""
        super().close(error_code, reason_phrase)
        self._over(ConnectionResetError(reason_phrase or "the connection was closed"))

    def _take(self, event: StreamDataReceived) -> None:
        found = self._waiting.get(event.stream_id)
        if found is None:
            if event.stream_id & 1:  # RFC 9250 4.2: servers open no streams
                self.close(0x2, "servers open no streams")
            return
        octets, done = found
        octets += event.data
        if done.done():
            return
        if len(octets) > _MESSAGE_OCTETS:
            done.set_exception(PeerBroke("it sent more than a DNS message"))
        elif event.end_stream:
            done.set_result(bytes(octets))

    def _over(self, why: ConnectionError) -> None:
        self.is_open = False
        self.ended = self.ended or why
        if self._connected_waiter is not None and not self._connected_waiter.done():
            self._connected_waiter.set_exception(ConnectionError())
            self._connected_waiter.exception()  # seen: who waited may have given up before
        for _, done in self._waiting.values():
            if not done.done():
                done.set_exception(self.ended)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()

    def _cancel(self, stream: int) -> None:
        """Tell the server that nobody waits any more (RFC 9250 4.3.1)."""
        if self.is_open:
            with contextlib.suppress(ValueError):
                self._quic.stop_stream(stream, _CANCELLED)
                self.transmit()


async def open_doq(to: Endpoint, ca_file: str) -> DoqClientConnection:
    """Connect to a server. Raises: ConnectionError, OSError."""
    paths = ssl.get_default_verify_paths()
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN_DOQ],
        server_name=to.name or to.address,
        verify_mode=ssl.CERT_REQUIRED if to.name else ssl.CERT_NONE,
        cafile=ca_file or paths.cafile or paths.openssl_cafile,
        idle_timeout=IDLE_S,
    )
    # A connected socket hears of ICMP errors and of nobody but the server.
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DoqClientConnection(QuicConnection(configuration=configuration)),
        remote_addr=(to.address, to.port),
    )
    made.connect(transport.get_extra_info("peername"))
    try:
        await made.wait_connected()
    except ConnectionError:
        raise made.ended or ConnectionResetError("the connection ended") from None
    except asyncio.CancelledError:
        made.close()
        raise
    return made
