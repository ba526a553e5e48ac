"""Connections that never shake hands: they count like any other, and are ended."""

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.query
import httpx
import pytest

from quada.transport.door import TlsDoor
from quada.transport.guests import StreamLimits
from quada.transport.tls import Certificate, make_certificate

ZONE = "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n@ 60 AAAA 2001:db8::1\n"


def silent(port: int, count: int) -> list[socket.socket]:
    """Open connections and say nothing."""
    return [socket.create_connection(("::1", port), timeout=5) for _ in range(count)]


def is_closed(one: socket.socket) -> bool:
    one.settimeout(5)
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


def no_check() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def talk(port: int) -> bytes:
    """Say something over TLS, and give what comes back."""
    with (
        socket.create_connection(("::1", port), timeout=5) as plain,
        no_check().wrap_socket(plain) as tls,
    ):
        tls.sendall(b"hello")
        return tls.recv(5)


async def become(condition: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be")


class Echo(asyncio.Protocol):
    """Says back what it is told."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(data)


def test_more_than_the_bound_are_refused_before_any_handshake_and_let_in_when_others_left(
    tmp_path: Path,
) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    make_certificate(chain, key, ("::1",), datetime.datetime.now(datetime.UTC))

    async def run() -> None:
        context = Certificate(chain, key).context("dot")
        door = TlsDoor(context, StreamLimits(connections_max=3, per_network_max=3))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: door.open(Echo()), "::1", 0)
        port = server.sockets[0].getsockname()[1]

        held = await asyncio.to_thread(silent, port, 3)
        await become(lambda: not (len(door.guests.present) < 3))
        with pytest.raises((OSError, EOFError)):
            await asyncio.to_thread(talk, port)
        assert door.guests.refused_count == 1
        held.pop().close()
        await become(lambda: not (len(door.guests.present) > 2))
        for _ in range(5):
            assert await asyncio.to_thread(talk, port) == b"hello"
            await become(lambda: not (len(door.guests.present) > 2))
        for one in held:
            one.close()
        await become(lambda: not (door.guests.present))
        server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_who_never_shakes_hands_is_shown_out(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    make_certificate(chain, key, ("::1",), datetime.datetime.now(datetime.UTC))

    async def run() -> None:
        context = Certificate(chain, key).context("dot")
        door = TlsDoor(context, StreamLimits(), handshake_s=1)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: door.open(Echo()), "::1", 0)
        held = await asyncio.to_thread(silent, server.sockets[0].getsockname()[1], 4)
        await become(lambda: not (len(door.guests.present) < 4))
        assert all([await asyncio.to_thread(is_closed, one) for one in held])
        await become(lambda: not (door.guests.present))
        for one in held:
            one.close()
        server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("kind", ["dot", "doh", "console"])
def test_each_tls_listener_counts_connections_that_say_nothing(
    serve, free_port, tmp_path: Path, until, kind: str
) -> None:
    (tmp_path / "zone").write_text(ZONE)
    tls, web, api = free_port(), free_port(), free_port()
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten_tls = ["[::1]:{tls}"]\nlisten_https = ["[::1]:{web}"]\n'
        "tcp_per_network = 4\ntcp_connections = 4\n"
        f'[api]\nlisten = ["[::1]:{api}"]\ntls = true\n'
        f'[[zone]]\nname = "example.com"\nfile = "{tmp_path}/zone"\n'
    )
    serve("--role", "authority", "--config", str(config))
    port, count = {"dot": (tls, 4), "doh": (web, 4), "console": (api, 256)}[kind]
    query = dns.message.make_query("example.com", "AAAA")

    def is_answered() -> bool:
        with contextlib.suppress(httpx.HTTPError, OSError, EOFError):
            if kind == "dot":
                return bool(dns.query.tls(query, "::1", 5, port, ssl_context=no_check()).answer)
            if kind == "doh":
                answer = httpx.post(
                    f"https://[::1]:{port}/dns-query", content=query.to_wire(), verify=False,
                    headers={"Content-Type": "application/dns-message"}, trust_env=False,
                )  # fmt: skip
                return bool(dns.message.from_wire(answer.content).answer)
            found = httpx.get(f"https://[::1]:{port}/health", verify=False, trust_env=False)
            return found.status_code == 200
        return False

    until(is_answered, within_s=30, what=f"{kind} answers")
    held = silent(port, count)
    until(lambda: not is_answered(), what="the bound is reached")
    for one in held:
        one.close()
    until(is_answered, what="there is room again")
