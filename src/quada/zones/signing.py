"""What signing is made of: how, with which keys, what is to be done and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.wire.records import RRset
    from quada.zones.zone import Node, Zone

DAY_S: Final = 86_400
# Types that signing makes; a version to be signed holds none of them from elsewhere.
MADE_TYPES: Final = frozenset((codes.RRSIG, codes.NSEC, codes.NSEC3, codes.NSEC3PARAM))
# Types that stand for addresses made when they are asked for, and are never answered themselves.
STAND_INS: Final = frozenset((codes.ALIAS, codes.POOL))
KEY_TYPES: Final = frozenset((codes.DNSKEY, codes.CDS, codes.CDNSKEY))


class SigningPolicy(NamedTuple):
    """How a zone is signed. Times in seconds; each default is our choice within RFC 6781 4.4.2.

    A signature lives `lifetime_s` less up to `jitter_s`, and is made anew once less than
    `refresh_s` of it is left. `inception_s` is how far back it begins, for clocks that are late.
    """

    lifetime_s: int = 14 * DAY_S
    jitter_s: int = 2 * DAY_S
    refresh_s: int = 5 * DAY_S
    inception_s: int = 3600
    has_nsec3: bool = False
    nsec3_salt: bytes = b""  # RFC 9276 3.1: no salt, no iterations
    nsec3_iterations: int = 0
    has_opt_out: bool = False


class SigningKey(NamedTuple):
    """A key that signs: algorithm, tag, and the function that does it; None where it is offline."""

    algorithm: int
    tag: int
    sign: Callable[[bytes], bytes] | None


class KeySet(NamedTuple):
    """The keys of one moment: what the apex publishes, and who signs what.

    `key_signers` sign DNSKEY, `zone_signers` all the rest. CDS and CDNSKEY are signed by both: by
    the former because the parent wants it (RFC 7344 4.1), by the latter because resolvers do.
    """

    dnskeys: tuple[bytes, ...]
    key_signers: tuple[SigningKey, ...]
    zone_signers: tuple[SigningKey, ...]
    dnskey_ttl: int = 3600
    cds: tuple[bytes, ...] = ()
    cdnskeys: tuple[bytes, ...] = ()
    presigned: tuple[tuple[int, tuple[bytes, ...]], ...] = ()  # by type, by an offline KSK

    def signers(self, rdtype: int, *, is_apex: bool) -> tuple[SigningKey, ...]:
        """Give who signs an RRset."""
        if not is_apex or rdtype not in KEY_TYPES:
            return self.zone_signers
        if rdtype == codes.DNSKEY:
            return self.key_signers
        return tuple(
            {(s.algorithm, s.tag): s for s in self.key_signers + self.zone_signers}.values()
        )


class Task(NamedTuple):
    """One RRset to sign."""

    owner: bytes
    rrset: RRset


class Signing(NamedTuple):
    """A zone with its signed version: what the next change starts from.

    `order` holds the chain's names as `order_key`s, or with NSEC3 their hashes, sorted.
    """

    policy: SigningPolicy
    keys: KeySet
    unsigned: Zone
    signed: Zone
    order: list[bytes]


class Plan(NamedTuple):
    """What a signed version needs: whole nodes less their RRSIGs, signatures kept, and tasks.

    `nodes` has None for a name that owns nothing any more.
    """

    policy: SigningPolicy
    keys: KeySet
    unsigned: Zone
    before: Zone | None
    order: list[bytes]
    nodes: dict[bytes, Node | None]
    kept: dict[bytes, dict[int, tuple[bytes, ...]]]
    tasks: list[Task]
