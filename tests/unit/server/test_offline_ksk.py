"""An offline KSK: a year of ZSK rollovers is signed ahead, and nothing else is served."""

import json

import pytest

import quada.api.offline as offline
import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.gate as gate
from quada.api.signing import Wanted, disable, roll, turn_back
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore
from quada.wire.faults import DataFault
from quada.zones.keys import KeyRole, make_key
from quada.zones.keystate import Method
from quada.zones.offline import (
    Presigned,
    read_request,
    read_response,
    sign_request,
    write_request,
    write_response,
)
from quada.zones.sighting import Sighting

ORIGIN = names.from_text("example.")
NOW_S = 1_790_000_000
DAY_S = 86_400
TEXT = """
example. 300 IN SOA ns.example. host.example. 10 3600 900 86400 300
example. 300 IN NS ns.example.
ns.example. 300 IN AAAA 2001:db8::53
www.example. 300 IN AAAA 2001:db8::1
"""


@pytest.fixture
def ksk():
    return make_key(ORIGIN, KeyRole.KSK)


@pytest.fixture
def store(tmp_path, ksk):
    store = KeyStore.open(tmp_path)
    store.save(offline.enable_offline(ORIGIN, Wanted(zsk_days=30), ksk.dnskey, NOW_S))
    return store


def sign_ahead(store: KeyStore, ksk, now_s: int, days: int) -> None:
    """All three steps, by way of the files."""
    signed, asked = offline.request_signatures(store.load(ORIGIN), now_s, days)
    store.save(signed)
    made = sign_request(read_request(write_request(asked), "request"), ksk)
    zone, read = read_response(write_response(ORIGIN, made), "response")
    assert zone == ORIGIN
    store.save(offline.import_signatures(store.load(ORIGIN), read, now_s))


def test_the_ksk_is_not_in_the_store(store, ksk) -> None:
    signed = store.load(ORIGIN)
    assert [key.private for key in signed.keys.values() if key.role is KeyRole.KSK] == [None]


def test_nothing_is_published_before_the_ksk_has_signed(store, make_zone) -> None:
    desk = SigningDesk(store)
    version = desk.publish(make_zone(TEXT, "example."), NOW_S)
    assert version.rrset(ORIGIN, codes.DNSKEY) is None
    held = desk.status()[0]["held"]
    assert any("offline KSK has not signed" in one["waits_for"] for one in held)


def test_a_year_of_rollovers_goes_by_without_the_ksk(store, ksk, make_zone) -> None:
    sign_ahead(store, ksk, NOW_S, 365)
    desk = SigningDesk(store)
    version = desk.publish(make_zone(TEXT, "example."), NOW_S)
    zsks, versions, now_s, has_ds = set(), 0, NOW_S, False
    for half in range(2 * 200):
        now_s = NOW_S + half * DAY_S // 2
        for made in desk.tick(now_s, float(now_s)):
            version, versions = made.version, versions + 1
        assert desk.refused == {}
        dnskeys = version.rrset(ORIGIN, codes.DNSKEY)
        if dnskeys is not None:
            zsks.update(rdata for rdata in dnskeys.rdatas if rdata != ksk.dnskey)
            assert ksk.dnskey in dnskeys.rdatas
        cds = version.rrset(ORIGIN, codes.CDS)
        if cds is not None and not has_ds:
            seen = [Sighting("ns", family, frozenset(cds.rdatas)) for family in (6, 4)]
            assert desk.see_parent(ORIGIN, seen, now_s) == ""
            has_ds = True
        if half % 40 == 0 and dnskeys is not None:
            case = gate.open_case(
                version, None, gate.World((dnskeys.rdatas,), ((ksk.ds(),),)), now_s
            )
            assert gate.close_case(case, gate.verify(case.checks)) == []
    assert len(zsks) == 7
    assert has_ds
    assert versions < 200  # a version a signature falls due, not one a tick


def test_when_the_signatures_end_the_last_version_serves_until_more_are_brought(
    store, ksk, make_zone
) -> None:
    sign_ahead(store, ksk, NOW_S, 20)
    desk = SigningDesk(store)
    content = make_zone(TEXT, "example.")
    desk.publish(content, NOW_S)
    late_s = NOW_S + 40 * DAY_S
    assert desk.tick(late_s, float(late_s)) == []
    with pytest.raises(DataFault, match="offline KSK has not signed"):
        desk.publish(make_zone(TEXT.replace("db8::1", "db8::2"), "example."), late_s)
    sign_ahead(store, ksk, late_s, 20)
    assert desk.tick(late_s + 60, late_s + 60.0)


def test_other_peoples_signatures_are_not_taken(store, ksk) -> None:
    signed, asked = offline.request_signatures(store.load(ORIGIN), NOW_S, 30)
    made = sign_request(asked, ksk)
    stranger = make_key(ORIGIN, KeyRole.KSK)
    with pytest.raises(DataFault, match=f"without key {stranger.tag}"):
        sign_request(asked, stranger)
    first = made[0]
    bent = first.rrsigs[0][:-1] + bytes((first.rrsigs[0][-1] ^ 1,))
    with pytest.raises(DataFault, match="does not fit"):
        offline.import_signatures(signed, [Presigned(first.rrset, (bent,))], NOW_S)
    with pytest.raises(DataFault, match="does not fit"):
        offline.import_signatures(signed, [Presigned(made[-1].rrset, first.rrsigs)], NOW_S)


def test_a_request_cannot_have_another_ds_signed(store, ksk) -> None:
    _, asked = offline.request_signatures(store.load(ORIGIN), NOW_S, 30)
    text = json.loads(write_request(asked))
    other = make_key(ORIGIN, KeyRole.KSK)
    for one in text["asked"]:
        if one["type"] == codes.CDS:
            one["rdatas"].append(other.ds().hex())
    with pytest.raises(DataFault, match="without key"):
        sign_request(read_request(json.dumps(text), "request"), ksk)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"form": 1, "kind": "request"}',
        '{"form": 1, "kind": "request", "zone": 3, "asked": [1]}',
    ],
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(DataFault):
        read_request(text, "request")


def test_the_ksk_cannot_be_rolled_from_here(store) -> None:
    with pytest.raises(DataFault, match="offline"):
        roll(store.load(ORIGIN), NOW_S)
    assert roll(store.load(ORIGIN), NOW_S, role="zsk")


def bring(store: KeyStore, now_s: int, days: int, *pairs) -> None:
    """Have each key sign the present request, beside the other; bring in what they made."""
    signed, asked = offline.request_signatures(store.load(ORIGIN), now_s, days)
    store.save(signed)
    for key, other in pairs:
        made = sign_request(asked, key, beside=None if other is None else other.dnskey)
        store.save(offline.import_signatures(store.load(ORIGIN), made, now_s))


@pytest.mark.parametrize("algorithm", [13, 15])
@pytest.mark.parametrize("method", list(Method), ids=str)
def test_one_offline_ksk_replaces_another_and_every_step_validates(
    store, ksk, make_zone, method, algorithm
) -> None:
    signed = store.load(ORIGIN)
    rolling = signed.policy.rollover._replace(method=method)
    store.save(signed._replace(policy=signed.policy._replace(rollover=rolling)))
    sign_ahead(store, ksk, NOW_S, 60)
    desk, new = SigningDesk(store), make_key(ORIGIN, KeyRole.KSK, algorithm)
    version, now_s, parent = desk.publish(make_zone(TEXT, "example."), NOW_S), NOW_S, frozenset()

    def live(days: float, until=lambda: False) -> None:
        """Let time pass; the parent follows CDS, and all that serves validates under its DS."""
        nonlocal version, now_s, parent
        end_s = now_s + days * DAY_S
        while now_s < end_s and not until():
            now_s += DAY_S // 8
            for made in desk.tick(now_s, float(now_s)):
                version = made.version
            assert desk.refused == {}
            cds = version.rrset(ORIGIN, codes.CDS)
            if cds is not None:
                parent = frozenset(cds.rdatas)
                seen = [Sighting("ns", family, parent) for family in (6, 4)]
                assert desk.see_parent(ORIGIN, seen, now_s) == ""
            if parent:
                dnskeys = version.rrset(ORIGIN, codes.DNSKEY)
                world = gate.World((dnskeys.rdatas,), (tuple(parent),))
                case = gate.open_case(version, None, world, now_s)
                assert gate.close_case(case, gate.verify(case.checks)) == []

    live(4)
    assert parent == {ksk.ds()}
    replaced = offline.replace_offline(store.load(ORIGIN), new.dnskey, now_s)
    store.save(replaced)
    live(1)
    assert parent == {ksk.ds()}
    assert any("has not signed" in one["waits_for"] for one in desk.status()[0]["held"])

    bring(store, now_s, 60, (ksk, new))
    live(1)
    assert ksk.ds() in parent
    assert version.rrset(ORIGIN, codes.DNSKEY).rdatas.count(new.dnskey) == 0, "it has not signed"
    bring(store, now_s, 60, (ksk, new), (new, ksk))
    live(12, until=lambda: ksk.dnskey not in version.rrset(ORIGIN, codes.DNSKEY).rdatas)
    live(4)
    assert parent == {new.ds()}, desk.status()
    assert new.dnskey in version.rrset(ORIGIN, codes.DNSKEY).rdatas
    assert [key.dnskey for key in store.load(ORIGIN).keys.values() if key.private is None] == [
        new.dnskey
    ]
    assert {dnskey[3] for dnskey in version.rrset(ORIGIN, codes.DNSKEY).rdatas} == {algorithm}
    bring(store, now_s, 60, (new, None))
    live(50)
    assert {dnskey[3] for dnskey in version.rrset(ORIGIN, codes.DNSKEY).rdatas} == {algorithm}


def test_who_signs_must_be_told_of_the_other_key(store, ksk) -> None:
    new = make_key(ORIGIN, KeyRole.KSK)
    store.save(offline.replace_offline(store.load(ORIGIN), new.dnskey, NOW_S))
    _, asked = offline.request_signatures(store.load(ORIGIN), NOW_S, 30)
    for key in (ksk, new):
        with pytest.raises(DataFault, match=f"without key {key.tag}"):
            sign_request(asked, key)
    stranger = make_key(ORIGIN, KeyRole.KSK)
    with pytest.raises(DataFault, match="without key"):
        sign_request(asked, ksk, beside=stranger.dnskey)


def test_a_replacement_that_cannot_be_is_refused(store, ksk) -> None:
    signed = store.load(ORIGIN)
    zsk = make_key(ORIGIN, KeyRole.ZSK)
    with pytest.raises(DataFault, match="SEP"):
        offline.replace_offline(signed, zsk.dnskey, NOW_S)
    with pytest.raises(DataFault, match="already"):
        offline.replace_offline(signed, ksk.dnskey, NOW_S)
    other = make_key(ORIGIN, KeyRole.KSK).dnskey
    with pytest.raises(DataFault, match="algorithm"):
        offline.replace_offline(signed, other[:3] + b"\x05" + other[4:], NOW_S)
    under_way = offline.replace_offline(signed, make_key(ORIGIN, KeyRole.KSK).dnskey, NOW_S)
    with pytest.raises(DataFault, match="under way"):
        offline.replace_offline(under_way, make_key(ORIGIN, KeyRole.KSK).dnskey, NOW_S)
    back = turn_back(under_way)
    assert [ring.dnskey for ring in back.state.staying(KeyRole.KSK)] == [ksk.dnskey]


def test_a_change_of_algorithm_that_is_turned_round_stays_so(store, ksk, make_zone) -> None:
    sign_ahead(store, ksk, NOW_S, 60)
    desk, new = SigningDesk(store), make_key(ORIGIN, KeyRole.KSK, 15)
    desk.publish(make_zone(TEXT, "example."), NOW_S)
    desk.tick(NOW_S + DAY_S, DAY_S)
    spares = len(store.load(ORIGIN).spares)
    store.save(offline.replace_offline(store.load(ORIGIN), new.dnskey, NOW_S + DAY_S))
    assert spares
    assert not store.load(ORIGIN).spares
    bring(store, NOW_S + DAY_S, 60, (ksk, new), (new, ksk))
    desk.tick(NOW_S + DAY_S + 30, DAY_S + 30.0)
    store.save(turn_back(store.load(ORIGIN)))
    version = None
    for hour in range(1, 24 * 20):
        now_s = NOW_S + DAY_S + hour * 3600
        for made in desk.tick(now_s, float(now_s - NOW_S)):
            version = made.version
        assert desk.refused == {}
    assert version is not None
    dnskeys = version.rrset(ORIGIN, codes.DNSKEY).rdatas
    assert ksk.dnskey in dnskeys
    assert {dnskey[3] for dnskey in dnskeys} == {13}
    state = store.load(ORIGIN).state
    assert {ring.role for ring in state.rings if ring.is_staying} == {KeyRole.KSK, KeyRole.ZSK}
    assert len(state.rings) == 2


def test_a_zone_is_taken_back_to_unsigned_once_its_ksk_has_signed_the_removal(
    store, ksk, make_zone
) -> None:
    sign_ahead(store, ksk, NOW_S, 60)
    desk, now_s = SigningDesk(store), NOW_S
    version, parent = desk.publish(make_zone(TEXT, "example."), NOW_S), frozenset()

    def live(days: float) -> None:
        nonlocal version, now_s, parent
        for _ in range(int(days * 8)):
            now_s += DAY_S // 8
            for made in desk.tick(now_s, float(now_s)):
                version = made.version
            assert desk.refused == {}
            cds = version.rrset(ORIGIN, codes.CDS)
            if cds is not None:
                parent = frozenset(cds.rdatas) - {b"\0" * 5}
                seen = [Sighting("ns", family, parent) for family in (6, 4)]
                assert desk.see_parent(ORIGIN, seen, now_s) == ""

    live(4)
    assert parent == {ksk.ds()}
    store.save(disable(store.load(ORIGIN)))
    live(2)
    assert parent == {ksk.ds()}
    assert any("has not signed the CDS" in one["waits_for"] for one in desk.status()[0]["held"])
    signed, asked = offline.request_signatures(store.load(ORIGIN), now_s, 30)
    store.save(signed)
    asked = read_request(write_request(asked), "request")
    with pytest.raises(DataFault, match="to remove DS"):
        sign_request(asked, ksk)
    made = sign_request(asked, ksk, may_remove=True)
    store.save(offline.import_signatures(store.load(ORIGIN), made, now_s))
    live(1)
    assert parent == frozenset()
    live(10)
    assert version.rrset(ORIGIN, codes.DNSKEY) is None
    assert store.load(ORIGIN) is None
