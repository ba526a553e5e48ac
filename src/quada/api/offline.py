"""What can be done with a zone whose KSK no server has; saving is the caller's step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import quada.wire.names as names
from quada.api.signing import Wanted, policy_of, read_algorithm
from quada.store.keys import SignedZone, bring_key, taken_tags
from quada.store.shelf import make_here
from quada.wire.faults import DataFault
from quada.zones.keys import Key, KeyRole
from quada.zones.keyset import offline_ksks
from quada.zones.keystate import key_id
from quada.zones.offline import Window, accept, compose_request, lasts, zsk_count
from quada.zones.rollover import add_key
from quada.zones.signature import FLAG_SEP
from quada.zones.signing import DAY_S

if TYPE_CHECKING:
    from quada.store.shelf import KeyMaker
    from quada.zones.offline import Presigned, Request

_REQUEST_DAYS_MAX: Final = 3_660  # our choice: ten years


def enable_offline(
    origin: bytes, wanted: Wanted, dnskey: bytes, now_s: int, make: KeyMaker = make_here
) -> SignedZone:
    """Sign a zone under a KSK that is kept elsewhere: a ZSK is made here, and replaced by lifetime.

    Nothing is served signed before the KSK has signed a request. Raises: DataFault for a key that
    is no KSK.
    """
    if not int.from_bytes(dnskey[:2], "big") & FLAG_SEP:
        raise DataFault("the key is no KSK: its SEP flag is not set", place=names.to_text(origin))
    policy = policy_of(replace(wanted, has_pair=True, ksk_days=0, algorithm=str(dnskey[3])))
    key = Key(origin, KeyRole.KSK, dnskey)
    state = add_key(SignedZone(origin).state, KeyRole.KSK, dnskey, now_s)
    keys = {key_id(dnskey): key}
    signed = SignedZone(origin, policy, state, keys)
    state = bring_key(signed, state, keys, KeyRole.ZSK, now_s, make)
    return signed._replace(state=state, keys=keys)


def replace_offline(
    signed: SignedZone, dnskey: bytes, now_s: int, make: KeyMaker = make_here
) -> SignedZone:
    """Have another offline KSK replace the present one, as soon as both have signed a request.

    One of another algorithm takes the ZSK with it: a new one is made, and the zone signed by both
    until no resolver needs the old (RFC 6781 4.1.4). ZSKs made ahead are forgotten then.

    Raises: DataFault where the zone's KSK is here, a rollover is under way, or the key is unfit.
    """
    place, policy = names.to_text(signed.zone), signed.policy.rollover
    present = list(signed.state.staying(KeyRole.KSK))
    if not offline_ksks(signed.state, signed.keys):
        raise DataFault("the zone's KSK is not offline", place=place)
    if any(not ring.is_staying for ring in signed.state.rings):
        raise DataFault("a rollover is under way", place=place, remedy="wait, or turn it round")
    if not int.from_bytes(dnskey[:2], "big") & FLAG_SEP:
        raise DataFault("the key is no KSK: its SEP flag is not set", place=place)
    algorithm = read_algorithm(str(dnskey[3]))
    ident = key_id(dnskey)
    if any(ident[1] == tag for _, tag in signed.keys):
        raise DataFault(f"the zone has a key {ident[1]} already", place=place)
    state = add_key(
        signed.state, KeyRole.KSK, dnskey, now_s, replaces=frozenset(one.key for one in present)
    )
    keys = {**signed.keys, ident: Key(signed.zone, KeyRole.KSK, dnskey)}
    if algorithm != policy.algorithm:
        rolling = policy._replace(algorithm=algorithm)
        signed = signed._replace(policy=signed.policy._replace(rollover=rolling), spares=())
        keys = {one: key for one, key in keys.items() if one in {r.key for r in state.rings}}
        state = bring_key(signed, state, keys, KeyRole.ZSK, now_s, make)
    return signed._replace(state=state, keys=keys)


def request_signatures(
    signed: SignedZone, now_s: int, days: int, make: KeyMaker = make_here
) -> tuple[SignedZone, Request]:
    """Compose what an offline KSK is to sign for a time; makes the ZSKs it takes.

    Raises: DataFault where the zone's KSK is here.
    """
    if not 1 <= days <= _REQUEST_DAYS_MAX:
        raise DataFault(f"ask for 1 to {_REQUEST_DAYS_MAX} days", place="days")
    if not offline_ksks(signed.state, signed.keys):
        raise DataFault("the zone's KSK is not offline", place=names.to_text(signed.zone))
    keys, spares = dict(signed.keys), list(signed.spares)
    present = sum(1 for ring in signed.state.rings if ring.role is KeyRole.ZSK)
    while present + len(spares) < zsk_count(signed.policy.rollover, days):
        key = make(signed, KeyRole.ZSK, taken_tags(keys))
        keys[key_id(key.dnskey)] = key
        spares.append(key_id(key.dnskey))
    signed = signed._replace(keys=keys, spares=tuple(spares))
    request = compose_request(
        signed.zone, signed.state, [keys[one].dnskey for one in spares],
        signed.policy.rollover, signed.policy.signing, Window(now_s, now_s + days * DAY_S),
    )  # fmt: skip
    return signed, request


def import_signatures(signed: SignedZone, made: list[Presigned], now_s: int) -> SignedZone:
    """Take what an offline KSK has signed, each signature checked; what is over is forgotten.

    Raises: DataFault where anything in it does not hold.
    """
    ksks = offline_ksks(signed.state, signed.keys)
    fresh = accept(signed.zone, ksks, made)
    kept = [one for one in signed.presigned if lasts(one) > now_s and one not in fresh]
    return signed._replace(presigned=(*kept, *fresh))
