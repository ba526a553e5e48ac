"""A zone version: immutable, whole, and swapped at once.

Data is held as octets (owner names lower-cased, RDATA uncompressed), because answers, transfers,
signatures and digests are all made of octets; dnspython turns them to text and back. A version is
never changed: `Zone.changed` makes the next one and shares everything that did not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.wire.records import Record, RRset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


Node = tuple[RRset, ...]
"""What a name owns; empty for an empty non-terminal (RFC 4592 2.2.2)."""


class Change(NamedTuple):
    """A difference between two versions, as IXFR and the journal carry it: first out, then in.

    Records to remove match on owner, type and RDATA; their TTL is what was served (RFC 1995 4).
    """

    removed: tuple[Record, ...]
    added: tuple[Record, ...]


class Zone:
    """One version of one zone.

    `origin` is the apex name, lower-cased. `nodes` maps each existing name, empty non-terminals
    included, to what it owns. Treat both as read-only.
    """

    __slots__ = ("_children", "nodes", "origin")

    def __init__(self, origin: bytes, nodes: dict[bytes, Node], children: dict[bytes, int]) -> None:
        self.origin = origin
        self.nodes = nodes
        self._children = children

    def __reduce__(self) -> tuple[type[Zone], tuple[object, ...]]:
        """Be sent to workers, compiled or not."""
        return Zone, (self.origin, self.nodes, self._children)

    @classmethod
    def build(cls, origin: bytes, records: Iterable[Record]) -> Zone:
        """Build a version from records.

        Raises: DataFault for a record outside the zone. Duplicates fall together; an RRset whose
        TTLs differ takes the lowest (RFC 2181 5.2). No other rule is checked here: see `check`.
        """
        zone = cls(origin.lower(), {}, {})
        zone._put(zone.origin, ())
        zone._add(records)
        return zone

    def changed(self, change: Change) -> Zone:
        """Make the next version: less `removed`, plus `added`. Absent removals are ignored."""
        zone = Zone(self.origin, self.nodes.copy(), self._children.copy())
        grouped: dict[tuple[bytes, int], set[bytes]] = {}
        for record in change.removed:
            grouped.setdefault((record.owner, record.rdtype), set()).add(record.rdata)
        for (owner, rdtype), gone in grouped.items():
            zone._remove(owner, rdtype, gone)
        zone._add(change.added)
        return zone

    def replaced(self, nodes: Mapping[bytes, Node]) -> Zone:
        """Make the next version by whole nodes; an empty one takes its name away if it can go."""
        zone = Zone(self.origin, self.nodes.copy(), self._children.copy())
        for owner, node in nodes.items():
            if node or owner in zone.nodes:
                zone._put(owner, node)
        for owner, node in nodes.items():
            if not node and owner in zone.nodes:
                zone._prune(owner)
        return zone

    def node(self, owner: bytes) -> Node | None:
        """Give what a lower-cased name owns: `()` at an empty non-terminal, None for no name."""
        return self.nodes.get(owner)

    def rrset(self, owner: bytes, rdtype: int) -> RRset | None:
        """Give one RRset, or None."""
        return find(self.nodes.get(owner, ()), rdtype)

    @property
    def soa(self) -> RRset | None:
        """The SOA at the apex; a version without one may exist but never serves."""
        return self.rrset(self.origin, codes.SOA)

    @property
    def serial(self) -> int:
        """The SOA serial. Raises DataFault where there is no SOA."""
        soa = self.soa
        if soa is None:
            raise DataFault("zone has no SOA", place=names.to_text(self.origin))
        return int.from_bytes(soa.rdatas[0][-20:-16], "big")

    def records(self) -> Iterator[Record]:
        """Give every record, SOA first, the rest in storage order (see `ordered_names`)."""
        soa = self.soa
        if soa is not None:
            yield Record(self.origin, codes.SOA, soa.ttl, soa.rdatas[0])
        for owner, node in self.nodes.items():
            for rrset in node:
                if rrset.rdtype == codes.SOA and owner == self.origin:
                    continue
                for rdata in rrset.rdatas:
                    yield Record(owner, rrset.rdtype, rrset.ttl, rdata)

    def ordered_names(self) -> list[bytes]:
        """Give all names, empty non-terminals included, in canonical order (RFC 4034 6.1)."""
        return sorted(self.nodes, key=names.canonical_key)

    def _add(self, records: Iterable[Record]) -> None:
        grouped: dict[tuple[bytes, int], tuple[int, dict[bytes, None]]] = {}
        origin = self.origin
        for owner, rdtype, ttl, rdata in records:
            key = (owner, rdtype)
            group = grouped.get(key)
            if group is None:
                if not names.is_subdomain(owner, origin):
                    raise DataFault(
                        f"{names.to_text(owner)} is outside the zone {names.to_text(origin)}"
                    )
                known = find(self.nodes.get(owner, ()), rdtype)
                group = (ttl, dict.fromkeys(known.rdatas) if known else {})
                # A type already there keeps no old TTL: the newest word about an RRset rules it.
                grouped[key] = group
            elif ttl < group[0]:
                group = grouped[key] = (ttl, group[1])
            group[1][rdata] = None
        for (owner, rdtype), (ttl, rdatas) in grouped.items():
            rest = tuple(r for r in self.nodes.get(owner, ()) if r.rdtype != rdtype)
            self._put(owner, (*rest, RRset(rdtype, ttl, tuple(rdatas))))

    def _put(self, owner: bytes, node: Node) -> None:
        """Store a node, and make the empty non-terminals above a new name."""
        nodes, children = self.nodes, self._children
        is_new = owner not in nodes
        nodes[owner] = node
        while is_new and owner != self.origin:
            owner = names.parent(owner)
            children[owner] = children.get(owner, 0) + 1
            is_new = owner not in nodes
            if is_new:
                nodes[owner] = ()

    def _remove(self, owner: bytes, rdtype: int, gone: set[bytes]) -> None:
        """Take RDATA away, then names that own nothing and have nothing below them."""
        nodes = self.nodes
        node = nodes.get(owner)
        if node is None:
            return
        kept = []
        for rrset in node:
            if rrset.rdtype != rdtype:
                kept.append(rrset)
            elif rdatas := tuple(rdata for rdata in rrset.rdatas if rdata not in gone):
                kept.append(rrset._replace(rdatas=rdatas))
        nodes[owner] = tuple(kept)
        self._prune(owner)

    def _prune(self, owner: bytes) -> None:
        """Drop a name that owns nothing and has nothing below, and those above that follow."""
        nodes, children = self.nodes, self._children
        while not nodes[owner] and owner not in children and owner != self.origin:
            del nodes[owner]
            owner = names.parent(owner)
            children[owner] -= 1
            if not children[owner]:
                del children[owner]


def find(node: Node, rdtype: int) -> RRset | None:
    """Give a node's RRset of one type, or None."""
    for rrset in node:
        if rrset.rdtype == rdtype:
            return rrset
    return None


def diff(old: Zone | None, new: Zone) -> Change:
    """Give the change that leads from one version to another, TTL changes included.

    `changed(old, diff(old, new))` equals `new`. The SOA comes first on both sides (RFC 1995 4).
    """
    before = old.nodes if old is not None else {}
    removed: list[Record] = []
    added: list[Record] = []
    for owner, node in before.items():
        if new.nodes.get(owner) is not node:
            _diff_node(owner, node, new.nodes.get(owner, ()), removed)
    for owner, node in new.nodes.items():
        if before.get(owner) is not node:
            _diff_node(owner, node, before.get(owner, ()), added)
    for side in (removed, added):
        side.sort(key=lambda record: record.rdtype != codes.SOA)
    return Change(tuple(removed), tuple(added))


def _diff_node(owner: bytes, node: Node, other: Node, out: list[Record]) -> None:
    for rrset in node:
        there = find(other, rrset.rdtype)
        if there == rrset:
            continue
        same = set(there.rdatas) if there and there.ttl == rrset.ttl else set()
        out.extend(
            Record(owner, rrset.rdtype, rrset.ttl, rdata)
            for rdata in rrset.rdatas
            if rdata not in same
        )
