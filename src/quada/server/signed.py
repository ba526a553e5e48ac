"""The supervisor's signed zones: when to open the desk, to tick, to look at the parent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.names as names
from quada.resolver.anchors import read_anchors, root_anchors
from quada.server.alarm import Alarm
from quada.server.outside import Sight, look_outside
from quada.server.parents import look
from quada.server.plan import read_address
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore
from quada.wire.ask import Endpoint, Transport
from quada.wire.faults import DataFault, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.server.plan import Plan
    from quada.store.held import TokenAway
    from quada.zones import Zone
    from quada.zones.online import OnlineKeys

log = structlog.get_logger()
_LOOK_S: Final = 20.0  # our choice: what a round of looks from outside may take
_LOOPBACK: Final = {"::": "::1", "0.0.0.0": "127.0.0.1"}


class SignedZones:
    """What the supervisor asks of signing. Without a key store in the state directory, nothing."""

    def __init__(
        self, plan: Plan, serve: Callable[[Zone], None], content: Callable[[], Iterable[Zone]]
    ) -> None:
        """Take how to serve a version, and how to get what serves when the first key appears."""
        self._plan = plan
        self._serve = serve
        self._serving = content
        self._store: KeyStore | None = None
        self._desk: SigningDesk | None = None
        self._parent: dict[str, str] = {}
        self._outside: dict[bytes, Sight] = {}
        self._looked: dict[bytes, float] = {}
        self._away: dict[bytes, str] = {}
        self._alarm = Alarm(plan)

    def publish(self, content: Zone) -> Zone:
        """Give the version to serve for new content. Raises: DataFault where the gate refuses."""
        desk = self._open()
        return content if desk is None else desk.publish(content, int(time.time()))

    def hold(self, content: Zone, fault: TokenAway) -> None:
        """Take note of content that cannot be signed before its token is back: a tick does it."""
        self._alarm.token(content.origin, fault.message)

    def online(self, origin: bytes) -> OnlineKeys | None:
        """Give the keys a zone's ALIAS and pool answers are signed with; None for none."""
        desk = self._open()
        return None if desk is None else desk.online(origin)

    def before_fork(self) -> None:
        """Close what a child must not share."""
        if self._store is not None:
            self._store.close()

    async def run(self) -> None:
        """Tick, and look at parents, until cancelled."""
        settings = self._plan.settings.dnssec
        next_look = 0.0
        while True:
            try:
                await self.tick()
                await self.look_outside()
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + settings.parent_check_s
                    await self.look_at_parents()
            except Fault as fault:  # a store that cannot be read today may be mended tomorrow
                log.error("signing is held up", fault=str(fault))
            await asyncio.sleep(settings.tick_s)

    async def tick(self) -> list[str]:
        """Do what is due now; tell the steps taken. Signing runs beside the event loop."""
        desk = self._open()
        if desk is None:
            return []
        made = await asyncio.to_thread(desk.tick, int(time.time()), time.monotonic())
        self._away = await asyncio.to_thread(desk.away)
        for origin, why in self._away.items():
            self._alarm.token(origin, why)
        for version, _ in made:
            self._serve(version)
        return [step.what for _, steps in made for step in steps]

    async def look_at_parents(self) -> dict[str, str]:
        """Ask every parent for DS; tell by zone why what was seen does not count, or ""."""
        desk, resolvers = self._open(), self._resolvers()
        if desk is None:
            return {}
        for origin in desk.awaiting_parent():
            name = names.to_text(origin)
            if not resolvers:
                self._parent[name] = "nobody to ask: set dnssec.resolver"
                continue
            sightings = await look(origin, resolvers)
            self._parent[name] = desk.see_parent(origin, sightings, int(time.time()))
        return self._parent

    async def look_outside(self) -> None:
        """See each secured version through validating resolvers, until they have verified it."""
        desk, resolvers = self._open(), self._validating()
        if desk is None or not resolvers:
            return
        end = time.monotonic() + _LOOK_S
        # The longest not looked at go first: resolvers that are silent must not hold up the tick.
        for version in sorted(desk.secured(), key=lambda one: self._looked.get(one.origin, 0.0)):
            origin = version.origin
            last = self._outside.get(origin)
            if last is not None and last.serial == version.serial and last.state == "verified":
                continue
            if time.monotonic() > end:
                break
            self._looked[origin] = time.monotonic()
            sight = await asyncio.to_thread(look_outside, version, resolvers, self._anchors())
            self._outside[origin] = sight
            if sight != last:
                tell = log.error if sight.state == "failed" else log.info
                tell("seen from outside", zone=names.to_text(origin), **sight._asdict())
            if sight.state == "verified":
                await asyncio.to_thread(desk.found_good, origin, sight.serial)
                self._alarm.over(origin)
            elif sight.state == "failed" and sight == last:  # twice: not a moment's trouble
                await self._failed(desk, origin, sight)

    async def _failed(self, desk: SigningDesk, origin: bytes, sight: Sight) -> None:
        """Raise an alert, and by policy serve again what last validated."""
        made, done = None, "the last good version is not known: nothing is rolled back"
        if self._plan.settings.dnssec.on_failure == "alert":
            done = "nothing is rolled back (dnssec.on_failure)"
        else:
            try:
                made = await asyncio.to_thread(
                    desk.roll_back, origin, sight.serial, int(time.time())
                )
            except Fault as fault:
                done = f"it cannot be rolled back: {fault}"
        if made is not None:
            self._serve(made.version)
            done = f"serial {made.version.serial} serves the last good version again"
            log.error("rolled back", zone=names.to_text(origin), why=sight.why, now=done)
        self._alarm.raised(origin, sight, done)

    def _validating(self) -> list[Endpoint]:
        """Give the resolvers to look through: those of the settings, and our own role."""
        if "authority" not in self._plan.roles:
            return []
        texts = self._plan.settings.dnssec.verify_with
        found = [read_address(text) for text in texts]
        if self._plan.settings.resolver.dnssec:
            own = [
                listen.address
                for listen in self._plan.resolver_listen
                if listen.transport is Transport.UDP and listen.address.port
            ]
            found += [one._replace(host=_LOOPBACK.get(one.host, one.host)) for one in own[:1]]
        return [Endpoint(address.host, address.port) for address in dict.fromkeys(found)]

    def _anchors(self) -> dict[bytes, tuple[bytes, ...]]:
        settings = self._plan.settings
        file = settings.dnssec.trust_anchor or settings.resolver.trust_anchor
        if not file:
            return root_anchors()
        try:
            return read_anchors(Path(file).read_text(), file)
        except OSError as error:
            raise DataFault(f"cannot read it: {error.strerror}", place=file) from error

    def status(self) -> list[dict[str, Any]]:
        """Tell of each signed zone, for status."""
        desk = self._open()
        if desk is None:
            return []
        away = {names.to_text(origin): why for origin, why in self._away.items()}
        outside = {names.to_text(origin): s._asdict() for origin, s in self._outside.items()}
        return [
            {
                **zone,
                "parent": self._parent.get(zone["zone"], ""),
                "outside": outside.get(zone["zone"]),
                "token": away.get(zone["zone"], ""),
            }
            for zone in desk.status()
        ]

    def _resolvers(self) -> tuple[Endpoint, ...]:
        settings = self._plan.settings
        texts = settings.dnssec.resolver or settings.alias.upstream
        addresses = [read_address(text) for text in texts]
        return tuple(Endpoint(address.host, address.port) for address in addresses)

    def _open(self) -> SigningDesk | None:
        """Open the desk once there is a key store."""
        if self._desk is None and (self._plan.state_dir / "keys.db").exists():
            self._store = KeyStore.open(self._plan.state_dir)
            self._desk = SigningDesk(self._store)
            for zone in self._serving():
                self._desk.take(zone)
        return self._desk
