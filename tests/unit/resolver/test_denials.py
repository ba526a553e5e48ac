"""Aggressive use of NSEC: what is answered from known gaps is what the zone's server would say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as hashing
from quada.resolver.cache import Word
from quada.resolver.denials import Denials
from quada.resolver.evidence import Checked
from quada.telemetry.event import Validation
from quada.wire.records import Record

ZONE = names.from_text("z.")
NOW = 1_000.0
SOA = Record(ZONE, codes.SOA, 60, names.from_text("ns.z.") + names.from_text("h.z.") + bytes(20))
LABELS = st.sampled_from([b"a", b"b", b"c", b"*", b"-", b"aa"])
OWNERS = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: names.join(labels)[:-1] + ZONE)
TYPES = st.sets(st.sampled_from([codes.A, codes.AAAA, codes.TXT]), min_size=1)
KINDS = st.one_of(
    TYPES,
    st.just({codes.NS}),
    st.just({codes.NS, codes.DS}),
    st.just({codes.CNAME}),
    st.just({codes.DNAME}),
)


def bitmap(types: set[int]) -> bytes:
    octets = bytearray(32)
    for one in {*types, codes.RRSIG, codes.NSEC}:
        octets[one >> 3] |= 0x80 >> (one & 7)
    kept = bytes(octets).rstrip(b"\x00")
    return bytes([0, len(kept)]) + kept


def chain(zone: dict[bytes, set[int]]) -> list[Record]:
    ordered = sorted(zone, key=names.canonical_key)
    return [
        Record(owner, codes.NSEC, 60, after + bitmap(zone[owner]))
        for owner, after in zip(ordered, [*ordered[1:], ordered[0]], strict=True)
    ]


def hashed_chain(
    zone: dict[bytes, set[int]], rounds: int, salt: bytes, flags: int = 0
) -> list[Record]:
    existing = set(zone)
    for owner in zone:
        while owner != ZONE:
            owner = names.parent(owner)
            existing.add(owner)
    ordered = sorted((hashing.nsec3_hash(owner, rounds, salt), owner) for owner in existing)
    head = bytes((1, flags)) + rounds.to_bytes(2, "big") + bytes((len(salt),)) + salt + b"\x14"
    return [
        Record(hashing.hash_label(own) + ZONE, codes.NSEC3, 60,
               head + after + (bitmap(zone[owner]) if owner in zone else b""))
        for (own, owner), (after, _) in zip(ordered, [*ordered[1:], ordered[0]], strict=True)
    ]  # fmt: skip


def learn(denials: Denials, gaps: list[Record], *, state: Validation = Validation.SECURE) -> None:
    signatures = tuple(
        Record(one.owner, codes.RRSIG, 60, one.rdtype.to_bytes(2, "big") + bytes(20))
        for one in (SOA, *gaps)
    )
    word = Word(ZONE, 0, 3, (), (SOA, *gaps, *signatures), ZONE, NOW, NOW + 60, Validation.SECURE)
    checked = {(one.owner, one.rdtype): Checked(state, 60, ZONE) for one in (SOA, *gaps)}
    denials.learn(word, checked)


def expanding(zone: dict[bytes, set[int]], name: bytes, rdtype: int) -> bytes | None:
    """The wildcard that answers for a name with a type, by RFC 4592; None where none does."""
    existing = {ZONE}
    for owner in zone:
        while owner != ZONE:
            existing.add(owner)
            owner = names.parent(owner)
    if name in existing or truth(zone, name, rdtype) != "data":
        return None
    while name not in existing:
        name = names.parent(name)
    return b"\x01*" + name


def learn_expanded(
    denials: Denials, gaps: list[Record], name: bytes, wildcard: bytes, rdtype: int
) -> None:
    """Learn the answer that a wildcard made for a name: its RRset, and all gaps beside it."""
    made = Record(name, rdtype, 60, wildcard)  # RDATA that says where it is from
    signed = (made, Record(name, codes.RRSIG, 60, rdtype.to_bytes(2, "big") + bytes(20)))
    word = Word(name, rdtype, 0, signed, tuple(gaps), ZONE, NOW, NOW + 60, Validation.SECURE)
    labels = names.label_count(wildcard) - 1
    checked = {(one.owner, one.rdtype): Checked(Validation.SECURE, 60, ZONE) for one in gaps}
    checked[name, rdtype] = Checked(Validation.SECURE, 60, ZONE, encloser_labels=labels)
    denials.learn(word, checked)


def truth(zone: dict[bytes, set[int]], name: bytes, rdtype: int) -> str:
    """What the zone's own server says: name, nodata, data, or elsewhere."""
    above = name
    while above != ZONE:
        above = names.parent(above)
        if above != ZONE and zone.get(above, set()) & {codes.NS}:
            return "elsewhere"
        if codes.DNAME in zone.get(above, set()):
            return "elsewhere"
    exists = set(zone)
    for owner in zone:
        up = owner
        while up != ZONE:
            up = names.parent(up)
            exists.add(up)
    if name not in exists:
        encloser = name
        while encloser not in exists:
            encloser = names.parent(encloser)
        name = b"\x01*" + encloser
        if name not in exists:  # a wildcard without data of its own exists too (RFC 4592 2.2.2)
            return "nxdomain"
    types = zone.get(name, set())
    if codes.NS in types and name != ZONE:
        return "elsewhere"
    if rdtype in types or codes.CNAME in types:
        return "data"
    return "nodata"


@settings(max_examples=120)
@pytest.mark.parametrize("kind", ["nsec", "nsec3", "nsec3 with salt"])
@given(
    found=st.dictionaries(OWNERS, KINDS, max_size=6),
    asked=st.lists(OWNERS, max_size=12),
    data=st.data(),
)
def test_nothing_is_answered_that_the_zone_would_not_say(kind, found, asked, data):
    # What is below a cut or a DNAME is not the zone's.
    zone = {ZONE: {codes.SOA, codes.NS, codes.AAAA}}
    for owner in sorted(found, key=names.label_count):
        if truth(zone, owner, codes.A) != "elsewhere":
            zone[owner] = found[owner]
    gaps = (
        chain(zone)
        if kind == "nsec"
        else hashed_chain(zone, *((3, b"ab") if "salt" in kind else (0, b"")))
    )
    known = data.draw(st.sets(st.integers(0, len(gaps) - 1)))
    denials = Denials()
    for at in known:
        learn(denials, [gaps[at]])
    for name in asked[: len(asked) // 2]:
        wildcard = expanding(zone, name, codes.TXT)
        if wildcard is not None and codes.TXT in zone.get(wildcard, ()):
            learn_expanded(denials, [gaps[at] for at in known], name, wildcard, codes.TXT)
    for name in (*asked, *zone):
        for rdtype in (codes.AAAA, codes.TXT):
            word = denials.find(name, rdtype, NOW + 1)
            if word is None:
                continue
            expected = truth(zone, name, rdtype)
            if word.answer:
                assert expected == "data"
                assert word.answer[0].rdata == expanding(zone, name, rdtype)
                assert {one.owner for one in word.answer} == {name}
                continue
            assert ("nxdomain" if word.rcode == 3 else "nodata") == expected, (name, rdtype)
    if len(known) == len(gaps):
        for name in asked:
            if truth(zone, name, codes.TXT) == "nxdomain":
                assert denials.find(name, codes.TXT, NOW + 1) is not None, (name, zone)


def test_what_is_not_verified_or_too_old_is_not_used():
    gaps = chain({ZONE: {codes.SOA}, names.from_text("m.z."): {codes.A}})
    name = names.from_text("a.z.")
    forged = Denials()
    learn(forged, gaps, state=Validation.BOGUS)
    assert forged.find(name, codes.A, NOW) is None
    denials = Denials()
    learn(denials, gaps)
    word = denials.find(name, codes.A, NOW + 30)
    assert word is not None
    assert (word.rcode, word.expires_at, word.validation) == (3, NOW + 60, Validation.SECURE)
    assert {record.rdtype for record in word.authority} == {codes.SOA, codes.NSEC, codes.RRSIG}
    assert denials.find(name, codes.A, NOW + 61) is None
    assert denials.find(name, codes.DS, NOW) is None
    denials.flush(name)
    assert denials.find(name, codes.A, NOW) is None


@pytest.mark.parametrize(("rounds", "flags"), [(0, 1), (11, 0)])
def test_opt_out_and_costly_hashes_are_left_to_the_servers(rounds, flags):
    denials = Denials()
    learn(denials, hashed_chain({ZONE: {codes.SOA}}, rounds, b"", flags))
    assert denials.find(names.from_text("a.z."), codes.A, NOW) is None


def test_a_new_salt_makes_the_old_hashes_worthless():
    zone = {ZONE: {codes.SOA}, names.from_text("m.z."): {codes.A}}
    denials = Denials()
    learn(denials, hashed_chain(zone, 0, b"one"))
    assert denials.find(names.from_text("a.z."), codes.A, NOW) is not None
    learn(denials, hashed_chain(zone, 0, b"two")[:1])
    assert denials.find(names.from_text("nothing.m.z."), codes.A, NOW) is None


@pytest.mark.parametrize("make", [chain, lambda zone: hashed_chain(zone, 0, b"")])
def test_a_wildcard_that_was_seen_answers_for_its_neighbours(make):
    wildcard = names.from_text("*.w.z.")
    zone = {ZONE: {codes.SOA}, wildcard: {codes.AAAA}, names.from_text("m.w.z."): {codes.A}}
    denials = Denials()
    learn_expanded(denials, make(zone), names.from_text("one.w.z."), wildcard, codes.AAAA)
    word = denials.find(names.from_text("two.w.z."), codes.AAAA, NOW + 1)
    assert word is not None
    assert [one.owner for one in word.answer] == [names.from_text("two.w.z.")] * 2
    assert word.authority
    assert word.validation is Validation.SECURE
    assert denials.find(names.from_text("m.w.z."), codes.AAAA, NOW + 1) is None
    assert denials.find(names.from_text("two.w.z."), codes.AAAA, NOW + 61) is None
    assert denials.find(names.from_text("two.w.z."), codes.TXT, NOW + 1) is None  # no SOA is known


def test_gaps_are_bounded():
    denials = Denials()
    for n in range(10_050):
        owner = names.from_text(f"n{n:05}.z.")
        learn(
            denials,
            [Record(owner, codes.NSEC, 60, names.from_text(f"n{n:05}x.z.") + bitmap({codes.A}))],
        )
    assert len(denials._zones[ZONE].named) <= 10_000
