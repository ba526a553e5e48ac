"""What a CA takes in an order: names, certificate requests, and how it tells why it takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from quada.acme.signed import Refusal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from quada.acme.validate import Problem

URN: Final = "urn:ietf:params:acme:error:"


def problem_data(problem: Problem) -> dict[str, Any]:
    """Give a validation's problem as ACME's problem document."""
    status = {"unauthorized": 403, "caa": 403}.get(problem.kind, 400)
    return {"type": f"{URN}{problem.kind}", "detail": problem.detail, "status": status}


def read_request(
    request: x509.CertificateSigningRequest,
) -> tuple[set[str], CertificatePublicKeyTypes]:
    """Give the names and key of a certificate request. Raises: ValueError for what no CA takes."""
    if not request.is_signature_valid:
        raise ValueError("its signature is wrong")
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 4096:
            raise ValueError(f"an RSA key of {key.key_size} bits")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in (
        "secp256r1", "secp384r1"
    ):  # fmt: skip
        raise ValueError("the key must be RSA, P-256 or P-384")
    names = {str(one.value).lower() for one in request.subject if one.oid == NameOID.COMMON_NAME}
    try:
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return names, key
    if any(not isinstance(one, x509.DNSName) for one in san):
        raise ValueError("it asks for more than DNS names")
    return names | {name.lower() for name in san.get_values_for_type(x509.DNSName)}, key


def read_identifier(data: Any) -> str:
    """Give an identifier's name, lower-cased. Raises: Refusal for what is no public host name."""
    if not isinstance(data, dict) or data.get("type") != "dns":
        raise Refusal("unsupportedIdentifier", "identifiers are of type dns")
    name = str(data.get("value", "")).lower()
    labels = name.removeprefix("*.").split(".")
    is_name = len(labels) > 1 and len(name) <= 253 and all(
        label and len(label) <= 63 and label.replace("-", "").isalnum() and label.isascii()
        and not label.startswith("-") and not label.endswith("-")
        for label in labels
    )  # fmt: skip
    if not is_name or labels[-1].isdigit():
        raise Refusal("rejectedIdentifier", f"{name[:100]!r} is no public host name")
    return name
