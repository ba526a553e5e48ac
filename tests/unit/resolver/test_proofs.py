"""Denial of existence: whatever records one is given, what they prove is so; and all prove all."""

from __future__ import annotations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.proofs import Cut, Denial, Proof
from quada.zones.sign import sign
from quada.zones.signing import KeySet, SigningKey, SigningPolicy
from quada.zones.zone import Record, Zone, find

ORIGIN = names.from_text("example.")
SOA = ORIGIN + ORIGIN + bytes(16) + (300).to_bytes(4, "big")
KEYS = SigningKey(13, 1, lambda octets: octets[-8:])
KEY_SET = KeySet((b"\x01\x01\x03\x0dkey",), (KEYS,), (KEYS,))
LABELS = ["a", "b", "c", "*"]
POLICIES = [
    SigningPolicy(),
    SigningPolicy(has_nsec3=True),
    SigningPolicy(has_nsec3=True, has_opt_out=True),
]

owners = st.lists(st.sampled_from(LABELS), max_size=3).map(
    lambda labels: b"".join(bytes((len(label),)) + label.encode() for label in labels) + ORIGIN
)
types = st.sampled_from([codes.AAAA, codes.A, codes.NS, codes.DS, codes.CNAME, codes.DNAME])


@st.composite
def zones(draw: st.DrawFn) -> Zone:
    records = [
        Record(ORIGIN, codes.SOA, 60, SOA),
        Record(ORIGIN, codes.NS, 60, ORIGIN),
        *(
            Record(owner, rdtype, 60, b"\x01x\x00")
            for owner, rdtype in draw(st.lists(st.tuples(owners, types), max_size=7))
            if owner != ORIGIN or rdtype in (codes.A, codes.AAAA)
        ),
    ]
    aliases = {record.owner for record in records if record.rdtype == codes.CNAME}
    records = [r for r in records if r.owner not in aliases or r.rdtype == codes.CNAME]
    zone = Zone.build(ORIGIN, records)
    note(sorted(f"{names.to_text(r.owner)} {r.rdtype}" for r in records))
    return zone


def leads_away(zone: Zone, name: bytes) -> bool:
    """Tell whether a name lies below a delegation or DNAME: not this zone's to speak of."""
    while name != ORIGIN:
        name = names.parent(name)
        node = zone.nodes.get(name, ())
        if find(node, codes.DNAME) or (name != ORIGIN and find(node, codes.NS)):
            return True
    return False


def source(zone: Zone, name: bytes) -> bytes | None:
    """Give the owner that answers for a name: itself, a wildcard, or None (RFC 4592 3.3)."""
    if name in zone.nodes:
        return name
    while name not in zone.nodes:
        name = names.parent(name)
    wildcard = b"\x01*" + name
    return wildcard if wildcard in zone.nodes else None


def types_at(zone: Zone, owner: bytes) -> set[int]:
    return {rrset.rdtype for rrset in zone.nodes[owner]}


def given_denial(signed: Zone, chosen: list[bytes]) -> Denial:
    denial = Denial(ORIGIN)
    for owner in chosen:
        for rrset in signed.nodes[owner]:
            if rrset.rdtype in (codes.NSEC, codes.NSEC3):
                denial.add(owner, rrset.rdtype, rrset.rdatas)
    return denial


def chain(signed: Zone) -> list[bytes]:
    return [
        owner
        for owner, node in signed.nodes.items()
        if find(node, codes.NSEC) or find(node, codes.NSEC3)
    ]


@pytest.mark.parametrize("policy", POLICIES, ids=["nsec", "nsec3", "opt-out"])
@given(zone=zones(), qname=owners, data=st.data())
@settings(max_examples=400, deadline=None)
def test_what_any_records_prove_is_so(policy, zone, qname, data):
    signed = sign(None, zone, KEY_SET, policy, 0).signed
    denial = given_denial(signed, data.draw(st.lists(st.sampled_from(chain(signed)), max_size=4)))
    proved = (Proof.PROVED,)  # opt-out proves nothing secure: the validator makes it insecure
    if denial.no_name(qname) in proved:
        assert qname not in zone.nodes
        assert source(zone, qname) is None
        assert not leads_away(zone, qname)
    for rdtype in (codes.AAAA, codes.A, codes.DS):
        if denial.no_data(qname, rdtype) in proved:
            owner = source(zone, qname)
            assert owner is not None
            assert not {rdtype, codes.CNAME} & types_at(zone, owner)
            assert not leads_away(zone, qname)
            if rdtype != codes.DS:
                assert owner == ORIGIN or codes.NS not in types_at(zone, owner)
    cut = denial.cut(qname)
    if cut is Cut.INSECURE and not policy.has_opt_out:
        assert {codes.NS} == types_at(zone, qname) & {codes.NS, codes.DS}
    if cut is Cut.NO_CUT:
        assert qname == ORIGIN or codes.NS not in types_at(zone, qname)
    if cut is Cut.NO_NAME:
        assert qname not in zone.nodes
    labels = data.draw(st.integers(1, max(1, names.label_count(qname) - 1)))
    if names.label_count(qname) > labels and denial.no_closer_match(qname, labels) in proved:
        closer = qname
        while names.label_count(closer) > labels + 1:
            closer = names.parent(closer)
        # Below a cut there may be glue; but no wildcard there is ever signed by this zone.
        assert closer not in zone.nodes or leads_away(zone, closer)


@pytest.mark.parametrize("policy", POLICIES[:2], ids=["nsec", "nsec3"])
@given(zone=zones(), qname=owners)
@settings(max_examples=400, deadline=None)
def test_the_whole_chain_proves_all_that_is_so(policy, zone, qname):
    if leads_away(zone, qname):
        return
    signed = sign(None, zone, KEY_SET, policy, 0).signed
    denial = given_denial(signed, chain(signed))
    owner = source(zone, qname)
    if owner is None:
        assert denial.no_name(qname) is Proof.PROVED
        return
    assert denial.no_name(qname) is not Proof.PROVED
    there = types_at(zone, owner)
    is_cut = codes.NS in there and owner != ORIGIN
    for rdtype in (codes.AAAA, codes.A):
        is_absent = not {rdtype, codes.CNAME} & there and not is_cut
        assert (denial.no_data(qname, rdtype) is Proof.PROVED) == is_absent
