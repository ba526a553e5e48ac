"""What can be done with a zone's keys: one set of operations for the command line and for HTTP.

Each takes a zone as the key store has it and gives it as it should be saved; saving is the caller's
step, so that a trial can leave it out. The server acts on what is saved at its next tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.wire.names as names
import quada.zones.signature as signature
from quada.store.keys import SignedZone, ZonePolicy, bring_key
from quada.store.shelf import make_here
from quada.store.token import TOKEN_ALGORITHMS
from quada.wire.faults import DataFault
from quada.zones.keys import KeyRole
from quada.zones.keyset import describe, offline_ksks
from quada.zones.keystate import Method, RolloverPolicy
from quada.zones.rollover import due, forecast, see_ds, withdraw
from quada.zones.signing import DAY_S, SigningPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.store.keys import KeyStore
    from quada.store.shelf import KeyMaker
    from quada.zones.keystate import Step

ALGORITHMS: Final = {
    "ecdsap256sha256": 13,
    "ed25519": 15,
    "ecdsap384sha384": 14,
    "rsasha256": 8,
    "rsasha512": 10,
    "ed448": 16,
}
_LIFETIME_DAYS: Final = (2, 365)
_KEY_DAYS_MAX: Final = 36_500


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a zone is to be signed; `has_pair` is a KSK and a ZSK instead of one CSK.

    Key lifetimes of 0 days are until somebody says so; new keys of the roles `in_token` are made in
    the token. This is the form over HTTP too.
    """

    algorithm: str = "ecdsap256sha256"
    has_pair: bool = False
    has_nsec3: bool = False
    has_opt_out: bool = False
    has_double_ds: bool = False
    lifetime_days: int = 14
    zsk_days: int = 90
    ksk_days: int = 0
    in_token: tuple[str, ...] = ()


class Roll(NamedTuple):
    """A key that will be replaced by itself: when, and what happens then."""

    at_s: int
    what: str


class Outlook(NamedTuple):
    """The steps to come, and the rollovers that lifetimes will start."""

    steps: list[Step]
    rollovers: list[Roll]


def policy_of(wanted: Wanted) -> ZonePolicy:
    """Give the policy somebody wants. Raises: DataFault naming the field."""
    least, most = _LIFETIME_DAYS
    if not least <= wanted.lifetime_days <= most:
        raise DataFault(
            f"signatures must live between {least} and {most} days", place="lifetime_days"
        )
    for field in ("zsk_days", "ksk_days"):
        if not 0 <= getattr(wanted, field) <= _KEY_DAYS_MAX:
            raise DataFault(f"a key lives between 0 and {_KEY_DAYS_MAX} days", place=field)
    lifetime_s = wanted.lifetime_days * DAY_S
    return ZonePolicy(
        SigningPolicy(
            lifetime_s=lifetime_s,
            jitter_s=lifetime_s // 7,
            refresh_s=lifetime_s * 5 // 14,
            has_nsec3=wanted.has_nsec3 or wanted.has_opt_out,
            has_opt_out=wanted.has_opt_out,
        ),
        RolloverPolicy(
            algorithm=read_algorithm(wanted.algorithm),
            has_csk=not wanted.has_pair,
            zsk_lifetime_s=wanted.zsk_days * DAY_S,
            ksk_lifetime_s=wanted.ksk_days * DAY_S,
            method=Method.DOUBLE_DS if wanted.has_double_ds else Method.DOUBLE_SIGNATURE,
            token_roles=_token_roles(wanted),
        ),
    )


def _token_roles(wanted: Wanted) -> tuple[KeyRole, ...]:
    roles = RolloverPolicy(has_csk=not wanted.has_pair).roles
    unknown = [one for one in wanted.in_token if one not in roles]
    if unknown:
        raise DataFault(
            f"the zone has no {unknown[0]!r} that could be in a token", place="in_token",
            remedy=f"{', '.join(roles)}; a KSK and a ZSK are made with --ksk-zsk (has_pair)",
        )  # fmt: skip
    if wanted.in_token and read_algorithm(wanted.algorithm) not in TOKEN_ALGORITHMS:
        fit = ", ".join(name for name, one in ALGORITHMS.items() if one in TOKEN_ALGORITHMS)
        raise DataFault(
            f"keys of {wanted.algorithm} are not made in tokens", place="algorithm", remedy=fit
        )
    return tuple(one for one in roles if one in wanted.in_token)


def read_algorithm(text: str) -> int:
    """Read an algorithm's name or number. Raises: DataFault for one that signs no zones here."""
    number = ALGORITHMS.get(text.lower()) or (
        int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    )
    if number not in ALGORITHMS.values():
        raise DataFault(
            f"zones are not signed with algorithm {text!r}", place="algorithm",
            remedy="; ".join(ALGORITHMS),
        )  # fmt: skip
    return number


def load(store: KeyStore, origin: bytes) -> SignedZone:
    """Give a zone's keys. Raises: DataFault where it is not signed here."""
    signed = store.load(origin)
    if signed is None:
        known = ", ".join(names.to_text(one) for one in store.zones()) or "none"
        raise DataFault(
            "the zone is not signed here", place=names.to_text(origin),
            remedy=f"signed are: {known}",
        )  # fmt: skip
    return signed


def enable(known: SignedZone | None, origin: bytes, wanted: Wanted) -> SignedZone:
    """Sign a zone from now on, or under another policy."""
    policy = policy_of(wanted)
    if known is None:
        return SignedZone(origin, policy)
    return known._replace(policy=policy, state=known.state._replace(is_signed=True))


def disable(signed: SignedZone) -> SignedZone:
    """Take a zone back to unsigned: DS first, keys and signatures only once it is gone."""
    return signed._replace(state=signed.state._replace(is_signed=False))


def roll(
    signed: SignedZone,
    now_s: int,
    *,
    role: str = "",
    algorithm: str = "",
    make: KeyMaker = make_here,
) -> SignedZone:
    """Begin to replace the keys of a role, or of all; to another algorithm where one is named.

    Raises: DataFault where a rollover is under way, or for a role the zone has no key of.
    """
    if _is_under_way(signed):
        raise DataFault(
            "a rollover is under way", place=names.to_text(signed.zone),
            remedy="see `quada dnssec plan`, or turn it round with --cancel",
        )  # fmt: skip
    rolling = signed.policy.rollover
    if offline_ksks(signed.state, signed.keys) and (algorithm or role != KeyRole.ZSK):
        raise DataFault(
            "the KSK is offline: it cannot be replaced from here", place=names.to_text(signed.zone),
            remedy="`quada dnssec skr replace`, or --role zsk",
        )  # fmt: skip
    if algorithm:
        rolling = rolling._replace(algorithm=read_algorithm(algorithm))
        signed = signed._replace(policy=signed.policy._replace(rollover=rolling))
    roles = [one for one in rolling.roles if algorithm or role in ("", one)]
    if not roles:
        raise DataFault(f"the zone has no {role}", place="role", remedy=", ".join(rolling.roles))
    return _with_keys(signed, roles, now_s, make)


def turn_back(signed: SignedZone) -> SignedZone:
    """Turn a rollover round. Raises: DataFault where none is under way."""
    if not _is_under_way(signed):
        raise DataFault("no rollover is under way", place=names.to_text(signed.zone))
    state = signed.state
    leaving = {ring.role for ring in state.rings if not ring.is_staying}
    for ring in [r for r in state.rings if r.is_staying and r.role in leaving]:
        state = withdraw(state, ring.key)
    # Else the policy would begin the same change of algorithm anew.
    algorithm = next((r.key[0] for r in state.rings if r.is_staying and r.role.has_ds), None)
    rolling = signed.policy.rollover
    rolling = rolling._replace(algorithm=algorithm or rolling.algorithm)
    return signed._replace(state=state, policy=signed.policy._replace(rollover=rolling))


def see(signed: SignedZone, tags: Iterable[int], now_s: int) -> SignedZone:
    """Take somebody's word for the DS the parent has, by key tags; none is none.

    Raises: DataFault for a tag of none of the zone's keys.
    """
    wanted = set(tags)
    ids = frozenset(ring.key for ring in signed.state.rings if ring.key[1] in wanted)
    if len(ids) != len(wanted):
        raise DataFault("a tag is of none of the zone's keys", place=names.to_text(signed.zone))
    return signed._replace(state=see_ds(signed.state, ids, signed.policy.rollover, now_s))


def outlook(signed: SignedZone, now_s: int) -> Outlook:
    """Tell what is to come, for keys that are there or that the policy will have made."""
    roles = [role for role, _ in due(signed.state, signed.policy.rollover, now_s)]
    signed = _with_keys(signed, roles, now_s, make_here)  # a trial: nothing is made in a token
    policy = signed.policy.rollover
    steps = forecast(signed.state, policy, signed.max_ttl_s, now_s)
    rolls = []
    for ring in signed.state.rings:
        lifetime_s = policy.zsk_lifetime_s if ring.role is KeyRole.ZSK else policy.ksk_lifetime_s
        if ring.is_staying and lifetime_s and signed.state.is_signed:
            what = f"a new {ring.role.upper()} is made to replace {ring.key[1]}"
            rolls.append(Roll(ring.made_at + lifetime_s, what))
    return Outlook(steps, rolls)


def ds_lines(signed: SignedZone) -> list[str]:
    """Give the DS records the parent should have now, as zone text."""
    name = names.to_text(signed.zone)
    wanted = [ring for ring in signed.state.rings if ring.wants_ds]
    made = [signature.ds_rdata(signed.zone, ring.dnskey) for ring in wanted]
    return [
        f"{name} IN DS {ring.key[1]} {ring.key[0]} {digest[3]} {digest[4:].hex()}"
        for ring, digest in zip(wanted, made, strict=True)
        if digest is not None
    ]


def signed_data(signed: SignedZone) -> dict[str, Any]:
    """Give a zone's keys and what they do as JSON data, without anything secret."""
    return {
        "zone": names.to_text(signed.zone),
        "serial": signed.serial,
        "is_staying_signed": signed.state.is_signed,
        "in_token": sorted(key.tag for key in signed.keys.values() if key.label),
        "keys": describe(signed.state),
    }


def outlook_data(told: Outlook) -> dict[str, Any]:
    """Give what is to come as JSON data."""
    return {
        "steps": [step._asdict() for step in told.steps],
        "rollovers": [one._asdict() for one in told.rollovers],
    }


def _is_under_way(signed: SignedZone) -> bool:
    return any(not ring.is_staying for ring in signed.state.rings)


def _with_keys(
    signed: SignedZone, roles: Iterable[KeyRole], now_s: int, make: KeyMaker
) -> SignedZone:
    state, keys = signed.state, dict(signed.keys)
    for role in roles:
        state = bring_key(signed, state, keys, role, now_s, make)
    return signed._replace(state=state, keys=keys)
