"""Who signs the rehearsal's certificates: a root and an issuer, both plainly marked as a test."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_ROOT: Final = "quada rehearsal root (TEST, trust it nowhere)"
_ISSUER: Final = "quada rehearsal issuer (TEST)"
_ROOT_DAYS: Final = 3_650
_KEPT_MAX: Final = 10_000
_DAY_S: Final = 86_400


class Issuer:
    """Issues leaves. Takes the root's key and certificate, the CAA name and days of validity."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, root: x509.Certificate, name: str, days: float
    ) -> None:
        self.name = name
        self._days = days
        self._root = root
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = root.not_valid_before_utc.timestamp()
        self._certificate = _authority(_ISSUER, self._key, root.subject, key, now, path_length=0)
        self.key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()).digest
        self._lifetimes: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def issue(
        self,
        key: CertificatePublicKeyTypes,
        names: Iterable[str],
        now: float,
        days: float | None = None,
    ) -> tuple[int, str]:
        """Issue for a key, for names and addresses; gives the serial, and the chain in PEM.

        `days` is how long it lasts, if not as long as all.
        """
        lasts = self._days if days is None else days
        # Begun a little before, for clocks that are slow.
        early = min(3600, lasts * 8_640)
        begin = datetime.datetime.fromtimestamp(int(now - early), datetime.UTC)
        end = datetime.datetime.fromtimestamp(int(now + lasts * _DAY_S), datetime.UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(secrets.randbits(127))
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier(self.key_id, None, None), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._lifetimes[leaf.serial_number] = begin.timestamp(), end.timestamp()
        if len(self._lifetimes) > _KEPT_MAX:
            self._lifetimes.popitem(last=False)
        return leaf.serial_number, _pem(leaf) + _pem(self._certificate)

    def is_ours(self, leaf: x509.Certificate) -> bool:
        """Whether this issuer signed it."""
        return leaf.serial_number in self._lifetimes and leaf.issuer == self._certificate.subject

    def lifetime(self, serial: int) -> tuple[float, float] | None:
        """When a certificate of ours begins and ends, in Unix seconds; None for a stranger's."""
        return self._lifetimes.get(serial)


def make_root(now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Make a root of ten years, that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ROOT)])
    return key, _authority(_ROOT, key, name, key, now, path_length=1)


def _authority(
    common: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    now: float,
    *,
    path_length: int,
) -> x509.Certificate:
    begin = datetime.datetime.fromtimestamp(int(now) - 3600, datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=_ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        .sign(by, hashes.SHA256())
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
