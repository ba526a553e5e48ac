"""Proofs of what is not there: NSEC and NSEC3 records, already verified, put to use.

Nothing here looks at a signature: `validate` verifies records of one zone, then asks this file what
they prove. Every question has one answer, a `Proof`, so that a gap in the proof is never taken for
a proof of a gap.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
from quada.zones.signature import suffix

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ITERATIONS: Final = 50  # RFC 9276 3.2 leaves the number open; BIND since 2024 takes this one
MAX_HASH_ROUNDS: Final = 4096  # our choice: under 3 ms an answer, whatever it holds


class Proof(IntEnum):
    """What records prove about a claim."""

    MISSING = 0  # the claim is not proved, or is contradicted
    PROVED = 1
    OPT_OUT = 2  # proved but for unsigned delegations: insecure at best (RFC 5155 9.2)
    TOO_COSTLY = 3  # NSEC3 iterations above MAX_ITERATIONS: insecure (RFC 9276 3.2)


class Cut(IntEnum):
    """What a denial of DS says of a name."""

    UNKNOWN = 0
    INSECURE = 1  # a delegation without DS, or where opt-out cannot tell
    NO_CUT = 2  # the name is, but no zone begins there
    NO_NAME = 3  # neither the name nor anything below it is
    TOO_COSTLY = 4


class Nsec(NamedTuple):
    """A verified NSEC: the span from owner to next, both with their canonical keys."""

    owner: bytes
    after: bytes
    owner_key: tuple[bytes, ...]
    after_key: tuple[bytes, ...]
    bitmap: bytes

    def covers(self, name: bytes) -> bool:
        """Tell whether the name lies in the gap: it owns nothing, and nothing below it does.

        A name whose descendant is `after` is an empty non-terminal: it exists (RFC 4592 2.2.2).
        """
        key = names.canonical_key(name)
        if self.owner_key < self.after_key:
            is_between = self.owner_key < key < self.after_key
        else:  # the last record of the zone points back to the apex
            is_between = self.owner_key < key
        return (
            is_between and not names.is_subdomain(self.after, name) and not self._is_above_cut(name)
        )

    def is_empty_non_terminal(self, name: bytes) -> bool:
        """Tell whether the name has nothing but descendants, `after` being one."""
        key = names.canonical_key(name)
        return (
            self.owner_key < key < self.after_key
            and names.is_subdomain(self.after, name)
            and not self._is_above_cut(name)
        )

    def _is_above_cut(self, name: bytes) -> bool:
        """RFC 6840 4.1: a delegation's or DNAME's NSEC says nothing of what is below its owner."""
        return names.is_subdomain(name, self.owner) and _leads_away(self.bitmap)


class Denial:
    """The verified NSEC and NSEC3 records of one zone in one answer."""

    def __init__(self, zone: bytes) -> None:
        self.zone = zone
        self.nsecs: list[Nsec] = []
        self._hashed: dict[bytes, denial.Nsec3] = {}
        self._parameters: tuple[int, bytes] | None = None
        self._is_mixed = False
        self._rounds_left = MAX_HASH_ROUNDS
        self._hashes: dict[bytes, bytes | None] = {}

    def add(self, owner: bytes, rdtype: int, rdatas: Iterable[bytes]) -> None:
        """Take verified records; others than NSEC and usable NSEC3 are ignored."""
        for rdata in rdatas:
            if rdtype == codes.NSEC:
                parsed = denial.parse_nsec(rdata)
                if parsed is not None and names.is_subdomain(parsed[0], self.zone):
                    after, bitmap = parsed
                    keys = names.canonical_key(owner), names.canonical_key(after)
                    self.nsecs.append(Nsec(owner, after, *keys, bitmap))
            elif rdtype == codes.NSEC3 and names.parent(owner) == self.zone:
                self._add_nsec3(owner, rdata)

    def _add_nsec3(self, owner: bytes, rdata: bytes) -> None:
        nsec3, own = denial.parse_nsec3(rdata), denial.label_hash(owner)
        if nsec3 is None or own is None or len(nsec3.next_hash) != denial.HASH_OCTETS:
            return
        if nsec3.algorithm != denial.NSEC3_SHA1 or nsec3.flags & ~denial.NSEC3_OPT_OUT:
            return  # RFC 5155 8.1, 8.2: unknown hash or flags: ignore the record
        parameters = nsec3.iterations, nsec3.salt
        if self._parameters is None:
            self._parameters = parameters
        elif self._parameters != parameters:
            self._is_mixed = True  # RFC 5155 8.2: all must be of one chain
        self._hashed[own] = nsec3

    @property
    def is_empty(self) -> bool:
        """True where there is no usable record."""
        return not self.nsecs and not self._hashed

    @property
    def is_too_costly(self) -> bool:
        """True where the records ask for more hashing than we do (RFC 9276 3.2)."""
        return self._parameters is not None and self._parameters[0] > MAX_ITERATIONS

    # ------------------------------------------------------------------------------------ claims

    def no_data(self, qname: bytes, qtype: int) -> Proof:
        """Prove that a name exists, or a wildcard stands for it, without the type.

        RFC: 4035 5.4, 5155 8.5 to 8.7, 6840 4.1 to 4.3, 9824 3
        """
        if self._hashed:
            return self._no_data_hashed(qname, qtype)
        for nsec in self.nsecs:
            if nsec.owner == qname:
                return _lacks(nsec.bitmap, qtype, is_apex=qname == self.zone)
            if nsec.is_empty_non_terminal(qname):
                return Proof.PROVED
        encloser = self.closest_encloser(qname)
        if encloser is None:
            return Proof.MISSING
        wildcard = b"\x01*" + encloser
        for nsec in self.nsecs:
            if nsec.owner == wildcard:
                return _lacks(nsec.bitmap, qtype, is_apex=False)
            if nsec.is_empty_non_terminal(wildcard):  # RFC 4592 4.2: it has no data, and stands
                return Proof.PROVED
        return Proof.MISSING

    def no_name(self, qname: bytes) -> Proof:
        """Prove that neither the name nor a wildcard for it exists (RFC 4035 5.4, 5155 8.4)."""
        if self._hashed:
            return self._no_name_hashed(qname)
        for nsec in self.nsecs:  # RFC 9824 3.1: the name is there only to say that it is not
            if nsec.owner == qname and denial.has_type(nsec.bitmap, denial.NXNAME):
                return Proof.PROVED
        encloser = self.closest_encloser(qname)
        if encloser is None:
            return Proof.MISSING
        wildcard = b"\x01*" + encloser
        return Proof.PROVED if any(n.covers(wildcard) for n in self.nsecs) else Proof.MISSING

    def no_closer_match(self, qname: bytes, encloser_labels: int) -> Proof:
        """Prove that a wildcard answer was due: nothing nearer to the name than `*.encloser` is.

        RFC: 4035 5.3.4, 5155 8.8
        """
        next_closer = suffix(qname, encloser_labels + 1)
        if self._hashed:
            return self._covered(next_closer)
        is_covered = any(nsec.covers(next_closer) for nsec in self.nsecs)
        return Proof.PROVED if is_covered else Proof.MISSING

    def cut(self, name: bytes) -> Cut:
        """Tell what the denial of a DS says of the name (RFC 4035 5.2, 5155 8.6 and 8.9)."""
        if self._hashed:
            return self._cut_hashed(name)
        for nsec in self.nsecs:
            if nsec.owner == name:
                return _cut_of(nsec.bitmap)
            if nsec.is_empty_non_terminal(name):
                return Cut.NO_CUT
        return Cut.NO_NAME if any(nsec.covers(name) for nsec in self.nsecs) else Cut.UNKNOWN

    # ------------------------------------------------------------------------------------- NSEC

    def closest_encloser(self, qname: bytes) -> bytes | None:
        """Find it from the NSEC that covers the name: the longest ancestor shared with an end."""
        for nsec in self.nsecs:
            if nsec.covers(qname):
                shared = max(_shared_labels(nsec.owner, qname), _shared_labels(nsec.after, qname))
                return suffix(qname, shared)
        return None

    # ------------------------------------------------------------------------------------- NSEC3

    def _hash(self, name: bytes) -> bytes | None:
        if name in self._hashes:
            return self._hashes[name]
        if self._parameters is None or self._is_mixed:
            return None
        iterations, salt = self._parameters
        self._rounds_left -= iterations + 1
        digest = denial.nsec3_hash(name, iterations, salt) if self._rounds_left >= 0 else None
        self._hashes[name] = digest
        return digest

    def _match(self, name: bytes) -> denial.Nsec3 | None:
        digest = self._hash(name)
        return self._hashed.get(digest) if digest is not None else None

    def _covered(self, name: bytes) -> Proof:
        if self.is_too_costly:
            return Proof.TOO_COSTLY
        digest = self._hash(name)
        if digest is None or digest in self._hashed:
            return Proof.MISSING
        for own, nsec3 in self._hashed.items():
            after = nsec3.next_hash
            is_between = own < digest < after if own < after else digest > own or digest < after
            if is_between:
                is_opt_out = nsec3.flags & denial.NSEC3_OPT_OUT
                return Proof.OPT_OUT if is_opt_out else Proof.PROVED
        return Proof.MISSING

    def _encloser_hashed(self, qname: bytes) -> tuple[bytes, Proof]:
        """Prove the closest encloser (RFC 5155 8.3): it, and how its next closer is covered."""
        next_closer, name = qname, names.parent(qname)
        while names.is_subdomain(name, self.zone):
            nsec3 = self._match(name)
            if nsec3 is not None:
                if _leads_away(nsec3.bitmap):
                    return name, Proof.MISSING
                return name, self._covered(next_closer)
            if name == names.ROOT:
                break
            next_closer, name = name, names.parent(name)
        return self.zone, Proof.MISSING

    def _no_data_hashed(self, qname: bytes, qtype: int) -> Proof:
        if self.is_too_costly:
            return Proof.TOO_COSTLY
        nsec3 = self._match(qname)
        if nsec3 is not None:
            return _lacks(nsec3.bitmap, qtype, is_apex=qname == self.zone)
        encloser, proof = self._encloser_hashed(qname)
        if proof is Proof.MISSING:
            return proof
        wildcard = self._match(b"\x01*" + encloser)
        if wildcard is not None:
            lacks = _lacks(wildcard.bitmap, qtype, is_apex=False)
            return proof if lacks is Proof.PROVED else lacks
        # RFC 5155 8.6: no DS at an unsigned delegation that opt-out left out of the chain. Another
        # type there is an empty non-terminal of such delegations: insecure too (RFC 5155 errata).
        return Proof.OPT_OUT if proof is Proof.OPT_OUT else Proof.MISSING

    def _no_name_hashed(self, qname: bytes) -> Proof:
        if self.is_too_costly:
            return Proof.TOO_COSTLY
        if self._match(qname) is not None:
            return Proof.MISSING
        encloser, proof = self._encloser_hashed(qname)
        if proof is Proof.MISSING:
            return proof
        wildcard = self._covered(b"\x01*" + encloser)
        if wildcard is Proof.MISSING:
            return wildcard
        return Proof.OPT_OUT if Proof.OPT_OUT in (proof, wildcard) else Proof.PROVED

    def _cut_hashed(self, name: bytes) -> Cut:
        if self.is_too_costly:
            return Cut.TOO_COSTLY
        nsec3 = self._match(name)
        if nsec3 is not None:
            return _cut_of(nsec3.bitmap)
        _, proof = self._encloser_hashed(name)
        if proof is Proof.OPT_OUT:
            return Cut.INSECURE
        return Cut.NO_NAME if proof is Proof.PROVED else Cut.UNKNOWN


def _leads_away(bitmap: bytes) -> bool:
    """Tell whether what is below the owner belongs elsewhere: a delegation, or a DNAME."""
    is_delegation = denial.has_type(bitmap, codes.NS) and not denial.has_type(bitmap, codes.SOA)
    return is_delegation or denial.has_type(bitmap, codes.DNAME)


def _lacks(bitmap: bytes, qtype: int, *, is_apex: bool) -> Proof:
    """Judge a bitmap of the name itself against NODATA for a type."""
    has = denial.has_type
    if has(bitmap, qtype) or has(bitmap, codes.CNAME):
        return Proof.MISSING
    has_soa = has(bitmap, codes.SOA)
    if qtype == codes.DS:
        # RFC 6840 4.4: the child's own record cannot deny what is the parent's to say.
        return Proof.MISSING if has_soa and not is_apex else Proof.PROVED
    # RFC 6840 4.4, from the other side: the parent's record at a cut speaks for DS only.
    return Proof.MISSING if has(bitmap, codes.NS) and not has_soa else Proof.PROVED


def _cut_of(bitmap: bytes) -> Cut:
    has = denial.has_type
    if has(bitmap, codes.DS) or has(bitmap, codes.SOA):
        return Cut.UNKNOWN
    return Cut.INSECURE if has(bitmap, codes.NS) else Cut.NO_CUT


def _shared_labels(one: bytes, other: bytes) -> int:
    """Count the labels that two names share, from the root down."""
    count = 0
    for a, b in zip(names.canonical_key(one), names.canonical_key(other), strict=False):
        if a != b:
            break
        count += 1
    return count
