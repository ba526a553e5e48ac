"""dns-01, tls-alpn-01, and a whole validation with CAA after it, as Boulder does them.

RFC: 8555 8.4, 8737, 8659
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from quada.acme.validate import (
    DIAL_S,
    Answer,
    Ask,
    Failed,
    Handshake,
    Hop,
    Looked,
    Lookup,
    Mode,
    Problem,
    Shook,
    Steps,
    Verdict,
    caa_problem,
    http_01,
    look_both_up,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

KINDS: Final = ("http-01", "dns-01", "tls-alpn-01")
ALPN: Final = "acme-tls/1"
_IDENTIFIER: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier
_SHOWN: Final = 100


def validation(
    kind: str,
    name: str,
    token: str,
    key_authorization: str,
    *,
    issuer: str,
    mode: Mode = Mode.REPLAY,
    is_reserved: Callable[[str], bool] = lambda _: False,
    ports: dict[int, int] | None = None,
) -> Steps:
    """Validate a name by one challenge, and then look whether CAA lets the issuer issue.

    A wildcard is named with its asterisk; only dns-01 validates one.
    """
    bare = name.removeprefix("*.")
    if kind == "http-01":
        verdict = yield from http_01(
            bare, token, key_authorization, mode=mode, is_reserved=is_reserved, ports=ports
        )
    elif kind == "dns-01":
        verdict = yield from dns_01(bare, key_authorization)
    else:
        verdict = yield from tls_alpn_01(
            bare, key_authorization, is_reserved=is_reserved, port=(ports or {}).get(443, 443)
        )
    if verdict.problem is not None:
        return verdict
    levels = yield from caa_levels(bare)
    denied = caa_problem(bare, levels, issuer=issuer, is_wildcard=name != bare)
    return verdict._replace(problem=denied)


def caa_levels(name: str) -> Generator[Ask, Answer, dict[str, Looked]]:
    """Look CAA up at a name and each of its ancestors."""
    found: dict[str, Looked] = {}
    while name:
        looked = yield Lookup(name, "CAA")
        assert isinstance(looked, Looked)
        found[name] = looked
        name = name.partition(".")[2]
    return found


def txt_value(key_authorization: str) -> str:
    """Give what the TXT record of dns-01 must hold (RFC 8555 8.4)."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def dns_01(name: str, key_authorization: str) -> Steps:
    """Validate a name by TXT at `_acme-challenge`. Families are the resolver's choice."""
    owner = f"_acme-challenge.{name}"
    looked = yield Lookup(owner, "TXT")
    assert isinstance(looked, Looked)
    problem = None
    if looked.error:
        problem = Problem("dns", f"TXT of {owner}: {looked.error}")
    elif not looked.values:
        problem = Problem("unauthorized", f"no TXT record at {owner}")
    elif txt_value(key_authorization) not in looked.values:
        more = f", and {len(looked.values) - 1} more" if len(looked.values) > 1 else ""
        shown = looked.values[0][:_SHOWN]
        problem = Problem("unauthorized", f"TXT of {owner} is {shown!r}{more}, not what it must be")
    return Verdict(problem, (), 0.0)


def tls_alpn_01(
    name: str, key_authorization: str, *, is_reserved: Callable[[str], bool], port: int
) -> Steps:
    """Validate a name by a certificate. After any failure over IPv6 the first IPv4 is tried."""
    chosen, nowhere = yield from look_both_up(name, is_reserved)
    if not chosen:
        return Verdict(nowhere, (), 0.0)
    hops: list[Hop] = []
    seconds, problem = 0.0, None
    for at, address in enumerate(chosen):
        outcome = yield Handshake(name, address, port, DIAL_S, ALPN)
        assert isinstance(outcome, (Shook, Failed))
        hops.append(Hop(f"tls://{name}", chosen, address, outcome, is_fallback=at > 0))
        seconds += outcome.seconds
        said = _judge_handshake(name, key_authorization, outcome)
        if not said:
            return Verdict(None, tuple(hops), seconds)
        is_dial = isinstance(outcome, Failed) and outcome.stage == "dial"
        kind = "connection" if is_dial else "tls" if isinstance(outcome, Failed) else "unauthorized"
        problem = Problem(kind, f"{address}: {said}")
        if ":" not in address:
            break
    return Verdict(problem, tuple(hops), seconds)


def _judge_handshake(name: str, key_authorization: str, outcome: Shook | Failed) -> str:
    """Say what is wrong with a handshake and its certificate (RFC 8737 3); empty where nothing."""
    if isinstance(outcome, Failed):
        return f"{outcome.stage}: {outcome.why}"
    if outcome.alpn != ALPN:
        return f"the server chose {outcome.alpn or 'no protocol'}, not {ALPN}"
    try:
        leaf = x509.load_der_x509_certificate(outcome.certificate)
        extensions = leaf.extensions
    except ValueError as error:
        return f"its certificate cannot be read: {error}"
    if leaf.issuer != leaf.subject:
        return "its certificate is not self-signed: it is not the challenge's"
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        marked = extensions.get_extension_for_oid(_IDENTIFIER)
    except x509.ExtensionNotFound:
        return "its certificate lacks the name or the acmeIdentifier extension"
    if [one.value for one in names] != [name]:
        return f"its certificate is for {', '.join(str(one.value) for one in names)[:_SHOWN]}"
    digest = b"\x04\x20" + hashlib.sha256(key_authorization.encode()).digest()
    value = marked.value
    if not isinstance(value, x509.UnrecognizedExtension) or value.value != digest:
        return "its acmeIdentifier is of another key or token"
    return "" if marked.critical else "its acmeIdentifier is not critical"
