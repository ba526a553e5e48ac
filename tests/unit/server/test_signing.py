"""The signing desk: content becomes signed versions, and time moves keys and signatures on."""

import pytest

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.gate as gate
from quada.api.signing import roll, turn_back
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore, SignedZone, ZonePolicy, bring_key
from quada.store.shelf import make_here
from quada.wire.faults import DataFault
from quada.zones.keys import KeyRole
from quada.zones.keystate import RolloverPolicy
from quada.zones.sighting import Sighting
from quada.zones.sign import with_serial
from quada.zones.zone import RRset, diff, find

ORIGIN = names.from_text("example.")
WWW = names.from_text("www.example.")
NOW_S = 1_790_000_000
DAY_S = 86_400
TEXT = """
example. 300 IN SOA ns.example. host.example. 10 3600 900 86400 300
example. 300 IN NS ns.example.
ns.example. 300 IN AAAA 2001:db8::53
www.example. 300 IN AAAA 2001:db8::1
"""


@pytest.fixture
def content(make_zone):
    return make_zone(TEXT, "example.")


@pytest.fixture
def desk(tmp_path):
    store = KeyStore.open(tmp_path)
    policy = ZonePolicy(rollover=RolloverPolicy(dnskey_ttl_s=300))
    store.save(SignedZone(ORIGIN, policy))
    desk = SigningDesk(store)
    desk.store = store
    return desk


def serials(made) -> list[int]:
    return [one.version.serial for one in made]


def test_content_of_other_zones_passes_as_it_is(desk, make_zone):
    other = make_zone(TEXT.replace("example.", "other."), "other.")
    assert desk.publish(other, NOW_S) is other


def test_the_first_signed_version_has_a_greater_serial_than_the_content(desk, content):
    version = desk.publish(content, NOW_S)
    assert version.serial == 11
    assert find(version.nodes[WWW], codes.RRSIG) is not None


def test_the_contents_serial_is_kept_where_it_is_ahead(desk, content):
    desk.publish(content, NOW_S)
    assert desk.publish(with_serial(content, 100), NOW_S).serial == 100
    assert desk.publish(with_serial(content, 50), NOW_S).serial == 101


def test_the_same_content_again_keeps_the_version_that_serves(desk, content, make_zone):
    first = desk.publish(content, NOW_S)
    again = desk.publish(make_zone(TEXT, "example."), NOW_S + 5)
    assert again is first


def test_content_that_is_signed_already_is_refused(desk, make_zone):
    text = TEXT + "example. 300 IN DNSKEY 257 3 13 " + "A" * 86 + "==\n"
    with pytest.raises(DataFault, match="signed already"):
        desk.publish(make_zone(text, "example."), NOW_S)


def test_cds_in_the_content_gives_way_to_our_own(desk, make_zone):
    text = TEXT + "example. 300 IN CDS 1 13 2 " + "00" * 32 + "\n"
    version = desk.publish(make_zone(text, "example."), NOW_S)
    assert find(version.nodes[ORIGIN], codes.CDS) is None


def test_nothing_happens_where_nothing_is_due(desk, content):
    desk.publish(content, NOW_S)
    assert desk.tick(NOW_S + 30, 30.0) == []


def test_ds_is_asked_for_once_all_resolvers_know_the_key(desk, content):
    desk.publish(content, NOW_S)
    desk.tick(NOW_S + 30, 30.0)
    (made,) = desk.tick(NOW_S + 700, 700.0)
    assert [step.what.split(" of ")[0] for step in made.steps] == ["ask the parent for DS"]
    assert find(made.version.nodes[ORIGIN], codes.CDS) is not None
    assert find(made.version.nodes[ORIGIN], codes.CDNSKEY) is not None


def test_old_signatures_are_made_anew_long_before_they_end(desk, content):
    version = desk.publish(content, NOW_S)
    clock = 0
    for day in range(1, 40):
        clock = day * DAY_S
        for made in desk.tick(NOW_S + clock, float(clock)):
            version = made.version
        left_s = min(
            int.from_bytes(rdata[8:12], "big") - NOW_S - clock
            for node in version.nodes.values()
            for rdata in (find(node, codes.RRSIG) or RRset(0, 0, ())).rdatas
        )
        assert left_s > 3 * DAY_S


def test_a_restart_signs_again_with_a_greater_serial(desk, content):
    first = desk.publish(content, NOW_S)
    again = SigningDesk(desk.store).publish(content, NOW_S + 60)
    assert again.serial > first.serial
    assert gate.judge(again, None, gate.World(), NOW_S + 60) == []


def test_a_restart_makes_rollovers_wait_anew(desk, content):
    desk.publish(content, NOW_S)
    later = NOW_S + 700  # by the clock enough; but nobody knows what served meanwhile
    again = SigningDesk(desk.store)
    again.publish(content, later)
    assert desk.store.load(ORIGIN).state.ds_wanted == frozenset()
    assert again.tick(later + 590, 590.0) == []
    (made,) = again.tick(later + 610, 610.0)
    assert "ask the parent" in made.steps[0].what


def test_a_clock_that_jumps_makes_rollovers_wait_anew(desk, content):
    desk.publish(content, NOW_S)
    desk.tick(NOW_S + 1, 1.0)
    assert desk.tick(NOW_S + 5000, 2.0) == []


def test_a_refused_version_leaves_state_and_keys_as_they_were(desk, content, monkeypatch):
    desk.publish(content, NOW_S)
    before = desk.store.load(ORIGIN)
    refusal = gate.Refusal("signature-wrong", WWW, codes.AAAA, "told so")
    monkeypatch.setattr(gate, "close_case", lambda *_: [refusal])
    edited = with_serial(content, 30)
    with pytest.raises(DataFault, match="the gate refuses"):
        desk.publish(edited, NOW_S + 10)
    after = desk.store.load(ORIGIN)
    assert after._replace(keys={}) == before._replace(keys={})
    assert after.keys.keys() == before.keys.keys()
    assert desk.refused == {"example.": [str(refusal)]}
    monkeypatch.undo()
    assert desk.publish(edited, NOW_S + 20).serial == 30
    assert desk.refused == {}


def test_the_parent_counts_only_when_both_families_agree(desk, content):
    desk.publish(content, NOW_S)
    desk.tick(NOW_S + 30, 30.0)
    desk.tick(NOW_S + 700, 700.0)
    (key,) = desk.store.load(ORIGIN).keys.values()
    ds = frozenset({key.ds()})
    assert "IPv4" in desk.see_parent(ORIGIN, [Sighting("a", 6, ds)], NOW_S + 800)
    both = [Sighting("a", 6, ds), Sighting("a", 4, ds)]
    assert desk.see_parent(ORIGIN, both, NOW_S + 800) == ""
    assert desk.store.load(ORIGIN).state.ds_seen == {(key.algorithm, key.tag)}


def test_a_zone_taken_back_ends_unsigned_and_forgotten(desk, content):
    desk.publish(content, NOW_S)
    signed = desk.store.load(ORIGIN)
    desk.store.save(signed._replace(state=signed.state._replace(is_signed=False)))
    (made,) = desk.tick(NOW_S + 30, 30.0)
    assert find(made.version.nodes[ORIGIN], codes.DNSKEY) is None
    assert made.version.serial == 12
    desk.tick(NOW_S + 5000, 5000.0)
    assert desk.store.load(ORIGIN) is None


@pytest.mark.parametrize("algorithm", [13, 15])
def test_a_rollover_before_there_is_a_ds_is_never_refused(tmp_path, content, algorithm):
    store = KeyStore.open(tmp_path)
    policy = ZonePolicy(rollover=RolloverPolicy(dnskey_ttl_s=300, has_csk=False))
    store.save(SignedZone(ORIGIN, policy))
    desk = SigningDesk(store)
    desk.publish(content, NOW_S)
    signed = store.load(ORIGIN)
    state, keys = signed.state, dict(signed.keys)
    rolling = policy.rollover._replace(algorithm=algorithm)
    signed = signed._replace(policy=policy._replace(rollover=rolling))
    for role in rolling.roles if algorithm != 13 else (KeyRole.ZSK,):
        state = bring_key(signed, state, keys, role, NOW_S, make_here)
    store.save(signed._replace(state=state, keys=keys))
    for at in range(0, 6000, 60):
        desk.tick(NOW_S + at, float(at))
        assert desk.refused == {}
    state = store.load(ORIGIN).state
    assert all(ring.is_staying for ring in state.rings)
    assert {ring.key[0] for ring in state.rings} == {algorithm}


def test_a_change_of_algorithm_that_is_turned_round_does_not_begin_anew(desk, content):
    desk.publish(content, NOW_S)
    for at in range(0, 6000, 60):
        desk.tick(NOW_S + at, float(at))
    before = desk.store.load(ORIGIN)
    desk.store.save(roll(before, NOW_S + 6000, algorithm="ed25519"))
    desk.tick(NOW_S + 6030, 6030.0)
    desk.store.save(turn_back(desk.store.load(ORIGIN)))
    for at in range(6060, 6060 + 3 * DAY_S, 1800):
        desk.tick(NOW_S + at, float(at))
        assert desk.refused == {}
    after = desk.store.load(ORIGIN).state.rings
    assert [ring.key for ring in after] == [ring.key for ring in before.state.rings]


def test_a_child_is_signalled_where_its_servers_are_named_until_its_parent_has_ds(
    tmp_path, make_zone
):
    operator, child = names.from_text("op."), names.from_text("child.")
    rolling = RolloverPolicy(dnskey_ttl_s=1, ds_ttl_s=1, propagation_s=0, parent_s=0)
    store = KeyStore.open(tmp_path)
    for origin in (operator, child):
        store.save(SignedZone(origin, ZonePolicy(rollover=rolling)))
    desk = SigningDesk(store)
    soa = "{0} 1 IN SOA ns1.op. h.op. 1 3600 900 86400 1\n{0} 1 IN NS ns1.op.\n"
    desk.publish(make_zone(soa.format("op.") + "ns1.op. 1 IN AAAA 2001:db8::53\n", "op."), NOW_S)
    desk.publish(make_zone(soa.format("child."), "child."), NOW_S)
    signal = names.from_text("_dsboot.child._signal.ns1.op.")
    now_s, served = NOW_S, None
    for _ in range(6):
        now_s += 5
        for version, _ in desk.tick(now_s, float(now_s)):
            served = version if version.origin == operator else served
    cds = find(served.nodes[signal], codes.CDS)
    assert cds == desk._passed[child].rrset(child, codes.CDS)
    assert find(served.nodes[signal], codes.RRSIG) is not None
    status = {one["zone"]: one for one in desk.status()}
    assert status["op."]["signals"] == ["_dsboot.child._signal.ns1.op."]
    seen = [Sighting("ns", family, frozenset(cds.rdatas)) for family in (6, 4)]
    assert desk.see_parent(child, seen, now_s) == ""
    for _ in range(2):
        now_s += 5
        for version, _ in desk.tick(now_s, float(now_s)):
            served = version if version.origin == operator else served
    assert signal not in served.nodes


def test_what_was_found_good_outside_can_be_gone_back_to(desk, make_zone, content):
    good = desk.publish(content, NOW_S)
    assert desk.roll_back(ORIGIN, good.serial, NOW_S) is None
    desk.found_good(ORIGIN, good.serial)
    assert desk.roll_back(ORIGIN, good.serial, NOW_S) is None  # it is what serves
    bad = desk.publish(make_zone(TEXT.replace("db8::1", "db8::bad"), "example."), NOW_S + 10)
    assert desk.roll_back(ORIGIN, good.serial, NOW_S + 20) is None  # which serves no more
    made = desk.roll_back(ORIGIN, bad.serial, NOW_S + 20)
    assert made.version.serial == bad.serial + 1
    assert made.version.rrset(WWW, codes.AAAA) == good.rrset(WWW, codes.AAAA)
    assert desk.tick(NOW_S + 30, NOW_S + 30.0) == []


def restarted(tmp_path) -> SigningDesk:
    return SigningDesk(KeyStore.open(tmp_path))


def test_what_was_good_can_be_gone_back_to_after_a_restart(desk, make_zone, content, tmp_path):
    good = desk.publish(content, NOW_S)
    desk.found_good(ORIGIN, good.serial)
    again = restarted(tmp_path)
    bad = again.publish(make_zone(TEXT.replace("db8::1", "db8::bad"), "example."), NOW_S + 10)
    made = again.roll_back(ORIGIN, bad.serial, NOW_S + 20)
    assert made.version.serial == bad.serial + 1
    assert made.version.rrset(WWW, codes.AAAA) == good.rrset(WWW, codes.AAAA)


def test_content_that_was_rolled_back_stays_so_until_it_is_changed(
    desk, make_zone, content, tmp_path
):
    damaged = make_zone(TEXT.replace("db8::1", "db8::bad"), "example.")
    good = desk.publish(content, NOW_S)
    desk.found_good(ORIGIN, good.serial)
    bad = desk.publish(damaged, NOW_S + 10)
    last = desk.roll_back(ORIGIN, bad.serial, NOW_S + 20).version
    reloaded = desk.publish(damaged, NOW_S + 25)
    assert reloaded.rrset(WWW, codes.AAAA) == good.rrset(WWW, codes.AAAA)
    desk.found_good(ORIGIN, reloaded.serial)

    again = restarted(tmp_path)
    served = again.publish(damaged, NOW_S + 30)
    assert served.rrset(WWW, codes.AAAA) == good.rrset(WWW, codes.AAAA)
    assert served.serial > last.serial
    assert again.tick(NOW_S + 40, 40.0) == []
    (told,) = again.status()
    assert told["is_rolled_back"]
    assert "an hour after a rollback" in [one["waits_for"] for one in told["held"]]

    mended = make_zone(TEXT.replace("db8::1", "db8::2"), "example.")
    served = again.publish(mended, NOW_S + 50)
    assert served.rrset(WWW, codes.AAAA) == mended.rrset(WWW, codes.AAAA)
    assert not again.status()[0]["is_rolled_back"]
    third = restarted(tmp_path)
    served = third.publish(damaged, NOW_S + 60)
    assert served.rrset(WWW, codes.AAAA) == damaged.rrset(WWW, codes.AAAA), "it was changed since"


def test_keys_of_what_was_good_are_sealed_and_go_with_the_zone(desk, content, tmp_path):
    good = desk.publish(content, NOW_S)
    desk.found_good(ORIGIN, good.serial)
    store = KeyStore.open(tmp_path)
    kept = store.good(ORIGIN)
    assert kept.serial == good.serial
    assert not any(diff(kept.content, content))
    (key,) = kept.keys.values()
    assert key.octets() == store.load(ORIGIN).keys[key.algorithm, key.tag].octets()
    everything = (tmp_path / "keys.db").read_bytes() + (tmp_path / "keys.db-wal").read_bytes()
    assert key.octets() not in everything
    store.remove(ORIGIN)
    assert store.good(ORIGIN) is None
