"""QUIC clients for tests: DoQ's and HTTP/3's, as polite or as rude as a test wants."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    ProtocolNegotiated,
    QuicEvent,
    StreamDataReceived,
)

from quada.transport.guests import Guests, StreamLimits
from quada.transport.tls import Certificate


class RawClient(QuicConnectionProtocol):
    """Keeps what comes on each stream."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.streams: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.error: int | None = None
        self.news = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self.streams.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.ended.add(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self.error = event.error_code
        self.news.set()

    def send(self, stream: int, octets: bytes, *, is_end: bool = False) -> None:
        self._quic.send_stream_data(stream, octets, end_stream=is_end)
        self.transmit()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.wait_for(self.news.wait(), 5)
            self.news.clear()


class Http3Client(RawClient):
    """Asks over HTTP/3."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.h3: H3Connection | None = None
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytearray] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.h3 = H3Connection(self._quic)
        if self.h3 is not None:
            for found in self.h3.handle_event(event):
                if isinstance(found, HeadersReceived):
                    self.heads[found.stream_id] = {
                        name.decode(): value.decode() for name, value in found.headers
                    }
                    self.bodies.setdefault(found.stream_id, bytearray())
                elif isinstance(found, DataReceived):
                    self.bodies.setdefault(found.stream_id, bytearray()).extend(found.data)
        super().quic_event_received(event)

    def request(self, method: str, path: str, body: bytes = b"", media_type: str = "") -> int:
        assert self.h3 is not None
        stream = self._quic.get_next_available_stream_id()
        headers = [(b":method", method.encode()), (b":scheme", b"https"),
                   (b":authority", b"ns1.example.com"), (b":path", path.encode())]  # fmt: skip
        if media_type:
            headers.append((b"content-type", media_type.encode()))
        self.h3.send_headers(stream, headers, end_stream=not body)
        if body:
            self.h3.send_data(stream, body, end_stream=True)
        self.transmit()
        return stream

    async def fetch(
        self, method: str, path: str, body: bytes = b"", media_type: str = ""
    ) -> tuple[dict[str, str], bytes]:
        stream = self.request(method, path, body, media_type)
        await self.until(lambda: stream in self.ended or self.error is not None)
        return self.heads[stream], bytes(self.bodies[stream])


@asynccontextmanager
async def listening(serve, certificate: Certificate, exchange, **limits) -> AsyncIterator[int]:
    """Serve on a free port of ::1; gives it."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::1", 0))
    guests = Guests(StreamLimits(**limits))
    sweep = asyncio.create_task(guests.sweep())
    transport = await serve(sock, certificate, exchange, guests)
    try:
        yield sock.getsockname()[1]
    finally:
        sweep.cancel()
        transport.close()


@asynccontextmanager
async def connected(
    port: int, certificate: Certificate, kind: type, alpn: str, **more
) -> AsyncIterator:
    """Connect to ::1 or `host`, believing nobody but the certificate, by `name`."""
    configuration = QuicConfiguration(
        alpn_protocols=[alpn],
        verify_mode=ssl.CERT_REQUIRED,
        server_name=more.pop("name", "ns1.example.com"),
    )
    configuration.load_verify_locations(str(certificate.chain))
    configuration.session_ticket = more.pop("ticket", None)
    async with connect(
        more.pop("host", "::1"), port, configuration=configuration, create_protocol=kind, **more
    ) as client:
        assert isinstance(client, kind)
        yield client
