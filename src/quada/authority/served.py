"""A zone version made ready to be asked: where its cuts are, how it denies, what its SOA says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.denial import Nsec3Chain, NsecChain
from quada.wire.faults import DataFault
from quada.zones import Node, RRset, Zone, find

if TYPE_CHECKING:
    from collections.abc import Iterable

_NSEC3_ALONE: Final = frozenset((codes.NSEC3, codes.RRSIG))


class Served:
    """One zone as the authority uses it. Made once a version; immutable but for memos.

    `cuts` holds the owners, the apex apart, of NS RRsets; `dnames` those of DNAME RRsets.
    `hidden` are the hashed owners of NSEC3, which do not exist as names (RFC 5155 7.2.8).
    """

    __slots__ = (
        "chain",
        "cuts",
        "dnames",
        "has_expansions",
        "hidden",
        "negative_ttl_s",
        "nodes",
        "origin",
        "soa",
        "zone",
    )

    def __init__(self, zone: Zone) -> None:
        soa = zone.soa
        if soa is None:
            raise DataFault("zone has no SOA", place=names.to_text(zone.origin))
        self.zone = zone
        self.origin = zone.origin
        self.nodes = zone.nodes
        self.soa = soa
        # RFC 2308 3: the lower of the SOA's own TTL and its MINIMUM field.
        self.negative_ttl_s = min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))
        self.cuts: set[bytes] = set()
        self.dnames: set[bytes] = set()
        self.hidden: set[bytes] = set()
        self.has_expansions = False
        self._survey(zone.nodes)
        self.chain: NsecChain | Nsec3Chain | None = self._chain()

    @property
    def is_signed(self) -> bool:
        """Whether the zone has a chain of NSEC or NSEC3 records."""
        return self.chain is not None

    def node(self, name: bytes) -> Node | None:
        """Give what a name owns; None where it does not exist, `()` at an empty non-terminal."""
        return None if name in self.hidden else self.nodes.get(name)

    def cut_above(self, name: bytes) -> tuple[bytes, bool] | None:
        """Give the topmost zone cut at or above a name, or the topmost DNAME above it.

        Gives the owner, and whether it is a DNAME. RFC: 1034 4.3.2 step 3, 6672 3.2
        """
        found: tuple[bytes, bool] | None = None
        at, end = 0, len(name) - len(self.origin)
        while at <= end:
            ancestor = name[at:]
            if ancestor in self.cuts:
                found = (ancestor, False)
            elif at and ancestor in self.dnames:
                found = (ancestor, True)
            if not name[at]:
                break
            at += name[at] + 1
        return found

    def closest_encloser(self, name: bytes) -> bytes:
        """Give the longest existing ancestor of a name that does not exist (RFC 4592 3.3.1)."""
        nodes, hidden = self.nodes, self.hidden
        at = name[0] + 1
        while True:
            ancestor = name[at:]
            if ancestor in nodes and ancestor not in hidden:
                return ancestor
            at += name[at] + 1

    def signatures(self, node: Node, rdtype: int) -> tuple[bytes, ...]:
        """Give the RRSIGs at a node that cover a type."""
        rrsigs = find(node, codes.RRSIG)
        if rrsigs is None:
            return ()
        covered = rdtype.to_bytes(2, "big")
        return tuple(rdata for rdata in rrsigs.rdatas if rdata[:2] == covered)

    def _survey(self, nodes: dict[bytes, Node]) -> None:
        for owner, node in nodes.items():
            types = [rrset.rdtype for rrset in node]
            if codes.NS in types and owner != self.origin:
                self.cuts.add(owner)
            if codes.DNAME in types:
                self.dnames.add(owner)
            if codes.NSEC3 in types and _NSEC3_ALONE.issuperset(types):
                self.hidden.add(owner)
            if codes.ALIAS in types or codes.POOL in types:
                self.has_expansions = True

    def _chain(self) -> NsecChain | Nsec3Chain | None:
        apex = self.nodes[self.origin]
        parameters = find(apex, codes.NSEC3PARAM)
        if self.hidden and parameters is not None:
            return Nsec3Chain(self.origin, parameters, self._signed(self.hidden, codes.NSEC3))
        if find(apex, codes.NSEC) is not None:
            owners = [owner for owner, node in self.nodes.items() if find(node, codes.NSEC)]
            return NsecChain(self.origin, self._signed(owners, codes.NSEC))
        return None

    def _signed(
        self, owners: Iterable[bytes], rdtype: int
    ) -> dict[bytes, tuple[RRset, tuple[bytes, ...]]]:
        """Give, of each owner, one RRset and the signatures over it."""
        out = {}
        for owner in owners:
            node = self.nodes[owner]
            rrset = find(node, rdtype)
            if rrset is not None:
                out[owner] = (rrset, self.signatures(node, rdtype))
        return out
