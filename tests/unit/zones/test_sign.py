"""Signing whole zones and changes: what is signed, what is linked, and what a change costs."""

from __future__ import annotations

import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
from quada.zones.chain import order_key, order_name, plan
from quada.zones.keys import KeyRole, make_key, seal, unseal
from quada.zones.rdata import write_rdata
from quada.zones.sign import due, sign, with_serial
from quada.zones.signing import KeySet, SigningKey, SigningPolicy
from quada.zones.zone import Change, Record, Zone, diff, find

NOW_S = 1_790_000_000
ORIGIN = names.from_text("example.")
SOA = (
    names.from_text("ns.example.")
    + names.from_text("h.example.")
    + b"".join(n.to_bytes(4, "big") for n in (1, 2, 3, 4, 300))
)
POLICIES = [
    SigningPolicy(),
    SigningPolicy(has_nsec3=True),
    SigningPolicy(has_nsec3=True, has_opt_out=True, nsec3_salt=b"x", nsec3_iterations=2),
]
LABELS = ["a", "b", "*", "x y", "\x00", "\x01", "Z"]


def record(owner: str, rdtype: int, rdata: bytes = b"\x01x\x00", ttl: int = 60) -> Record:
    name = b"".join(
        bytes((len(label),)) + label.encode() for label in owner.split(".") if label
    ).lower()
    return Record(name + ORIGIN, rdtype, ttl, rdata)


def apex(*more: Record) -> Zone:
    fixed = (record("", codes.SOA, SOA), record("", codes.NS))
    return Zone.build(ORIGIN, (*fixed, *more))


def counting_keys() -> tuple[KeySet, list[int]]:
    """Give keys that do not sign but count: the arithmetic is not what is looked at."""
    count = [0]

    def make(octets: bytes) -> bytes:
        count[0] += 1
        return octets[-8:]

    keys = SigningKey(13, 1, make)
    return KeySet((b"\x01\x00\x03\x0dkey",), (keys,), (keys,)), count


@st.composite
def changes(draw: st.DrawFn) -> list[list[Record]]:
    owners = st.lists(st.sampled_from(LABELS), min_size=0, max_size=3).map(".".join)
    types = st.sampled_from([codes.AAAA, codes.NS, codes.DS, codes.DNAME, codes.ALIAS, codes.TXT])
    some = st.lists(st.builds(record, owners, types), max_size=8)
    return draw(st.lists(some, min_size=1, max_size=4))


def strip_times(zone: Zone) -> dict[bytes, set]:
    """Give a signed zone's content; of signatures, only what they cover and who made them."""
    out = {}
    for owner, node in zone.nodes.items():
        out[owner] = {
            (r.rdtype, r.ttl, frozenset(d[:8] + d[16:] for d in r.rdatas))
            if r.rdtype == codes.RRSIG
            else (r.rdtype, r.ttl, frozenset(r.rdatas))
            for r in node
        }
    return out


@pytest.mark.parametrize("policy", POLICIES, ids=["nsec", "nsec3", "opt-out"])
@given(versions=changes())
@settings(max_examples=150, deadline=None)
def test_signing_a_change_gives_what_signing_the_whole_gives(policy, versions):
    keys, _ = counting_keys()
    state = None
    for serial, more in enumerate(versions, 1):
        unsigned = with_serial(apex(*more), serial)
        state = sign(state, unsigned, keys, policy, NOW_S + serial)
        whole = sign(None, unsigned, keys, policy, NOW_S)
        assert strip_times(state.signed) == strip_times(whole.signed)
        assert state.order == whole.order


@given(versions=changes())
@settings(max_examples=60, deadline=None)
def test_named_touched_names_suffice(versions):
    keys, _ = counting_keys()
    state = None
    for serial, more in enumerate(versions, 1):
        unsigned = with_serial(apex(*more), serial)
        touched = None
        if state is not None:
            change = diff(state.unsigned, unsigned)
            touched = {r.owner for r in (*change.removed, *change.added)}
        state = sign(state, unsigned, keys, SigningPolicy(), NOW_S, touched=touched)
        whole = sign(None, unsigned, keys, SigningPolicy(), NOW_S)
        assert strip_times(state.signed) == strip_times(whole.signed)


@pytest.mark.parametrize("size", [10, 2000])
def test_a_changed_record_costs_the_same_signatures_in_any_zone(size):
    keys, count = counting_keys()
    hosts = [record(f"host{n}", codes.AAAA, bytes(16)) for n in range(size)]
    state = sign(None, apex(*hosts), keys, SigningPolicy(), NOW_S)
    count[0] = 0
    before = record("host5", codes.AAAA, bytes(16))
    after = record("host5", codes.AAAA, bytes(15) + b"\x01")
    changed = with_serial(state.unsigned.changed(Change((before,), (after,))), 2)
    state = sign(state, changed, keys, SigningPolicy(), NOW_S)
    assert count[0] == 2  # the AAAA and the SOA
    count[0] = 0
    new = with_serial(changed.changed(Change((), (record("new", codes.AAAA),))), 3)
    sign(state, new, keys, SigningPolicy(), NOW_S)
    assert count[0] == 4  # the AAAA, its NSEC, the neighbour's NSEC, the SOA


def test_a_key_change_at_the_apex_signs_the_apex_alone():
    keys, count = counting_keys()
    hosts = [record(f"host{n}", codes.AAAA, bytes(16)) for n in range(50)]
    state = sign(None, apex(*hosts), keys, SigningPolicy(), NOW_S)
    count[0] = 0
    published = keys._replace(dnskeys=(*keys.dnskeys, b"\x01\x00\x03\x0dnext"))
    sign(state, with_serial(state.unsigned, 2), published, SigningPolicy(), NOW_S)
    assert count[0] == 2  # DNSKEY and SOA


def test_signatures_fall_due_spread_and_before_they_expire():
    keys, _ = counting_keys()
    policy = SigningPolicy()
    hosts = [record(f"host{n}", codes.AAAA, bytes(16)) for n in range(200)]
    state = sign(None, apex(*hosts), keys, policy, NOW_S)
    assert due(state, NOW_S, 10) == frozenset()
    first = NOW_S + policy.lifetime_s - policy.jitter_s - policy.refresh_s
    later = NOW_S + policy.lifetime_s - policy.refresh_s
    some = len(due(state, (first + later) // 2, 10_000))
    assert 100 < some < 300
    assert len(due(state, later + 1, 10_000)) == 404
    renew = due(state, later + 1, 7)
    assert len(renew) == 7
    again = sign(state, with_serial(state.unsigned, 2), keys, policy, later + 1, renew=renew)
    assert len(due(again, later + 1, 10_000)) in (404 - 7, 404 - 8)  # the SOA may be one of them


def test_names_below_a_cut_are_neither_signed_nor_linked():
    keys, _ = counting_keys()
    zone = apex(
        record("sub", codes.NS),
        record("ns.sub", codes.AAAA),
        record("safe", codes.NS),
        record("safe", codes.DS, b"\x00\x01\x0d\x02" + bytes(32)),
    )
    signed = sign(None, zone, keys, SigningPolicy(), NOW_S).signed
    glue = signed.nodes[names.from_text("ns.sub.example.")]
    assert [rrset.rdtype for rrset in glue] == [codes.AAAA]
    cut = signed.nodes[names.from_text("safe.example.")]
    made = find(cut, codes.RRSIG)
    assert sorted(int.from_bytes(r[:2], "big") for r in made.rdatas) == [codes.DS, codes.NSEC]
    nsec = find(cut, codes.NSEC).rdatas[0]
    bitmap = denial.parse_nsec(nsec)[1]
    assert denial.bitmap_types(bitmap) == [codes.NS, codes.DS, codes.RRSIG, codes.NSEC]


def test_an_alias_is_listed_as_the_addresses_it_stands_for():
    keys, _ = counting_keys()
    signed = sign(None, apex(record("al", codes.ALIAS)), keys, SigningPolicy(), NOW_S).signed
    node = signed.nodes[names.from_text("al.example.")]
    bitmap = denial.parse_nsec(find(node, codes.NSEC).rdatas[0])[1]
    assert denial.bitmap_types(bitmap) == [codes.A, codes.AAAA, codes.RRSIG, codes.NSEC]


def test_a_zone_can_go_from_nsec_to_nsec3_and_back():
    keys, _ = counting_keys()
    zone = apex(record("a.b", codes.AAAA))
    plain, hashed = SigningPolicy(), SigningPolicy(has_nsec3=True)
    first = sign(None, zone, keys, plain, NOW_S)
    second = sign(first, zone, keys, hashed, NOW_S)
    third = sign(second, zone, keys, plain, NOW_S)
    assert strip_times(second.signed) == strip_times(sign(None, zone, keys, hashed, NOW_S).signed)
    assert strip_times(third.signed) == strip_times(first.signed)


def test_a_plan_leaves_the_last_version_as_it_was():
    keys, _ = counting_keys()
    state = sign(None, apex(record("a", codes.AAAA)), keys, SigningPolicy(), NOW_S)
    order, nodes = state.order.copy(), dict(state.signed.nodes)
    plan(state, apex(record("b", codes.AAAA)), keys, SigningPolicy())
    assert (state.order, state.signed.nodes) == (order, nodes)


@given(labels=st.lists(st.binary(min_size=1, max_size=5), max_size=4))
def test_order_keys_turn_back_into_names(labels):
    name = names.join(labels)
    assert order_name(order_key(name)) == name


@given(
    one=st.lists(st.binary(min_size=1, max_size=3), max_size=3),
    other=st.lists(st.binary(min_size=1, max_size=3), max_size=3),
)
def test_order_keys_sort_as_names_do(one, other):
    a, b = names.join(one).lower(), names.join(other).lower()
    assert (order_key(a) < order_key(b)) == (names.canonical_key(a) < names.canonical_key(b))


@given(types=st.sets(st.integers(1, 65535), max_size=20))
def test_bitmaps_say_what_they_were_made_of(types):
    bitmap = denial.compose_bitmap(types)
    assert denial.bitmap_types(bitmap) == sorted(types)
    assert all(denial.has_type(bitmap, rdtype) for rdtype in types)


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 15, 16])
def test_a_sealed_key_comes_back_only_with_its_sealing_key(algorithm):
    key = make_key(ORIGIN, KeyRole.CSK, algorithm)
    sealed = seal(key, bytes(32), bytes(12))
    back = unseal(ORIGIN, KeyRole.CSK, key.dnskey, sealed, bytes(32))
    assert back.signer()(b"x")
    assert back.dnskey == key.dnskey
    with pytest.raises(Exception, match="cannot be unsealed"):
        unseal(ORIGIN, KeyRole.CSK, key.dnskey, sealed, b"\x01" * 32)


@given(data=st.data())
def test_dnssec_text_reads_back_as_it_was(data):
    """Our own writer, dnspython's reader."""
    rdtype, wire = data.draw(
        st.one_of(
            st.tuples(st.just(codes.DS), st.binary(min_size=4, max_size=4).map(digested)),
            st.tuples(st.just(codes.DNSKEY), st.binary(min_size=5, max_size=80)),
            st.tuples(st.just(codes.NSEC), st.sets(st.integers(1, 300)).map(linked)),
            st.tuples(st.just(codes.NSEC3), st.sets(st.integers(1, 300)).map(hashed)),
            st.tuples(st.just(codes.RRSIG), st.binary(min_size=16, max_size=70).map(signed_by)),
            st.tuples(st.just(codes.NSEC3PARAM), st.binary(max_size=9).map(salted)),
        )
    )
    text = write_rdata(rdtype, wire)
    back = dns.rdata.from_text("IN", dns.rdatatype.to_text(rdtype), text)
    assert back.to_wire() == wire


def digested(head: bytes) -> bytes:
    return head[:3] + b"\x02" + bytes(32)


def linked(types: set[int]) -> bytes:
    return ORIGIN + denial.compose_bitmap(types)


def hashed(types: set[int]) -> bytes:
    return denial.compose_nsec3(
        denial.Nsec3(1, 1, 3, b"ab", bytes(range(20)), denial.compose_bitmap(types))
    )


def signed_by(octets: bytes) -> bytes:
    return b"\x00\x1c\x0d\x02" + octets[:14].ljust(14, b"x") + ORIGIN + octets[14:]


def salted(salt: bytes) -> bytes:
    return b"\x01\x00\x00\x05" + bytes((len(salt),)) + salt
