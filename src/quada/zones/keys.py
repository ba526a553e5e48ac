"""Signing keys: made, written as DNSKEY and DS, and sealed for the store.

A private key exists in memory as a `cryptography` object and at rest as AES-256-GCM over PKCS#8;
the sealing key is the caller's. A key in a token has a label there, and who can reach the token
gives it what signs. A key without either (an offline KSK) is still a key: it is published, and it
signs nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Callable

SEAL_OCTETS: Final = 32  # AES-256
RSA_BITS: Final = 2048  # RFC 8624 3.1 by way of NIST SP 800-57: 112 bits of strength
_RAW: Final = serialization.Encoding.Raw, serialization.PublicFormat.Raw

# Algorithms a zone may be signed with, the default first (RFC 8624 3.1, RFC 9905).
SIGNING_ALGORITHMS: Final = (
    signature.ECDSAP256SHA256,
    signature.ED25519,
    signature.ECDSAP384SHA384,
    signature.RSASHA256,
    signature.RSASHA512,
    signature.ED448,
)


class KeyRole(StrEnum):
    """What a key signs: the DNSKEY RRset, the rest, or both (RFC 9499 11)."""

    KSK = "ksk"
    ZSK = "zsk"
    CSK = "csk"

    @property
    def flags(self) -> int:
        """DNSKEY flags: KSK and CSK are secure entry points."""
        return signature.FLAG_ZONE | (0 if self is KeyRole.ZSK else signature.FLAG_SEP)

    @property
    def has_ds(self) -> bool:
        """True where the parent has a DS for it."""
        return self is not KeyRole.ZSK

    @property
    def signs_zone(self) -> bool:
        """True where it signs other RRsets than DNSKEY, CDS and CDNSKEY."""
        return self is not KeyRole.KSK


class Key(NamedTuple):
    """One key of a zone. `private` is None where it is kept elsewhere or has been destroyed.

    `label` names it in a token, and `held` signs with it there.
    """

    zone: bytes
    role: KeyRole
    dnskey: bytes
    private: signature.PrivateKey | None = None
    label: str = ""
    held: Callable[[bytes], bytes] | None = None

    @property
    def is_offline(self) -> bool:
        """True where nothing here can sign with it: neither in memory nor in a token."""
        return self.private is None and not self.label

    @property
    def algorithm(self) -> int:
        """The DNSSEC algorithm number."""
        return self.dnskey[3]

    @property
    def tag(self) -> int:
        """The key tag."""
        return signature.key_tag(self.dnskey)

    def ds(self, digest_type: int = signature.DIGEST_SHA256) -> bytes:
        """Compose the DS RDATA to give to the parent. Raises DataFault for an unknown digest."""
        made = signature.ds_rdata(self.zone, self.dnskey, digest_type)
        if made is None:
            raise DataFault(f"digest type {digest_type} is not known")
        return made

    def signer(self) -> Callable[[bytes], bytes]:
        """Give the function that signs. Raises DataFault where the private half is not here."""
        if self.held is not None:
            return self.held
        if self.private is None:
            place = names.to_text(self.zone)
            raise DataFault(f"key {self.tag} has no private half here", place=place)
        return signature.make_signer(self.algorithm, self.private)

    def octets(self) -> bytes:
        """Give the private half as PKCS#8: for a process of ours, never for a file."""
        if self.private is None:
            place = names.to_text(self.zone)
            raise DataFault(f"key {self.tag} has no private half here", place=place)
        return self.private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __str__(self) -> str:
        name = signature.ALGORITHM_NAMES.get(self.algorithm, str(self.algorithm))
        return f"{self.role.upper()} {self.tag} ({name})"


def make_key(
    zone: bytes, role: KeyRole, algorithm: int = signature.ECDSAP256SHA256, bits: int = RSA_BITS
) -> Key:
    """Make a key from the operating system's randomness.

    Raises: DataFault for an algorithm that zones are not signed with.
    """
    private: signature.PrivateKey
    if algorithm == signature.ECDSAP256SHA256:
        private = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == signature.ECDSAP384SHA384:
        private = ec.generate_private_key(ec.SECP384R1())
    elif algorithm == signature.ED25519:
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == signature.ED448:
        private = ed448.Ed448PrivateKey.generate()
    elif algorithm in (signature.RSASHA256, signature.RSASHA512):
        private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        fit = ", ".join(str(number) for number in SIGNING_ALGORITHMS)
        raise DataFault(
            f"algorithm {algorithm} is not one zones are signed with", remedy=f"take one of {fit}"
        )
    return Key(zone.lower(), role, compose_dnskey(role.flags, algorithm, private), private)


def compose_dnskey(flags: int, algorithm: int, private: signature.PrivateKey) -> bytes:
    """Compose the DNSKEY RDATA of a private key (RFC 4034 2.1, 3110 2, 6605 4, 8080 3)."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        numbers = private.public_key().public_numbers()
        size = (private.curve.key_size + 7) // 8
        public = numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
    elif isinstance(private, rsa.RSAPrivateKey):
        rsa_numbers = private.public_key().public_numbers()
        exponent = rsa_numbers.e.to_bytes((rsa_numbers.e.bit_length() + 7) // 8, "big")
        modulus = rsa_numbers.n.to_bytes((rsa_numbers.n.bit_length() + 7) // 8, "big")
        public = bytes((len(exponent),)) + exponent + modulus
    else:
        public = private.public_key().public_bytes(*_RAW)
    return flags.to_bytes(2, "big") + bytes((3, algorithm)) + public


def seal(key: Key, sealing_key: bytes, nonce: bytes) -> bytes:
    """Encrypt a key's private half for the store; empty where there is none.

    Takes 32 octets of sealing key and 12 fresh random octets. Bound to zone and DNSKEY, so that
    sealed halves cannot be exchanged for one another.
    """
    if key.private is None:
        return b""
    return nonce + AESGCM(sealing_key).encrypt(nonce, key.octets(), key.zone + key.dnskey)


def unseal(zone: bytes, role: KeyRole, dnskey: bytes, sealed: bytes, sealing_key: bytes) -> Key:
    """Decrypt what `seal` made. Raises DataFault where the sealing key is another one."""
    if not sealed:
        return Key(zone, role, dnskey)
    try:
        plain = AESGCM(sealing_key).decrypt(sealed[:12], sealed[12:], zone + dnskey)
    except InvalidTag:
        raise DataFault(
            f"private key {signature.key_tag(dnskey)} cannot be unsealed",
            place=names.to_text(zone),
            remedy="use the sealing key it was stored with",
        ) from None
    return Key(zone, role, dnskey, read_private(plain, zone))


def read_private(plain: bytes, zone: bytes) -> signature.PrivateKey:
    """Read a private key from PKCS#8 DER or PEM. Raises DataFault for any other kind of key."""
    load = (
        serialization.load_pem_private_key
        if plain.startswith(b"-----")
        else serialization.load_der_private_key
    )
    try:
        private = load(plain, None)
    except (ValueError, TypeError) as fault:
        raise DataFault(f"not a private key: {fault}", place=names.to_text(zone)) from None
    if not isinstance(private, signature.PrivateKey):
        raise DataFault("a private key is not of a DNSSEC algorithm", place=names.to_text(zone))
    return private
