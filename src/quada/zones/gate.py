"""The gate: a signed version is validated whole, as the world will see it, before it may serve.

As the world will see it means: by resolvers that hold today's DNSKEY RRset and by those that still
hold an older one, under every DS the parent may be giving out. A version that would be bogus for
any of them is refused, and the old one goes on serving.

Where an earlier version has passed, only names that differ are looked at; the chain of NSEC or
NSEC3 is then proved whole by what changed in it (see `_check_chain`). Signature checks are handed
out as a list, so that the caller may spread them over threads.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
import quada.zones.signature as signature
from quada.zones.chain import order_key
from quada.zones.signing import MADE_TYPES, STAND_INS
from quada.zones.zone import Zone, find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from quada.wire.records import RRset
    from quada.zones.zone import Node

MIN_LEFT_S: Final = 3600  # our choice: a signature that ends within the hour is as good as expired
MAX_REFUSALS: Final = 20  # our choice: the first few say what is wrong


class Refusal(NamedTuple):
    """Why a version may not serve: a stable code, owner and type, and what is wrong."""

    code: str
    owner: bytes
    rdtype: int
    message: str

    def __str__(self) -> str:
        kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(self.rdtype))
        return f"{self.code}: {names.to_text(self.owner)} {kind}: {self.message}"


class World(NamedTuple):
    """What resolvers may hold: DNSKEY RRsets (RDATA) and the parent's DS sets.

    The version's own DNSKEY RRset is added by itself. An empty DS set is a parent that has none.
    """

    dnskeys: tuple[tuple[bytes, ...], ...] = ()
    ds: tuple[tuple[bytes, ...], ...] = ()


class Check(NamedTuple):
    """One signature to check: the key, the signature, and what it covers.

    `is_known` says that it has passed the gate before, and nothing it covers has changed.
    """

    dnskey: bytes
    rrsig: signature.Rrsig
    owner: bytes
    rrset: RRset
    is_known: bool = False


class Case(NamedTuple):
    """A version before the gate: what is wrong already, and the checks to be done."""

    version: Zone
    world: World
    refusals: list[Refusal]
    checks: list[Check]
    is_unsigned: bool = False


def open_case(
    version: Zone, before: Zone | None, world: World, now_s: int, *, min_left_s: int = MIN_LEFT_S
) -> Case:
    """Look at everything but the signatures' arithmetic.

    Takes the signed version, the last one that passed (None to look at all of it), what the world
    may hold, and the time.
    """
    refusals: list[Refusal] = []
    case = Case(version, world, refusals, [])
    own = version.rrset(version.origin, codes.DNSKEY)
    if own is None:
        if any(world.ds):
            told = "the parent has DS, and the version has no DNSKEY"
            refusals.append(Refusal("dnskey-missing", version.origin, codes.DNSKEY, told))
        return case._replace(is_unsigned=True)
    held = {dnskey for dnskeys in world.dnskeys for dnskey in dnskeys} | set(own.rdatas)
    by_id: dict[tuple[int, int], list[bytes]] = {}
    for dnskey in held:
        by_id.setdefault((dnskey[3], signature.key_tag(dnskey)), []).append(dnskey)
    old = before.nodes if before is not None else {}
    # Other keys ask anew of every RRset whether resolvers can take it, though not the arithmetic.
    is_same_keys = before is not None and before.rrset(version.origin, codes.DNSKEY) == own
    for owner, node in version.nodes.items():
        is_known = old.get(owner) is node
        if is_known and is_same_keys:
            continue
        for rrset, rdatas in _signed_rrsets(version, owner):
            _collect(case, owner, rrset, rdatas, by_id, now_s, min_left_s, is_known=is_known)
    refusals.extend(_check_chain(version, before if before and _is_signed(before) else None))
    return case


def verify(checks: Iterable[Check]) -> list[bool]:
    """Do signature checks, in order: the part worth spreading over threads."""
    return [
        known or signature.is_valid(dnskey, rrsig, owner, rrset[0], rrset[2])
        for dnskey, rrsig, owner, rrset, known in checks
    ]


def close_case(case: Case, results: Sequence[bool]) -> list[Refusal]:
    """Judge a case by its checks' results; an empty list lets the version through."""
    refusals = list(case.refusals)
    if case.is_unsigned:
        return refusals
    origin = case.version.origin
    own = case.version.rrset(origin, codes.DNSKEY)
    assert own is not None
    good: dict[tuple[bytes, int], set[bytes]] = {}
    for check, is_good in zip(case.checks, results, strict=True):
        place = good.setdefault((check.owner, check.rrset.rdtype), set())
        if is_good:
            place.add(check.dnskey)
        else:
            told = f"signature by key {check.rrsig.key_tag} does not fit the data"
            refusals.append(Refusal("signature-wrong", check.owner, check.rrset.rdtype, told))
    views = [view for view in dict.fromkeys((own.rdatas, *case.world.dnskeys)) if view]
    for (owner, rdtype), keys in good.items():
        if rdtype == codes.DNSKEY and owner == origin:
            continue
        for view in views:
            told = _unfit(keys & set(view), view)
            if told:
                refusals.append(Refusal("signature-missing", owner, rdtype, told))
                break
    if (origin, codes.DNSKEY) in good:
        refusals.extend(_entry_faults(case, own, good[origin, codes.DNSKEY]))
    return refusals[:MAX_REFUSALS]


def judge(
    version: Zone, before: Zone | None, world: World, now_s: int, *, min_left_s: int = MIN_LEFT_S
) -> list[Refusal]:
    """Open a case, verify and close it, in this thread."""
    case = open_case(version, before, world, now_s, min_left_s=min_left_s)
    return close_case(case, verify(case.checks))


def _unfit(keys: set[bytes], view: tuple[bytes, ...]) -> str:
    """Tell why a resolver that holds a DNSKEY RRset could not take an RRset signed by keys."""
    tags = ", ".join(str(signature.key_tag(dnskey)) for dnskey in view)
    if not keys:
        return f"no signature fits the DNSKEY RRset with {tags}, which resolvers may hold"
    missing = {dnskey[3] for dnskey in view} - {dnskey[3] for dnskey in keys}
    if missing:  # RFC 4035 2.2
        return f"no signature of algorithm {min(missing)}, which the DNSKEY RRset with {tags} has"
    return ""


def _entry_faults(case: Case, own: RRset, signers: set[bytes]) -> Iterator[Refusal]:
    origin = case.version.origin
    for ds_set in case.world.ds:
        entered = {
            ds[2]
            for ds in ds_set
            for dnskey in signers
            if dnskey in own.rdatas and signature.ds_rdata(origin, dnskey, ds[3]) == ds
        }
        missing = {ds[2] for ds in ds_set} - entered
        if missing:
            tags = ", ".join(str(int.from_bytes(ds[:2], "big")) for ds in ds_set)
            told = f"DS {tags} at the parent leads to no key of algorithm {min(missing)} that signs"
            yield Refusal("ds-mismatch", origin, codes.DNSKEY, told)


def _is_signed(zone: Zone) -> bool:
    return zone.rrset(zone.origin, codes.DNSKEY) is not None


def _is_cut(owner: bytes, node: Node, origin: bytes) -> bool:
    return owner != origin and find(node, codes.NS) is not None


def _is_occluded(zone: Zone, owner: bytes) -> bool:
    while owner != zone.origin:
        owner = names.parent(owner)
        node = zone.nodes.get(owner, ())
        if _is_cut(owner, node, zone.origin) or find(node, codes.DNAME) is not None:
            return True
    return False


def _signed_rrsets(zone: Zone, owner: bytes) -> Iterator[tuple[RRset, list[bytes]]]:
    """Give each RRset of a name that must be signed, with its signatures (RFC 4035 2.2)."""
    node = zone.nodes[owner]
    if not node:
        return
    is_nsec3 = len(node) <= 2 and node[0].rdtype == codes.NSEC3
    if not is_nsec3 and _is_occluded(zone, owner):
        return
    made = find(node, codes.RRSIG)
    covering: dict[int, list[bytes]] = {}
    for rdata in made.rdatas if made else ():
        covering.setdefault(int.from_bytes(rdata[:2], "big"), []).append(rdata)
    is_cut = _is_cut(owner, node, zone.origin)
    for rrset in node:
        if rrset.rdtype == codes.RRSIG or rrset.rdtype in STAND_INS:
            continue
        if is_cut and rrset.rdtype not in (codes.DS, codes.NSEC):
            continue
        yield rrset, covering.get(rrset.rdtype, [])


def _collect(
    case: Case,
    owner: bytes,
    rrset: RRset,
    rdatas: list[bytes],
    by_id: dict[tuple[int, int], list[bytes]],
    now_s: int,
    min_left_s: int,
    *,
    is_known: bool,
) -> None:
    """Look at the signatures of one RRset, and hand out those that some key may verify."""
    refusals, rdtype = case.refusals, rrset.rdtype
    if len(refusals) >= MAX_REFUSALS:
        return
    origin = case.version.origin
    labels = names.label_count(owner) - (owner[:2] == b"\x01*")
    found = False
    for rdata in rdatas:
        rrsig = signature.parse_rrsig(rdata)
        told = ""
        if rrsig is None or rrsig.signer != origin or rrsig.labels != labels:
            told = "a signature has a wrong signer or label count"
        elif rrsig.original_ttl != rrset.ttl:
            told = f"signed with TTL {rrsig.original_ttl}, served with {rrset.ttl}"
        elif signature.is_in_time(rrsig, now_s) < 0:
            told = f"signature by key {rrsig.key_tag} is not valid yet"
        elif signature.seconds_left(rrsig, now_s) < min_left_s:
            told = (
                f"signature by key {rrsig.key_tag} ends in {signature.seconds_left(rrsig, now_s)} s"
            )
        if told or rrsig is None:
            refusals.append(Refusal("signature-unfit", owner, rdtype, told))
            continue
        for dnskey in by_id.get((rrsig.algorithm, rrsig.key_tag), ()):
            found = True
            case.checks.append(Check(dnskey, rrsig, owner, rrset, is_known))
    if not found:
        told = "no signature by a key that resolvers have"
        refusals.append(Refusal("signature-missing", owner, rdtype, told))


# --------------------------------------------------------------------------------- NSEC and NSEC3


class _Link(NamedTuple):
    """One member of the chain: its place in the order, the next one's, its owner and bitmap."""

    key: bytes
    after: bytes
    owner: bytes
    rdtype: int
    bitmap: bytes


def _link(zone: Zone, owner: bytes) -> _Link | None:
    node = zone.nodes.get(owner, ())
    nsec = find(node, codes.NSEC)
    if nsec is not None:
        parsed = denial.parse_nsec(nsec.rdatas[0])
        if parsed is not None:
            return _Link(order_key(owner), order_key(parsed[0]), owner, codes.NSEC, parsed[1])
    nsec3 = find(node, codes.NSEC3)
    if nsec3 is not None:
        parsed3, own = denial.parse_nsec3(nsec3.rdatas[0]), denial.label_hash(owner)
        if parsed3 is not None and own is not None:
            return _Link(own, parsed3.next_hash, owner, codes.NSEC3, parsed3.bitmap)
    return None


def _check_chain(version: Zone, before: Zone | None) -> Iterator[Refusal]:
    """Prove that the chain visits each of its members once, in order, and tells their types.

    A map that sends every member but one to a greater one, and hits each exactly once, is the map
    to the next. So it is enough, where the last version was whole, that each link that changed
    leads forward, and that the members hit no more or newly are those that left or came.
    """
    has_nsec3 = version.rrset(version.origin, codes.NSEC3PARAM) is not None
    was_nsec3 = before is not None and before.rrset(before.origin, codes.NSEC3PARAM) is not None
    if has_nsec3 != was_nsec3:
        before = None
    members: Counter[bytes] = Counter()
    hit: Counter[bytes] = Counter()
    wraps = 0
    for owner in _changed_names(version, before):
        old = _link(before, owner) if before is not None else None
        new = _link(version, owner)
        if old is not None:
            members[old.key] -= 1
            hit[old.after] -= 1
            wraps -= old.after <= old.key
        if new is not None:
            members[new.key] += 1
            hit[new.after] += 1
            wraps += new.after <= new.key
        if not (has_nsec3 and new is not None):
            yield from _check_types(version, owner, has_nsec3=has_nsec3)
    if any(members[key] != hit[key] for key in members.keys() | hit.keys()):
        told = "the chain leaves out a name, or leads to one that is not there"
        yield Refusal("denial-broken", version.origin, codes.NSEC, told)
    if wraps != (0 if before is not None else 1):
        told = "the chain is not in order"
        yield Refusal("denial-broken", version.origin, codes.NSEC, told)


def _changed_names(version: Zone, before: Zone | None) -> Iterator[bytes]:
    if before is None:
        yield from version.nodes
        return
    old = before.nodes
    for owner, node in version.nodes.items():
        if old.get(owner) is not node:
            yield owner
    for owner in old:
        if owner not in version.nodes:
            yield owner


def _check_types(zone: Zone, owner: bytes, *, has_nsec3: bool) -> Iterator[Refusal]:
    """Compare what a name owns with what its NSEC or NSEC3 says it owns."""
    node = zone.nodes.get(owner)
    parameters = zone.rrset(zone.origin, codes.NSEC3PARAM)
    if has_nsec3 and parameters is not None:
        rdata = parameters.rdatas[0]
        digest = denial.nsec3_hash(owner, int.from_bytes(rdata[2:4], "big"), rdata[5:])
        link = _link(zone, denial.hash_label(digest) + zone.origin)
    else:
        link = _link(zone, owner)
    is_here = node is not None and not _is_occluded(zone, owner)
    if not is_here or node is None or (not node and not has_nsec3):
        if link is not None:
            told = "a denial record stands for a name that owns nothing"
            yield Refusal("denial-wrong", owner, link.rdtype, told)
        return
    if link is None:
        is_insecure_cut = _is_cut(owner, node, zone.origin) and find(node, codes.DS) is None
        if not (has_nsec3 and is_insecure_cut):  # opt-out may leave it out (RFC 5155 6)
            kind = codes.NSEC3 if has_nsec3 else codes.NSEC
            yield Refusal("denial-missing", owner, kind, "the name has no denial record")
        return
    said, owned = set(denial.bitmap_types(link.bitmap)), _owned_types(zone, owner, node)
    if said != owned | (said & {codes.RRSIG, codes.NSEC}):
        told = f"it lists types {sorted(said)}, and the name has {sorted(owned)}"
        yield Refusal("denial-wrong", owner, link.rdtype, told)


def _owned_types(zone: Zone, owner: bytes, node: Node) -> set[int]:
    types = {rrset.rdtype for rrset in node}
    if _is_cut(owner, node, zone.origin):
        types &= {codes.NS, codes.DS}
    if types & STAND_INS:
        types = types - STAND_INS | {codes.A, codes.AAAA}
    return types - (MADE_TYPES - {codes.NSEC3PARAM})
