"""Records put together into a zone version, quickly, as zone text is read.

`Zone.build` groups all records first; a file has most names once and in a row, so storing each
RRset as it comes and keeping only the second and later records aside takes half the time.
"""

from __future__ import annotations

import quada.wire.codes as codes
from quada.wire.records import RRset
from quada.zones.zone import Node, Zone


class Gather:
    """A zone version in the making. `put` takes in-zone, lower-cased owners."""

    __slots__ = ("_children", "_more", "count", "duplicates", "mixed", "nodes", "origin")

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.nodes: dict[bytes, Node] = {origin: ()}
        self.count = 0
        self.duplicates: list[tuple[bytes, int]] = []
        self.mixed: dict[tuple[bytes, int], set[int]] = {}
        self._children: dict[bytes, int] = {}
        self._more: dict[tuple[bytes, int], dict[bytes, None]] = {}

    def put(self, owner: bytes, rdtype: int, ttl: int, rdata: bytes) -> None:
        """Take one record; a repeated one is dropped and noted, an RRset keeps its lowest TTL."""
        self.count += 1
        nodes = self.nodes
        node = nodes.get(owner)
        if node is None:
            nodes[owner] = (RRset(rdtype, ttl, (rdata,)),)
            children = self._children
            while owner != self.origin:
                owner = owner[owner[0] + 1 :]
                if owner in children:
                    children[owner] += 1
                    return
                children[owner] = 1
                if owner in nodes:
                    return
                nodes[owner] = ()
            return
        for rrset in node:
            if rrset.rdtype == rdtype:
                break
        else:
            nodes[owner] = (*node, RRset(rdtype, ttl, (rdata,)))
            return
        key = (owner, rdtype)
        more = self._more.get(key)
        if more is None:
            more = self._more[key] = dict.fromkeys(rrset.rdatas)
        if rdata in more:
            self.duplicates.append(key)
        more[rdata] = None
        # RRSIGs of different types may differ in TTL (RFC 4034 3); others may not (RFC 2181 5.2).
        if ttl != rrset.ttl:
            if rdtype != codes.RRSIG:
                self.mixed.setdefault(key, {rrset.ttl}).add(ttl)
            if ttl < rrset.ttl:
                nodes[owner] = tuple(r._replace(ttl=ttl) if r is rrset else r for r in node)

    def zone(self) -> Zone:
        """Give the finished version; the gather is spent."""
        for (owner, rdtype), rdatas in self._more.items():
            self.nodes[owner] = tuple(
                r._replace(rdatas=tuple(rdatas)) if r.rdtype == rdtype else r
                for r in self.nodes[owner]
            )
        return Zone(self.origin, self.nodes, self._children)
