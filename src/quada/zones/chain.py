"""The plan of a signed version: which names lie in its chain, and which RRsets need signatures.

A change costs what changed: `Signing` remembers the order of names, so that only neighbours of what
came and went are looked at again.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
from quada.wire.faults import DataFault
from quada.wire.records import RRset
from quada.zones.signing import KEY_TYPES, MADE_TYPES, STAND_INS, Plan, Task
from quada.zones.zone import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quada.zones.signing import KeySet, Signing, SigningKey, SigningPolicy
    from quada.zones.zone import Node, Zone


def order_key(name: bytes) -> bytes:
    """Give one octet string that sorts as the name does (RFC 4034 6.1); quicker than a tuple."""
    return b"\x00".join(
        label.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01")
        for label in reversed(names.split(name))
    )


def plan(
    state: Signing | None,
    unsigned: Zone,
    keys: KeySet,
    policy: SigningPolicy,
    *,
    touched: Iterable[bytes] | None = None,
    renew: frozenset[tuple[bytes, int]] = frozenset(),
) -> Plan:
    """Plan the next signed version.

    Takes the last one (None for the first), the version to sign (its SOA serial already the one to
    serve), the keys, optionally the names that differ from the last version (found by comparing
    where not given), and the (owner, type) whose signatures are to be made anew.
    Raises: DataFault where the version has no SOA.
    """
    return _Planner(state, unsigned, keys, policy, renew).plan(touched)


class _Planner:
    """One plan in the making."""

    def __init__(
        self,
        state: Signing | None,
        unsigned: Zone,
        keys: KeySet,
        policy: SigningPolicy,
        renew: frozenset[tuple[bytes, int]],
    ) -> None:
        soa = unsigned.soa
        if soa is None:
            raise DataFault("zone has no SOA", place=names.to_text(unsigned.origin))
        self.unsigned, self.keys, self.policy, self.renew = unsigned, keys, policy, renew
        self.origin = unsigned.origin
        # RFC 9077 3: the denial's TTL is the lesser of the SOA's own and its MINIMUM.
        self.denial_ttl = min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))
        is_same_chain = (
            state is not None
            and state.policy.has_nsec3 == policy.has_nsec3
            and state.policy[-3:] == policy[-3:]
            and _denial_ttl(state.unsigned) == self.denial_ttl
        )
        self.state = state if is_same_chain else None
        self.before = state.signed if state else None
        self.order = self.state.order.copy() if self.state else []
        self.nodes: dict[bytes, Node | None] = {}
        self.kept: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
        self.tasks: list[Task] = []
        self.extras = self._extras()
        self.zone_tags = _tags(keys.zone_signers)

    def plan(self, touched: Iterable[bytes] | None) -> Plan:
        """Make the plan: which names, their place in the chain, their nodes, their signatures."""
        owners = self._affected(touched)
        relinked = self._relink(owners) if self.state else self._link_all(owners)
        for owner, types in owners.items():
            self._put_node(owner, types)
        for key in relinked:
            self._put_link(key, None)
        if self.state is None and self.before is not None:
            for owner in self.before.nodes:  # what the former chain held and this one does not
                if owner not in self.nodes:
                    self.nodes[owner] = None
        for owner, node in self.nodes.items():
            if node is not None:
                self._sign_node(owner, node)
        return Plan(
            self.policy, self.keys, self.unsigned, self.before, self.order,
            self.nodes, self.kept, self.tasks,
        )  # fmt: skip

    # ------------------------------------------------------------------------- what is looked at

    def _affected(self, touched: Iterable[bytes] | None) -> dict[bytes, frozenset[int] | None]:
        """Give the names to look at, with their types in the chain (None: not in it)."""
        state = self.state
        if state is None:
            return {owner: self._chain_types(owner) for owner in self.unsigned.nodes}
        old, new = state.unsigned.nodes, self.unsigned.nodes
        if _tags(state.keys.zone_signers) != self.zone_tags:
            return {owner: self._chain_types(owner) for owner in old.keys() | new.keys()}
        if touched is None:
            found = {owner for owner, node in new.items() if old.get(owner) is not node}
            found.update(owner for owner in old if owner not in new)
        else:
            found = set()
            for owner in touched:  # empty non-terminals come and go with what is below them
                while owner not in found and names.is_subdomain(owner, self.origin):
                    found.add(owner)
                    owner = names.parent(owner)
        for owner in list(found):
            if self._occludes(owner, old.get(owner)) != self._occludes(owner, new.get(owner)):
                found.update(self._below(owner))
        found.add(self.origin)
        found.update(owner for owner, _ in self.renew if owner in new)
        return {owner: self._chain_types(owner) for owner in found}

    def _below(self, owner: bytes) -> Iterator[bytes]:
        """Give all names below one: their being occluded changes with it."""
        for nodes in (self.unsigned.nodes, self.state.unsigned.nodes if self.state else {}):
            yield from (name for name in nodes if names.is_subdomain(name, owner))

    def _chain_types(self, owner: bytes) -> frozenset[int] | None:
        """Give the types a name's NSEC or NSEC3 lists; None where it has none.

        RFC: 4035 2.3, 5155 7.1
        """
        nodes = self.unsigned.nodes
        node = nodes.get(owner)
        if node is None or self._is_occluded(owner):
            return None
        has_nsec3 = self.policy.has_nsec3
        if not node and owner != self.origin:
            return frozenset() if has_nsec3 else None
        types = {rrset.rdtype for rrset in node} - MADE_TYPES
        if owner == self.origin:
            types -= KEY_TYPES
            types.update(rrset.rdtype for rrset in self.extras)
        elif codes.NS in types:
            types &= {codes.NS, codes.DS}
            if has_nsec3 and codes.DS not in types:
                return None if self.policy.has_opt_out else frozenset(types)
        if types & STAND_INS:
            types = types - STAND_INS | {codes.A, codes.AAAA}
        types.add(codes.RRSIG)
        if not has_nsec3:
            types.add(codes.NSEC)
        return frozenset(types)

    def _is_occluded(self, owner: bytes) -> bool:
        """Tell whether a name is below a delegation or a DNAME (RFC 2181 6.1, RFC 6672 2.4)."""
        nodes = self.unsigned.nodes
        while owner != self.origin:
            owner = names.parent(owner)
            if self._occludes(owner, nodes.get(owner)):
                return True
        return False

    def _occludes(self, owner: bytes, node: Node | None) -> bool:
        if owner == self.origin:  # its NS are the zone's own
            return any(rrset.rdtype == codes.DNAME for rrset in node or ())
        return any(rrset.rdtype in (codes.NS, codes.DNAME) for rrset in node or ())

    # ------------------------------------------------------------------------------------ the chain

    def _key(self, owner: bytes) -> bytes:
        if self.policy.has_nsec3:
            return denial.nsec3_hash(owner, self.policy.nsec3_iterations, self.policy.nsec3_salt)
        return order_key(owner)

    def _link_all(self, owners: dict[bytes, frozenset[int] | None]) -> set[bytes]:
        self.order = sorted(self._key(o) for o, types in owners.items() if types is not None)
        self.places = {key: place for place, key in enumerate(self.order)}
        return set()

    def _relink(self, owners: dict[bytes, frozenset[int] | None]) -> set[bytes]:
        """Bring the order up to date; give the keys of names whose next name changed."""
        moved = []
        for owner, types in owners.items():
            key = self._key(owner)
            place = bisect.bisect_left(self.order, key)
            is_in = place < len(self.order) and self.order[place] == key
            if is_in and types is None:
                del self.order[place]
                moved.append(key)
                if self.policy.has_nsec3:
                    self.nodes[denial.hash_label(key) + self.origin] = None
            elif not is_in and types is not None:
                self.order.insert(place, key)
                moved.append(key)
        self.places = {}
        looked_at = {self._key(owner) for owner, types in owners.items() if types is not None}
        before = {self.order[bisect.bisect_left(self.order, key) - 1] for key in moved}
        return before - looked_at

    def _next(self, key: bytes) -> bytes:
        place = self.places.get(key)
        if place is None:
            place = bisect.bisect_left(self.order, key)
        return self.order[(place + 1) % len(self.order)]

    def _put_link(self, key: bytes, types: frozenset[int] | None) -> RRset:
        """Make the NSEC or NSEC3 of a key; without types, those it had. Stores it where it goes."""
        after = self._next(key)
        if self.policy.has_nsec3:
            owner = denial.hash_label(key) + self.origin
            bitmap = denial.compose_bitmap(types) if types is not None else self._bitmap(owner)
            rdata = denial.compose_nsec3(
                denial.Nsec3(
                    denial.NSEC3_SHA1,
                    denial.NSEC3_OPT_OUT if self.policy.has_opt_out else 0,
                    self.policy.nsec3_iterations,
                    self.policy.nsec3_salt,
                    after,
                    bitmap,
                )
            )
            rrset = RRset(codes.NSEC3, self.denial_ttl, (rdata,))
            self.nodes[owner] = (rrset,)
            return rrset
        owner = order_name(key)
        bitmap = denial.compose_bitmap(types) if types is not None else self._bitmap(owner)
        rrset = RRset(codes.NSEC, self.denial_ttl, (order_name(after) + bitmap,))
        if types is None:
            node = self.before.nodes[owner] if self.before else ()
            kept = (r for r in node if r.rdtype not in (codes.RRSIG, codes.NSEC))
            self.nodes[owner] = (*kept, rrset)
        return rrset

    def _bitmap(self, owner: bytes) -> bytes:
        """Give the bitmap a name's NSEC or NSEC3 has in the last version."""
        node = self.before.nodes[owner] if self.before else ()
        if self.policy.has_nsec3:
            nsec3 = find(node, codes.NSEC3)
            parsed3 = denial.parse_nsec3(nsec3.rdatas[0]) if nsec3 else None
            return parsed3.bitmap if parsed3 else b""
        nsec = find(node, codes.NSEC)
        parsed = denial.parse_nsec(nsec.rdatas[0]) if nsec else None
        return parsed[1] if parsed else b""

    # ------------------------------------------------------------------------------------ the nodes

    def _extras(self) -> tuple[RRset, ...]:
        """Give what signing adds to the apex."""
        keys = self.keys
        extras = [RRset(codes.DNSKEY, keys.dnskey_ttl, keys.dnskeys)]
        if keys.cds:
            extras.append(RRset(codes.CDS, keys.dnskey_ttl, keys.cds))
        if keys.cdnskeys:
            extras.append(RRset(codes.CDNSKEY, keys.dnskey_ttl, keys.cdnskeys))
        if self.policy.has_nsec3:
            salt = self.policy.nsec3_salt
            rounds = self.policy.nsec3_iterations.to_bytes(2, "big")
            rdata = bytes((denial.NSEC3_SHA1, 0)) + rounds + bytes((len(salt),)) + salt
            extras.append(RRset(codes.NSEC3PARAM, 0, (rdata,)))  # RFC 5155 4: TTL is not for caches
        return tuple(extras)

    def _put_node(self, owner: bytes, types: frozenset[int] | None) -> None:
        node = self.unsigned.nodes.get(owner)
        if node is None:
            self.nodes[owner] = None
        else:
            is_apex = owner == self.origin
            made = MADE_TYPES | KEY_TYPES if is_apex else MADE_TYPES
            if any(rrset.rdtype in made for rrset in node):
                node = tuple(rrset for rrset in node if rrset.rdtype not in made)
            if is_apex:
                node += self.extras
            self.nodes[owner] = node
        if types is not None:
            link = self._put_link(self._key(owner), types)
            if not self.policy.has_nsec3:
                self.nodes[owner] = (*(node or ()), link)

    def _sign_node(self, owner: bytes, node: Node) -> None:
        """Decide for each RRset of a node whether its signatures stay or are made."""
        old = self.before.nodes.get(owner, ()) if self.before else ()
        had = _signatures(old)
        kept: dict[int, tuple[bytes, ...]] = {}
        for rrset in self._authoritative(owner, node):
            rdtype = rrset.rdtype
            there = had.get(rdtype, ())
            tags = self.zone_tags
            if owner == self.origin:
                tags = _tags(self.keys.signers(rdtype, is_apex=True))
            is_good = (
                there
                and (owner, rdtype) not in self.renew
                and find(old, rdtype) == rrset
                and {(rdata[2], int.from_bytes(rdata[16:18], "big")) for rdata in there} == tags
            )
            if is_good:
                kept[rdtype] = there
            else:
                self.tasks.append(Task(owner, rrset))
        if kept:
            self.kept[owner] = kept

    def _authoritative(self, owner: bytes, node: Node) -> Iterable[RRset]:
        """Give the RRsets of a node that are signed (RFC 4035 2.2)."""
        if owner == self.origin:
            return [rrset for rrset in node if rrset.rdtype not in STAND_INS]
        if len(node) == 1 and node[0].rdtype == codes.NSEC3:
            return node
        if self._is_occluded(owner):
            return ()
        if any(rrset.rdtype == codes.NS for rrset in node):
            return [rrset for rrset in node if rrset.rdtype in (codes.DS, codes.NSEC)]
        return [rrset for rrset in node if rrset.rdtype not in STAND_INS]


def order_name(key: bytes) -> bytes:
    """Give the name of an `order_key`."""
    if not key:
        return names.ROOT
    labels = [
        label.replace(b"\x01\x01", b"\x00").replace(b"\x01\x02", b"\x01")
        for label in key.split(b"\x00")
    ]
    return b"".join(bytes((len(label),)) + label for label in reversed(labels)) + names.ROOT


def _signatures(node: Node) -> dict[int, tuple[bytes, ...]]:
    """Group a node's RRSIGs by the type they cover."""
    found = find(node, codes.RRSIG)
    out: dict[int, tuple[bytes, ...]] = {}
    for rdata in found.rdatas if found else ():
        covered = int.from_bytes(rdata[:2], "big")
        out[covered] = (*out.get(covered, ()), rdata)
    return out


def _tags(signers: Iterable[SigningKey]) -> set[tuple[int, int]]:
    return {(signer.algorithm, signer.tag) for signer in signers}


def _denial_ttl(zone: Zone) -> int:
    soa = zone.soa
    return min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big")) if soa else 0
