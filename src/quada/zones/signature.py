"""Signatures on octets: canonical RRsets, DNSKEYs, DS digests, RRSIGs made and checked.

Both sides of DNSSEC stand on this file: the zone signer and its gate, and the resolver's validator.
dnspython could do it with message objects at some 300 µs an RRset beyond the arithmetic; here the
arithmetic is nearly all there is. Keys are parsed once and kept in a bounded table.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault, MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# IANA "DNS Security Algorithm Numbers".
RSASHA1: Final = 5
RSASHA1_NSEC3_SHA1: Final = 7
RSASHA256: Final = 8
RSASHA512: Final = 10
ECDSAP256SHA256: Final = 13
ECDSAP384SHA384: Final = 14
ED25519: Final = 15
ED448: Final = 16
SHA1_ALGORITHMS: Final = frozenset((RSASHA1, RSASHA1_NSEC3_SHA1))  # RFC 9905 2
ALGORITHMS: Final = frozenset(
    (RSASHA256, RSASHA512, ECDSAP256SHA256, ECDSAP384SHA384, ED25519, ED448)
)
ALGORITHM_NAMES: Final = {
    1: "RSAMD5",
    3: "DSA",
    RSASHA1: "RSASHA1",
    6: "DSA-NSEC3-SHA1",
    RSASHA1_NSEC3_SHA1: "RSASHA1-NSEC3-SHA1",
    RSASHA256: "RSASHA256",
    RSASHA512: "RSASHA512",
    12: "ECC-GOST",
    ECDSAP256SHA256: "ECDSAP256SHA256",
    ECDSAP384SHA384: "ECDSAP384SHA384",
    ED25519: "ED25519",
    ED448: "ED448",
}

# IANA "DS RR Type Digest Algorithms".
DIGEST_SHA1: Final = 1
DIGEST_SHA256: Final = 2
DIGEST_SHA384: Final = 4
_DIGESTS: Final = {
    DIGEST_SHA1: hashlib.sha1,
    DIGEST_SHA256: hashlib.sha256,
    DIGEST_SHA384: hashlib.sha384,
}

FLAG_ZONE: Final = 0x0100  # RFC 4034 2.1.1
FLAG_REVOKE: Final = 0x0080  # RFC 5011 7
FLAG_SEP: Final = 0x0001  # RFC 4034 2.1.1

MAX_RSA_BITS: Final = 4096  # RFC 3110 3
MAX_EXPONENT_BITS: Final = 64  # our choice because larger exponents only cost the validator time
MAX_KEPT_KEYS: Final = 4096  # our choice: about 4 MiB

_RSA_HASHES: Final[dict[int, hashes.HashAlgorithm]] = {
    RSASHA1: hashes.SHA1(),
    RSASHA1_NSEC3_SHA1: hashes.SHA1(),
    RSASHA256: hashes.SHA256(),
    RSASHA512: hashes.SHA512(),
}
_CURVES: Final[dict[int, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int]]] = {
    ECDSAP256SHA256: (ec.SECP256R1(), hashes.SHA256(), 32),  # RFC 6605 4
    ECDSAP384SHA384: (ec.SECP384R1(), hashes.SHA384(), 48),
}
_PKCS1: Final = padding.PKCS1v15()

# Where RDATA holds names that the canonical form lowers (RFC 4034 6.2 as amended by RFC 6840 5.1):
# octets before the first name, octets after the last.
_LOWERED: Final[dict[int, tuple[int, int]]] = {
    codes.NS: (0, 0), 3: (0, 0), 4: (0, 0), codes.CNAME: (0, 0), codes.SOA: (0, 20),
    7: (0, 0), 8: (0, 0), 9: (0, 0), codes.PTR: (0, 0), 14: (0, 0), codes.MX: (2, 0),
    17: (0, 0), 18: (2, 0), 21: (2, 0), 26: (2, 0), codes.SRV: (6, 0), 36: (2, 0),
    codes.DNAME: (0, 0),
}  # fmt: skip
_NAPTR: Final = 35


class Rrsig(NamedTuple):
    """The fields of an RRSIG (RFC 4034 3.1); `signer` is lower-cased, times are mod 2**32."""

    covered: int
    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    key_tag: int
    signer: bytes
    signature: bytes


def parse_rrsig(rdata: bytes) -> Rrsig | None:
    """Parse RRSIG RDATA; None where it is not one."""
    if len(rdata) < 20:
        return None
    try:
        signer, end = names.parse_name(rdata, 18)
    except MalformedMessage:
        return None
    if end != 18 + len(signer) or end >= len(rdata):  # compressed (RFC 4034 3.1.7), or no signature
        return None
    return Rrsig(
        int.from_bytes(rdata[0:2], "big"),
        rdata[2],
        rdata[3],
        int.from_bytes(rdata[4:8], "big"),
        int.from_bytes(rdata[8:12], "big"),
        int.from_bytes(rdata[12:16], "big"),
        int.from_bytes(rdata[16:18], "big"),
        signer.lower(),
        rdata[end:],
    )


def key_tag(rdata: bytes) -> int:
    """Compute a DNSKEY's tag (RFC 4034 appendix B; algorithm 1 has other rules and no users)."""
    total = sum(rdata[0::2]) * 256 + sum(rdata[1::2])
    return (total + (total >> 16)) & 0xFFFF


def ds_rdata(owner: bytes, dnskey: bytes, digest_type: int = DIGEST_SHA256) -> bytes | None:
    """Compose the DS RDATA of a DNSKEY; None for an unknown digest type (RFC 4034 5.1.4)."""
    make = _DIGESTS.get(digest_type)
    if make is None or len(dnskey) < 4:
        return None
    digest = make(owner.lower() + dnskey).digest()
    return key_tag(dnskey).to_bytes(2, "big") + bytes((dnskey[3], digest_type)) + digest


def canonical_rdata(rdtype: int, rdata: bytes) -> bytes:
    """Give RDATA in canonical form: names in the old types lowered (RFC 4034 6.2)."""
    place = _LOWERED.get(rdtype)
    if place is None:
        return rdata if rdtype != _NAPTR else _canonical_naptr(rdata)
    before, after = place
    if not before and not after:
        return rdata.lower()
    end = len(rdata) - after
    return rdata[:before] + rdata[before:end].lower() + rdata[end:]


def _canonical_naptr(rdata: bytes) -> bytes:
    at = 4
    for _ in range(3):  # flags, services, regexp (RFC 3403 4.1)
        if at >= len(rdata):
            return rdata
        at += 1 + rdata[at]
    return rdata[:at] + rdata[at:].lower()


def signed_octets(
    head: bytes, owner: bytes, rdtype: int, original_ttl: int, rdatas: Sequence[bytes]
) -> bytes:
    """Compose what a signature covers (RFC 4034 3.1.8.1).

    Takes the RRSIG's RDATA up to and with the signer's name (lower-cased), and the owner as it was
    signed: for an answer made from a wildcard, the wildcard's.
    """
    fixed = (
        owner
        + rdtype.to_bytes(2, "big")
        + codes.IN.to_bytes(2, "big")
        + original_ttl.to_bytes(4, "big")
    )
    if len(rdatas) == 1:
        rdata = canonical_rdata(rdtype, rdatas[0])
        return head + fixed + len(rdata).to_bytes(2, "big") + rdata
    parts = [head]
    for rdata in sorted({canonical_rdata(rdtype, rdata) for rdata in rdatas}):
        parts += (fixed, len(rdata).to_bytes(2, "big"), rdata)
    return b"".join(parts)


def signed_owner(owner: bytes, labels: int) -> bytes | None:
    """Give the owner that was signed: itself, or the wildcard that an RRSIG's label count tells.

    None where the count is above the owner's own (RFC 4035 5.3.2).
    """
    own = names.label_count(owner)
    if owner[:2] == b"\x01*":
        own -= 1
    if labels == own:
        return owner
    if labels > own:
        return None
    return b"\x01*" + suffix(owner, labels)


def suffix(name: bytes, label_count: int) -> bytes:
    """Give the last labels of a name."""
    for _ in range(names.label_count(name) - label_count):
        name = names.parent(name)
    return name


def rrsig_head(rrsig: Rrsig) -> bytes:
    """Compose an RRSIG's RDATA without its signature."""
    return b"".join(
        (
            rrsig.covered.to_bytes(2, "big"),
            bytes((rrsig.algorithm, rrsig.labels)),
            rrsig.original_ttl.to_bytes(4, "big"),
            rrsig.expiration.to_bytes(4, "big"),
            rrsig.inception.to_bytes(4, "big"),
            rrsig.key_tag.to_bytes(2, "big"),
            rrsig.signer,
        )
    )


def is_valid(
    dnskey: bytes, rrsig: Rrsig, owner: bytes, rdtype: int, rdatas: Sequence[bytes]
) -> bool:
    """Tell whether a signature over an RRset was made by a DNSKEY. Looks at no clock and no trust.

    `owner` is the signed owner (see `signed_owner`). Costs one signature check.
    """
    verify = verifier(dnskey)
    if verify is None:
        return False
    octets = signed_octets(rrsig_head(rrsig), owner, rdtype, rrsig.original_ttl, rdatas)
    return verify(rrsig.signature, octets)


_kept: dict[bytes, Callable[[bytes, bytes], bool] | None] = {}


def verifier(dnskey: bytes) -> Callable[[bytes, bytes], bool] | None:
    """Give a function (signature, octets) -> bool for DNSKEY RDATA; None for an unusable key.

    Kept in a table of MAX_KEPT_KEYS, emptied when full, so that a key is parsed once.
    """
    known = _kept.get(dnskey, _kept)
    if known is not _kept:
        return known  # type: ignore[return-value]
    made = _make_verifier(dnskey[3], dnskey[4:]) if len(dnskey) > 4 and dnskey[2] == 3 else None
    if len(_kept) >= MAX_KEPT_KEYS:
        _kept.clear()
    _kept[dnskey] = made
    return made


def _make_verifier(algorithm: int, public: bytes) -> Callable[[bytes, bytes], bool] | None:
    try:
        if algorithm in _CURVES:
            return _ecdsa_verifier(algorithm, public)
        if algorithm in _RSA_HASHES:
            return _rsa_verifier(algorithm, public)
        if algorithm == ED25519:
            return _eddsa_verifier(ed25519.Ed25519PublicKey.from_public_bytes(public).verify)
        if algorithm == ED448:
            return _eddsa_verifier(ed448.Ed448PublicKey.from_public_bytes(public).verify)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return None


def _ecdsa_verifier(algorithm: int, public: bytes) -> Callable[[bytes, bytes], bool]:
    curve, digest, size = _CURVES[algorithm]
    check = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + public).verify
    scheme = ec.ECDSA(digest)

    def verify(signature: bytes, octets: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        der = encode_dss_signature(
            int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        )
        try:
            check(der, octets, scheme)
        except InvalidSignature:
            return False
        return True

    return verify


def _rsa_verifier(algorithm: int, public: bytes) -> Callable[[bytes, bytes], bool] | None:
    exponent, modulus = parse_rsa(public)
    if modulus.bit_length() > MAX_RSA_BITS or exponent.bit_length() > MAX_EXPONENT_BITS:
        return None
    check = rsa.RSAPublicNumbers(exponent, modulus).public_key().verify
    digest = _RSA_HASHES[algorithm]

    def verify(signature: bytes, octets: bytes) -> bool:
        try:
            check(signature, octets, _PKCS1, digest)
        except InvalidSignature:
            return False
        return True

    return verify


def _eddsa_verifier(check: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    def verify(signature: bytes, octets: bytes) -> bool:
        try:
            check(signature, octets)
        except InvalidSignature:
            return False
        return True

    return verify


def parse_rsa(public: bytes) -> tuple[int, int]:
    """Parse an RSA public key: exponent, modulus (RFC 3110 2). Raises ValueError."""
    if len(public) < 3:
        raise ValueError("RSA key is cut short")
    at, length = (1, public[0]) if public[0] else (3, int.from_bytes(public[1:3], "big"))
    exponent = int.from_bytes(public[at : at + length], "big")
    modulus = int.from_bytes(public[at + length :], "big")
    if not exponent or not modulus:
        raise ValueError("RSA key has no exponent or no modulus")
    return exponent, modulus


PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


def make_signer(algorithm: int, private: PrivateKey) -> Callable[[bytes], bytes]:
    """Give a function that signs octets the way DNSSEC writes that algorithm's signatures.

    Raises: DataFault where key and algorithm do not go together.
    RFC: 6605 4, 8080 4, 5702 3
    """
    if isinstance(private, ec.EllipticCurvePrivateKey) and algorithm in _CURVES:
        curve, digest, size = _CURVES[algorithm]
        if private.curve.name == curve.name:
            return _ecdsa_signer(private, ec.ECDSA(digest), size)
    if isinstance(private, rsa.RSAPrivateKey) and algorithm in (RSASHA256, RSASHA512):
        rsa_digest = _RSA_HASHES[algorithm]
        return lambda octets: private.sign(octets, _PKCS1, rsa_digest)
    if isinstance(private, ed25519.Ed25519PrivateKey) and algorithm == ED25519:
        return private.sign
    if isinstance(private, ed448.Ed448PrivateKey) and algorithm == ED448:
        return private.sign
    raise DataFault(f"this key cannot sign with algorithm {algorithm}")


def _ecdsa_signer(
    private: ec.EllipticCurvePrivateKey, scheme: ec.ECDSA, size: int
) -> Callable[[bytes], bytes]:
    sign = private.sign

    def make(octets: bytes) -> bytes:
        r, s = decode_dss_signature(sign(octets, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return make


def is_in_time(rrsig: Rrsig, now_s: int, skew_s: int = 0) -> int:
    """Compare a signature's validity with the time: -1 not yet valid, 0 valid, 1 expired.

    Times are compared in serial number arithmetic (RFC 4034 3.1.5, RFC 1982 3.2).
    """
    now = now_s & 0xFFFFFFFF
    if _serial_difference(rrsig.inception, now) > skew_s:
        return -1
    if _serial_difference(now, rrsig.expiration) > skew_s:
        return 1
    return 0


def seconds_left(rrsig: Rrsig, now_s: int) -> int:
    """Give the seconds until a signature expires; negative once it has."""
    return _serial_difference(rrsig.expiration, now_s & 0xFFFFFFFF)


def _serial_difference(a: int, b: int) -> int:
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000
