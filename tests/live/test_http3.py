"""DoH over HTTP/3: what it answers, and what no client can make it do."""

import asyncio
import base64
import contextlib
import random

import dns.message
import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, Setting, encode_frame

from quada.transport.doq import serve_doq
from quada.transport.http3 import serve_http3
from quic_client import Http3Client, RawClient, connected, listening

QUERY = dns.message.make_query("www.example.com.", "AAAA", id=0).to_wire()
PACKED = base64.urlsafe_b64encode(QUERY).rstrip(b"=").decode()
MEDIA = "application/dns-message"


def talk(canned, certificate, conversation, kind=Http3Client, **limits) -> None:
    async def run() -> None:
        async with (
            listening(serve_http3, certificate, canned, **limits) as port,
            connected(port, certificate, kind, "h3") as client,
        ):
            await conversation(client)

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_get_and_post_answer_with_freshness(canned, certificate, method: str) -> None:
    async def conversation(client: Http3Client) -> None:
        if method == "GET":
            head, body = await client.fetch("GET", f"/dns-query?dns={PACKED}")
        else:
            head, body = await client.fetch("POST", "/dns-query", QUERY, MEDIA)
        assert head[":status"] == "200"
        assert head["content-type"] == MEDIA
        assert head["cache-control"] == "max-age=300"
        assert dns.message.from_wire(body).answer[0][0].address == "2001:db8::1"

    talk(canned, certificate, conversation)


@pytest.mark.parametrize(
    ("method", "target", "kind", "body", "status"),
    [
        ("GET", "/other", "", b"", "404"),
        ("GET", "/dns-query?dns=***", "", b"", "400"),
        ("PUT", "/dns-query", MEDIA, QUERY, "405"),
        ("POST", "/dns-query", "text/plain", QUERY, "415"),
        ("POST", "/dns-query", MEDIA, b"x" * 70_000, "413"),
    ],
)
def test_wrong_requests_get_the_right_status(
    canned, certificate, method, target, kind, body, status
) -> None:
    async def conversation(client: Http3Client) -> None:
        head, _ = await client.fetch(method, target, body, kind)
        assert head[":status"] == status
        # The connection goes on.
        head, _ = await client.fetch("POST", "/dns-query", QUERY, MEDIA)
        assert head[":status"] == "200"

    talk(canned, certificate, conversation)


def test_hundreds_of_requests_share_one_connection(canned, certificate) -> None:
    async def conversation(client: Http3Client) -> None:
        for _ in range(5):
            streams = [client.request("POST", "/dns-query", QUERY, MEDIA) for _ in range(60)]
            await client.until(lambda streams=streams: client.ended.issuperset(streams))
        assert len(canned.seen) == 300
        assert len({peer for peer, _ in canned.seen}) == 1

    talk(canned, certificate, conversation)


def test_a_head_cannot_unfold_to_megabytes(canned, certificate) -> None:
    async def conversation(client: Http3Client) -> None:
        await client.fetch("GET", f"/dns-query?dns={PACKED}")
        assert client.h3 is not None
        settings = client.h3.received_settings
        assert settings is not None
        assert settings[Setting.QPACK_MAX_TABLE_CAPACITY] == 0

    talk(canned, certificate, conversation)


def until_refused(octets: bytes, stream: int = 0, times: int = 1):
    async def conversation(client: RawClient) -> None:
        for number in range(times):
            client.send(stream + 4 * number, octets)
        await client.until(lambda: client.error is not None)
        assert client.error in set(ErrorCode)

    return conversation


@pytest.mark.parametrize(
    ("octets", "stream", "times"),
    [
        (encode_frame(FrameType.DATA, b"before a head"), 0, 1),
        (encode_frame(FrameType.HEADERS, b"\xff" * 40), 0, 1),
        (encode_frame(FrameType.SETTINGS, b""), 0, 1),
        (encode_frame(FrameType.HEADERS, b"")[:1] + encode_uint_var(1 << 30) + bytes(1 << 18), 0, 1),
        (b"\x00" + encode_frame(FrameType.GOAWAY, b"\x00"), 2, 1),
        (b"\x02" + b"\x3f\xe1\x1f" + b"\xff" * 50, 2, 1),
        (b"\x21" + bytes(64), 2, 40),
        (b"\x21" + bytes(1 << 16), 2, 1),
    ],
    ids=["data first", "no QPACK", "settings in a request", "a head without end", "no settings first",
         "a table that may not be", "side streams", "a side stream without end"],
)  # fmt: skip
def test_what_is_not_http3_ends_the_connection(
    canned, certificate, octets: bytes, stream: int, times: int
) -> None:
    talk(canned, certificate, until_refused(octets, stream, times), RawClient)
    assert canned.seen == []


def test_rapid_resets_end_the_connection(canned, certificate) -> None:
    async def conversation(client: Http3Client) -> None:
        for _ in range(10):
            for _ in range(60):
                stream = client._quic.get_next_available_stream_id()
                client._quic.send_stream_data(stream, b"\x01")
                client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            await asyncio.sleep(0.02)
        await client.until(lambda: client.error is not None)
        assert client.error == ErrorCode.H3_EXCESSIVE_LOAD

    talk(canned, certificate, conversation)


@pytest.mark.parametrize("seed", range(12))
def test_garbage_ends_its_own_connection_and_no_other(canned, certificate, seed: int) -> None:
    made = random.Random(seed)

    async def run() -> None:
        async with (
            listening(serve_http3, certificate, canned) as port,
            connected(port, certificate, Http3Client, "h3") as good,
            connected(port, certificate, RawClient, "h3") as bad,
        ):
            # A stream that the server has had enough of takes no more.
            with contextlib.suppress(ValueError):
                for _ in range(20):
                    begin = made.choice((b"", b"\x01", b"\x00\x04\x00"))
                    bad.send(2 * made.randrange(6), begin + made.randbytes(made.randrange(200)))
                    await asyncio.sleep(0)
            head, _ = await good.fetch("POST", "/dns-query", QUERY, MEDIA)
            assert head[":status"] == "200"

    asyncio.run(run())


def test_datagrams_that_are_not_quic_are_dropped(canned, certificate) -> None:
    made = random.Random(1)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with listening(serve_http3, certificate, canned) as port:
            stray, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("::1", port)
            )
            for size in (0, 1, 7, 30, 1200, 1400) * 10:
                stray.sendto(
                    made.choice((b"", b"\xc0\x00\x00\x00\x01", b"\xff" * 5)) + made.randbytes(size)
                )
            async with connected(port, certificate, Http3Client, "h3") as client:
                head, _ = await client.fetch("POST", "/dns-query", QUERY, MEDIA)
                assert head[":status"] == "200"
            stray.close()

    asyncio.run(run())


class Slow:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.waiting = []

    def __call__(self, packet, peer, transport, send) -> None:
        answer = dns.message.make_response(dns.message.from_wire(packet)).to_wire()
        self.waiting.append(lambda: send(answer))


@pytest.mark.parametrize("serve", [serve_http3, serve_doq])
def test_an_answer_nobody_wants_any_more_is_dropped(certificate, serve) -> None:
    slow = Slow()

    async def run() -> None:
        is_h3 = serve is serve_http3
        async with (
            listening(serve, certificate, slow) as port,
            connected(
                port, certificate, Http3Client if is_h3 else RawClient, "h3" if is_h3 else "doq"
            ) as client,
        ):

            def ask() -> int:
                if is_h3:
                    return client.request("POST", "/dns-query", QUERY, MEDIA)
                stream = client._quic.get_next_available_stream_id()
                client.send(stream, len(QUERY).to_bytes(2, "big") + QUERY, is_end=True)
                return stream

            async def asked(count: int) -> None:
                for _ in range(100):
                    if len(slow.waiting) == count:
                        return
                    await asyncio.sleep(0.02)
                raise AssertionError("it was not asked")

            stream = ask()
            await asked(1)
            client._quic.stop_stream(stream, 0x10C)
            client.transmit()
            await client.ping()
            slow.waiting[0]()
            stream = ask()
            await asked(2)
            slow.waiting[1]()
            await client.until(lambda: stream in client.ended)

    asyncio.run(run())


@pytest.mark.parametrize("serve", [serve_http3, serve_doq])
def test_who_says_nothing_whole_is_sent_away(canned, certificate, serve) -> None:
    alpn = "h3" if serve is serve_http3 else "doq"

    async def run() -> None:
        async with (
            listening(serve, certificate, canned, idle_s=0.4) as port,
            connected(port, certificate, RawClient, alpn) as client,
        ):
            octets = iter(bytes(1000))
            for _ in range(200):
                if client.error is not None:
                    return
                client.send(0, bytes([next(octets)]))
                await asyncio.sleep(0.05)
            raise AssertionError("it was let trickle")

    asyncio.run(run())


@pytest.mark.parametrize("serve", [serve_http3, serve_doq])
def test_a_network_has_its_share_of_connections_and_no_more(canned, certificate, serve) -> None:
    alpn = "h3" if serve is serve_http3 else "doq"

    async def run() -> None:
        async with (
            listening(serve, certificate, canned, per_network_max=1) as port,
            connected(port, certificate, RawClient, alpn) as first,
        ):
            with contextlib.suppress(ConnectionError):
                async with connected(port, certificate, RawClient, alpn) as second:
                    await second.until(lambda: second.error is not None)
            await first.ping()

    asyncio.run(run())


@pytest.mark.parametrize("serve", [serve_http3, serve_doq])
def test_a_session_is_resumed_and_takes_no_early_data(canned, certificate, serve) -> None:
    alpn = "h3" if serve is serve_http3 else "doq"
    tickets = []

    async def run() -> None:
        async with listening(serve, certificate, canned) as port:
            async with connected(
                port, certificate, RawClient, alpn, session_ticket_handler=tickets.append
            ) as client:
                await client.ping()
            assert tickets[0].max_early_data_size is None
            async with connected(port, certificate, RawClient, alpn, ticket=tickets[0]) as client:
                await client.ping()
                assert client._quic.tls.session_resumed
                assert not client._quic.tls.early_data_accepted

    asyncio.run(run())
