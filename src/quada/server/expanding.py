"""Zones that are published expanded: addresses in, versions out, what was published kept on disk.

The file of a zone in `expanded/` holds the serial and addresses of its last version, so that a
restart neither goes back in serial nor forgets addresses while targets are looked up anew.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.names as names
from quada.authority.expanded import ExpandedZone, Sights, standing_in
from quada.disk import replacing
from quada.server.deliver import AliasNews, ChangeZone, DropZone, PoolNews, PutZone
from quada.wire.faults import DataFault
from quada.zones import RRset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from quada.authority import Authority
    from quada.authority.expanded import Sets
    from quada.server.deliver import Delivery
    from quada.server.plan import Plan
    from quada.zones import Zone

log = structlog.get_logger()
_TICK_S: Final = 0.25  # our choice: both families of a lookup come within it, and go out as one
_WANT_S: Final = 1.0  # our choice: half of the shortest useful TTL
_LOOK_S: Final = 30.0  # our choice: how late the end of stale addresses may be noticed


class Expanding:
    """The supervisor's expanded zones. `publish` is what content passes on its way to signing."""

    def __init__(
        self,
        plan: Plan,
        authority: Authority,
        want: Callable[[tuple[bytes, ...]], None],
        serve: Callable[[Zone], None],
    ) -> None:
        """Take how to have targets looked up, and how to serve a version."""
        self._plan = plan
        self._authority = authority
        self._want = want
        self._serve = serve
        self._sights = Sights(authority.book.aliases, authority.book.pools)
        self._zones: dict[bytes, ExpandedZone] = {}
        self._owners: dict[bytes, dict[bytes, set[bytes]]] = {}
        self._externals: tuple[bytes, ...] = ()
        self._unknown: dict[bytes, set[str]] = {}
        self._news: set[bytes] = set()
        self._is_changed = True

    def publish(self, content: Zone) -> Zone:
        """Give the version to sign or serve for content: itself, unless its zone is expanded."""
        origin = content.origin
        is_wanted = self._plan.is_expanded(origin) and bool(standing_in(content))
        zone = self._zones.get(origin)
        if zone is None:
            path = self._plan.expanded_path(origin)
            if not (is_wanted or path.exists()):
                return content
            zone = self._zones[origin] = ExpandedZone(self._plan.expanded)
            _restore(zone, path)
        now = time.time()
        zone.write(content, now, is_expanded=is_wanted)
        self._owners[origin] = zone.pointing()
        self._is_changed = True
        self._look(now)
        version = zone.version(self._sights, now)
        assert version is not None  # content is new
        self._keep(origin, zone)
        return version

    def delivered(self, delivery: Delivery) -> None:
        """Note what may have moved addresses."""
        if not self._zones:
            return
        if isinstance(delivery, AliasNews):
            self._news.update(one.target for one in delivery.expansions)
        elif isinstance(delivery, PutZone | ChangeZone | PoolNews):
            self._is_changed = True
        elif isinstance(delivery, DropZone):
            self._zones.pop(delivery.origin, None)
            self._owners.pop(delivery.origin, None)

    async def run(self) -> None:
        """Publish what has moved, and keep targets known, until cancelled."""
        next_want = next_look = 0.0
        while True:
            now = time.monotonic()
            if now >= next_look:
                next_look, self._is_changed = now + _LOOK_S, True
            self.tick()
            if now >= next_want and self._externals:
                next_want = now + _WANT_S
                self._want(self._externals)
            await asyncio.sleep(_TICK_S)

    def tick(self) -> None:
        """Serve the next version of each zone whose addresses are not those of the last."""
        is_waiting = any(zone.waiting for zone in self._zones.values())
        if not (self._zones and (self._is_changed or self._news or is_waiting)):
            return
        now, is_all, news = time.time(), self._is_changed, self._news
        self._is_changed, self._news = False, set()
        known = {target for pointing in self._owners.values() for target in pointing}
        is_all = is_all or any(one in self._externals and one not in known for one in news)
        self._look(now)
        for origin, zone in list(self._zones.items()):
            pointing = self._owners[origin]
            owners = {owner for target in news for owner in pointing.get(target, ())}
            if not (is_all or owners or zone.waiting):
                continue
            version = zone.version(self._sights, now, owners=None if is_all else owners)
            if version is not None:
                self._keep(origin, zone)
                self._serve(version)
            self._tell(origin, zone)
        aliases = self._authority.book.aliases
        if aliases is not None:
            found = set() if is_all else set(self._externals)
            self._externals = tuple(found | aliases.asked)
            aliases.asked.clear()

    def status(self) -> list[dict[str, Any]]:
        """Tell of each expanded zone: the serials of content and version, names without address."""
        return [
            {
                "zone": names.to_text(origin),
                "serial": zone.serial,
                "content_serial": zone.content_serial,
                "names": len(zone.sets),
                "without_address": zone.unknown(),
            }
            for origin, zone in sorted(self._zones.items())
        ]

    def has_any(self) -> bool:
        """Tell whether there is an ALIAS to look up."""
        return any(self._owners.values())

    def _look(self, now: float) -> None:
        written = {o: zone.written for o, zone in self._zones.items() if zone.written is not None}
        self._sights.look(self._authority.book.served, written, int(now))

    def _tell(self, origin: bytes, zone: ExpandedZone) -> None:
        """Say which names have lost their addresses, or have them again."""
        before, now = self._unknown.get(origin, set()), set(zone.unknown())
        self._unknown[origin] = now
        for name in sorted(now - before):
            log.warning("published without address", zone=names.to_text(origin), name=name)
        for name in sorted(before - now):
            log.info("published with addresses again", zone=names.to_text(origin), name=name)

    def _keep(self, origin: bytes, zone: ExpandedZone) -> None:
        """Write down what is about to be published, so that its serial is never used twice."""
        path = self._plan.expanded_path(origin)
        sets = [
            [owner.hex(), r.rdtype, r.ttl, [rdata.hex() for rdata in r.rdatas]]
            for owner, node in zone.sets.items()
            for r in node
        ]
        kept = {"zone": names.to_text(origin), "serial": zone.serial,
                "content_serial": zone.content_serial, "sets": sets}  # fmt: skip
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            with replacing(path) as file:
                json.dump(kept, file)
        except OSError as error:
            log.error("what is published cannot be kept", path=str(path), why=str(error))


def _restore(zone: ExpandedZone, path: Path) -> None:
    """Go on from what an earlier run published. Raises: DataFault for a file that is not ours."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        zone.serial, zone.content_serial = int(kept["serial"]), int(kept["content_serial"])
        zone.sets = _sets(kept["sets"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFault(
            f"cannot read what was published: {error}", place=str(path),
            remedy="remove it, and raise the zone's serial above the last one its secondaries have",
        ) from error  # fmt: skip


def _sets(rows: Iterable[Any]) -> Sets:
    out: Sets = {}
    for owner, rdtype, ttl, rdatas in rows:
        rrset = RRset(int(rdtype), int(ttl), tuple(bytes.fromhex(one) for one in rdatas))
        key = bytes.fromhex(owner)
        out[key] = (*out.get(key, ()), rrset)
    return out
