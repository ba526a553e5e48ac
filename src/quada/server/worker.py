"""A worker process: listeners, the role behind them, and the supervisor's deliveries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from typing import TYPE_CHECKING, Any, Final

from quada.server.deliver import Delivery, Ready, apply_delivery
from quada.server.errands import Errands
from quada.transport.exchange import make_exchange
from quada.transport.tcp import StreamStation
from quada.transport.udp import UdpListener
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from quada.authority import Authority
    from quada.server.channel import Channel
    from quada.server.plan import Plan
    from quada.server.ring import Ring
    from quada.server.sockets import Bound
    from quada.transport.tls import Certificate

_RESEED: Final = 16


class AuthorityWorker:
    """One authoritative worker."""

    def __init__(
        self,
        plan: Plan,
        authority: Authority,
        bound: list[Bound],
        ring: Ring,
        channel: Channel,
        certificate: Certificate | None,
    ) -> None:
        self._plan = plan
        self._authority = authority
        self._bound = bound
        self._ring = ring
        self._channel = channel
        self._certificate = certificate
        self._stop = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._errands = Errands(plan, authority, channel)

    def run(self) -> None:
        """Serve until told to stop."""
        random.seed(os.urandom(_RESEED))
        self._ring.resume()
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
        await self._channel.start(self._receive, self._stop.set)
        for bound in self._bound:
            await self._listen(loop, bound)
        self._channel.send(Ready(os.getpid()))
        self._tasks.append(asyncio.create_task(self._errands.report()))
        await self._stop.wait()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _receive(self, delivery: Delivery) -> None:
        apply_delivery(self._authority, delivery)
        self._errands.delivered(delivery)

    async def _listen(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        transport = bound.listen.transport
        defer = self._errands.defer
        if transport is Transport.UDP:
            assert bound.datagram is not None
            listener = UdpListener(bound.datagram, self._authority, self._ring, defer)
            loop.add_reader(listener.fileno(), listener.on_readable)
        if transport in (Transport.UDP, Transport.DOT):
            await self._listen_stream(loop, bound)
        elif transport is Transport.DOH:
            await self._listen_https(loop, bound)
        elif transport is Transport.DOQ:
            await self._listen_quic(loop, bound)

    async def _listen_stream(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        is_tls = bound.listen.transport is Transport.DOT
        context = None
        if is_tls:
            assert self._certificate is not None
            context = self._certificate.context("dot")
        station = StreamStation(
            self._authority,
            self._ring,
            self._errands.defer,
            Transport.DOT if is_tls else Transport.TCP,
            self._plan.stream_limits,
        )
        server = await loop.create_server(station.protocol, sock=bound.socket, ssl=context)
        self._servers.append(server)
        self._tasks.append(asyncio.create_task(station.sweep()))

    async def _listen_https(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        from quada.transport.doh import DohConnection
        from quada.transport.tls import ALPN_DOH

        assert self._certificate is not None
        exchange = make_exchange(self._authority, self._ring, self._errands.defer)
        connections: set[DohConnection] = set()
        limits = self._plan.stream_limits
        server = await loop.create_server(
            lambda: DohConnection(
                exchange, connections, connections_max=limits.connections_max, idle_s=30.0
            ),
            sock=bound.socket,
            ssl=self._certificate.context(*ALPN_DOH),
        )
        self._servers.append(server)

    async def _listen_quic(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        from quada.transport.doq import serve_doq

        assert self._certificate is not None
        exchange = make_exchange(self._authority, self._ring, self._errands.defer)
        await serve_doq(
            loop, bound.datagram, self._certificate.chain, self._certificate.key, exchange
        )
