"""What zones say about a question: the algorithm of RFC 1034 4.3.2, as values.

`find_answer` fills a `Result` with RRsets by section; `compose` and `answer` make octets of it. The
steps are numbered after the RFC; later RFCs are named where they changed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.denial import make_proof
from quada.telemetry.event import NO_EDE, Provenance
from quada.zones import Node, RRset, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.authority.denial import Proof
    from quada.authority.served import Served
    from quada.zones.online import OnlineSigner

LINKS_MAX: Final = 16  # our choice: CNAMEs and DNAMEs followed; BIND's max-query-restarts is 11
_ADDRESSES: Final = (codes.AAAA, codes.A)
_ADDRESS_BELOW: Final[dict[int, int]] = {codes.NS: 0, codes.MX: 2, codes.SRV: 6}
_SERVICE: Final = frozenset((codes.SVCB, codes.HTTPS))


class Item(NamedTuple):
    """One RRset of a response; an owner of None is the question name."""

    owner: bytes | None
    rdtype: int
    ttl_s: int
    rdatas: tuple[bytes, ...]


class Expansion(NamedTuple):
    """What stands in for the addresses of an ALIAS or pool at the moment.

    No RDATA and no failure means that the target has no address of that family. An answer made of
    it holds as it is for `held_s`, in seconds.
    """

    rdatas: tuple[bytes, ...]
    ttl_s: int
    provenance: Provenance
    is_failure: bool = False
    is_servfail: bool = False
    ede: int = NO_EDE
    detail: str = ""
    held_s: int = 1


class Wanted(NamedTuple):
    """Addresses that must be looked up before an answer can be given."""

    targets: tuple[bytes, ...]
    rdtype: int


@dataclass(slots=True)
class Result:
    """What is to be said. `proofs` belong to the authority section, `glue` must not be dropped.

    `moment_s` is how many seconds it holds; 0 is as long as the zones stay what they are.
    """

    rcode: int = codes.NOERROR
    is_authoritative: bool = True
    answer: list[Item] = field(default_factory=list)
    authority: list[Item] = field(default_factory=list)
    glue: list[Item] = field(default_factory=list)
    additional: list[Item] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    provenance: Provenance = Provenance.NATIVE
    zone: bytes | None = None
    anchor: bytes | None = None
    is_nodata: bool = False
    moment_s: int = 0
    has_own_denial: bool = False
    wanted: Wanted | None = None
    ede: int = NO_EDE
    detail: str = ""


class Book:
    """The zones of a server by origin, and the expander for ALIAS and pools."""

    def __init__(self) -> None:
        self.served: dict[bytes, Served] = {}
        self.signers: dict[bytes, OnlineSigner] = {}
        self.now_s = 0

    def zone_for(self, name: bytes, qtype: int = 0) -> Served | None:
        """Give the zone with the longest origin at or above a name (step 2).

        A question for DS belongs to the parent, if that is ours too (RFC 4035 3.1.4.1).
        """
        served, at = self.served, 0
        here: Served | None = None
        while True:
            zone = served.get(name[at:])
            if zone is not None:
                if qtype != codes.DS or at or name == names.ROOT:
                    return zone
                here = zone
            if not name[at]:
                return here
            at += name[at] + 1

    def zone_above(self, octets: bytes) -> Served | None:
        """Give the zone above octets that end in zero and may or may not be a name.

        None where no zone is above, or where they are no name. One walk does for both, because a
        flood of names that do not exist pays for each.
        """
        served, at, size = self.served, 0, len(octets)
        while at < size:
            zone = served.get(octets[at:])
            if zone is not None:
                return zone if size <= names.MAX_NAME_OCTETS else None
            length = octets[at]
            if length > names.MAX_LABEL_OCTETS or not length:
                return None
            at += length + 1
        return None

    def expand(
        self, zone: Served, owner: bytes, node: Node, rdtype: int
    ) -> Expansion | Wanted | None:
        """Give what an ALIAS or pool at a node stands for; None where there is neither."""
        return None


def find_answer(book: Book, qname: bytes, qtype: int, *, is_do: bool, is_full: bool) -> Result:
    """Find what our zones say to a question of class IN.

    Takes a lower-cased name; `is_full` adds addresses for NS and MX answers too (the opposite of
    minimal responses). Gives a Result with rcode REFUSED where no zone of ours is above the name.
    """
    result = Result()
    name: bytes = qname
    for link in range(LINKS_MAX):
        zone = book.zone_for(name, qtype)
        if zone is None:
            if link == 0:
                result.rcode, result.is_authoritative = codes.REFUSED, False
            return result
        if link == 0:
            result.zone = zone.origin
        onward = _step(book, zone, name, qtype, result, is_first=link == 0, is_do=is_do)
        if onward is None:
            break
        name = onward
    if is_full or any(item.rdtype in _SERVICE for item in result.answer):
        _add_addresses(book, result, is_do=is_do)
    return result


def rotate(result: Result, by: int) -> None:
    """Move the order of addresses on: every AAAA or A of a set comes first in its turn.

    The answer is then one of the moment. Signatures are of the set, whatever its order (RFC 4034
    6.3). RFC: 1794
    """
    for at, item in enumerate(result.answer):
        count = len(item.rdatas)
        if item.rdtype in (codes.AAAA, codes.A) and count > 1:
            rdatas = tuple(item.rdatas)
            shift = by % count
            result.answer[at] = item._replace(rdatas=rdatas[shift:] + rdatas[:shift])
            result.moment_s = 1


def _step(
    book: Book,
    zone: Served,
    name: bytes,
    qtype: int,
    result: Result,
    *,
    is_first: bool,
    is_do: bool,
) -> bytes | None:
    """Look a name up in its zone; gives the name a CNAME or DNAME leads on to, else None."""
    owner = None if is_first else name
    # Step 3b: a cut on the way down is a referral, except that the parent answers for DS.
    cut = zone.cut_above(name) if zone.cuts or zone.dnames else None
    if cut is not None:
        at, is_dname = cut
        if is_dname:
            return _follow_dname(zone, at, name, owner, result, is_do=is_do)
        if not (qtype == codes.DS and at == name):
            _refer(zone, at, result, is_do=is_do)
            if is_first:
                result.is_authoritative = False
                result.anchor = at
            return None
    node = zone.node(name)
    if node is not None:
        if is_first:
            result.anchor = name
        return _read_node(book, zone, name, node, owner, qtype, result, is_do=is_do)
    # Step 3c: the wildcard at the closest encloser (RFC 4592 3.3).
    encloser = zone.closest_encloser(name)
    if is_first:
        result.anchor = encloser
    wildcard = zone.node(b"\x01*" + encloser)
    if wildcard is None:
        result.rcode = codes.NXDOMAIN
        _deny(zone, result, zone.chain.no_name(name, encloser) if is_do and zone.chain else [])
        if is_do:
            _sign_soa(zone, result)
        return None
    result.provenance |= Provenance.WILDCARD
    at_proofs = len(result.proofs)
    onward = _read_node(
        book, zone, b"\x01*" + encloser, wildcard, owner if owner else None, qtype, result,
        is_do=is_do, synthesized_for=name,
    )  # fmt: skip
    if result.has_own_denial:
        return onward
    if is_do and zone.chain and result.is_nodata:
        del result.proofs[at_proofs:]
        _prove(result, zone.chain.no_type_at_wildcard(name, encloser))
    elif is_do and zone.chain:
        _prove(result, zone.chain.no_closer(name, encloser))
    return onward


def _read_node(
    book: Book,
    zone: Served,
    owner_name: bytes,
    node: Node,
    owner: bytes | None,
    qtype: int,
    result: Result,
    *,
    is_do: bool,
    synthesized_for: bytes | None = None,
) -> bytes | None:
    """Step 3a: the name (or the wildcard that stands for it) was found."""
    name = synthesized_for or owner_name
    rrset = find(node, qtype)
    if rrset is not None and qtype != codes.ALIAS:
        _answer_with(zone, node, rrset, owner, result, is_do=is_do)
        return None
    cname = find(node, codes.CNAME)
    if cname is not None and qtype not in (codes.ANY, codes.RRSIG, codes.NSEC):
        _answer_with(zone, node, cname, owner, result, is_do=is_do)
        return cname.rdatas[0].lower()
    if qtype == codes.ANY and node:
        # RFC 8482 4.1: one RRset, the same one whatever the transport.
        _answer_with(zone, node, _one_of(node), owner, result, is_do=is_do)
        return None
    if zone.has_expansions and qtype in _ADDRESSES:
        expansion = book.expand(zone, name, node, qtype)
        if isinstance(expansion, Wanted):
            result.wanted = expansion
            return None
        if expansion is not None:
            _take_expansion(zone, expansion, owner, qtype, result)
            signer = book.signers.get(zone.origin) if is_do and zone.chain else None
            if expansion.rdatas and signer is not None:
                made = RRset(qtype, expansion.ttl_s, expansion.rdatas)
                signatures = signer.sign(name, made, book.now_s)
                result.answer.append(Item(owner, codes.RRSIG, expansion.ttl_s, signatures))
            if expansion.rdatas or expansion.is_failure:
                return None
            if signer is not None and zone.chain is not None:
                result.is_nodata = result.has_own_denial = True
                _deny(zone, result, _deny_family(zone, signer, owner_name, name, qtype, book.now_s))
                _sign_soa(zone, result)
                return None
    result.is_nodata = True
    proofs: list[Proof] = []
    if is_do and zone.chain:
        is_cut = qtype == codes.DS and owner_name in zone.cuts
        proofs = zone.chain.no_ds(owner_name) if is_cut else zone.chain.no_type(owner_name)
    _deny(zone, result, proofs)
    if is_do:
        _sign_soa(zone, result)
    return None


def _deny_family(
    zone: Served, signer: OnlineSigner, owner: bytes, name: bytes, rdtype: int, now_s: int
) -> list[Proof]:
    """Deny an address family that a stand-in has not got now, though the chain lists it."""
    assert zone.chain is not None
    standing = zone.chain.no_type(owner)[0].signed[0]
    place, rrset, signatures = signer.deny(name, standing, rdtype, now_s)
    return [make_proof(place, zone.origin, (rrset, signatures))]


def _answer_with(
    zone: Served, node: Node, rrset: RRset, owner: bytes | None, result: Result, *, is_do: bool
) -> None:
    result.answer.append(Item(owner, rrset.rdtype, rrset.ttl, rrset.rdatas))
    if is_do and rrset.rdtype != codes.RRSIG:
        signatures = zone.signatures(node, rrset.rdtype)
        if signatures:
            result.answer.append(Item(owner, codes.RRSIG, rrset.ttl, signatures))


def _take_expansion(
    zone: Served, expansion: Expansion, owner: bytes | None, rdtype: int, result: Result
) -> None:
    result.provenance = (result.provenance & ~Provenance.NATIVE) | expansion.provenance
    held_s = expansion.held_s
    result.moment_s = min(result.moment_s, held_s) if result.moment_s else held_s
    result.ede, result.detail = expansion.ede, expansion.detail
    if expansion.rdatas:
        result.answer.append(Item(owner, rdtype, expansion.ttl_s, expansion.rdatas))
    elif expansion.is_servfail or (expansion.is_failure and zone.chain is not None):
        # In a signed zone NODATA would have to be proved, and it is not so.
        result.rcode = codes.SERVFAIL
    elif expansion.is_failure:
        # NODATA that nobody keeps for long: the failure is ours to mend, not the cache's.
        result.is_nodata = True
        soa = zone.soa
        short = soa.rdatas[0][:-4] + expansion.ttl_s.to_bytes(4, "big")
        result.authority.append(Item(zone.origin, codes.SOA, expansion.ttl_s, (short,)))


def _follow_dname(
    zone: Served, at: bytes, name: bytes, owner: bytes | None, result: Result, *, is_do: bool
) -> bytes | None:
    """RFC 6672 3.1: the DNAME, and the CNAME synthesized from it, with the DNAME's TTL."""
    node = zone.nodes[at]
    dname = find(node, codes.DNAME)
    assert dname is not None
    if owner is None:
        result.anchor = at
    _answer_with(zone, node, dname, at, result, is_do=is_do)
    prefix = name[: len(name) - len(at)]
    target = prefix + dname.rdatas[0]
    if len(target) > names.MAX_NAME_OCTETS:
        result.rcode = codes.YXDOMAIN  # RFC 6672 2.2
        return None
    result.answer.append(Item(owner, codes.CNAME, dname.ttl, (target,)))
    return target.lower()


def _refer(zone: Served, at: bytes, result: Result, *, is_do: bool) -> None:
    """Step 3b: the NS RRset of the cut, what proves or denies its DS, and glue (RFC 9471)."""
    node = zone.nodes[at]
    ns = find(node, codes.NS)
    assert ns is not None
    result.authority.append(Item(at, codes.NS, ns.ttl, ns.rdatas))
    ds = find(node, codes.DS)
    if is_do and ds is not None:
        result.authority.append(Item(at, codes.DS, ds.ttl, ds.rdatas))
        signatures = zone.signatures(node, codes.DS)
        if signatures:
            result.authority.append(Item(at, codes.RRSIG, ds.ttl, signatures))
    elif is_do and zone.chain:
        _prove(result, zone.chain.no_ds(at))
    for rdata in ns.rdatas:
        target = rdata.lower()
        if not names.is_subdomain(target, zone.origin):
            continue
        # In-domain glue must be there or TC set (RFC 9471 3.1); sibling glue may be left out (3.2).
        section = result.glue if names.is_subdomain(target, at) else result.additional
        for rrset in _address_rrsets(zone, target):
            section.append(Item(target, rrset.rdtype, rrset.ttl, rrset.rdatas))


def _deny(zone: Served, result: Result, proofs: list[Proof]) -> None:
    """Add the SOA with the negative TTL (RFC 2308 3), and proofs."""
    result.authority.append(Item(zone.origin, codes.SOA, zone.negative_ttl_s, zone.soa.rdatas))
    _prove(result, proofs)


def _prove(result: Result, proofs: list[Proof]) -> None:
    for proof in proofs:
        if proof not in result.proofs:
            result.proofs.append(proof)


def _sign_soa(zone: Served, result: Result) -> None:
    signatures = zone.signatures(zone.nodes[zone.origin], codes.SOA)
    if signatures:
        item = Item(zone.origin, codes.RRSIG, zone.negative_ttl_s, signatures)
        result.authority.append(item)


def _one_of(node: Node) -> RRset:
    """Choose the RRset that ANY gets: an address, AAAA first, else the first but proofs."""
    for rdtype in _ADDRESSES:
        rrset = find(node, rdtype)
        if rrset is not None:
            return rrset
    proofs = (codes.RRSIG, codes.NSEC, codes.ALIAS)
    return next((rrset for rrset in node if rrset.rdtype not in proofs), node[0])


def _address_rrsets(zone: Served, name: bytes) -> Iterator[RRset]:
    """Give the AAAA and A RRsets a zone holds at a name, glue and occluded names included."""
    node = zone.nodes.get(name, ())
    for rdtype in _ADDRESSES:
        rrset = find(node, rdtype)
        if rrset is not None:
            yield rrset


def _add_addresses(book: Book, result: Result, *, is_do: bool) -> None:
    """Additional section: addresses of the targets of the answer (RFC 1035 3.3, RFC 9460 4.1)."""
    seen: set[bytes] = set()
    for item in list(result.answer):
        for rdata in item.rdatas:
            target = _target_of(item, rdata)
            if target is None or target in seen or len(seen) >= LINKS_MAX:
                continue
            seen.add(target)
            zone = book.zone_for(target)
            if zone is None or (zone.cuts and zone.cut_above(target)):
                continue
            node = zone.node(target) or ()
            for rrset in _address_rrsets(zone, target):
                result.additional.append(Item(target, rrset.rdtype, rrset.ttl, rrset.rdatas))
                signatures = zone.signatures(node, rrset.rdtype) if is_do else ()
                if signatures:
                    result.additional.append(Item(target, codes.RRSIG, rrset.ttl, signatures))


def _target_of(item: Item, rdata: bytes) -> bytes | None:
    """Give the name in RDATA whose addresses an asker will want next."""
    if item.rdtype in _SERVICE:
        target = _whole_name(rdata, 2)
        # A ServiceMode record whose target is "." means the owner itself (RFC 9460 2.5.2).
        return None if target == names.ROOT else target.lower()
    before = _ADDRESS_BELOW.get(item.rdtype)
    return None if before is None else rdata[before:].lower()


def _whole_name(rdata: bytes, at: int) -> bytes:
    end = at
    while end < len(rdata) and rdata[end]:
        end += rdata[end] + 1
    return rdata[at : end + 1]
