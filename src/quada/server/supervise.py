"""The supervisor: binds, loads, forks, watches, delivers, and ends what it started.

It never answers a query. Whatever a worker serves was read and checked here first; a refused zone
file leaves the version that serves in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import json
import os
import pwd
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.names as names
from quada.authority import Authority, PoolState, View
from quada.server.channel import Channel
from quada.server.control import Control
from quada.server.deliver import (
    AliasAsked,
    AliasWanted,
    ChangeZone,
    DropZone,
    ExpireZone,
    PutSigner,
    PutZone,
    Ready,
    ZoneNotified,
    apply_delivery,
)
from quada.server.lookups import Lookups
from quada.server.notify import Notifier
from quada.server.pools import PoolWatch
from quada.server.ring import Ring, ring_path
from quada.server.secondary import Secondaries
from quada.server.signed import SignedZones
from quada.server.sockets import bind, has_ipv6
from quada.server.stored import StoredZones
from quada.server.worker import AuthorityWorker
from quada.server.zonefiles import ZoneFiles
from quada.telemetry.event import RECORD_OCTETS
from quada.transport.tls import Certificate, make_certificate
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault, DataFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quada.server.deliver import Delivery, Report
    from quada.server.plan import Listen, Plan
    from quada.zones import Zone

_RESTART_S: Final = 1.0  # our choice: a worker that dies at once is not restarted in a tight loop
_STOP_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
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
        self._started_at = time.time()
        self._restart_count = 0
        self._files = ZoneFiles(plan.zones)
        self._collector_pid = 0
        self._lookups = Lookups(plan.alias, self.deliver)
        self._pool_watch = PoolWatch(self._pools, self.deliver)
        self._certificate: Certificate | None = None
        self._stored = StoredZones(
            plan.store_path, self._put, lambda origin: self.deliver(DropZone(origin))
        )
        self._secondaries = Secondaries(
            plan, self._put, lambda origin: self.deliver(ExpireZone(origin))
        )
        self._notifier = Notifier(plan)
        self._signed = SignedZones(
            plan,
            self._serve,
            lambda: [served.zone for served in self._authority.book.served.values()],
        )

    def load(self, progress: Callable[[str, int, float], None] | None = None) -> None:
        """Load zones. Raises: DataFault for one that is not good."""
        for content in itertools.chain(self._files.load_all(progress), self._stored.load_all()):
            version = self._signed.publish(content)
            keys = self._signed.online(content.origin)
            if keys is not None:
                self._authority.sign_with(keys)
            self._authority.put(version)
        for zone in self._secondaries.load_all():
            self._authority.put(zone)

    def run(self) -> None:
        """Bind, fork and serve. Raises: ConfigFault and ReachFault before anything serves."""
        plan = self._plan
        plan.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        listeners = plan.authority_listen
        if not listeners and "authority" in plan.roles:
            raise ConfigFault(
                "nowhere to listen", place="authority.listen", remedy="give --listen '[::]:5300'"
            )
        self._certificate = self._load_certificate(listeners)
        self._bound, self._listening = bind(listeners, plan.workers)
        _become(plan.settings.server.user, plan.state_dir)
        records = (plan.settings.events.keep_mib << 20) // RECORD_OCTETS // plan.workers
        self._rings = [
            Ring(ring_path(plan.events_dir, "authority", index), records)
            for index in range(plan.workers)
        ]
        self._signed.before_fork()
        self._stored.before_fork()
        # Zones are shared with workers by fork; a collection would touch, and so copy, all of them.
        gc.collect()
        gc.freeze()
        if plan.settings.events.jsonl:
            self._fork_collector()
        for index in range(plan.workers):
            self._fork_worker(index)
        asyncio.run(self._main())

    def deliver(self, delivery: Delivery) -> None:
        """Apply a delivery here, so that a restarted worker has it, and send it to all workers."""
        apply_delivery(self._authority, delivery)
        for channel in self._channels.values():
            channel.send(delivery)

    def status(self) -> dict[str, Any]:
        """Tell what runs, for `quada status`."""
        zones = [
            {"zone": names.to_text(origin), "serial": served.zone.serial}
            for origin, served in sorted(self._authority.book.served.items())
        ]
        return {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "roles": list(self._plan.roles),
            "listening": [_listen_text(listen) for listen in self._listening],
            "workers": [{"pid": pid} for pid in self._pids.values()],
            "restarts": self._restart_count,
            "zones": zones,
            "refused": self._files.refused,
            "events": {"written": sum(ring.written_count for ring in self._rings)},
            "alias": self._lookups.status(),
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
        if self._certificate is not None and self._certificate.has_changed():
            self._certificate.reload()
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
            asyncio.create_task(self._signed.run()),
            asyncio.create_task(self._stored.run()),
            asyncio.create_task(self._secondaries.run()),
        ]
        try:
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await control.stop()
            await self._end_processes()

    def _commands(self) -> dict[str, Callable[..., Any]]:
        return {
            "status": self.status,
            "reload": self.reload,
            "stop": self._stop.set,
            "drop": lambda zone: self.deliver(DropZone(names.from_text(zone).lower())),
            "refresh": self._stored.refresh,
            "retransfer": lambda zone: self._secondaries.look(names.from_text(zone).lower()),
            "alias": self._lookups.explain,
            "dnssec-tick": self._signed.tick,
            "dnssec-look": self._signed.look_at_parents,
        }

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(1)
            for zone in self._files.changed():
                self._put(zone)

    def _put(self, content: Zone) -> None:
        """Sign new content where its zone is signed, and serve it; a refused one is left out."""
        try:
            zone = self._signed.publish(content)
        except DataFault as fault:
            self._files.refused[names.to_text(content.origin)] = str(fault)
            log.error("zone refused", zone=names.to_text(content.origin), fault=str(fault))
            return
        self._serve(zone)

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
            self._files.refused[names.to_text(zone.origin)] = str(fault)
            log.error("zone refused", zone=names.to_text(zone.origin), fault=str(fault))
            return
        self._notifier.notify(zone)
        log.info("zone served", zone=names.to_text(zone.origin), serial=zone.serial)

    def _receive(self, index: int, report: Report) -> None:
        if isinstance(report, Ready):
            self._ready.add(index)
            if len(self._ready) == self._plan.workers:
                self._say_ready()
        elif isinstance(report, AliasWanted):
            self._lookups.want(report.targets)
        elif isinstance(report, AliasAsked):
            self._lookups.asked(report.targets)
        elif isinstance(report, ZoneNotified):
            self._secondaries.notified(report.origin, report.address)

    def _say_ready(self) -> None:
        """Tell, once, on standard output, that queries are answered."""
        zones = len(self._authority.book.served)
        listening = [_listen_text(listen) for listen in self._listening]
        if self._plan.tells_json:
            line = json.dumps({"ready": True, "listening": listening, "zones": zones})
        else:
            where = ", ".join(listening)
            noun = "zone" if zones == 1 else "zones"
            line = f"quada is ready: authoritative on {where}; {zones} {noun}"
        print(line, flush=True)

    def _fork_worker(self, index: int) -> None:
        ours, theirs = Channel.pair()
        sys.stdout.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                _die_with(parent)
                for channel in self._channels.values():
                    channel.close()
                ours.close()
                worker = AuthorityWorker(
                    self._plan,
                    self._authority,
                    self._bound[index],
                    self._rings[index],
                    theirs,
                    self._certificate,
                )
                worker.run()
                status = 0
            os._exit(status)
        theirs.close()
        self._pids[index] = pid
        self._channels[index] = ours

    def _fork_collector(self) -> None:
        plan = self._plan
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                _die_with(parent)
                from quada.server.collector import collect

                asyncio.run(collect(plan.events_dir, plan.state_dir / plan.settings.events.jsonl))
                status = 0
            os._exit(status)
        self._collector_pid = pid

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
            elif pid == self._collector_pid:
                loop.call_later(_RESTART_S, self._fork_collector)

    def _restart(self, index: int) -> None:
        if self._stop.is_set():
            return
        self._channels.pop(index).close()
        self._fork_worker(index)
        channel = self._channels[index]
        self._attaching = asyncio.create_task(self._attach(index, channel))

    async def _end_processes(self) -> None:
        pids = list(self._pids.values())
        for pid in pids:
            _signal(pid, signal.SIGTERM)
        await _wait_for(pids)
        if self._collector_pid:
            _signal(self._collector_pid, signal.SIGTERM)  # last, so that it sees the last events
            await _wait_for([self._collector_pid])

    def _load_certificate(self, listeners: tuple[Listen, ...]) -> Certificate | None:
        """Load the certificate of encrypted listeners; make one where none is configured."""
        if all(listen.transport is Transport.UDP for listen in listeners):
            return None
        from datetime import UTC, datetime
        from pathlib import Path

        tls = self._plan.settings.tls
        if tls.certificate:
            return Certificate(Path(tls.certificate), Path(tls.key))
        place = self._plan.state_dir / "tls"
        chain, key = place / "chain.pem", place / "key.pem"
        if not (chain.exists() and key.exists()):
            make_certificate(chain, key, tls.names or ("localhost", "::1"), datetime.now(UTC))
        return Certificate(chain, key)


async def _wait_for(pids: list[int]) -> None:
    """Wait for processes of ours to end; kill what has not after a while."""
    deadline = time.monotonic() + _STOP_S
    left = set(pids)
    while left:
        for pid in list(left):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:  # noqa: ASYNC222  (WNOHANG does not wait)
                    left.discard(pid)
            except ChildProcessError:
                left.discard(pid)
        if left and time.monotonic() > deadline:
            for pid in left:
                _signal(pid, signal.SIGKILL)
            deadline += _STOP_S
        if left:
            await asyncio.sleep(0.01)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _die_with(parent: int) -> None:
    """Have the kernel end this process with the supervisor, so that no port stays held."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _become(user: str, state_dir: Path) -> None:
    """Give up root for a user, once sockets are bound."""
    if not user or os.getuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigFault(f"there is no user {user}", place="server.user") from None
    for path in (state_dir, *state_dir.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _listen_text(listen: Listen) -> str:
    what = {Transport.UDP: "UDP and TCP", Transport.DOT: "TLS", Transport.DOH: "HTTPS"}
    return f"{listen.address} {what.get(listen.transport, 'QUIC')}"


def note_missing_ipv6(plan: Plan) -> str:
    """Say in words that this machine has no IPv6, where that is so and it was asked for."""
    if any(":" in listen.address.host for listen in plan.authority_listen) and not has_ipv6():
        return "this machine has no IPv6: [::] cannot be served, whether IPv6 works is UNKNOWN"
    return ""
