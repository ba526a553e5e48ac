"""A key in a PKCS#11 token: made there and signing there. Only its public half ever leaves it."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Any, Final

import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import ConfigFault, DataFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CURVES: Final = {
    signature.ECDSAP256SHA256: ("secp256r1", hashlib.sha256),
    signature.ECDSAP384SHA384: ("secp384r1", hashlib.sha384),
}
_RSA_BITS: Final = 2048
_KSK_FLAGS: Final = signature.FLAG_ZONE | signature.FLAG_SEP
TOKEN_ALGORITHMS: Final = (*_CURVES, signature.RSASHA256)
_begun_by: Final[dict[Path, int]] = {}
"""Which process began with a module: another that was forked from it has to begin for itself."""


class Token:
    """One token, opened with its PIN. Keys are named by labels.

    Raises: ConfigFault where module, token or PIN do not fit, or the library is not installed.
    """

    def __init__(self, module: Path, label: str, pin: str) -> None:
        try:
            import pkcs11
        except ImportError:
            raise ConfigFault(
                "python-pkcs11 is not installed", place="PKCS#11", remedy="pip install 'quada[hsm]'"
            ) from None
        self._pkcs11 = pkcs11
        try:
            library = pkcs11.lib(str(module))
            if _begun_by.setdefault(module, os.getpid()) != os.getpid():
                library.reinitialize()  # a forked process begins anew (PKCS#11 2.40 base 5.4)
                _begun_by[module] = os.getpid()
            try:
                token = library.get_token(token_label=label)
            except pkcs11.exceptions.PKCS11Error:
                library.reinitialize()  # some libraries see a token that came back only then
                token = library.get_token(token_label=label)
            try:
                self._session = token.open(user_pin=pin, rw=True)
            except pkcs11.exceptions.UserAlreadyLoggedIn:
                self._session = token.open(rw=True)  # a process is logged in once, for all of it
        except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
            raise ConfigFault(f"the token does not open: {error!r}", place=str(module)) from error

    def make_key(self, label: str, algorithm: int) -> None:
        """Make a key that cannot be read out. Raises: DataFault where the label is taken."""
        attribute = self._pkcs11.Attribute
        private = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False}
        if self.has_key(label):
            raise DataFault("the token has a key of that name", place=label)
        kind = self._pkcs11.KeyType
        if algorithm in _CURVES:
            from pkcs11.util.ec import encode_named_curve_parameters

            curve = encode_named_curve_parameters(_CURVES[algorithm][0])
            parameters = self._session.create_domain_parameters(
                kind.EC, {self._pkcs11.Attribute.EC_PARAMS: curve}, local=True
            )
            parameters.generate_keypair(store=True, label=label, private_template=private)
        elif algorithm == signature.RSASHA256:
            self._session.generate_keypair(
                kind.RSA, _RSA_BITS, store=True, label=label, private_template=private
            )
        else:
            raise DataFault(
                f"keys of algorithm {algorithm} are not made in tokens", remedy="take 13, 14 or 8"
            )

    def has_key(self, label: str) -> bool:
        """Tell whether a private key of that name is in the token."""
        return self._find(label, self._pkcs11.ObjectClass.PRIVATE_KEY) is not None

    def dnskey(self, label: str, flags: int = _KSK_FLAGS) -> bytes:
        """Give the DNSKEY of a key (RFC 4034 2.1, 3110 2, 6605 4). Raises: DataFault."""
        kinds = self._pkcs11
        found = self._find(label, kinds.ObjectClass.PUBLIC_KEY)
        if found is None:
            raise DataFault("the token has no key of that name", place=label)
        if found.key_type is kinds.KeyType.EC:
            point = found[kinds.Attribute.EC_POINT]
            size = 96 if len(point) > 96 else 64
            algorithm = signature.ECDSAP384SHA384 if size == 96 else signature.ECDSAP256SHA256
            public = point[-size:]
        else:
            algorithm = signature.RSASHA256
            exponent = found[kinds.Attribute.PUBLIC_EXPONENT].lstrip(b"\x00")
            modulus = found[kinds.Attribute.MODULUS].lstrip(b"\x00")
            public = bytes((len(exponent),)) + exponent + modulus
        return flags.to_bytes(2, "big") + bytes((3, algorithm)) + bytes(public)

    def signer(self, label: str) -> Callable[[bytes], bytes]:
        """Give the function that signs with a key, in the form RRSIG has. Raises: DataFault."""
        algorithm = self.dnskey(label)[3]
        found = self._find(label, self._pkcs11.ObjectClass.PRIVATE_KEY)
        if found is None:
            raise DataFault("the token has no private key of that name", place=label)
        mechanism = self._pkcs11.Mechanism
        if algorithm in _CURVES:
            digest = _CURVES[algorithm][1]
            return lambda octets: bytes(
                found.sign(digest(octets).digest(), mechanism=mechanism.ECDSA)
            )
        return lambda octets: bytes(found.sign(octets, mechanism=mechanism.SHA256_RSA_PKCS))

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _find(self, label: str, kind: Any) -> Any:
        attribute = self._pkcs11.Attribute
        wanted = {attribute.CLASS: kind, attribute.LABEL: label}
        return next(iter(list(self._session.get_objects(wanted))), None)


def public_key_text(zone: bytes, dnskey: bytes) -> str:
    """Write a DNSKEY as BIND's public key file has it."""
    flags, key = int.from_bytes(dnskey[:2], "big"), base64.b64encode(dnskey[4:]).decode()
    return f"{names.to_text(zone)} IN DNSKEY {flags} 3 {dnskey[3]} {key}\n"
