"""Proofs that a name or type does not exist: NSEC (RFC 4035 3.1.3) and NSEC3 (RFC 5155 7.2).

A chain finds the record that matches or covers a name, and gives it as octets with the apex as a
pointer, so that a proof for a random name is a bisection and a join, never a composition.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_right
from typing import Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.records import RRset

Signed = tuple[RRset, tuple[bytes, ...]]
"""An RRset and the RRSIGs (RDATA) that cover it."""

_HASHES_MAX: Final = 20_000  # our choice: hashes of closest enclosers and wildcards worth keeping
_TO_HEX: Final = bytes.maketrans(b"abcdefghijklmnopqrstuv", b"ABCDEFGHIJKLMNOPQRSTUV")


class Proof(NamedTuple):
    """One NSEC or NSEC3 RRset with its signatures, ready to be joined around a pointer.

    `pieces` are the octets before, between and after the places of the apex pointer; `records` is
    the number of records. Two proofs of the same owner are the same object.
    """

    owner: bytes
    signed: Signed
    pieces: tuple[bytes, ...]
    records: int

    def octets(self, apex_pointer: bytes) -> bytes:
        """Give the records, their owners ending in a pointer to the apex."""
        return apex_pointer.join(self.pieces)


def make_proof(owner: bytes, origin: bytes, signed: Signed) -> Proof:
    """Make a Proof of an RRset in a zone; RRSIGs take its TTL (RFC 4034 3)."""
    rrset, signatures = signed
    prefix = owner[: len(owner) - len(origin)]
    ttl = rrset.ttl.to_bytes(4, "big")
    pieces = [prefix]
    for rdtype, rdatas in ((rrset.rdtype, rrset.rdatas), (codes.RRSIG, signatures)):
        fixed = rdtype.to_bytes(2, "big") + b"\x00\x01" + ttl
        pieces += [fixed + len(rdata).to_bytes(2, "big") + rdata + prefix for rdata in rdatas]
    pieces[-1] = pieces[-1][: len(pieces[-1]) - len(prefix)]
    return Proof(owner, signed, tuple(pieces), len(rrset.rdatas) + len(signatures))


def sort_key(name: bytes, origin: bytes) -> bytes:
    """Give octets that sort as the canonical order of names under an origin (RFC 4034 6.1).

    Labels from the apex down, each ended by a zero octet; the two octets that would confuse this
    are escaped.
    """
    at, end = 0, len(name) - len(origin)
    if end and name[0] + 1 == end and not (0 in (label := name[1:end]) or 1 in label):
        return label  # the usual case: one plain label
    labels = []
    while at < end:
        after = at + 1 + name[at]
        labels.append(name[at + 1 : after])
        at = after
    labels.reverse()
    key = b"\x00".join(labels)
    if key.count(0) >= len(labels) or b"\x01" in key:
        key = b"\x00".join(
            label.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01") for label in labels
        )
    return key


class NsecChain:
    """The NSEC records of a zone in canonical order."""

    def __init__(self, origin: bytes, records: dict[bytes, Signed]) -> None:
        self._origin = origin
        self._records = records
        pairs = sorted((sort_key(owner, origin), owner) for owner in records)
        self._keys = [key for key, _ in pairs]
        self._owners = [owner for _, owner in pairs]
        self._proofs: dict[bytes, Proof] = {}
        self._no_wildcards: dict[bytes, Proof] = {}

    def covering(self, name: bytes) -> Proof:
        """Give the NSEC at or before a name: it matches the name or covers it."""
        at = bisect_right(self._keys, sort_key(name, self._origin)) - 1
        return self._proof(self._owners[at])

    def no_name(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that neither the name nor a wildcard for it exists (RFC 4035 3.1.3.2)."""
        proof = self.covering(name)
        wildcard = self._no_wildcards.get(encloser)
        if wildcard is None:
            wildcard = self._no_wildcards[encloser] = self.covering(b"\x01*" + encloser)
        return [proof] if proof is wildcard else [proof, wildcard]

    def no_type(self, name: bytes) -> list[Proof]:
        """Prove NODATA at a name or an empty non-terminal (RFC 4035 3.1.3.1)."""
        return [self.covering(name)]

    def no_type_at_wildcard(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that the wildcard matched and lacks the type (RFC 4035 3.1.3.4)."""
        return _distinct(self.covering(name), self.covering(b"\x01*" + encloser))

    def no_closer(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that nothing closer than the wildcard exists (RFC 4035 3.1.3.3)."""
        return [self.covering(name)]

    def no_ds(self, name: bytes) -> list[Proof]:
        """Prove that a delegation is insecure (RFC 4035 3.1.4.1)."""
        return [self.covering(name)]

    def _proof(self, owner: bytes) -> Proof:
        proof = self._proofs.get(owner)
        if proof is None:
            proof = make_proof(owner, self._origin, self._records[owner])
            self._proofs[owner] = proof
        return proof


class Nsec3Chain:
    """The NSEC3 records of a zone in hash order."""

    def __init__(self, origin: bytes, parameters: RRset, records: dict[bytes, Signed]) -> None:
        rdata = parameters.rdatas[0]
        self._origin = origin
        self._iterations = int.from_bytes(rdata[2:4], "big")
        self._salt = rdata[5 : 5 + rdata[4]]
        self._records = records
        by_hash = {}
        for owner in records:
            label = owner[1 : 1 + owner[0]]
            try:
                by_hash[base64.b32hexdecode(label.translate(_TO_HEX))] = owner
            except ValueError:
                continue  # not a hash: such an NSEC3 can prove nothing
        self._hashes = sorted(by_hash)
        self._owners = by_hash
        self._proofs: dict[bytes, Proof] = {}
        self._known: dict[bytes, bytes] = {}

    def matching(self, name: bytes) -> Proof | None:
        """Give the NSEC3 whose owner is the hash of a name."""
        owner = self._owners.get(self._known_hash(name))
        return self._proof(owner) if owner is not None else None

    def covering(self, name: bytes) -> Proof:
        """Give the NSEC3 before the hash of a name; the last one before the first hash."""
        at = bisect_right(self._hashes, self._hash(name)) - 1
        return self._proof(self._owners[self._hashes[at]])

    def no_name(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that neither the name nor a wildcard for it exists (RFC 5155 7.2.2)."""
        return _distinct(*self._closest(name, encloser), self._covering_known(b"\x01*" + encloser))

    def no_type(self, name: bytes) -> list[Proof]:
        """Prove NODATA at a name or an empty non-terminal (RFC 5155 7.2.3, 7.2.4)."""
        return self.no_ds(name)

    def no_type_at_wildcard(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that the wildcard matched and lacks the type (RFC 5155 7.2.5)."""
        wildcard = self.matching(b"\x01*" + encloser)
        return _distinct(*self._closest(name, encloser), *([wildcard] if wildcard else []))

    def no_closer(self, name: bytes, encloser: bytes) -> list[Proof]:
        """Prove that nothing closer than the wildcard exists (RFC 5155 7.2.6)."""
        return [self.covering(_next_closer(name, encloser))]

    def no_ds(self, name: bytes) -> list[Proof]:
        """Prove that a delegation is insecure, perhaps by opt-out (RFC 5155 7.2.7, 7.2.4)."""
        match = self.matching(name)
        if match is not None:
            return [match]
        encloser = names.parent(name)
        while encloser != self._origin and self.matching(encloser) is None:
            encloser = names.parent(encloser)
        return _distinct(*self._closest(name, encloser))

    def _closest(self, name: bytes, encloser: bytes) -> list[Proof]:
        """The closest encloser proof (RFC 5155 7.2.1); an opted-out ancestor is passed over."""
        match = self.matching(encloser)
        while match is None and encloser != self._origin:
            encloser = names.parent(encloser)
            match = self.matching(encloser)
        covering = self.covering(_next_closer(name, encloser))
        return [match, covering] if match else [covering]

    def _covering_known(self, name: bytes) -> Proof:
        at = bisect_right(self._hashes, self._known_hash(name)) - 1
        return self._proof(self._owners[self._hashes[at]])

    def _known_hash(self, name: bytes) -> bytes:
        """Hash a name that zone data, not the asker, chose: worth remembering."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _HASHES_MAX:
                self._known.clear()
            known = self._known[name] = self._hash(name)
        return known

    def _hash(self, name: bytes) -> bytes:
        """RFC 5155 5."""
        digest = hashlib.sha1(name + self._salt, usedforsecurity=False).digest()
        for _ in range(self._iterations):
            digest = hashlib.sha1(digest + self._salt, usedforsecurity=False).digest()
        return digest

    def _proof(self, owner: bytes) -> Proof:
        proof = self._proofs.get(owner)
        if proof is None:
            proof = make_proof(owner, self._origin, self._records[owner])
            self._proofs[owner] = proof
        return proof


def _next_closer(name: bytes, encloser: bytes) -> bytes:
    """Give the name one label longer than the closest encloser (RFC 5155 1.3)."""
    at, end = 0, len(name) - len(encloser)
    while at + name[at] + 1 < end:
        at += name[at] + 1
    return name[at:]


def _distinct(*proofs: Proof) -> list[Proof]:
    """Leave out a proof that is already there."""
    out: list[Proof] = []
    for proof in proofs:
        if proof not in out:
            out.append(proof)
    return out
