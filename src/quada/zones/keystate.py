"""What is known of a zone's keys: each key's part, and what resolvers may hold of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.zones.signature as signature
from quada.zones.keys import KeyRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAY_S: Final = 86_400

KeyId = tuple[int, int]
"""Algorithm and tag. No two keys of a zone share them: makers of keys see to that."""

Ids = frozenset[KeyId]


class Method(StrEnum):
    """How a KSK is rolled (RFC 6781 4.1.2)."""

    DOUBLE_SIGNATURE = "double-signature"
    DOUBLE_DS = "double-ds"


class RolloverPolicy(NamedTuple):
    """Lifetimes and delays. A lifetime of 0 means: until somebody says so.

    `propagation_s` is how long a version may take to reach all our servers, `parent_s` the same for
    the parent's (Dprp in RFC 7583 2). `frozen` are spans in which no rollover starts. New keys of
    `token_roles` are made in a token.
    """

    algorithm: int = signature.ECDSAP256SHA256
    has_csk: bool = True
    zsk_lifetime_s: int = 90 * DAY_S
    ksk_lifetime_s: int = 0
    method: Method = Method.DOUBLE_SIGNATURE
    dnskey_ttl_s: int = 3600
    ds_ttl_s: int = 86_400
    propagation_s: int = 300
    parent_s: int = 3600
    frozen: tuple[tuple[int, int], ...] = ()
    token_roles: tuple[KeyRole, ...] = ()

    @property
    def roles(self) -> tuple[KeyRole, ...]:
        """The roles a zone's keys have."""
        return (KeyRole.CSK,) if self.has_csk else (KeyRole.KSK, KeyRole.ZSK)


class Ring(NamedTuple):
    """One key's place: whether it is to stay, and the four things it may be doing.

    `wants_ds` means that CDS asks the parent for its DS.
    """

    key: KeyId
    role: KeyRole
    dnskey: bytes
    made_at: int
    is_staying: bool = True
    is_published: bool = False
    signs_keys: bool = False
    signs_zone: bool = False
    wants_ds: bool = False

    @property
    def is_idle(self) -> bool:
        """True where it does nothing at all."""
        return not (self.is_published or self.signs_keys or self.signs_zone or self.wants_ds)


class Keys(NamedTuple):
    """A DNSKEY RRset as resolvers hold it: the keys in it, and those that signed it."""

    published: Ids
    signed_by: Ids


class View(NamedTuple):
    """A version that resolvers may hold: until `until_s`, or None while it is being served."""

    content: Keys | Ids
    until_s: int | None = None


class State(NamedTuple):
    """All that is known of a zone's keys. A value: a refused step leaves no trace.

    `is_signed` False takes the zone back to unsigned. `ds_seen` is what the parent was last seen
    with, None before anybody looked; `ds_asked` what CDS asked for last.
    """

    rings: tuple[Ring, ...] = ()
    dnskeys: tuple[View, ...] = (View(Keys(frozenset(), frozenset())),)
    signatures: tuple[View, ...] = (View(frozenset()),)
    ds: tuple[View, ...] = (View(frozenset()),)
    ds_seen: Ids | None = None
    ds_asked: Ids = frozenset()
    is_signed: bool = True

    @property
    def ds_wanted(self) -> Ids:
        """The keys whose DS the parent should have."""
        return frozenset(ring.key for ring in self.rings if ring.wants_ds)

    def staying(self, role: KeyRole) -> Iterator[Ring]:
        """Give the keys of a role that are to stay."""
        return (ring for ring in self.rings if ring.role is role and ring.is_staying)


class Step(NamedTuple):
    """A step taken or to come: when, what, why then. `held` names what it waits for."""

    at_s: int | None
    what: str
    why: str
    held: str = ""


def key_id(dnskey: bytes) -> KeyId:
    """Give a key's algorithm and tag."""
    return dnskey[3], signature.key_tag(dnskey)


def tags_of(keys: Iterable[KeyId]) -> str:
    return " and ".join(str(tag) for _, tag in sorted(keys)) or "no key"


def name_of(ring: Ring) -> str:
    algorithm = signature.ALGORITHM_NAMES.get(ring.key[0], str(ring.key[0]))
    return f"{ring.role.upper()} {ring.key[1]} ({algorithm})"
