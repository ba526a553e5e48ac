"""DoH over real sockets, HTTP/2 and HTTP/1.1."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.message
import h2.connection
import h2.events
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.transport.doh import Refusal, Request, freshness_s, query_of
from quada.transport.frames import FrameLengths
from quada.transport.guests import Guests, StreamLimits
from quada.transport.https import DohConnection
from quada.transport.tls import ALPN_DOH, Certificate

QUERY = dns.message.make_query("www.example.com.", "AAAA", id=23).to_wire()
PACKED = base64.urlsafe_b64encode(QUERY).rstrip(b"=").decode()


@asynccontextmanager
async def doh(canned, certificate: Certificate, **limits) -> AsyncIterator[int]:
    guests = Guests(StreamLimits(**limits))
    sweep = asyncio.create_task(guests.sweep())
    server = await asyncio.get_running_loop().create_server(
        lambda: DohConnection(canned, guests, alt_svc='h3=":443"'),
        "::1",
        0,
        ssl=certificate.context(*ALPN_DOH),
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        sweep.cancel()
        for one in list(guests.present):
            one.close()
        await asyncio.sleep(0)


def ask(
    canned, certificate: Certificate, send: Callable[..., Awaitable[object]], is_http2: bool = True
):
    async def run() -> object:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        async with (
            doh(canned, certificate) as port,
            httpx.AsyncClient(
                http2=is_http2, http1=not is_http2, verify=trust, base_url=f"https://[::1]:{port}"
            ) as client,
        ):
            return await send(client)

    return asyncio.run(run())


@pytest.mark.parametrize("is_http2", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_get_and_post_answer_with_freshness(canned, certificate, method, is_http2) -> None:
    async def send(client: httpx.AsyncClient) -> httpx.Response:
        if method == "GET":
            return await client.get(f"/dns-query?dns={PACKED}")
        return await client.post(
            "/dns-query", content=QUERY, headers={"content-type": "application/dns-message"}
        )

    response = ask(canned, certificate, send, is_http2)
    assert response.http_version == ("HTTP/2" if is_http2 else "HTTP/1.1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dns-message"
    assert response.headers["cache-control"] == "max-age=300"
    assert dns.message.from_wire(response.content).answer[0][0].address == "2001:db8::1"


@pytest.mark.parametrize(
    ("method", "target", "kind", "body", "status"),
    [
        ("GET", "/other", "", b"", 404),
        ("GET", "/dns-query", "", b"", 400),
        ("GET", "/dns-query?dns=***", "", b"", 400),
        ("GET", "/dns-query?dns=AAAA", "", b"", 400),
        ("PUT", "/dns-query", "application/dns-message", QUERY, 405),
        ("POST", "/dns-query", "text/plain", QUERY, 415),
        ("POST", "/dns-query", "application/dns-message", b"x" * 70_000, 413),
    ],
)
def test_wrong_requests_get_the_right_status(
    canned, certificate, method, target, kind, body, status
) -> None:
    async def send(client: httpx.AsyncClient) -> int:
        headers = {"content-type": kind} if kind else {}
        response = await client.request(method, target, content=body, headers=headers)
        return response.status_code

    assert ask(canned, certificate, send) == status


def test_a_thousand_requests_share_one_connection(canned, certificate) -> None:
    async def send(client: httpx.AsyncClient) -> int:
        responses = await asyncio.gather(
            *(client.get(f"/dns-query?dns={PACKED}") for _ in range(1000))
        )
        return sum(response.status_code == 200 for response in responses)

    assert ask(canned, certificate, send) == 1000
    assert len({peer for peer, _ in canned.seen}) == 1


def test_an_idle_connection_is_closed(canned, certificate) -> None:
    async def run() -> bytes:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        trust.set_alpn_protocols(["h2"])
        async with doh(canned, certificate, idle_s=0.05) as port:
            reader, writer = await asyncio.open_connection("::1", port, ssl=trust)
            rest = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return rest

    assert asyncio.run(run())  # the server's settings, then the end


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_who_trickles_octets_is_sent_away(canned, certificate, alpn: str) -> None:
    octets = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if alpn == "h2" else b"GET /dns-query HTTP/1.1\r\nx: "
    )

    async def run() -> None:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        trust.set_alpn_protocols([alpn])
        async with doh(canned, certificate, idle_s=0.3) as port:
            reader, writer = await asyncio.open_connection("::1", port, ssl=trust)
            ended = asyncio.create_task(reader.read())
            for number in range(200):
                if ended.done():
                    break
                writer.write(octets[number : number + 1] or b"a")
                await asyncio.sleep(0.02)
            assert ended.done()
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "octets",
    [b"\x00" * 100, b"GET\r\n\r\n", b"POST /dns-query HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
     b"POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
     b"GET /" + b"a" * 200_000, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
    ids=["nulls", "no version", "a negative length", "two lengths", "a line without end", "no chunk"],
)  # fmt: skip
def test_what_is_not_http1_ends_the_connection(canned, certificate, octets: bytes) -> None:
    async def run() -> bytes:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        trust.set_alpn_protocols(["http/1.1"])
        async with doh(canned, certificate) as port:
            reader, writer = await asyncio.open_connection("::1", port, ssl=trust)
            writer.write(octets)
            rest = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return rest

    assert asyncio.run(run()).startswith((b"HTTP/1.1 4", b""))
    assert canned.seen == []


def test_rapid_resets_end_the_connection(canned, certificate) -> None:
    async def run() -> None:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        trust.set_alpn_protocols(["h2"])
        async with doh(canned, certificate) as port:
            reader, writer = await asyncio.open_connection("::1", port, ssl=trust)
            client = h2.connection.H2Connection()
            client.initiate_connection()
            for number in range(1, 1201, 2):
                client.send_headers(
                    number,
                    [
                        (":method", "POST"),
                        (":scheme", "https"),
                        (":authority", "x"),
                        (":path", "/dns-query"),
                    ],
                )
                client.reset_stream(number)
            writer.write(client.data_to_send())
            await asyncio.wait_for(reader.read(), 5)
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize("begun", [b"", b"\xff\xff", b"\x01\x00\x01\x00"])
def test_a_frame_too_long_ends_the_connection_before_it_has_come(
    canned, certificate, begun: bytes
) -> None:
    async def run() -> None:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        trust.set_alpn_protocols(["h2"])
        async with doh(canned, certificate) as port:
            reader, writer = await asyncio.open_connection("::1", port, ssl=trust)
            client = h2.connection.H2Connection()
            client.initiate_connection()
            writer.write(client.data_to_send() + begun)
            await writer.drain()
            writer.write(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
            await asyncio.wait_for(reader.read(), 5)
            writer.close()

    asyncio.run(run())


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(min_value=1, max_value=40))
def test_frames_are_followed_however_they_are_cut(payloads: list[bytes], step: int) -> None:
    octets = b"".join(len(p).to_bytes(3, "big") + bytes(6) + p for p in payloads)
    lengths = FrameLengths()
    assert all(lengths.are_fair(octets[at : at + step]) for at in range(0, len(octets), step))
    assert not lengths.are_fair((1 << 14 | 1).to_bytes(3, "big"))


def test_connections_over_the_limit_are_turned_away(canned, certificate) -> None:
    async def run() -> bytes:
        trust = ssl.create_default_context(cafile=str(certificate.chain))
        async with doh(canned, certificate, connections_max=1) as port:
            _, first = await asyncio.open_connection("::1", port, ssl=trust)
            reader, second = await asyncio.open_connection("::1", port, ssl=trust)
            try:
                return await asyncio.wait_for(reader.read(1), 5)
            except (ConnectionResetError, ssl.SSLError):
                return b""
            finally:
                first.close()
                second.close()

    assert asyncio.run(run()) == b""


@given(st.text(max_size=50), st.text(max_size=80), st.binary(max_size=40))
def test_any_request_gives_a_query_or_a_status(method: str, rest: str, body: bytes) -> None:
    for target in (f"/dns-query{rest}", f"/dns-query?dns={rest}"):
        found = query_of(Request(method, target, "application/dns-message", body), "/dns-query")
        assert isinstance(found, bytes | Refusal)


@given(st.binary(max_size=100))
def test_freshness_of_garbage_is_unknown(message: bytes) -> None:
    assert freshness_s(message) is None or freshness_s(message) >= 0
