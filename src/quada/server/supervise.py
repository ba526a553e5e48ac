"""The supervisor: binds, loads, forks, watches, delivers, and ends what it started.

It never answers a query. Whatever a worker serves was read and checked here first; a refused zone
file leaves the version that serves in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.server.service as service
import quada.wire.names as names
from quada.authority import Authority, PoolState, View
from quada.server.beside import Beside
from quada.server.catalogs import Catalogs
from quada.server.channel import Channel
from quada.server.control import Control
from quada.server.deliver import (
    AliasAsked,
    AliasWanted,
    ChangeZone,
    DropZone,
    ExpireZone,
    Explained,
    PutSigner,
    PutZone,
    Ready,
    ZoneNotified,
    apply_delivery,
)
from quada.server.designate import designation, told
from quada.server.expanding import Expanding
from quada.server.lookups import Lookups
from quada.server.notify import Notifier
from quada.server.plan import Address, Listen
from quada.server.pools import PoolWatch
from quada.server.processes import become, die_with
from quada.server.resolvers import Resolvers
from quada.server.resolving import make_recursor
from quada.server.ring import Ring, ring_path
from quada.server.secondary import Secondaries
from quada.server.signed import SignedZones
from quada.server.sockets import bind, has_ipv6
from quada.server.standing import Standing
from quada.server.stored import StoredZones
from quada.server.worker import AuthorityWorker, ResolverWorker, Worker
from quada.server.zonefiles import ZoneFiles
from quada.store.held import TokenAway
from quada.telemetry.event import RECORD_OCTETS
from quada.transport.tls import Certificate, make_certificate
from quada.wire.ask import Endpoint, Transport
from quada.wire.faults import ConfigFault, DataFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.server.deliver import Delivery, Report
    from quada.server.plan import Plan
    from quada.server.sockets import Bound
    from quada.zones import Zone

_RESTART_S: Final = 1.0  # our choice: a worker that dies at once is not restarted in a tight loop
log = structlog.get_logger()


class Supervisor:
    """One run of the server. `run` returns when it has ended cleanly."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stop = asyncio.Event()
        self._pools = {pool.name: PoolState(pool) for pool in plan.pools}
        self._authority = Authority(
            plan.authority, aliases=View(plan.alias), pools=self._pools, chance=random.random
        )
        self._channels: dict[int, Channel] = {}
        self._pids: dict[int, int] = {}
        self._ready: set[int] = set()
        self._bound: list[list[Bound]] = []
        self._worker_roles: list[str] = []
        self._listening: list[tuple[str, Listen]] = []
        self._resolvers = Resolvers(self._resolver_channels, plan.distrust_path)
        self._started_at = time.time()
        self._restart_count = 0
        self._files = ZoneFiles(plan.zones)
        self._standing = Standing()
        self._lookups = Lookups(plan.alias, self.deliver)
        self._pool_watch = PoolWatch(self._pools, self.deliver)
        self._certificate: Certificate | None = None
        self._stored = StoredZones(
            plan.store_path, self._put, lambda origin: self.deliver(DropZone(origin))
        )
        self._expanding = Expanding(plan, self._authority, self._lookups.want, self._publish)
        self._secondaries = Secondaries(
            plan,
            self._publish,
            lambda origin: self.deliver(ExpireZone(origin)),
            lambda origin: self.deliver(DropZone(origin)),
        )
        self._notifier = Notifier(plan)
        self._catalogs = Catalogs(plan, self._serve)
        self._signed = SignedZones(
            plan,
            self._serve,
            lambda: [served.zone for served in self._authority.book.served.values()],
        )

    def load(self, progress: Callable[[str, int, float], None] | None = None) -> None:
        """Load zones. Raises: DataFault for one that is not good."""
        # Zones are millions of objects that make no circles: a collection would walk them all for
        # nothing, and once they are shared by fork, touch and so copy them. What the start has left
        # behind goes before they come.
        gc.collect()
        gc.disable()
        try:
            self._load(progress)
        finally:
            gc.freeze()
            gc.enable()

    def _load(self, progress: Callable[[str, int, float], None] | None) -> None:
        ours = itertools.chain(self._files.load_all(progress), self._stored.load_all())
        expanded = (self._expanding.publish(content) for content in ours)
        for content in itertools.chain(expanded, self._secondaries.load_all()):
            try:
                version = self._signed.publish(content)
            except TokenAway as fault:  # its zone is left out until then, the others serve
                self._signed.hold(content, fault)
                self._refuse(content.origin, fault)
                continue
            keys = self._signed.online(content.origin)
            if keys is not None:
                self._authority.sign_with(keys)
            self._authority.put(version)
            self._standing.loaded(version.origin)
        for catalog in self._catalogs.make(list(self._authority.book.served)):
            self._authority.put(catalog)
            self._standing.loaded(catalog.origin)

    def run(self) -> None:
        """Bind, fork and serve. Raises: ConfigFault and ReachFault before anything serves."""
        plan = self._plan
        plan.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._certificate = self._load_certificate((*plan.authority_listen, *plan.resolver_listen))
        self._bind()
        self._beside = Beside(plan, self._close_channels, self._certificate)
        become(plan.settings.server.user, plan.state_dir)
        if "resolver" in self._worker_roles:
            # What is wrong with it is said before a fork.
            make_recursor(plan.settings.resolver, 0, designation(plan))
        records = (plan.settings.events.keep_mib << 20) // RECORD_OCTETS // len(self._bound)
        self._rings = [
            Ring(ring_path(plan.events_dir, role, index), records)
            for index, role in enumerate(self._worker_roles)
        ]
        self._signed.before_fork()
        self._stored.before_fork()
        gc.freeze()  # what workers share with us by fork
        self._beside.start()
        for index in range(len(self._bound)):
            self._fork_worker(index)
        asyncio.run(self._main())

    def _bind(self) -> None:
        """Bind the listeners of every role, and of a private resolver where ALIAS needs one."""
        plan = self._plan
        wanted = {"authority": plan.authority_listen, "resolver": plan.resolver_listen}
        for role in plan.roles:
            if not wanted[role]:
                raise ConfigFault(
                    "nowhere to listen", place=f"{role}.listen", remedy="give --listen '[::]:5300'"
                )
            bound, listening = bind(wanted[role], plan.workers)
            self._bound += bound
            self._worker_roles += [role] * plan.workers
            self._listening += [(role, listen) for listen in listening]
        if plan.alias.upstreams or "authority" not in plan.roles:
            return
        own = [listen.address for role, listen in self._listening if role == "resolver"]
        has_alias = any(one.has_expansions for one in self._authority.book.served.values())
        if not own and (has_alias or self._expanding.has_any()):
            host = "::1" if has_ipv6() else "127.0.0.1"
            private = Listen(Address(host, 0), Transport.UDP)
            bound, listening = bind((private,), 1)
            self._bound += bound
            self._worker_roles.append("resolver")
            own = [listening[0].address]
        local = {"::": "::1", "0.0.0.0": "127.0.0.1"}
        self._lookups.use([Endpoint(local.get(a.host, a.host), a.port) for a in own])

    def deliver(self, delivery: Delivery) -> None:
        """Apply a delivery here, so that a restarted worker has it, and send it to all workers."""
        apply_delivery(self._authority, delivery)
        self._expanding.delivered(delivery)
        if isinstance(delivery, PutZone):
            self._standing.loaded(delivery.zone.origin)
        elif isinstance(delivery, ChangeZone):
            self._standing.loaded(delivery.origin)
        elif isinstance(delivery, DropZone):
            self._standing.dropped(delivery.origin)
        for index, channel in self._channels.items():
            if self._worker_roles[index] == "authority":
                channel.send(delivery)

    def status(self) -> dict[str, Any]:
        """Tell what runs, for `quada status`."""
        zones = [served.zone for _, served in sorted(self._authority.book.served.items())]
        scheme = "https" if self._plan.settings.api.tls else "http"
        return {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "roles": list(self._plan.roles),
            "listening": [_listen_text(listen) for _, listen in self._listening],
            "api": [f"{scheme}://{address}" for address in self._plan.api_listen],
            "workers": [{"pid": pid} for pid in self._pids.values()],
            "restarts": self._restart_count,
            "zones": self._standing.status(zones),
            "refused": self._files.refused,
            "events": {"written": sum(ring.written_count for ring in self._rings)},
            "alias": self._lookups.status(),
            "expanded": self._expanding.status(),
            "dnssec": self._signed.status(),
            "secondaries": self._secondaries.status(),
            "pools": self._pool_watch.status(),
        }

    def reload(self) -> dict[str, Any]:
        """Read changed zone files now; tells which were taken and which refused."""
        taken = []
        for zone in self._files.changed(is_forced=True):
            self._put(zone)
            taken.append(names.to_text(zone.origin))
        return {"reloaded": taken, "refused": self._files.refused}

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for index, channel in list(self._channels.items()):
            await self._attach(index, channel)
        control = Control(self._plan.control_path, self._commands())
        await control.start()
        tasks = [
            asyncio.create_task(self._watch_files()),
            asyncio.create_task(self._lookups.run()),
            asyncio.create_task(self._pool_watch.run()),
            asyncio.create_task(self._expanding.run()),
            asyncio.create_task(self._signed.run()),
            asyncio.create_task(self._stored.run()),
            asyncio.create_task(self._secondaries.run()),
        ]
        try:
            await self._stop.wait()
        finally:
            service.tell("STOPPING=1")
            for task in tasks:
                task.cancel()
            await control.stop()
            await self._beside.end(list(self._pids.values()))

    def _commands(self) -> dict[str, Callable[..., Any]]:
        return {
            "status": self.status,
            "reload": self.reload,
            "stop": self._stop.set,
            "drop": lambda zone: self.deliver(DropZone(names.from_text(zone).lower())),
            "refresh": self._stored.refresh,
            **self._resolvers.commands(),
            "retransfer": lambda zone: self._secondaries.look(names.from_text(zone).lower()),
            "alias": self._lookups.explain,
            "pool-seen": self._pool_watch.seen,
            "dnssec-tick": self._signed.tick,
            "dnssec-look": self._signed.look_at_parents,
        }

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(1)
            for zone in self._files.changed():
                self._put(zone)
            self._catalogs.refresh(self._authority.book.served)

    def _put(self, content: Zone) -> None:
        """Serve new content, expanded where its zone is published so."""
        try:
            version = self._expanding.publish(content)
        except DataFault as fault:
            self._refuse(content.origin, fault)
            return
        self._publish(version)

    def _publish(self, content: Zone) -> None:
        """Sign content where its zone is signed, and serve it; a refused one is left out."""
        try:
            zone = self._signed.publish(content)
        except DataFault as fault:
            self._refuse(content.origin, fault)
            return
        self._serve(zone)

    def _refuse(self, origin: bytes, fault: DataFault) -> None:
        self._files.refused[names.to_text(origin)] = str(fault)
        log.error("zone refused", zone=names.to_text(origin), fault=str(fault))

    def _serve(self, zone: Zone) -> None:
        """Deliver a version: as a change where there was one, whole otherwise."""
        from quada.zones import diff

        before = self._authority.book.served.get(zone.origin)
        keys = self._signed.online(zone.origin)
        if keys is not None:
            self.deliver(PutSigner(keys))
        try:
            if before is None:
                self.deliver(PutZone(zone))
            else:
                self.deliver(ChangeZone(zone.origin, diff(before.zone, zone)))
        except DataFault as fault:
            self._refuse(zone.origin, fault)
            return
        self._files.refused.pop(names.to_text(zone.origin), None)
        self._notifier.notify(zone)
        log.info("zone served", zone=names.to_text(zone.origin), serial=zone.serial)

    def _receive(self, index: int, report: Report) -> None:
        if isinstance(report, Ready):
            self._ready.add(index)
            if len(self._ready) == len(self._bound):
                self._say_ready()
        elif isinstance(report, AliasWanted):
            self._lookups.want(report.targets)
        elif isinstance(report, AliasAsked):
            self._lookups.asked(report.targets)
        elif isinstance(report, Explained):
            self._resolvers.told(report)
        elif isinstance(report, ZoneNotified):
            self._secondaries.notified(report.origin, report.address)

    def _say_ready(self) -> None:
        """Tell, once, on standard output, that queries are answered."""
        zones = len(self._authority.book.served)
        if self._plan.tells_json:
            listening = [_listen_text(listen) for _, listen in self._listening]
            line = json.dumps({"ready": True, "listening": listening, "zones": zones})
        else:
            parts = []
            for role, word in (("authority", "authoritative"), ("resolver", "recursive")):
                here = [_listen_text(one) for kind, one in self._listening if kind == role]
                if here:
                    parts.append(f"{word} on {', '.join(here)}")
            noun = "zone" if zones == 1 else "zones"
            line = f"quada is ready: {'; '.join(parts)}; {zones} {noun}"
        print(line, flush=True)
        service.tell("READY=1", f"STATUS={zones} zones", f"MAINPID={os.getpid()}")

    def _fork_worker(self, index: int) -> None:
        ours, theirs = Channel.pair()
        sys.stdout.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                die_with(parent)
                for channel in self._channels.values():
                    channel.close()
                ours.close()
                self._make_worker(index, theirs).run()
                status = 0
            os._exit(status)
        theirs.close()
        self._pids[index] = pid
        self._channels[index] = ours

    def _make_worker(self, index: int, channel: Channel) -> Worker:
        """Make a worker of its role; called in the worker's own process."""
        bound, ring, certificate = self._bound[index], self._rings[index], self._certificate
        if self._worker_roles[index] == "authority":
            return AuthorityWorker(self._plan, self._authority, bound, ring, channel, certificate)
        recursor = make_recursor(self._plan.settings.resolver, index, designation(self._plan))
        is_first = index == self._worker_roles.index("resolver")
        return ResolverWorker(
            self._plan, recursor, bound, ring, channel, certificate, is_first=is_first
        )

    def _resolver_channels(self) -> list[Channel]:
        return [c for i, c in self._channels.items() if self._worker_roles[i] == "resolver"]

    def _close_channels(self) -> None:
        for channel in self._channels.values():
            channel.close()

    async def _attach(self, index: int, channel: Channel) -> None:
        await channel.start(lambda report: self._receive(index, report), lambda: None)

    def _reap(self) -> None:
        """A process has ended: start another in its place, unless we are ending ourselves."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._stop.is_set():
                continue
            loop = asyncio.get_running_loop()
            index = next((i for i, known in self._pids.items() if known == pid), None)
            log.error("a process ended", pid=pid, status=os.waitstatus_to_exitcode(status))
            self._restart_count += 1
            if index is not None:
                loop.call_later(_RESTART_S, self._restart, index)
            elif name := self._beside.name_of(pid):
                loop.call_later(_RESTART_S, self._beside.fork, name)

    def _restart(self, index: int) -> None:
        if self._stop.is_set():
            return
        self._channels.pop(index).close()
        self._fork_worker(index)
        channel = self._channels[index]
        self._attaching = asyncio.create_task(self._attach(index, channel))

    def _load_certificate(self, listeners: tuple[Listen, ...]) -> Certificate | None:
        """Load the certificate of encrypted listeners; make one where none is configured."""
        is_plain = all(listen.transport is Transport.UDP for listen in listeners)
        if is_plain and not self._plan.settings.api.tls:
            return None
        from datetime import UTC, datetime
        from pathlib import Path

        tls, wanted, now = self._plan.settings.tls, told(self._plan), datetime.now(UTC)
        chain, key = self._plan.certificate_files
        if tls.certificate:
            chain, key = Path(tls.certificate), Path(tls.key)
        elif not (chain.exists() and key.exists()):
            make_certificate(chain, key, wanted or ("localhost", "::1"), now)
        found = Certificate(chain, key)
        if not tls.certificate and found.is_demo() and found.out_of_time(now):
            make_certificate(chain, key, wanted or ("localhost", "::1"), now)
            found = Certificate(chain, key)
        for name in found.lacks(wanted):
            log.warning("the certificate does not cover what clients are told", name=name,
                        certificate=str(chain), remedy="clients will refuse it")  # fmt: skip
        if fault := found.out_of_time(now):
            log.warning("clients will refuse the certificate", certificate=str(chain), why=fault)
        return found


def _listen_text(listen: Listen) -> str:
    what = {Transport.UDP: "UDP and TCP", Transport.DOT: "TLS", Transport.DOH: "HTTPS"}
    what[Transport.DOH] += " and HTTP/3" * listen.has_http3
    return f"{listen.address} {what.get(listen.transport, 'QUIC')}"


def note_missing_ipv6(plan: Plan) -> str:
    """Say in words that this machine has no IPv6, where that is so and it was asked for."""
    if any(":" in listen.address.host for listen in plan.authority_listen) and not has_ipv6():
        return "this machine has no IPv6: [::] cannot be served, whether IPv6 works is UNKNOWN"
    return ""
