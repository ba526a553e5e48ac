"""The gate: whole versions pass, and nothing that is damaged anywhere does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
import quada.zones.gate as gate
from quada.zones.gate import World
from quada.zones.keys import KeyRole, make_key
from quada.zones.sign import sign, with_serial
from quada.zones.signing import KeySet, SigningPolicy
from quada.zones.zone import RRset, Zone, find

NOW_S = 1_790_000_000
ORIGIN = names.from_text("example.")
KEYS = [make_key(ORIGIN, role, 15) for role in (KeyRole.KSK, KeyRole.ZSK)]
OTHER = make_key(ORIGIN, KeyRole.ZSK, 15)
DS = World(ds=((KEYS[0].ds(),),))
TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
ns.example. 3600 IN AAAA 2001:db8::53
www.example. 600 IN AAAA 2001:db8::1
www.example. 600 IN A 192.0.2.1
*.wild.example. 3600 IN AAAA 2001:db8::3
a.b.empty.example. 3600 IN TXT "x"
old.example. 3600 IN DNAME example.
plain.example. 3600 IN NS ns.plain.example.
ns.plain.example. 3600 IN AAAA 2001:db8::54
safe.example. 3600 IN NS ns.safe.example.
safe.example. 3600 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
"""
POLICIES = [
    SigningPolicy(),
    SigningPolicy(has_nsec3=True),
    SigningPolicy(has_nsec3=True, has_opt_out=True),
]


@pytest.fixture(scope="module")
def unsigned(make_zone) -> Zone:
    return make_zone(TEXT, "example.")


@pytest.fixture(scope="module")
def keys(make_keys) -> KeySet:
    return make_keys(KEYS)


def codes_of(refusals: list[gate.Refusal]) -> set[str]:
    return {refusal.code for refusal in refusals}


@pytest.mark.parametrize("policy", POLICIES, ids=["nsec", "nsec3", "opt-out"])
def test_what_was_just_signed_passes_whole_and_by_change(unsigned, keys, policy):
    state = sign(None, unsigned, keys, policy, NOW_S)
    assert gate.judge(state.signed, None, DS, NOW_S) == []
    new = names.from_text("new.plain2.example.")
    changed = with_serial(unsigned, 2).replaced({new: (RRset(codes.AAAA, 60, (bytes(16),)),)})
    after = sign(state, changed, keys, policy, NOW_S)
    case = gate.open_case(after.signed, state.signed, DS, NOW_S)
    assert 0 < len(case.checks) < 12
    assert gate.close_case(case, gate.verify(case.checks)) == []
    back = sign(after, with_serial(unsigned, 3), keys, policy, NOW_S)
    assert gate.judge(back.signed, after.signed, DS, NOW_S) == []


@pytest.mark.parametrize("policy", POLICIES, ids=["nsec", "nsec3", "opt-out"])
@pytest.mark.parametrize("knows_before", [True, False])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_no_damage_anywhere_passes(unsigned, keys, policy, knows_before, data):
    state = sign(None, unsigned, keys, policy, NOW_S)
    version = state.signed
    covered = [
        (owner, rdtype)
        for owner, node in version.nodes.items()
        for rdtype in sorted({int.from_bytes(r[:2], "big") for r in rrsigs(node)})
    ]
    owner, rdtype = data.draw(st.sampled_from(covered))
    node = version.nodes[owner]
    kind = data.draw(st.sampled_from(["rdata", "signature", "no-signature", "gone", "ttl"]))
    if (kind, rdtype) == ("gone", codes.SOA):
        return
    changed = damage(node, rdtype, kind, data.draw(st.integers(0, 63)))
    damaged = version.replaced({owner: changed})
    before = version if knows_before else None
    assert gate.judge(damaged, before, DS, NOW_S) != []


def rrsigs(node) -> tuple[bytes, ...]:
    made = find(node, codes.RRSIG)
    return made.rdatas if made else ()


def damage(node, rdtype: int, kind: str, at: int):
    out = []
    for rrset in node:
        if kind == "rdata" and rrset.rdtype == rdtype:
            rdata = bytearray(rrset.rdatas[0])
            rdata[-1 - at % min(len(rdata), 4)] ^= 1
            rrset = rrset._replace(rdatas=(bytes(rdata), *rrset.rdatas[1:]))
        elif kind == "gone" and rrset.rdtype == rdtype:
            continue
        elif kind == "ttl" and rrset.rdtype == rdtype:
            rrset = rrset._replace(ttl=rrset.ttl + 1)
        elif rrset.rdtype == codes.RRSIG and kind in ("signature", "no-signature"):
            mine = [r for r in rrset.rdatas if int.from_bytes(r[:2], "big") == rdtype]
            kept = tuple(r for r in rrset.rdatas if r not in mine)
            if kind == "signature":
                bad = bytearray(mine[0])
                bad[-1 - at] ^= 1
                kept = (*kept, bytes(bad))
            rrset = rrset._replace(rdatas=kept)
            if not kept:
                continue
        out.append(rrset)
    return tuple(out)


def test_an_aaaa_changed_behind_the_signers_back_is_refused_by_name(unsigned, keys):
    state = sign(None, unsigned, keys, SigningPolicy(), NOW_S)
    www = names.from_text("www.example.")
    node = tuple(
        r._replace(rdatas=(bytes(16),)) if r.rdtype == codes.AAAA else r
        for r in state.signed.nodes[www]
    )
    refusals = gate.judge(state.signed.replaced({www: node}), state.signed, DS, NOW_S)
    assert [(r.code, r.owner, r.rdtype) for r in refusals] == [
        ("signature-wrong", www, codes.AAAA),
        ("signature-missing", www, codes.AAAA),
    ]


def test_signatures_that_older_keysets_cannot_verify_are_refused(unsigned, make_keys):
    """A ZSK that signs before every resolver knows it."""
    keys = make_keys([KEYS[0], OTHER])
    version = sign(None, unsigned, keys, SigningPolicy(), NOW_S).signed
    older = World(dnskeys=(tuple(key.dnskey for key in KEYS),), ds=DS.ds)
    assert gate.judge(version, None, DS, NOW_S) == []
    assert codes_of(gate.judge(version, None, older, NOW_S)) == {"signature-missing"}


def test_a_key_that_leaves_too_early_is_refused_without_new_arithmetic(unsigned, keys, make_keys):
    state = sign(None, unsigned, keys, SigningPolicy(), NOW_S)
    both = keys._replace(dnskeys=(*keys.dnskeys, OTHER.dnskey))
    published = sign(state, with_serial(unsigned, 2), both, SigningPolicy(), NOW_S)
    case = gate.open_case(published.signed, state.signed, DS, NOW_S)
    assert sum(not check.is_known for check in case.checks) < 8
    assert gate.close_case(case, gate.verify(case.checks)) == []
    gone = keys._replace(dnskeys=(KEYS[0].dnskey, OTHER.dnskey))
    too_early = sign(published, with_serial(unsigned, 3), gone, SigningPolicy(), NOW_S)
    assert "signature-missing" in codes_of(
        gate.judge(too_early.signed, published.signed, DS, NOW_S)
    )


def test_a_ds_that_leads_nowhere_is_refused(unsigned, keys):
    version = sign(None, unsigned, keys, SigningPolicy(), NOW_S).signed
    both = World(ds=((KEYS[0].ds(),), (OTHER.ds(),)))
    assert codes_of(gate.judge(version, None, both, NOW_S)) == {"ds-mismatch"}


def test_an_unsigned_version_passes_only_without_ds(unsigned):
    assert gate.judge(unsigned, None, World(ds=((),)), NOW_S) == []
    assert codes_of(gate.judge(unsigned, None, DS, NOW_S)) == {"dnskey-missing"}


@pytest.mark.parametrize("shift_s", [-7200, 13 * 86_400, 20 * 86_400])
def test_signatures_out_of_time_or_nearly_are_refused(unsigned, keys, shift_s):
    policy = SigningPolicy(jitter_s=0, lifetime_s=13 * 86_400)
    version = sign(None, unsigned, keys, policy, NOW_S).signed
    assert codes_of(gate.judge(version, None, DS, NOW_S + shift_s)) >= {"signature-unfit"}


def test_a_chain_that_skips_a_name_is_refused(unsigned, keys):
    """Signed rightly, wrong all the same: the name's NSEC is left out of the chain."""
    state = sign(None, unsigned, keys, SigningPolicy(), NOW_S)
    less = unsigned.replaced({names.from_text("www.example."): ()})
    without = sign(None, less, keys, SigningPolicy(), NOW_S).signed
    www = names.from_text("www.example.")
    sneaked = without.replaced({www: state.signed.nodes[www]})
    for before in (None, without):
        assert "denial-broken" in codes_of(gate.judge(sneaked, before, DS, NOW_S))


def test_a_bitmap_that_denies_a_type_that_is_there_is_refused(unsigned, keys):
    """The aggressive-NSEC trap: AAAA is there, and its own NSEC says that it is not."""
    a_only = unsigned.replaced(
        {
            names.from_text("www.example."): tuple(
                r for r in unsigned.nodes[names.from_text("www.example.")] if r.rdtype != codes.AAAA
            )
        }
    )
    www = names.from_text("www.example.")
    lying = sign(None, a_only, keys, SigningPolicy(), NOW_S).signed
    honest = sign(None, unsigned, keys, SigningPolicy(), NOW_S).signed
    nsec, aaaa = find(lying.nodes[www], codes.NSEC), find(honest.nodes[www], codes.AAAA)
    assert not denial.has_type(denial.parse_nsec(nsec.rdatas[0])[1], codes.AAAA)
    mine = tuple(r for r in rrsigs(honest.nodes[www]) if r[:2] == b"\x00\x1c")
    made = find(lying.nodes[www], codes.RRSIG)
    rest = tuple(r for r in lying.nodes[www] if r.rdtype != codes.RRSIG)
    mixed = (*rest, aaaa, made._replace(rdatas=(*made.rdatas, *mine)))
    refusals = gate.judge(lying.replaced({www: mixed}), None, DS, NOW_S)
    assert codes_of(refusals) == {"denial-wrong"}
