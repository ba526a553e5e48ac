"""DoQ over real sockets."""

import asyncio
import socket
import ssl

import dns.message
import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

from quada.transport.doq import DOQ_PROTOCOL_ERROR, serve_doq


class Client(QuicConnectionProtocol):
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

    async def until(self, condition) -> None:
        while not condition():
            await asyncio.wait_for(self.news.wait(), 5)
            self.news.clear()


def talk(canned, certificate, conversation) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::1", 0))
        port = sock.getsockname()[1]
        transport, _ = await serve_doq(loop, sock, certificate.chain, certificate.key, canned)
        configuration = QuicConfiguration(
            alpn_protocols=["doq"], verify_mode=ssl.CERT_REQUIRED, server_name="ns1.example.com"
        )
        configuration.load_verify_locations(str(certificate.chain))
        async with connect(
            "::1", port, configuration=configuration, create_protocol=Client
        ) as client:
            assert isinstance(client, Client)
            await conversation(client)
        transport.close()

    asyncio.run(run())


def framed(query: bytes) -> bytes:
    return len(query).to_bytes(2, "big") + query


def test_queries_are_answered_each_on_its_stream(canned, certificate) -> None:
    async def conversation(client: Client) -> None:
        query = dns.message.make_query("www.example.com.", "AAAA", id=0).to_wire()
        numbers = [client._quic.get_next_available_stream_id() for _ in range(1)]
        for number in (0, 4, 8):
            client._quic.send_stream_data(number, framed(query), end_stream=True)
        client.transmit()
        await client.until(lambda: client.ended == {0, 4, 8})
        assert numbers == [0]
        for octets in client.streams.values():
            assert int.from_bytes(octets[:2], "big") == len(octets) - 2
            answer = dns.message.from_wire(bytes(octets[2:]))
            assert answer.id == 0
            assert answer.answer[0][0].address == "2001:db8::1"

    talk(canned, certificate, conversation)


@pytest.mark.parametrize(
    "octets",
    [
        framed(dns.message.make_query("example.com.", "AAAA", id=77).to_wire()),
        b"\x00\x05abc",
        b"",
    ],
    ids=["an id that is not 0", "a wrong length", "nothing"],
)
def test_broken_queries_end_the_connection_with_a_protocol_error(
    canned, certificate, octets: bytes
) -> None:
    async def conversation(client: Client) -> None:
        client._quic.send_stream_data(0, octets, end_stream=True)
        client.transmit()
        await client.until(lambda: client.error is not None)
        assert client.error == DOQ_PROTOCOL_ERROR
        assert canned.seen == []

    talk(canned, certificate, conversation)
