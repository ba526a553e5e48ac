"""Keys at rest: sealed, saved whole, never half and never over somebody else's change."""

import sqlite3

import pytest

import quada.wire.names as names
import quada.zones.rollover as rollover
from quada.store.keys import KeyStore, SignedZone, StaleSave, ZonePolicy
from quada.wire.faults import ConfigFault, DataFault
from quada.zones.keys import KeyRole, make_key
from quada.zones.keystate import Method, RolloverPolicy, State, key_id
from quada.zones.signing import SigningPolicy

ZONE = names.from_text("example.")


@pytest.fixture
def store(tmp_path) -> KeyStore:
    return KeyStore.open(tmp_path)


def signed_zone() -> SignedZone:
    key = make_key(ZONE, KeyRole.CSK)
    state = rollover.add_key(State(), KeyRole.CSK, key.dnskey, 1)
    policy = ZonePolicy(
        SigningPolicy(has_nsec3=True, nsec3_salt=b"\x01"),
        RolloverPolicy(method=Method.DOUBLE_DS, frozen=((1, 2),)),
    )
    return SignedZone(ZONE, policy, state, {key_id(key.dnskey): key}, 7, 300)


def test_what_is_saved_comes_back(store, tmp_path):
    saved = store.save(signed_zone())
    store.close()
    back = KeyStore.open(tmp_path).load(ZONE)
    assert back._replace(keys={}) == saved._replace(keys={})
    ((ident, key),) = back.keys.items()
    assert key.dnskey == saved.keys[ident].dnskey
    assert key.signer()(b"x")
    assert store.zones() == [ZONE]


def test_private_halves_are_not_in_the_file(store, tmp_path):
    saved = store.save(signed_zone())
    (key,) = saved.keys.values()
    secret = key.private.private_numbers().private_value.to_bytes(32, "big")
    store.close()
    octets = b"".join(path.read_bytes() for path in tmp_path.glob("keys.db*"))
    assert key.dnskey in octets
    assert secret not in octets
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*")} == {0o600}


def test_a_save_over_somebody_elses_change_fails(store):
    saved = store.save(signed_zone())
    store.save(saved._replace(serial=8))
    with pytest.raises(StaleSave):
        store.save(saved._replace(serial=9))
    with pytest.raises(StaleSave):
        store.save(signed_zone())
    assert store.load(ZONE).serial == 8


def test_a_key_that_left_the_state_is_destroyed(store):
    saved = store.save(signed_zone())
    store.save(saved._replace(state=State()))
    assert store.load(ZONE).keys == {}


def test_another_sealing_key_opens_nothing(store, tmp_path):
    store.save(signed_zone())
    store.close()
    (tmp_path / "sealing.key").write_bytes(bytes(32))
    with pytest.raises(DataFault, match="cannot be unsealed"):
        KeyStore.open(tmp_path).load(ZONE)


def test_a_sealing_key_of_another_size_is_refused(tmp_path):
    (tmp_path / "sealing.key").write_bytes(b"short")
    with pytest.raises(ConfigFault, match="32 octets"):
        KeyStore.open(tmp_path)


def test_a_removed_zone_leaves_nothing(store, tmp_path):
    store.save(signed_zone())
    store.remove(ZONE)
    store.close()
    with sqlite3.connect(tmp_path / "keys.db") as database:
        assert database.execute("select count(*) from dnssec_key").fetchone() == (0,)
    database.close()
    assert KeyStore.open(tmp_path).load(ZONE) is None
