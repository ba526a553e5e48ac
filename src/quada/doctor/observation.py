"""An observation: what was asked and what came back, as data that can be kept and judged again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from quada.wire.faults import DataFault

VERSION: Final = 1
_FILE_OCTETS_MAX: Final = 64 << 20


@dataclass(slots=True)
class Exchange:
    """One question to one address and what came of it.

    `zone` is the zone whose server was asked, `server` its name, `about` why it was asked.
    `message` is the answer in hex, empty where there was none; `silence` then says why. `rtt_ms`
    is how long it took, or was waited for. `name` is whom an encrypted server had to prove to be.
    """

    zone: str
    server: str
    address: str
    transport: str
    about: str
    qname: str
    qtype: str
    rtt_ms: float
    message: str = ""
    silence: str = ""
    port: int = 53
    name: str = ""
    detail: str = ""

    @property
    def family(self) -> int:
        """6 or 4."""
        return 6 if ":" in self.address else 4

    @property
    def answer(self) -> dns.message.Message | None:
        """The answer as a message; None where there is none, or none that can be read."""
        if not self.message:
            return None
        try:
            return dns.message.from_wire(
                bytes.fromhex(self.message), ignore_trailing=True, one_rr_per_rrset=False
            )
        except (dns.exception.DNSException, ValueError):
            return None

    @property
    def is_good(self) -> bool:
        """Whether the server answered with authority."""
        answer = self.answer
        return (
            answer is not None
            and answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            and bool(answer.flags & dns.flags.AA)
        )

    @property
    def outcome(self) -> str:
        """What came, in a word: an rcode, or why nothing did."""
        answer = self.answer
        if answer is None:
            return self.silence or "garbage"
        if answer.rcode() == dns.rcode.NOERROR and not answer.flags & dns.flags.AA:
            return "NOERROR without AA"
        return dns.rcode.to_text(answer.rcode())


@dataclass(slots=True)
class Cut:
    """One zone as its parent delegates it. `glue` maps a server's name to the addresses given."""

    zone: str
    parent: str
    servers: list[str] = field(default_factory=list)
    glue: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Resolved:
    """How a resolver of ours fared with a name: over which families, and what it found."""

    qname: str
    qtype: str
    families: str
    rcode: str
    validation: str
    addresses: list[str] = field(default_factory=list)
    reason: str = ""
    ask_count: int = 0


@dataclass(slots=True)
class Designated:
    """An encrypted endpoint that SVCB records name for a server (RFC 9461, RFC 9462)."""

    server: str
    target: str
    transport: str
    port: int
    path: str = "/dns-query"
    addresses: list[str] = field(default_factory=list)
    hinted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Service:
    """A service that the domain names: its host, and the host's addresses.

    `kind` is `web`, `mail`, `https` (an HTTPS record that leads elsewhere), `srv`, `encrypted` or
    `dns`. `label` is what is told of it beside, as `_imaps._tcp`. `ipv6_rcode` is how the host
    resolves over IPv6 alone, empty where that was not tried.
    """

    kind: str
    host: str
    addresses: list[str] = field(default_factory=list)
    port: int = 0
    label: str = ""
    ipv6_rcode: str = ""


@dataclass(slots=True)
class Visit:
    """A service called at one address, and what came of it; see `quada.wire.call.Called`."""

    service: str
    host: str
    address: str
    port: int
    kind: str
    stage: str = ""
    why: str = ""
    dial_ms: float = 0.0
    total_ms: float = 0.0
    certificate_fault: str = ""
    status: int = 0
    location: str = ""
    body: str = ""
    expires_at: float = 0.0
    segment_octets: int = 0
    packet_octets: int = 0

    @property
    def family(self) -> int:
        """6 or 4."""
        return 6 if ":" in self.address else 4

    @property
    def is_open(self) -> bool:
        """Whether somebody took the connection."""
        return self.stage not in ("dial", "refused")


@dataclass(slots=True)
class Observation:
    """All that was seen of a domain, or of recursive resolvers.

    `hosts` maps server names to their own zones' addresses; `covering` addresses to the reverse
    zones that they are in; `resolvers` addresses to where they were found, and `asked` purposes to
    the names that those were asked for. `own` are servers' addresses that this machine has itself.
    """

    name: str
    zone: str
    at: float
    vantage: str = "local"
    cuts: dict[str, Cut] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    resolved: list[Resolved] = field(default_factory=list)
    pointers: dict[str, list[str]] = field(default_factory=dict)
    confirmed: dict[str, list[str]] = field(default_factory=dict)
    covering: dict[str, str] = field(default_factory=dict)
    designated: list[Designated] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    resolvers: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)

    def about(self, *topics: str) -> list[Exchange]:
        """Give the exchanges made for one of these reasons."""
        return [one for one in self.exchanges if one.about in topics]


def offered(one: Exchange) -> int:
    """Give the octets that a question about sizes offered to take."""
    return int(one.about.removeprefix("size-"))


def write_observation(observation: Observation) -> str:
    """Write an observation as JSON."""
    return json.dumps({"version": VERSION, **asdict(observation)}, indent=1)


def read_observation(text: str, place: str = "observation") -> Observation:
    """Read an observation. Raises: DataFault for what is none."""
    if len(text) > _FILE_OCTETS_MAX:
        raise DataFault("the file is too large for an observation", place=place)
    from pydantic import TypeAdapter, ValidationError

    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("version", None) != VERSION:
            raise DataFault("this is no observation, or one of another version", place=place)
        return TypeAdapter(Observation).validate_python(data)
    except (ValidationError, ValueError, RecursionError) as error:
        raise DataFault(f"this is no observation: {error}", place=place) from error
