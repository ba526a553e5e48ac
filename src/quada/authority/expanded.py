"""Zones whose ALIAS and POOL records are published as the addresses they stand for.

Servers that know neither type can then be secondaries: they get ordinary AAAA and A, and a later
serial whenever those change. What is made here is content like any other: it is signed, checked,
served and transferred as if somebody had typed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.alias import FAMILIES
from quada.authority.expand import ExpandingBook
from quada.authority.find import Wanted
from quada.authority.served import Served
from quada.telemetry.event import Provenance
from quada.wire.serial import is_later
from quada.zones import Node, RRset, Zone, find
from quada.zones.online import is_needed
from quada.zones.sign import with_serial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quada.authority.alias import View
    from quada.authority.pool import PoolState

BRIDGE_S: Final = 5.0  # our choice: ten times what a lookup may take
_TXT_OCTETS: Final = 255

Sets = dict[bytes, Node]
"""The AAAA and A RRsets that owners of ALIAS and POOL records stand for; `()` for no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandedSettings:
    """How addresses get into versions of a zone.

    `ttl_s` is the largest TTL they get: what is left of a target's own would be another number, and
    so another serial, at every look. `interval_s` is the least time between two versions that are
    made because targets moved. A target that fails keeps its last addresses for `stale_max_s`.
    """

    ttl_s: int = 60
    interval_s: float = 60.0
    stale_max_s: float = 86_400.0


class Sights:
    """What ALIAS and POOL records stand for, seen with all zones as their authors wrote them."""

    def __init__(self, aliases: View | None, pools: dict[str, PoolState]) -> None:
        self._book = ExpandingBook(aliases, pools, lambda: 0.0)
        self._book.is_last = True

    def look(
        self, served: Mapping[bytes, Served], written: Mapping[bytes, Served], now_s: int
    ) -> None:
        """Take what serves, and the content of the zones that are expanded, from now on."""
        self._book.served = {**served, **written}
        self._book.now_s = now_s

    def of(self, zone: Served, owner: bytes, node: Node, rdtype: int) -> tuple[RRset, bool] | None:
        """Give the addresses of a family now, and whether they are fresh; None where unknown.

        An RRset without RDATA says that there is none of that family.
        """
        pool = find(node, codes.POOL)
        if pool is not None:
            state = self._book.pools.get(pool.rdatas[0][1:].decode("utf-8", "replace"))
            if state is None:
                return None
            ttl_s = min(pool.ttl, state.pool.ttl_s)
            return RRset(rdtype, ttl_s, tuple(sorted(state.usable(rdtype)))), True
        alias = find(node, codes.ALIAS)
        found = self._book.expand(zone, owner, node, rdtype)
        if alias is None or found is None or isinstance(found, Wanted) or found.is_failure:
            return None
        is_fresh = not found.provenance & Provenance.STALE
        return RRset(rdtype, alias.ttl, tuple(sorted(found.rdatas))), is_fresh


@dataclass(slots=True)
class ExpandedZone:
    """One zone: its content as written, what stands in for its ALIAS and POOL records, its serial.

    `sets` and `serial` are those of the last version that `version` gave; give those of an earlier
    run to go on from there. `seen_at` says when each owner's addresses were last seen fresh;
    `waiting` are owners whose addresses moved less than the interval after others.
    """

    settings: ExpandedSettings
    sets: Sets = field(default_factory=dict)
    serial: int = 0
    content_serial: int = 0
    owners: Sets = field(default_factory=dict)
    seen_at: dict[tuple[bytes, int], float] = field(default_factory=dict)
    moved_at: float = 0.0
    waiting: set[bytes] = field(default_factory=set)
    written: Served | None = None
    _made: Zone | None = None

    def write(self, content: Zone, now: float, *, is_expanded: bool = True) -> None:
        """Take other content. What is not to be expanded any more only keeps its serial."""
        before, self.owners = self.owners, standing_in(content) if is_expanded else {}
        for owner, node in before.items():
            if owner in self.owners and not _same_targets(node, self.owners[owner]):
                # Addresses of the former target bridge the lookup of the new one, no longer.
                until = now - self.settings.stale_max_s + BRIDGE_S
                self.seen_at.update({(owner, rdtype): until for rdtype in FAMILIES})
        self.written = Served(content)
        self._made = None

    def pointing(self) -> dict[bytes, set[bytes]]:
        """Give the targets of the zone's ALIAS records, each with its owners."""
        found: dict[bytes, set[bytes]] = {}
        for owner, node in self.owners.items():
            rrset = find(node, codes.ALIAS)
            for rdata in rrset.rdatas if rrset is not None else ():
                found.setdefault(rdata.lower(), set()).add(owner)
        return found

    def version(
        self, sights: Sights, now: float, *, owners: Iterable[bytes] | None = None
    ) -> Zone | None:
        """Give the version to publish now; None where the last one still says what is so.

        Takes the owners to look at, or None for all. Moves of ALIAS targets wait for the interval;
        content, pools, and addresses that were not known before do not.
        """
        assert self.written is not None
        content = self.written.zone
        is_new = self._made is None
        looked_at = self.owners if owners is None or is_new else self.waiting.union(owners)
        sets = {owner: self._now(sights, owner, now) for owner in looked_at if owner in self.owners}
        changed = {owner: sets[owner] for owner in sets if sets[owner] != self.sets.get(owner, ())}
        moved = [owner for owner, node in changed.items() if not self._is_urgent(owner, node)]
        is_early = now - self.moved_at < self.settings.interval_s
        if not is_new and len(moved) == len(changed) and (is_early or not changed):
            self.waiting.update(moved)
            return None
        self.waiting.clear()
        if moved:
            self.moved_at = now
        gone = [owner for owner in self.sets if owner not in self.owners]
        is_same = not changed and not gone and self.content_serial == content.serial
        self.sets.update(sets)
        for owner in gone:
            del self.sets[owner]
        if not (is_same and self.serial):
            self.serial = _next(content.serial, self.serial)
        self.content_serial = content.serial
        base = content if self._made is None else self._made
        nodes = {o: self._node(o) for o in (self.owners if self._made is None else changed)}
        self._made = with_serial(base.replaced(nodes), self.serial)
        return self._made

    def unknown(self) -> list[str]:
        """Tell which names have no address in the last version."""
        return [names.to_text(owner) for owner, node in sorted(self.sets.items()) if not node]

    def _now(self, sights: Sights, owner: bytes, now: float) -> Node:
        """Give the sets of an owner: what is seen now, else what was there last, for a while."""
        assert self.written is not None
        node, made = self.owners[owner], []
        for rdtype in FAMILIES:
            seen = sights.of(self.written, owner, node, rdtype)
            if seen is None:
                rrset = find(self.sets.get(owner, ()), rdtype)
                since = self.seen_at.setdefault((owner, rdtype), now)
                if rrset is not None and now - since < self.settings.stale_max_s:
                    made.append(rrset)
                continue
            if seen[1]:
                self.seen_at[owner, rdtype] = now
            if seen[0].rdatas:
                made.append(seen[0]._replace(ttl=min(seen[0].ttl, self.settings.ttl_s)))
        return tuple(made)

    def _is_urgent(self, owner: bytes, now: Node) -> bool:
        """Tell whether a change must not wait: a pool's, or addresses where there were none."""
        if find(self.owners[owner], codes.POOL) is not None:
            return True
        return all(rrset in now for rrset in self.sets.get(owner, ()))

    def _node(self, owner: bytes) -> Node:
        """Give what an owner owns with addresses in place of what stands for them.

        A name that would own nothing gets a TXT record that says why: it must not become NXDOMAIN.
        """
        node = self.owners[owner]
        rest = tuple(rrset for rrset in node if not is_needed((rrset.rdtype,)))
        made = (*rest, *self.sets.get(owner, ()))
        if made:
            return made
        alias = find(node, codes.ALIAS)
        text = "POOL" if alias is None else f"ALIAS for {names.to_text(alias.rdatas[0])}"
        octets = text.encode()[:_TXT_OCTETS]
        return (RRset(codes.TXT, self.settings.ttl_s, (bytes((len(octets),)) + octets,)),)


def standing_in(zone: Zone) -> Sets:
    """Give the names whose addresses are made of ALIAS and POOL records."""
    return {
        owner: node
        for owner, node in zone.nodes.items()
        if is_needed(rrset.rdtype for rrset in node)
    }


def _same_targets(one: Node, other: Node) -> bool:
    def rdatas(node: Node, rdtype: int) -> frozenset[bytes]:
        rrset = find(node, rdtype)
        return frozenset(rrset.rdatas if rrset is not None else ())

    return all(rdatas(one, t) == rdatas(other, t) for t in (codes.ALIAS, codes.POOL))


def _next(content: int, published: int) -> int:
    """Give the serial to publish: the content's, unless one as late was published (RFC 1982)."""
    if not published or is_later(content, published):
        return content
    return (published + 1) % (1 << 32) or 1
