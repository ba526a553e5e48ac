"""Signed requests of ACME: flattened JWS, and the keys in them (RFC 8555 6.2, RFC 7515, 7517)."""

from __future__ import annotations

import base64
import json
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import serialization
from josepy import errors, jwa, jwk

from quada.wire.faults import MalformedMessage

ALGORITHMS: Final = ("RS256", "ES256", "ES384", "ES512")
Key = jwk.JWK


class Refusal(Exception):
    """A request is refused: ACME's error type and the reason."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Jws(NamedTuple):
    """A flattened JWS, its signature not yet verified."""

    head: dict[str, Any]
    payload: bytes
    text: bytes
    signature: bytes

    def verify(self, key: Key) -> None:
        """Verify by a public key. Raises: Refusal."""
        self._verify(key.key)

    def verify_secret(self, secret: bytes) -> None:
        """Verify by a shared secret. Raises: Refusal."""
        self._verify(secret)

    def _verify(self, key: Any) -> None:
        try:
            is_good = getattr(jwa, self.head["alg"]).verify(key, self.text, self.signature)
        except (AttributeError, ValueError, TypeError, errors.Error):
            is_good = False
        if not is_good:
            raise Refusal("malformed", "the signature does not fit the key")

    def data(self) -> dict[str, Any]:
        """The payload as an object. Raises: Refusal."""
        return payload_data(self.payload)


def read_jws(octets: bytes, algorithms: tuple[str, ...] = ALGORITHMS) -> Jws:
    """Read a flattened JWS. Raises: Refusal."""
    try:
        outer = json.loads(octets)
        head = json.loads(unbase64(outer["protected"]))
        payload = unbase64(outer["payload"])
        signature = unbase64(outer["signature"])
    except (ValueError, KeyError, TypeError, RecursionError, MalformedMessage) as error:
        raise Refusal("malformed", f"this is no flattened JWS: {error}") from error
    if not isinstance(head, dict) or ("jwk" in head) == ("kid" in head):
        raise Refusal("malformed", "the header must have either jwk or kid")
    if head.get("alg") not in algorithms:
        raise Refusal("badSignatureAlgorithm", f"alg must be one of {', '.join(algorithms)}")
    return Jws(head, payload, f"{outer['protected']}.{outer['payload']}".encode(), signature)


def payload_data(payload: bytes) -> dict[str, Any]:
    """Read a payload as an object; an empty one is an empty object. Raises: Refusal."""
    try:
        found = json.loads(payload or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal("malformed", "the payload is no JSON") from error
    if not isinstance(found, dict):
        raise Refusal("malformed", "the payload is no object")
    return found


def read_key(data: Any) -> Key:
    """Read a public key. Raises: Refusal for weak ones, and all but RSA and NIST curves."""
    try:
        key = jwk.JWK.from_json(data)
    except (errors.Error, ValueError, TypeError, AttributeError) as error:
        raise Refusal("badPublicKey", f"this key cannot be read: {error}") from error
    if not isinstance(key, (jwk.JWKRSA, jwk.JWKEC)):
        raise Refusal("badPublicKey", "the key must be RSA or on a NIST curve")
    size = key.key.key_size
    if isinstance(key, jwk.JWKRSA) and not 2048 <= size <= 4096:
        raise Refusal("badPublicKey", f"an RSA key of {size} bits is not taken: 2048 to 4096")
    public: Key = key.public_key()
    return public


def thumbprint(key: Key) -> str:
    """Give a key's thumbprint in base64url (RFC 7638)."""
    return base64.urlsafe_b64encode(key.thumbprint()).decode().rstrip("=")


def public_octets(key: Key) -> bytes:
    """Give a public key in DER."""
    octets: bytes = key.key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return octets


def unbase64(text: Any) -> bytes:
    """Decode base64url without padding (RFC 7515 2). Raises: MalformedMessage."""
    try:
        return base64.b64decode(
            str(text).encode("ascii") + b"=" * (-len(str(text)) % 4), b"-_", validate=True
        )
    except ValueError as error:
        raise MalformedMessage("this is no base64url") from error
