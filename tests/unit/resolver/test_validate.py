"""DNSSEC validation of whole answers, from the root down, in a small signed world."""

from __future__ import annotations

import dns.rdata
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.resolver import Found, Limits, Signed
from quada.telemetry.event import Validation
from quada.zones.keys import KeyRole, make_key

CHAINS = [{}, {"has_nsec3": True}, {"has_nsec3": True, "nsec3_iterations": 5, "nsec3_salt": b"ab"}]
EVERY_CLASS = [
    ("www.example.", codes.AAAA),
    ("www.example.", codes.MX),
    ("alias.example.", codes.AAAA),
    ("nothing.example.", codes.AAAA),
    ("a.b.c.nothing.example.", codes.AAAA),
    ("x.wild.example.", codes.AAAA),
    ("x.y.wild.example.", codes.AAAA),
    ("x.wild.example.", codes.MX),
    ("x.walias.example.", codes.AAAA),
    ("empty.example.", codes.AAAA),
    ("www.old.example.", codes.AAAA),
    ("nothing.old.example.", codes.AAAA),
    ("example.", codes.SOA),
    ("example.", codes.DNSKEY),
    ("example.", codes.DS),
    ("unsigned.example.", codes.DS),
    (".", codes.SOA),
    ("nothing.", codes.AAAA),
]


@pytest.fixture(scope="module", params=CHAINS, ids=["nsec", "nsec3", "nsec3-salted"])
def world(request, make_world):
    return make_world(**request.param)


@pytest.mark.parametrize(("qname", "qtype"), EVERY_CLASS)
def test_every_answer_class_of_a_signed_zone_is_secure(world, qname, qtype):
    verdict = world.verdict(qname, qtype)
    assert (verdict.state, verdict.reason) == (Validation.SECURE, "")


@pytest.mark.parametrize(
    "algorithm", [8, 10, 13, 14, 15, 16], ids=signature.ALGORITHM_NAMES.__getitem__
)
@pytest.mark.parametrize("has_csk", [True, False])
def test_every_current_algorithm_validates(make_world, algorithm, has_csk):
    world = make_world(algorithm, has_csk=has_csk)
    assert world.verdict("www.example.", codes.AAAA).state is Validation.SECURE


@pytest.mark.parametrize(
    ("qname", "qtype"),
    [
        ("host.plain.", codes.AAAA),
        ("nothing.plain.", codes.AAAA),
        ("deep.er.plain.", codes.AAAA),
        ("www.unsigned.example.", codes.AAAA),
        ("away.example.", codes.AAAA),
        ("www.unsigned.example.", codes.A),
    ],
)
def test_below_an_insecure_delegation_answers_are_insecure(world, qname, qtype):
    assert world.verdict(qname, qtype).state is Validation.INSECURE


def test_the_zone_hint_saves_lookups_for_insecure_answers(world):
    found = world.find("deep.er.plain.", codes.AAAA)
    world.asked.clear()
    assert world.validate(found).state is Validation.INSECURE
    without = len(world.asked)
    world.asked.clear()
    verdict = world.validate(found, zone=names.from_text("plain."))
    assert verdict.state is Validation.INSECURE
    assert len(world.asked) <= without


def test_what_was_learnt_is_not_asked_again(world):
    validator = world.validator()
    world.validate(world.find("www.example.", codes.AAAA), validator)
    world.asked.clear()
    assert world.validate(world.find("www.example.", codes.A), validator).state == 1
    assert world.asked == []
    validator.flush(names.from_text("example."))
    world.validate(world.find("www.example.", codes.A), validator)
    assert {want.rdtype for want in world.asked} == {codes.DS, codes.DNSKEY}


def damaged(found: Found, rdtype: int) -> Found:
    """Flip the last bit of an RRset's first RDATA."""

    def damage(signed: Signed) -> Signed:
        if signed.rdtype != rdtype:
            return signed
        first = signed.rdatas[0]
        first = first[:-1] + bytes((first[-1] ^ 1,))
        return signed._replace(rdatas=(first, *signed.rdatas[1:]))

    return found._replace(answer=tuple(damage(signed) for signed in found.answer))


def test_a_damaged_aaaa_is_bogus_while_the_a_beside_it_is_secure(world):
    validator = world.validator()
    bad = world.validate(damaged(world.find("www.example.", codes.AAAA), codes.AAAA), validator)
    assert (bad.state, bad.ede) == (Validation.BOGUS, 6)
    assert "www.example. AAAA" in bad.reason
    assert not bad.is_usable
    good = world.validate(world.find("www.example.", codes.A), validator)
    assert good.state is Validation.SECURE


def test_stripped_signatures_are_bogus_with_ede_10(world):
    found = world.find("www.example.", codes.AAAA)
    stripped = found._replace(answer=(found.answer[0]._replace(signatures=()),))
    verdict = world.validate(stripped)
    assert (verdict.state, verdict.ede) == (Validation.BOGUS, 10)


def test_a_stripped_denial_is_bogus_with_ede_12(world):
    found = world.find("nothing.example.", codes.AAAA)
    kept = tuple(s for s in found.authority if s.rdtype == codes.SOA)
    for authority in ((), kept):
        verdict = world.validate(found._replace(authority=authority))
        assert (verdict.state, verdict.ede) == (Validation.BOGUS, 12)


def test_a_denial_of_one_name_does_not_deny_another(world):
    other = world.find("aaa.example.", codes.AAAA)
    for qname in ("www.example.", "x.wild.example.", "empty.example."):
        name = names.from_text(qname)
        assert world.validate(other._replace(qname=name)).state is Validation.BOGUS


def test_nodata_cannot_be_passed_off_as_nxdomain_nor_the_reverse(world):
    nodata = world.find("www.example.", codes.MX)
    assert world.validate(nodata._replace(rcode=codes.NXDOMAIN)).state is Validation.BOGUS
    nxdomain = world.find("nothing.example.", codes.MX)
    assert world.validate(nxdomain._replace(rcode=codes.NOERROR)).state is Validation.BOGUS


def test_a_parents_record_at_a_cut_denies_nothing_but_ds(world):
    """RFC 6840 4.1 and 4.4: the delegation's NSEC is not about the child's names or types."""
    ds = world.find("unsigned.example.", codes.DS)
    for qname, qtype, rcode in (
        ("unsigned.example.", codes.AAAA, codes.NOERROR),
        ("www.unsigned.example.", codes.AAAA, codes.NXDOMAIN),
    ):
        found = ds._replace(qname=names.from_text(qname), qtype=qtype, rcode=rcode)
        assert world.validate(found).state is not Validation.SECURE


def test_a_wildcard_answer_needs_proof_that_nothing_is_closer(world):
    found = world.find("x.wild.example.", codes.AAAA)
    assert found.authority
    verdict = world.validate(found._replace(authority=()))
    assert (verdict.state, verdict.ede) == (Validation.BOGUS, 12)


def test_a_synthesized_cname_must_be_what_its_dname_makes(world):
    found = world.find("www.old.example.", codes.AAAA)
    wrong = tuple(
        s._replace(rdatas=(names.from_text("evil.plain."),)) if s.rdtype == codes.CNAME else s
        for s in found.answer
    )
    assert world.validate(found._replace(answer=wrong)).state is Validation.BOGUS


@pytest.mark.parametrize(("shift_s", "ede"), [(15 * 86_400, 7), (-2 * 3600, 8)])
def test_signatures_out_of_time_are_bogus_with_their_own_code(make_world, shift_s, ede):
    world = make_world()
    validator = world.validator()
    # Keys are checked first and would fail alike; warm the trust so that the answer is what fails.
    world.validate(world.find("www.example.", codes.A), validator)
    for table in (validator.trust.zones, validator.trust.delegations):
        for name, known in list(table._known.items()):
            table._known[name] = known._replace(expires_at=1 << 40)
    world.now_s += shift_s
    verdict = world.validate(world.find("www.example.", codes.AAAA), validator)
    assert (verdict.state, verdict.ede) == (Validation.BOGUS, ede)


def test_a_clock_five_minutes_late_still_validates(make_world):
    world = make_world(inception_s=0)
    world.now_s -= 299
    assert world.verdict("www.example.", codes.AAAA).state is Validation.SECURE


def test_unreachable_keys_are_bogus_and_tried_again_soon(make_world):
    world = make_world()
    validator = world.validator()
    example = names.from_text("example.")
    world.unreachable.add((example, codes.DNSKEY))
    found = world.find("www.example.", codes.AAAA)
    verdict = world.validate(found, validator)
    assert (verdict.state, verdict.ede) == (Validation.BOGUS, 22)
    world.unreachable.clear()
    world.asked.clear()
    assert world.validate(found, validator).state is Validation.BOGUS
    assert world.asked == []
    world.now_s += 6
    assert world.validate(found, validator).state is Validation.SECURE


@pytest.mark.parametrize(("algorithm", "digest", "ede"), [(12, 2, 1), (13, 3, 2), (5, 1, 1)])
def test_an_algorithm_nobody_can_follow_makes_the_zone_insecure(make_world, algorithm, digest, ede):
    world = make_world()
    root = world.zones[names.ROOT]
    fake = bytes((1, 2, algorithm, digest)) + bytes(20 if digest == 1 else 32)
    resign_root(world, fake)
    verdict = world.verdict("www.example.", codes.AAAA)
    assert (verdict.state, verdict.ede) == (Validation.INSECURE, ede)
    assert root is not world.zones[names.ROOT]


def resign_root(world, ds: bytes) -> None:
    """Put another DS for example. into the root, signed by a new anchor."""
    key = make_key(names.ROOT, KeyRole.CSK)
    text = f"example. 3600 IN DS {dns.rdata.from_wire('IN', 'DS', ds, 0, len(ds)).to_text()}"
    world.add(
        ".",
        f". 60 SOA ns. host. 1 2 3 4 5\n. 60 NS ns.\nexample. 60 NS ns.example.\n{text}",
        sign_with=[key],
    )
    world.anchors = {names.ROOT: (key.ds(),)}


def test_a_ds_that_matches_no_key_is_bogus_with_ede_9(make_world):
    world = make_world()
    resign_root(world, bytes((1, 2, 13, 2)) + bytes(32))
    verdict = world.verdict("www.example.", codes.AAAA)
    assert (verdict.state, verdict.ede) == (Validation.BOGUS, 9)


def test_nsec3_with_too_many_iterations_makes_denials_insecure_with_ede_27(make_world):
    world = make_world(has_nsec3=True, nsec3_iterations=51)
    for qname, qtype in (("nothing.example.", codes.AAAA), ("www.example.", codes.MX)):
        verdict = world.verdict(qname, qtype)
        assert (verdict.state, verdict.ede) == (Validation.INSECURE, 27)
    assert world.verdict("www.example.", codes.AAAA).state is Validation.SECURE


def test_opt_out_makes_denials_insecure_but_not_data(make_world):
    world = make_world(has_nsec3=True, has_opt_out=True)
    assert world.verdict("nothing.example.", codes.AAAA).state is Validation.INSECURE
    assert world.verdict("www.unsigned.example.", codes.AAAA).state is Validation.INSECURE
    assert world.verdict("www.example.", codes.AAAA).state is Validation.SECURE


def test_without_an_anchor_the_state_is_indeterminate_and_usable(make_world):
    world = make_world()
    world.anchors = {}
    verdict = world.verdict("www.example.", codes.AAAA)
    assert verdict.state is Validation.INDETERMINATE
    assert verdict.is_usable


def test_a_signer_above_the_anchor_cannot_turn_validation_off(make_world):
    world = make_world()
    world.anchors = {names.from_text("example."): (world.keys[0].ds(),)}
    assert world.verdict("www.example.", codes.AAAA).state is Validation.SECURE
    found = world.find("www.example.", codes.AAAA)
    rrsig = found.answer[0].signatures[0]
    forged = rrsig[:18] + names.ROOT + rrsig[18 + len(names.from_text("example.")) :]
    signed = found.answer[0]._replace(signatures=(forged,))
    assert world.validate(found._replace(answer=(signed,))).state is Validation.BOGUS


def test_a_negative_trust_anchor_ends_when_it_says(make_world):
    world = make_world()
    validator = world.validator()
    bad = damaged(world.find("www.example.", codes.AAAA), codes.AAAA)
    validator.trust.anchors.distrust(names.from_text("example."), world.now_s + 60)
    verdict = world.validate(bad, validator)
    assert verdict.state is Validation.INSECURE
    assert "negative trust anchor at example." in verdict.reason
    world.now_s += 61
    assert world.validate(bad, validator).state is Validation.BOGUS


def test_keys_that_share_a_tag_cannot_burn_time(make_world):
    """CVE-2023-50387: many keys of one tag, many signatures by it."""
    world = make_world()
    found = world.find("www.example.", codes.AAAA)
    good = found.answer[0].signatures[0]
    bad = tuple(good[:-1] + bytes((n,)) for n in range(200) if n != good[-1])
    links = [
        Signed(names.from_text(f"n{n}.example."), codes.CNAME, 60, (b"\x01x\x00",), bad)
        for n in range(50)
    ]
    flood = found._replace(answer=(*links, found.answer[0]._replace(signatures=bad)))
    validator = world.validator(limits=Limits())
    verdict = world.validate(flood, validator)
    assert verdict.state is Validation.BOGUS
    # Nothing was remembered against the zone: the honest answer still validates.
    assert world.validate(found, validator).state is Validation.SECURE


def test_a_long_cname_chain_is_cut(make_world):
    world = make_world()
    chain = tuple(
        Signed(names.from_text(f"c{n}.plain."), 5, 60, (names.from_text(f"c{n + 1}.plain."),))
        for n in range(40)
    )
    verdict = world.validate(Found(names.from_text("c0.plain."), codes.AAAA, 0, chain))
    assert verdict.state is Validation.BOGUS


def test_a_piece_of_a_chain_validates_by_itself(world):
    found = world.find("away.example.", codes.AAAA)
    piece = found._replace(answer=found.answer[:1], authority=(), is_whole=False)
    assert world.validate(piece).state is Validation.SECURE
    assert world.validate(piece._replace(is_whole=True)).state is not Validation.SECURE


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_mutated_signed_answer_is_ever_secure(make_mutable, data):
    """Flip one bit of what is signed, drop an RRset, or change the question: never secure."""
    world, validators = make_mutable
    qname, qtype = data.draw(st.sampled_from(EVERY_CLASS[:13]))
    which = data.draw(st.integers(0, len(world) - 1))
    found = world[which].find(qname, qtype)
    sections = [("answer", n) for n in range(len(found.answer))]
    sections = [
        s for s in sections if found.answer[s[1]].signatures
    ]  # a synthesized CNAME has none
    if found.qtype == codes.DNSKEY or not sections:
        return
    section, index = data.draw(st.sampled_from(sections))
    target = getattr(found, section)[index]
    kind = data.draw(st.sampled_from(["rdata", "owner", "signature"]))
    if kind == "rdata":
        rdata = target.rdatas[0]
        bit = data.draw(st.integers(0, len(rdata) * 8 - 1))
        changed = flip(rdata, bit)
        lowered = signature.canonical_rdata(target.rdtype, changed)
        if lowered == signature.canonical_rdata(target.rdtype, rdata):
            return
        mutated = target._replace(rdatas=(changed, *target.rdatas[1:]))
    elif kind == "signature":
        made = target.signatures[0]
        bit = data.draw(st.integers(0, len(made) * 8 - 1))
        changed = flip(made, bit)
        if changed.lower() == made.lower() and bit // 8 >= 18:
            return  # the signer's name in another case is the same name
        mutated = target._replace(signatures=(changed,))
    else:
        mutated = target._replace(owner=b"\x01z" + target.owner)
    rrsets = [mutated if n == index else s for n, s in enumerate(getattr(found, section))]
    changed_found = found._replace(**{section: tuple(rrsets)})
    verdict = world[which].validate(changed_found, validators[which])
    assert verdict.state is not Validation.SECURE


def flip(octets: bytes, bit: int) -> bytes:
    at = bit // 8
    return octets[:at] + bytes((octets[at] ^ (0x80 >> bit % 8),)) + octets[at + 1 :]


@pytest.fixture(scope="module")
def make_mutable(make_world):
    worlds = [make_world(**chain) for chain in CHAINS]
    return worlds, [world.validator() for world in worlds]


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_garbage_in_any_record_never_raises_and_never_helps(make_mutable, data):
    """Whatever servers send as RDATA and signatures, keys and DS included."""
    worlds, _ = make_mutable
    world = worlds[data.draw(st.integers(0, len(worlds) - 1))]
    qname, qtype = data.draw(st.sampled_from(EVERY_CLASS))
    chance = data.draw(st.randoms(use_true_random=False))
    octets = st.binary(max_size=60)

    def spoil(found: Found | None) -> Found | None:
        if found is None or chance.random() < 0.3:
            return found

        def change(signed: Signed) -> Signed:
            if signed.rdtype in (codes.CNAME, codes.DNAME) or chance.random() < 0.5:
                return signed
            if chance.random() < 0.5:
                return signed._replace(rdatas=(data.draw(octets),))
            made = data.draw(octets)
            return signed._replace(signatures=(signed.rdtype.to_bytes(2, "big") + made,))

        return found._replace(
            answer=tuple(change(s) for s in found.answer),
            authority=tuple(change(s) for s in found.authority),
        )

    honest = world.find(qname, qtype)
    spoiled = spoil(honest)
    conversation = world.validator().validate(spoiled, world.now_s)
    try:
        wants = next(conversation)
        while True:
            wants = conversation.send(tuple(spoil(world.ask(want)) for want in wants))
    except StopIteration as done:
        verdict = done.value
    if verdict.state is Validation.SECURE:
        said = {(s.owner, s.rdtype): s.rdatas for s in spoiled.answer}
        for signed in honest.answer:
            assert said[signed.owner, signed.rdtype] == signed.rdatas
