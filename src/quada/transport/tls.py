"""Certificates for DoT, DoH and DoQ: loaded, reloaded without loss, made for a demo, and checked.

A certificate that clients will refuse is found here, at start, and not by the clients: names and
addresses that clients are told must be in it (RFC 8310 8.1, RFC 9462 4.2).
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quada.disk import replacing
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_LOOK_S: Final = 2.0  # our choice: between looks at the files
ALPN_DOT: Final = "dot"  # RFC 7858 3.1, IANA ALPN registry
ALPN_DOH: Final = ("h2", "http/1.1")  # RFC 8484 5.2 recommends HTTP/2
ALPN_DOQ: Final = "doq"  # RFC 9250 4.1.1
_DEMO: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "quada demo")])
_DEMO_DAYS: Final = 30  # our choice because a demo's certificate should not be relied on


class Certificate:
    """A certificate chain and key in PEM files, and the TLS contexts that use them.

    Reloading replaces what new connections get and leaves running ones alone; a pair that does not
    load leaves the old one serving. Raises: ConfigFault from the constructor and from `reload`.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain = chain
        self.key = key
        self._followers: list[Callable[[], None]] = []
        self._stamp = self._files()
        self._try()

    def context(self, *alpn: str) -> ssl.SSLContext:
        """Make a server context that offers these ALPN names and follows later reloads.

        TLS 1.2 and later (RFC 8310 9, RFC 9325 3.1.1); tickets for resumption, no early data, which
        Python's TLS does not accept anyway (RFC 7858 has no replay protection).
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(list(alpn))
        context.load_cert_chain(self.chain, self.key)
        self.follow(lambda: context.load_cert_chain(self.chain, self.key))
        return context

    def follow(self, reload: Callable[[], None]) -> None:
        """Have something that holds the certificate load its files again after each reload."""
        self._followers.append(reload)

    def lacks(self, told: Iterable[str]) -> list[str]:
        """Give those of the names and addresses clients are told that the leaf is not good for."""
        leaf = x509.load_pem_x509_certificates(self.chain.read_bytes())[0]
        return uncovered(leaf, told)

    def out_of_time(self, now: datetime.datetime) -> str:
        """Say in words that the leaf is not valid at a time; "" where it is."""
        leaf = self.leaf()
        if now >= leaf.not_valid_after_utc:
            return f"expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if now < leaf.not_valid_before_utc:
            return f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return ""

    def is_demo(self) -> bool:
        """Whether it was made by `make_certificate`."""
        leaf = self.leaf()
        return leaf.subject == leaf.issuer == _DEMO

    def has_changed(self) -> bool:
        """Tell whether the files are newer than what was loaded."""
        return self._files() != self._stamp

    def reload(self) -> None:
        """Load the files again for all that hold them, if they load at all."""
        self._try()
        self._stamp = self._files()
        for follower in self._followers:
            follower()

    def leaf(self) -> x509.Certificate:
        """Give the server's own certificate."""
        return x509.load_pem_x509_certificate(self.chain.read_bytes())

    def _try(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigFault(
                f"certificate and key do not load: {error}",
                place=f"{self.chain}, {self.key}",
                remedy="give a PEM chain, leaf first, and the leaf's PEM key",
            ) from error

    def _files(self) -> tuple[float, float]:
        try:
            return self.chain.stat().st_mtime, self.key.stat().st_mtime
        except OSError:
            return 0.0, 0.0


async def keep_current(certificate: Certificate) -> None:
    """Load new files of a certificate for ever; what does not load leaves the old one serving."""
    while True:
        await asyncio.sleep(_LOOK_S)
        if certificate.has_changed():
            try:
                certificate.reload()
            except ConfigFault as fault:
                log.warning("the new certificate is not taken", why=str(fault))


def covered(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    """Give the DNS names (lower-cased, no final dot) and addresses a certificate is good for."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    return (
        {name.lower() for name in san.get_values_for_type(x509.DNSName)},
        {str(address) for address in san.get_values_for_type(x509.IPAddress)},
    )


def uncovered(certificate: x509.Certificate, told: Iterable[str]) -> list[str]:
    """Give those names and addresses, of what clients are told, that the certificate lacks.

    A wildcard stands for exactly one label (RFC 9525 6.3).
    """
    dns_names, addresses = covered(certificate)
    missing = []
    for one in told:
        try:
            is_there = str(ipaddress.ip_address(one)) in addresses
        except ValueError:
            name = one.rstrip(".").lower()
            is_there = name in dns_names or f"*.{name.partition('.')[2]}" in dns_names
        if not is_there:
            missing.append(one)
    return missing


def make_certificate(chain: Path, key: Path, told: Iterable[str], now: datetime.datetime) -> None:
    """Make a self-signed certificate for names and addresses, for demos and tests."""
    secret = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = []
    for one in told:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(one)))
        except ValueError:
            names.append(x509.DNSName(one.rstrip(".")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_DEMO)
        .issuer_name(_DEMO)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DEMO_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    write_pair(chain, key, certificate.public_bytes(serialization.Encoding.PEM), secret)


def write_pair(
    chain: Path, key: Path, certificates: bytes, secret: ec.EllipticCurvePrivateKey
) -> None:
    """Write a chain in PEM and its key, both atomically, the key readable by its owner alone."""
    private = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for path, octets, mode in ((key, private, 0o600), (chain, certificates, 0o644)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, mode=mode) as file:
            file.write(octets.decode("ascii"))
