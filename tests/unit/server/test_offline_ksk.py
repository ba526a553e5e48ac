"""An offline KSK: a year of ZSK rollovers is signed ahead, and nothing else is served."""

import json

import pytest

import quada.api.offline as offline
import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.gate as gate
from quada.api.signing import Wanted, roll
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore
from quada.wire.faults import DataFault
from quada.zones.keys import KeyRole, make_key
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
