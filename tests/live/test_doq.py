"""DoQ over real sockets."""

import asyncio

import dns.message
import pytest

from quada.transport.doq import DOQ_PROTOCOL_ERROR, serve_doq
from quic_client import RawClient, connected, listening


def talk(canned, certificate, conversation) -> None:
    async def run() -> None:
        async with (
            listening(serve_doq, certificate, canned) as port,
            connected(port, certificate, RawClient, "doq") as client,
        ):
            await conversation(client)

    asyncio.run(run())


def framed(query: bytes) -> bytes:
    return len(query).to_bytes(2, "big") + query


def test_queries_are_answered_each_on_its_stream(canned, certificate) -> None:
    async def conversation(client: RawClient) -> None:
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
    async def conversation(client: RawClient) -> None:
        client._quic.send_stream_data(0, octets, end_stream=True)
        client.transmit()
        await client.until(lambda: client.error is not None)
        assert client.error == DOQ_PROTOCOL_ERROR
        assert canned.seen == []

    talk(canned, certificate, conversation)
