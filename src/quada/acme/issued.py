"""The rehearsal CA's certificates: issued, shown, revoked, and when to renew them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from quada.acme.answers import Answer, Signed, keep, new_number, time_text
from quada.acme.signed import Refusal, public_octets, unbase64
from quada.wire.faults import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from quada.acme.issue import Issuer


class Issued:
    """See the module. Takes who issues, and the clock (Unix seconds)."""

    def __init__(self, issuer: Issuer, now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._now = now
        self._certificates: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._owners: OrderedDict[int, str] = OrderedDict()
        self._revoked: OrderedDict[int, None] = OrderedDict()

    def issue(self, key: CertificatePublicKeyTypes, names: list[str], account: str) -> str:
        """Issue for a key and names; gives the certificate's number."""
        serial, chain = self._issuer.issue(key, names, self._now())
        keep(self._owners, serial, account)
        made = new_number()
        keep(self._certificates, made, (account, chain))
        return made

    def certificate(self, signed: Signed, number: str) -> Answer:
        """Give a certificate's chain (RFC 8555 7.4.2)."""
        account = signed.must()
        found = self._certificates.get(number)
        if found is None or found[0] != account.number:
            raise Refusal("notFound", "no such certificate of this account")
        return Answer(200, found[1], {"Content-Type": "application/pem-certificate-chain"})

    def revoke(self, signed: Signed, _: str) -> Answer:
        """Revoke by the account or by the certificate's key (RFC 8555 7.6)."""
        data = signed.data()
        try:
            leaf = x509.load_der_x509_certificate(unbase64(str(data.get("certificate", ""))))
        except (ValueError, MalformedMessage) as error:
            raise Refusal("malformed", "this is no certificate") from error
        if not self._issuer.is_ours(leaf):
            raise Refusal("notFound", "this CA did not issue it")
        mine = signed.account is not None and (
            self._owners.get(leaf.serial_number) == signed.account.number
        )
        own_key = public_octets(signed.key) == leaf.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if not (mine or own_key):
            raise Refusal("unauthorized", "sign with the account or the certificate's key")
        reason = data.get("reason", 0)
        if reason not in (0, 1, 3, 4, 5):
            raise Refusal("badRevocationReason", f"reason {reason} is not taken")
        if leaf.serial_number in self._revoked:
            raise Refusal("alreadyRevoked", "it was revoked before")
        keep(self._revoked, leaf.serial_number, None)
        return Answer(200)

    def renewal(self, identifier: str) -> Answer:
        """When to renew (RFC 9773 4.2): from two thirds of the lifetime on; at once if revoked."""
        try:
            key_id, _, serial = identifier.partition(".")
            number = int.from_bytes(unbase64(serial), "big")
            is_ours = unbase64(key_id) == self._issuer.key_id
        except MalformedMessage:
            is_ours = False
            number = 0
        issued = self._issuer.lifetime(number) if is_ours else None
        if issued is None:
            raise Refusal("notFound", "this CA did not issue it, or has forgotten it")
        begin, end = issued
        first = self._now() - 1 if number in self._revoked else begin + (end - begin) * 2 / 3
        window = {"start": time_text(first - 1), "end": time_text(first + (end - begin) / 50)}
        return Answer(200, {"suggestedWindow": window}, {"Retry-After": "21600"})
