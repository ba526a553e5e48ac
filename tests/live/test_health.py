"""Health checks against real listeners."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quada.transport.health import MayNotProbe, perform


@asynccontextmanager
async def listener(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def unused_port() -> int:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("answer", "is_good", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, "status 200"),
        (b"HTTP/1.1 503 No\r\n\r\n", False, "status 503"),
        (b"garbage\r\n", False, "not HTTP"),
        (b"x" * 100_000, False, "no HTTP status line"),
    ],
)
def test_http_check_compares_the_status(answer: bytes, is_good: bool, words: str) -> None:
    async def run() -> tuple[bool, float, str]:
        async with listener(answer) as port:
            return await perform("http", "::1", port=port)

    found, _, detail = asyncio.run(run())
    assert found is is_good
    assert words in detail


def test_tcp_check_tells_a_closed_port() -> None:
    is_good, _, detail = asyncio.run(perform("tcp", "::1", port=unused_port()))
    assert not is_good
    assert "refused" in detail.lower() or "connect" in detail.lower()


def test_a_silent_server_is_given_up_in_time() -> None:
    async def run() -> tuple[bool, float, str]:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
            return await perform("dns", "::1", port=sock.getsockname()[1], timeout_s=0.05)

    is_good, _, detail = asyncio.run(run())
    assert not is_good
    assert "0.05 s" in detail


def test_loopback_answers_echo_over_ipv6() -> None:
    try:
        is_good, _, detail = asyncio.run(perform("icmp", "::1"))
    except MayNotProbe:
        pytest.skip("this user may not open ICMP sockets")
    assert is_good, detail
