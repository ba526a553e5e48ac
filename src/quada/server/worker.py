"""A worker process: listeners, the role behind them, and the supervisor's deliveries."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.codes as codes
from quada.disk import replacing
from quada.server.anchoring import Anchoring
from quada.server.deliver import (
    Delivery,
    Explain,
    Explained,
    Flush,
    Ready,
    TellShadow,
    apply_delivery,
)
from quada.server.distrust import apply_distrust
from quada.server.errands import Errands
from quada.server.nat64 import discover_prefix, has_ipv4_route, system_resolvers
from quada.server.quota import QuotaSettings
from quada.server.recursion import Lookups, plain_question
from quada.transport.door import TlsDoor
from quada.transport.exchange import make_exchange
from quada.transport.guests import Guests
from quada.transport.tcp import StreamStation
from quada.transport.tls import keep_current
from quada.transport.udp import UdpListener
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quada.authority import Authority
    from quada.resolver.answer import Recursor
    from quada.resolver.cache import Cache
    from quada.resolver.composed import Recursed
    from quada.resolver.task import Task
    from quada.resolver.validate import Validator
    from quada.server.channel import Channel
    from quada.server.plan import Plan
    from quada.server.ring import Ring
    from quada.server.sockets import Bound
    from quada.transport.exchange import Pending
    from quada.transport.guests import StreamLimits
    from quada.transport.tls import Certificate
    from quada.wire.respond import Deferred, Responder

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_RESEED: Final = 16
_PREFETCH_S: Final = 0.5
_WEB_IDLE_S: Final = 30.0  # our choice: a browser comes back within it while a page is read
_ALT_SVC_S: Final = 86_400  # RFC 7838 3.1, its default
_ANCHOR_TURNS: Final = 120  # a look at what is due every minute


class Worker:
    """One worker of either role: sockets, limits, and the loop. A role adds what it does beside."""

    def __init__(
        self,
        plan: Plan,
        responder: Responder,
        bound: list[Bound],
        ring: Ring,
        channel: Channel,
        certificate: Certificate | None,
        streams: StreamLimits,
    ) -> None:
        self._plan = plan
        self._responder = responder
        self._streams = streams
        self._bound = bound
        self._ring = ring
        self._channel = channel
        self._certificate = certificate
        self._stop = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self) -> None:
        """Serve until told to stop."""
        random.seed(os.urandom(_RESEED))
        self._ring.resume()
        asyncio.run(self._main())

    def defer(self, deferred: Deferred, pending: Pending) -> None:
        """Take over what the role could not answer at once."""
        raise NotImplementedError

    def receive(self, delivery: Delivery) -> None:
        """Take what the supervisor delivers."""
        raise NotImplementedError

    async def beside(self) -> None:
        """Do what the role does beside answering, until cancelled."""
        raise NotImplementedError

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
        self._tasks.append(asyncio.create_task(self.beside()))
        await self._channel.start(self.receive, self._stop.set)
        for bound in self._bound:
            await self._listen(loop, bound)
        if self._certificate is not None:
            self._tasks.append(asyncio.create_task(keep_current(self._certificate)))
        self._channel.send(Ready(os.getpid()))
        await self._stop.wait()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        transport = bound.listen.transport
        defer = self.defer
        if transport is Transport.UDP:
            assert bound.datagram is not None
            listener = UdpListener(bound.datagram, self._responder, self._ring, defer)
            loop.add_reader(listener.fileno(), listener.on_readable)
        if transport in (Transport.UDP, Transport.DOT):
            await self._listen_stream(loop, bound)
        elif transport is Transport.DOH:
            await self._listen_https(loop, bound)
        elif transport is Transport.DOQ:
            await self._listen_quic(bound)

    async def _listen_stream(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        is_tls = bound.listen.transport is Transport.DOT
        station = StreamStation(
            self._responder,
            self._ring,
            self.defer,
            Transport.DOT if is_tls else Transport.TCP,
            self._streams,
        )
        open_one: Callable[[], asyncio.BaseProtocol] = station.protocol
        if is_tls:
            assert self._certificate is not None
            door = TlsDoor(self._certificate.context("dot"), self._streams)
            open_one = lambda: door.open(station.protocol())  # noqa: E731 - a factory either way
        server = await loop.create_server(open_one, sock=bound.socket)
        self._servers.append(server)
        self._tasks.append(asyncio.create_task(station.guests.sweep()))

    async def _listen_https(self, loop: asyncio.AbstractEventLoop, bound: Bound) -> None:
        from quada.transport.https import DohConnection
        from quada.transport.tls import ALPN_DOH

        assert self._certificate is not None
        assert bound.stream is not None
        exchange = make_exchange(self._responder, self._ring, self.defer)
        guests, alt_svc = self._web_guests(), ""
        if bound.datagram is not None:
            from quada.transport.http3 import serve_http3

            await serve_http3(bound.datagram, self._certificate, exchange, self._web_guests())
            alt_svc = f'h3=":{bound.listen.address.port}"; ma={_ALT_SVC_S}'
        door = TlsDoor(self._certificate.context(*ALPN_DOH), self._streams)
        server = await loop.create_server(
            lambda: door.open(DohConnection(exchange, guests, alt_svc=alt_svc)), sock=bound.stream
        )
        self._servers.append(server)

    async def _listen_quic(self, bound: Bound) -> None:
        from quada.transport.doq import serve_doq

        assert self._certificate is not None
        exchange = make_exchange(self._responder, self._ring, self.defer)
        await serve_doq(bound.datagram, self._certificate, exchange, self._web_guests())

    def _web_guests(self) -> Guests:
        """Make the bounds of a listener whose clients keep connections: browsers, forwarders."""
        limits = self._streams
        guests = Guests(replace(limits, idle_s=max(limits.idle_s, _WEB_IDLE_S)))
        self._tasks.append(asyncio.create_task(guests.sweep()))
        return guests


class AuthorityWorker(Worker):
    """A worker of the authoritative role."""

    def __init__(
        self,
        plan: Plan,
        authority: Authority,
        bound: list[Bound],
        ring: Ring,
        channel: Channel,
        certificate: Certificate | None,
    ) -> None:
        streams = plan.authority_streams
        super().__init__(plan, authority, bound, ring, channel, certificate, streams)
        self._authority = authority
        self._errands = Errands(plan, authority, channel)

    def defer(self, deferred: Deferred, pending: Pending) -> None:
        """Wait for lookups, transfer, update."""
        self._errands.defer(deferred, pending)

    def receive(self, delivery: Delivery) -> None:
        """Serve other versions, pools and ALIAS targets."""
        apply_delivery(self._authority, delivery)
        self._errands.delivered(delivery)

    async def beside(self) -> None:
        """Report which ALIAS targets are in use."""
        await self._errands.report()


class ResolverWorker(Worker):
    """A worker of the recursive role; it shares nothing with authoritative ones."""

    def __init__(
        self,
        plan: Plan,
        recursor: Recursor,
        bound: list[Bound],
        ring: Ring,
        channel: Channel,
        certificate: Certificate | None,
        *,
        is_first: bool,
    ) -> None:
        streams = plan.resolver_streams
        super().__init__(plan, recursor, bound, ring, channel, certificate, streams)
        self._recursor = recursor
        self._is_first = is_first
        self._lookups: Lookups | None = None

    def defer(self, deferred: Deferred, pending: Pending) -> None:
        """Resolve."""
        assert self._lookups is not None
        self._lookups.defer(deferred, pending)

    def receive(self, delivery: Delivery) -> None:
        """Explain a question or flush names, as the control socket asks."""
        if isinstance(delivery, Explain) and self._lookups is not None:
            number = delivery.number
            self._lookups.explain(
                delivery.qname,
                delivery.qtype,
                lambda told: self._channel.send(Explained(number, told)),
            )
        elif isinstance(delivery, TellShadow):
            iterator = self._recursor.iterator
            told = iterator.shadow.report(iterator.cache, time.time())
            self._channel.send(Explained(delivery.number, told))
        elif isinstance(delivery, Flush):
            cache = self._recursor.iterator.cache
            cache.flush(delivery.name, is_subtree=delivery.is_subtree)
            self._recursor.iterator.denials.flush(delivery.name)
            self._recursor.forget()
            validator = self._recursor.iterator.validator
            if validator is not None:
                validator.flush(delivery.name)
                self._follow_distrust(validator)

    async def _find_nat64(self) -> None:
        """Find the way to IPv4-only servers, where this host has no route to IPv4."""
        iterator = self._recursor.iterator
        if self._plan.settings.resolver.nat64 != "auto" or has_ipv4_route():
            return
        iterator.nat64 = await discover_prefix(system_resolvers())
        if iterator.nat64 is not None:
            log.info("IPv4-only servers are asked through NAT64", prefix=str(iterator.nat64))

    def _follow_distrust(self, validator: Validator) -> None:
        now_s = int(time.time())
        apply_distrust(self._plan.distrust_path, validator.trust.anchors, now_s)

    def _follow_anchors(self, anchoring: Anchoring, lookups: Lookups) -> None:
        """Look at the keys of trust points that are due; who is not to look reads what was seen."""
        if not self._is_first:
            anchoring.read()
            return
        now_s = int(time.time())
        for name in anchoring.due(now_s):
            anchoring.failed(name, now_s)  # until there is an answer
            self._recursor.iterator.cache.expire(name, codes.DNSKEY, now_s)

            def done(recursed: Recursed | None, _: Task, name: bytes = name) -> None:
                if recursed is not None:
                    found = recursed.resolution
                    anchoring.take(name, list(found.answer), found.validation, int(time.time()))

            lookups.run(plain_question(name, codes.DNSKEY), bytes(16), done)

    async def beside(self) -> None:
        """Refresh what is about to expire, and follow the keys of trust anchors."""
        from quada.transport.upstream import Upstream

        # A cache is many objects that live long and make no circles: walking them costs more than
        # a miss does.
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)
        upstream = Upstream(self._plan.settings.resolver.forward_ca_file)
        limits = self._plan.settings.resolver
        quota = QuotaSettings(
            per_network=limits.questions_per_network, per_zone=limits.questions_per_zone
        )
        self._lookups = Lookups(self._recursor, upstream, self._ring, quota)
        self._recursor.iterator.attempted = self._lookups.attempted
        validator = self._recursor.iterator.validator
        anchoring = None
        if validator is not None:
            self._follow_distrust(validator)
        if validator is not None and self._plan.settings.resolver.follow_anchors:
            anchoring = Anchoring(self._plan.state_dir / "anchors.json", validator.trust.anchors)
        kept = None
        if self._plan.settings.resolver.keep_cache:
            kept = self._plan.state_dir / f"cache-{self._recursor.settings.worker}.jsonl"
            restore_cache(kept, self._recursor.iterator.cache)
        turn = 0
        try:
            await self._find_nat64()
            while True:
                await asyncio.sleep(_PREFETCH_S)
                self._lookups.refresh()
                self._lookups.prime()
                self._lookups.light_up()
                self._lookups.probe()
                turn += 1
                if anchoring is not None and turn % _ANCHOR_TURNS == 1:
                    self._follow_anchors(anchoring, self._lookups)
        finally:
            upstream.close()
            if kept is not None:
                keep_cache(kept, self._recursor.iterator.cache)


def restore_cache(file: Path, cache: Cache) -> None:
    """Take what an earlier run kept; a file that is not there or not ours costs nothing."""
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            count = cache.restore(lines, time.time())
        log.info("the cache was restored", answers=count)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the kept cache cannot be read", why=str(error))


def keep_cache(file: Path, cache: Cache) -> None:
    """Write what holds for the next run, atomically, readable by us alone."""
    try:
        with replacing(file, mode=0o600) as out:
            out.writelines(f"{line}\n" for line in cache.dump(time.time()))
    except OSError as error:
        log.warning("the cache cannot be kept", why=str(error))
