"""RFC 5011 4: how keys of a trust point come and go."""

import quada.wire.names as names
from quada.resolver.anchors import DAY_S, KeyState, TrackedKey, track, trusted_ds

OLD = b"\x01\x01\x03\x0dold"
NEW = b"\x01\x01\x03\x0dnew"
NOW_S = 1_790_000_000


def look(keys, seen, now_s=NOW_S, ttl=172_800):
    return track(names.ROOT, keys, seen, now_s, original_ttl_s=ttl, signature_life_s=14 * DAY_S)


def revoked(dnskey: bytes) -> bytes:
    return b"\x01\x81" + dnskey[2:]


def states(tracked) -> dict[bytes, KeyState]:
    return {key.dnskey: key.state for key in tracked.keys}


START = (TrackedKey(OLD, KeyState.VALID, 0),)


def test_a_new_key_is_trusted_only_after_thirty_days():
    first = look(START, {OLD: True, NEW: False})
    assert states(first)[NEW] is KeyState.ADD_PENDING
    assert len(trusted_ds(names.ROOT, first.keys)) == 1
    early = look(first.keys, {OLD: True, NEW: False}, NOW_S + 30 * DAY_S - 1)
    assert states(early)[NEW] is KeyState.ADD_PENDING
    late = look(early.keys, {OLD: True, NEW: False}, NOW_S + 30 * DAY_S)
    assert states(late)[NEW] is KeyState.VALID
    assert len(trusted_ds(names.ROOT, late.keys)) == 2


def test_a_pending_key_that_vanishes_starts_over():
    first = look(START, {OLD: True, NEW: False})
    gone = look(first.keys, {OLD: True}, NOW_S + 29 * DAY_S)
    assert NEW not in states(gone)
    back = look(gone.keys, {OLD: True, NEW: False}, NOW_S + 30 * DAY_S)
    assert states(back)[NEW] is KeyState.ADD_PENDING


def test_a_missing_key_stays_trusted():
    gone = look(START, {})
    assert states(gone)[OLD] is KeyState.MISSING
    assert len(trusted_ds(names.ROOT, gone.keys)) == 1
    assert states(look(gone.keys, {OLD: True}))[OLD] is KeyState.VALID


def test_a_revocation_counts_only_with_the_keys_own_signature():
    not_own = look(START, {revoked(OLD): False})
    assert states(not_own)[OLD] is KeyState.VALID
    own = look(START, {revoked(OLD): True})
    assert states(own)[OLD] is KeyState.REVOKED
    assert trusted_ds(names.ROOT, own.keys) == ()


def test_a_revoked_key_never_comes_back_and_is_forgotten_in_the_end():
    state = look(START, {revoked(OLD): True})
    assert states(look(state.keys, {OLD: True}))[OLD] is KeyState.REVOKED
    gone = look(state.keys, {})
    assert states(gone)[OLD] is KeyState.REMOVED
    assert look(gone.keys, {}, NOW_S + 30 * DAY_S).keys == ()


def test_a_key_first_seen_revoked_is_not_taken_in():
    assert NEW not in states(look(START, {OLD: True, revoked(NEW): True}))


def test_looks_are_between_an_hour_and_fifteen_days_apart():
    assert look(START, {OLD: True}, ttl=60).look_again_at_s == NOW_S + 3600
    assert look(START, {OLD: True}, ttl=172_800).look_again_at_s == NOW_S + 86_400
