"""DNS over HTTPS, what does not depend on the version of HTTP (RFC 8484).

A request becomes a query or a refusal, an answer becomes a response with its freshness.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import quada.wire.codes as codes
from quada.wire.ask import Transport
from quada.wire.faults import MalformedMessage
from quada.wire.skim import skim

if TYPE_CHECKING:
    from quada.transport.exchange import Exchange

MEDIA_TYPE: Final = "application/dns-message"  # RFC 8484 6
MESSAGE_OCTETS: Final = 65535
_NOT_FOUND: Final = 404
_BAD: Final = 400
Headers = list[tuple[str, str]]


class Request(NamedTuple):
    """What of an HTTP request matters here."""

    method: str
    target: str
    media_type: str
    body: bytes


class Refusal(NamedTuple):
    """An HTTP status and, in words, why."""

    status: int
    reason: str


def query_of(request: Request, path: str) -> bytes | Refusal:
    """Take the DNS message out of a request, or say which HTTP status it deserves.

    RFC: 8484 4.1; statuses are those of RFC 9110 15.5
    """
    parts = urlsplit(request.target)
    if parts.path != path:
        return Refusal(_NOT_FOUND, f"DNS is served at {path}")
    if request.method == "POST":
        if request.media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            return Refusal(415, f"send {MEDIA_TYPE}")
        return request.body if request.body else Refusal(_BAD, "the body is empty")
    if request.method not in ("GET", "HEAD"):
        return Refusal(405, "use GET or POST")
    values = parse_qs(parts.query, max_num_fields=16).get("dns", [])
    if len(values) != 1:
        return Refusal(_BAD, "give one dns= parameter, base64url without padding")
    if len(values[0]) > 4 * MESSAGE_OCTETS // 3 + 4:
        return Refusal(414, "the query is longer than a DNS message")
    try:
        padded = values[0].rstrip("=") + "=" * (-len(values[0].rstrip("=")) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return Refusal(_BAD, "dns= is not base64url")


def freshness_s(message: bytes) -> int | None:
    """Give how long an HTTP cache may keep a response: its lowest TTL, in seconds.

    A negative answer takes the SOA's (RFC 8484 5.1, RFC 2308 5); None where nothing says.
    """
    try:
        response = skim(message)
    except MalformedMessage:
        return None
    if response.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        return 0
    if response.answer:
        return min(record.ttl for record in response.answer)
    soa = next((r for r in response.authority if r.rdtype == codes.SOA), None)
    return min(soa.ttl, int.from_bytes(soa.rdata[-4:], "big")) if soa else None


TOO_LARGE: Final = Refusal(413, f"a DNS message has at most {MESSAGE_OCTETS} octets")


class Respond(Protocol):
    """Sends one response."""

    def __call__(self, status: int, headers: Headers, body: bytes) -> None: ...


def refuse(refusal: Refusal, respond: Respond) -> None:
    """Say in words why there is no answer."""
    headers = [("content-type", "text/plain; charset=utf-8")]
    if refusal.status == 405:
        headers.append(("allow", "GET, POST"))
    respond(refusal.status, headers, f"{refusal.reason}\n".encode())


def answer_request(
    exchange: Exchange, request: Request, path: str, peer: bytes, respond: Respond
) -> None:
    """Answer one request, now or later; `respond` is called once."""
    query = query_of(request, path)
    if not isinstance(query, Refusal) and not 12 <= len(query) <= MESSAGE_OCTETS:
        query = Refusal(_BAD, "the query is not a DNS message")
    if isinstance(query, Refusal):
        refuse(query, respond)
        return
    is_done = False

    def send(message: bytes, *, is_last: bool = True) -> None:
        nonlocal is_done
        if is_done:
            return
        is_done = True
        if not message or not is_last:  # nothing to say, or a transfer, which DoH cannot carry
            refuse(Refusal(_BAD, "the query is not one DoH can answer"), respond)
            return
        headers = [("content-type", MEDIA_TYPE)]
        keep_s = freshness_s(message)
        if keep_s is not None:
            headers.append(("cache-control", f"max-age={keep_s}"))
        respond(200, headers, b"" if request.method == "HEAD" else message)

    exchange(query, peer, Transport.DOH, send)
