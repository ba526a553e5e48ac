"""Signing on line: answers made when they are asked for (ALIAS, pools) in zones that are signed.

Two things are made: signatures over the addresses of the moment, and, where a family is missing at
the moment, an NSEC or NSEC3 of that one name that says so and covers nothing else (RFC 4470). Both
are kept while they are fresh, in a bounded table: a busy ALIAS costs a signature an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.zones.denial as denial
import quada.zones.keys as zone_keys
import quada.zones.signature as signature
from quada.wire.records import RRset
from quada.zones.sign import rrsigs
from quada.zones.signing import SigningKey, SigningPolicy, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

LIFETIME_S: Final = 2 * 86_400  # our choice: addresses of the moment need no long life
FRESH_S: Final = 3600  # our choice: how long a signature is given out before a new one is made
MAX_KEPT: Final = 10_000  # our choice: about 5 MiB


class OnlineKeys(NamedTuple):
    """What a process needs to sign on line: plain data, so that it can be sent to a worker.

    `keys` are algorithm, tag and PKCS#8 octets of the zone signers.
    """

    origin: bytes
    keys: tuple[tuple[int, int, bytes], ...]


class OnlineSigner:
    """Signs for one zone. Not thread-safe."""

    def __init__(self, given: OnlineKeys) -> None:
        self.origin = given.origin
        self._signers = tuple(
            SigningKey(
                algorithm,
                tag,
                signature.make_signer(algorithm, zone_keys.read_private(octets, given.origin)),
            )
            for algorithm, tag, octets in given.keys
        )
        self._policy = SigningPolicy(lifetime_s=LIFETIME_S, jitter_s=0)
        self._kept: dict[tuple[bytes, RRset], tuple[int, tuple[bytes, ...]]] = {}

    def sign(self, owner: bytes, rrset: RRset, now_s: int) -> tuple[bytes, ...]:
        """Give the RRSIG RDATAs of an RRset of the moment."""
        task = owner, rrset
        known = self._kept.get(task)
        if known is not None and known[0] <= now_s < known[0] + FRESH_S:
            return known[1]
        made = rrsigs(self.origin, Task(owner, rrset), self._signers, self._policy, now_s)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[task] = now_s, made
        return made

    def deny(
        self, owner: bytes, pattern: RRset, missing: int, now_s: int
    ) -> tuple[bytes, RRset, tuple[bytes, ...]]:
        """Make the NSEC or NSEC3 that says a type is missing at a name for the moment.

        Takes the RRset of the chain that stands for the name (for its types, TTL and parameters).
        Gives owner, RRset and signatures. RFC: 4470 4, 5155 7.2.3
        """
        rdata = pattern.rdatas[0]
        if pattern.rdtype == codes.NSEC3:
            nsec3 = denial.parse_nsec3(rdata)
            assert nsec3 is not None
            digest = denial.nsec3_hash(owner, nsec3.iterations, nsec3.salt)
            made = nsec3._replace(next_hash=_after(digest), bitmap=_without(nsec3.bitmap, missing))
            place = denial.hash_label(digest) + self.origin
            rrset = RRset(codes.NSEC3, pattern.ttl, (denial.compose_nsec3(made),))
        else:
            parsed = denial.parse_nsec(rdata)
            assert parsed is not None
            place = owner
            # The name right after this one in canonical order: nothing lies between (RFC 4470 4).
            after = b"\x01\x00" + owner if len(owner) <= 253 else parsed[0]
            rrset = RRset(codes.NSEC, pattern.ttl, (after + _without(parsed[1], missing),))
        return place, rrset, self.sign(place, rrset, now_s)


def _without(bitmap: bytes, missing: int) -> bytes:
    kept: Iterable[int] = (t for t in denial.bitmap_types(bitmap) if t != missing)
    return denial.compose_bitmap(kept)


def _after(digest: bytes) -> bytes:
    number = (int.from_bytes(digest, "big") + 1) % (1 << 8 * len(digest))
    return number.to_bytes(len(digest), "big")


def is_needed(rdtypes: Iterable[int]) -> bool:
    """Tell whether a name's types are answered with something else than what is stored."""
    return any(rdtype in (codes.ALIAS, codes.POOL) for rdtype in rdtypes)
