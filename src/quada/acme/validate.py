"""http-01 and CAA as Boulder, the software of Let's Encrypt, validates them.

Rules are those of Boulder's `va` of August 2026: which address is dialled, when IPv4 is tried after
IPv6, which redirects are followed, what a body may be. `Mode` tells the fallback of today from the
one that is proposed. RFC: 8555 8.3, 8659
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Generator
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DIAL_S: Final = 10.0
BUDGET_S: Final = 19.8  # of Boulder's test configuration; production's is not published
_REDIRECTS_MAX: Final = 11  # the counter is compared before it is raised
_STATUSES: Final = frozenset((301, 302, 307, 308))
BODY_OCTETS: Final = 128
_PATH_MAX: Final = 2_000
_PORTS: Final = (80, 443)
_HOST: Final = re.compile(r"^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$")


class Mode(StrEnum):
    """How IPv4 is tried after IPv6: the whole request again, or the hop that failed."""

    REPLAY = "replay"
    PER_HOP = "per-hop"


class Problem(NamedTuple):
    """Why a validation fails: ACME's error type, and what happened in words (RFC 8555 6.7)."""

    kind: str
    detail: str


class Lookup(NamedTuple):
    """An ask: the records of a name. AAAA, A, TXT or CAA."""

    name: str
    rdtype: str


class Looked(NamedTuple):
    """What a lookup gave: values in presentation form, or why it failed."""

    values: tuple[str, ...] = ()
    error: str = ""


class Fetch(NamedTuple):
    """An ask: GET a URL from one address, within a time."""

    url: str
    address: str
    port: int
    timeout_s: float


class Fetched(NamedTuple):
    """What a server answered. `body` is at most BODY_OCTETS + 1 octets."""

    status: int
    location: str
    body: bytes
    seconds: float
    server: str = ""
    tls_version: str = ""


class Failed(NamedTuple):
    """Why there was no answer. `stage` is dial, tls, read or protocol."""

    stage: str
    why: str
    seconds: float


class Handshake(NamedTuple):
    """An ask: a TLS handshake with one address, under a name, offering one protocol."""

    name: str
    address: str
    port: int
    timeout_s: float
    alpn: str


class Shook(NamedTuple):
    """A handshake done: the leaf in DER, the protocol chosen, the TLS version."""

    certificate: bytes
    alpn: str
    tls_version: str
    seconds: float


class Hop(NamedTuple):
    """One request: where, from which addresses there were, and what came."""

    url: str
    addresses: tuple[str, ...]
    address: str
    outcome: Fetched | Failed | Shook
    is_fallback: bool = False


class Verdict(NamedTuple):
    """The end of a validation: no problem, or the problem; and the way there."""

    problem: Problem | None
    hops: tuple[Hop, ...]
    seconds: float


Ask = Lookup | Fetch | Handshake
Answer = Looked | Fetched | Failed | Shook
Steps = Generator[Ask, Answer, Verdict]


class _Run:
    """One validation's state: the time spent, URLs seen, requests made."""

    def __init__(
        self,
        key_authorization: str,
        mode: Mode,
        is_reserved: Callable[[str], bool],
        ports: dict[int, int],
        budget_s: float,
    ) -> None:
        self.expected = key_authorization
        self.mode = mode
        self.is_reserved = is_reserved
        self.ports = ports
        self.left_s = budget_s
        self.budget_s = budget_s
        self.hops: list[Hop] = []
        self.seen: set[str] = set()

    def end(self, problem: Problem | None) -> Verdict:
        return Verdict(problem, tuple(self.hops), round(self.budget_s - self.left_s, 3))

    def addresses(self, host: str) -> Generator[Ask, Answer, Addresses]:
        """Give where to dial: the address that the host is, or the first of each family."""
        try:
            literal = str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            return (yield from look_both_up(host, self.is_reserved))
        return Addresses((literal,), Problem("connection", f"{literal} is of no use"))

    def fetch(
        self, url: str, addresses: tuple[str, ...], address: str, *, is_fallback: bool = False
    ) -> Generator[Ask, Answer, Fetched | Failed]:
        """Ask one address, within what time is left."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        timeout_s = min(DIAL_S, self.left_s) if self.left_s > 0.01 else 0.0
        outcome: Answer
        if timeout_s <= 0.0:
            outcome = Failed("dial", "no time is left", 0.0)
        else:
            outcome = yield Fetch(url, address, self.ports.get(port, port), timeout_s)
        assert isinstance(outcome, (Fetched, Failed))
        self.left_s -= outcome.seconds
        self.hops.append(Hop(url, addresses, address, outcome, is_fallback))
        return outcome


class Addresses(NamedTuple):
    """The first usable AAAA and the first usable A, AAAA first; what to say where there is none."""

    chosen: tuple[str, ...]
    problem: Problem


def look_both_up(
    host: str, is_reserved: Callable[[str], bool]
) -> Generator[Ask, Answer, Addresses]:
    """Look both families of a host up, and choose the first of each that is not reserved."""
    found: dict[str, Looked] = {}
    for rdtype in ("AAAA", "A"):
        looked = yield Lookup(host, rdtype)
        assert isinstance(looked, Looked)
        found[rdtype] = looked
    usable = {
        rdtype: [value for value in looked.values if not is_reserved(value)]
        for rdtype, looked in found.items()
    }
    chosen = tuple(values[0] for values in usable.values() if values)
    words = [f"{rdtype}: {looked.error or 'no valid record'}" for rdtype, looked in found.items()]
    return Addresses(chosen, Problem("dns", f"no usable address for {host}: {'; '.join(words)}"))


def http_01(
    name: str,
    token: str,
    key_authorization: str,
    *,
    mode: Mode = Mode.REPLAY,
    is_reserved: Callable[[str], bool] = lambda _: False,
    ports: dict[int, int] | None = None,
    budget_s: float = BUDGET_S,
) -> Steps:
    """Validate a name by http-01.

    Takes what tells reserved addresses, and ports to dial instead of 80 and 443 in a lab. The key
    authorization is what the body must be.
    """
    run = _Run(key_authorization, mode, is_reserved, ports or {}, budget_s)
    url = f"http://{name}/.well-known/acme-challenge/{token}"
    start = yield from run.addresses(name)
    if not start.chosen:
        return run.end(start.problem)
    problem, is_dial = yield from _follow(run, url, start.chosen, start.chosen[0], 0)
    second = start.chosen[1] if len(start.chosen) > 1 else ""
    if problem is None or not is_dial or not second or mode is Mode.PER_HOP:
        return run.end(problem)
    if ":" not in start.chosen[0]:
        return run.end(problem)
    # Today the whole request starts again, on the first name's IPv4, and what was seen stays seen.
    problem, _ = yield from _follow(run, url, start.chosen, second, 0, is_fallback=True)
    return run.end(problem)


def _follow(
    run: _Run,
    url: str,
    addresses: tuple[str, ...],
    address: str,
    redirects: int,
    *,
    is_fallback: bool = False,
) -> Generator[Ask, Answer, tuple[Problem | None, bool]]:
    """Fetch and follow redirects; gives the problem, and whether it was that nobody was reached."""
    while True:
        outcome = yield from run.fetch(url, addresses, address, is_fallback=is_fallback)
        is_fallback = False
        if isinstance(outcome, Failed):
            if run.mode is Mode.PER_HOP and outcome.stage == "dial" and ":" in address:
                other = next((a for a in addresses if ":" not in a), "")
                if other:
                    address, is_fallback = other, True
                    redirects += 1
                    continue
            return _failure(url, address, outcome), outcome.stage == "dial"
        if outcome.status not in _STATUSES:
            return _judge_body(run, url, address, outcome), False
        # Not joined where it is absolute: an empty host must stay empty.
        is_absolute = "://" in outcome.location.partition("?")[0]
        target = outcome.location if is_absolute else urljoin(url, outcome.location)
        wrong = _redirect_problem(run, url, target, outcome, redirects)
        if wrong:
            return Problem("connection", f"{address}: fetching {url}: {wrong}"), False
        run.seen.add(target)
        redirects += 1
        url = target
        host = (urlsplit(url).hostname or "").lower()
        found = yield from run.addresses(host)
        if not found.chosen:
            return found.problem, False
        addresses, address = found.chosen, found.chosen[0]


def _redirect_problem(run: _Run, url: str, target: str, answer: Fetched, redirects: int) -> str:
    """Say what is wrong with a redirect; empty where it is followed."""
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        return "the redirect's URL cannot be read"
    host = (parts.hostname or "").lower()
    if redirects >= _REDIRECTS_MAX:
        return "too many redirects"
    if target in run.seen:
        return "redirect loop detected"
    if urlsplit(url).scheme == "https" and answer.tls_version in ("TLSv1", "TLSv1.1"):
        return f"redirected by a server that speaks {answer.tls_version}"
    if parts.scheme not in ("http", "https"):
        return f"the redirect's scheme is {parts.scheme!r}: http or https are followed"
    if port is not None and port not in _PORTS:
        return f"the redirect goes to port {port}: 80 and 443 are allowed"
    if not host:
        return "the redirect names no host"
    if host.endswith(".well-known"):
        return f"the redirect's host is {host}: is a slash missing after the name?"
    if len(parts.path) > _PATH_MAX:
        return "the redirect's path is too long"
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return "" if _HOST.match(host) else f"the redirect's host {host!r} is no public name"
    return (
        f"the redirect goes to the reserved address {address}" if run.is_reserved(address) else ""
    )


def _judge_body(run: _Run, url: str, address: str, answer: Fetched) -> Problem | None:
    if answer.status != 200:
        return Problem("unauthorized", f"{address}: {url} answered with status {answer.status}")
    if len(answer.body) >= BODY_OCTETS:
        return Problem("unauthorized", f"{address}: {url} answered {BODY_OCTETS} octets or more")
    body = answer.body.decode("utf-8", "replace").rstrip()
    if body != run.expected:
        return Problem(
            "unauthorized",
            f"{address}: {url} answered {body[:60]!r}, not the key authorization",
        )
    return None


def _failure(url: str, address: str, failed: Failed) -> Problem:
    hint = {
        "dial": "is a firewall in the way?",
        "read": "the server took the connection and did not answer in time",
        "tls": "the TLS handshake failed",
        "protocol": "that is no HTTP",
    }[failed.stage]
    kind = "tls" if failed.stage == "tls" else "connection"
    return Problem(kind, f"{address}: fetching {url}: {failed.why}; {hint}")


def caa_problem(
    name: str, found: dict[str, Looked], *, issuer: str, is_wildcard: bool = False
) -> Problem | None:
    """Say whether CAA records forbid an issuer (RFC 8659 3, and Boulder's order).

    Takes what the lookup of the name and of each ancestor gave. From the name upwards, the first
    error ends it, the first non-empty set decides.
    """
    level = name
    while level:
        looked = found.get(level, Looked())
        if looked.error:
            return Problem("dns", f"CAA of {level}: {looked.error}")
        if looked.values:
            return _judge_caa(level, looked.values, issuer, is_wildcard=is_wildcard)
        level = level.partition(".")[2]
    return None


def _judge_caa(
    level: str, values: Iterable[str], issuer: str, *, is_wildcard: bool
) -> Problem | None:
    issue: list[str] = []
    issuewild: list[str] = []
    for value in values:
        flags, _, rest = value.partition(" ")
        tag, _, text = rest.partition(" ")
        text = text.strip().strip('"')
        if tag == "issue":
            issue.append(text)
        elif tag == "issuewild":
            issuewild.append(text)
        elif tag not in ("iodef", "issuemail", "issuevmc") and int(flags) & 129:
            return Problem("caa", f"{level} has a critical CAA tag {tag!r} that nobody knows")
    names = issuewild if is_wildcard and issuewild else issue
    if not names:
        return None
    if any(text.partition(";")[0].strip() == issuer for text in names):
        return None
    return Problem("caa", f"CAA of {level} allows {', '.join(names) or 'nobody'}, not {issuer}")
