"""Keys in BIND's files (`K*.key`, `K*.private`), which Knot, PowerDNS and ldns also read and write.

What a zone was signed with elsewhere can be taken over, so that it moves here and keeps its DS.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.rdata
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault
from quada.zones.keys import Key, KeyRole, compose_dnskey
from quada.zones.keystate import Keys, Ring, State, View, key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

_CURVES: Final[dict[int, ec.EllipticCurve]] = {
    signature.ECDSAP256SHA256: ec.SECP256R1(),
    signature.ECDSAP384SHA384: ec.SECP384R1(),
}
_RSA_FIELDS: Final = (
    "Prime1", "Prime2", "PrivateExponent", "Exponent1", "Exponent2", "Coefficient",
)  # fmt: skip


def read_key_files(public: str, private: str, place: str = "key file") -> Key:
    """Read one key from the texts of its two files; the role is KSK where SEP is set, else ZSK.

    Raises: DataFault where they cannot be read, or do not belong together.
    """
    zone, dnskey = read_public(public, place)
    flags = int.from_bytes(dnskey[:2], "big")
    if flags & signature.FLAG_REVOKE:
        raise DataFault("the key is revoked", place=place)
    role = KeyRole.KSK if flags & signature.FLAG_SEP else KeyRole.ZSK
    made = _read_private(private, dnskey[3], place)
    if compose_dnskey(flags, dnskey[3], made) != dnskey:
        raise DataFault("the private key is not that of the DNSKEY", place=place)
    return Key(zone, role, dnskey, made)


def read_public(text: str, place: str) -> tuple[bytes, bytes]:
    """Read zone and DNSKEY of a public key file. Raises: DataFault."""
    for line in text.splitlines():
        fields = line.split(";", 1)[0].split()
        for at, field in enumerate(fields):
            if field.upper() == "DNSKEY":
                rdata = " ".join(fields[at + 1 :])
                try:
                    wire = dns.rdata.from_text("IN", "DNSKEY", rdata).to_wire()
                except dns.exception.DNSException as fault:
                    raise DataFault(f"the DNSKEY cannot be read: {fault}", place=place) from None
                assert wire is not None
                return names.from_text(fields[0], names.ROOT).lower(), wire
    raise DataFault("there is no DNSKEY record in it", place=place)


def _read_private(text: str, algorithm: int, place: str) -> signature.PrivateKey:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    try:
        if algorithm in (signature.RSASHA256, signature.RSASHA512):
            p, q, d, dmp1, dmq1, iqmp = (_integer(fields[name]) for name in _RSA_FIELDS)
            public = rsa.RSAPublicNumbers(
                _integer(fields["PublicExponent"]), _integer(fields["Modulus"])
            )
            return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public).private_key()
        secret = base64.b64decode(fields["PrivateKey"], validate=True)
        if algorithm in _CURVES:
            return ec.derive_private_key(int.from_bytes(secret, "big"), _CURVES[algorithm])
        if algorithm == signature.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        if algorithm == signature.ED448:
            return ed448.Ed448PrivateKey.from_private_bytes(secret)
    except KeyError as missing:
        raise DataFault(f"the private key has no {missing.args[0]}", place=place) from None
    except (ValueError, binascii.Error) as fault:
        raise DataFault(f"the private key cannot be read: {fault}", place=place) from None
    raise DataFault(f"zones are not signed with algorithm {algorithm}", place=place)


def _integer(text: str) -> int:
    return int.from_bytes(base64.b64decode(text, validate=True), "big")


def taken_over(keys: Iterable[Key], now_s: int) -> tuple[State, list[Key]]:
    """Give the state of a zone that serves with these keys already, its DS at the parent.

    Keys that all have SEP are CSKs. Raises: DataFault where no key signs one of the two parts, or
    two keys share algorithm and tag.
    """
    keys = list(keys)
    if keys and all(key.role is KeyRole.KSK for key in keys):
        keys = [key._replace(role=KeyRole.CSK) for key in keys]
    if not any(key.role.has_ds for key in keys) or not any(key.role.signs_zone for key in keys):
        raise DataFault("a zone needs a KSK and a ZSK, or a key that is both")
    rings = tuple(
        Ring(
            key_id(key.dnskey),
            key.role,
            key.dnskey,
            now_s,
            is_published=True,
            signs_keys=key.role.has_ds,
            signs_zone=key.role.signs_zone,
            wants_ds=key.role.has_ds,
        )
        for key in keys
    )
    published = frozenset(ring.key for ring in rings)
    if len(published) != len(rings):
        raise DataFault("two keys share algorithm and tag")
    entry = frozenset(ring.key for ring in rings if ring.wants_ds)
    signing = frozenset(ring.key for ring in rings if ring.signs_zone)
    return State(
        rings=rings,
        dnskeys=(View(Keys(published, entry)),),
        signatures=(View(signing),),
        ds=(View(entry),),
        ds_asked=entry,
    ), keys
