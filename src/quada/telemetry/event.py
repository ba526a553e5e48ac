"""The event: one shape for whatever happens to a query, here or in somebody else's server.

Inside quada's own servers an event is a fixed record of 256 octets, because the hot path can write
that with one copy: the tail (everything known when an answer is compiled) is made once per answer,
and only the time and the client's socket address are put before it. Everywhere else it is an
`Event`, in which what a source cannot know is None, never guessed.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Final

import dns.rcode
import dns.rdatatype

import quada.wire.addresses as addresses
import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD_OCTETS: Final = 256  # our choice because offsets stay shifts and names to 190 octets fit
PEER_OCTETS: Final = 28  # sizeof(struct sockaddr_in6) on Linux; an IPv4 address leaves the end zero
HEAD_OCTETS: Final = 8 + PEER_OCTETS
TAIL_OCTETS: Final = RECORD_OCTETS - HEAD_OCTETS
NO_EDE: Final = 0xFFFF
NO_ZONE: Final = 0xFF
_NAME_OCTETS: Final = 190
_AF_INET: Final = 2  # Linux numbers, written into records on every platform
_AF_INET6: Final = 10
_TAIL: Final = struct.Struct("<BBBBHHHHHBBHHIBBBBBB190s")
_NAME_AT: Final = _TAIL.size - _NAME_OCTETS
_HEAD: Final = struct.Struct(f"<Q{PEER_OCTETS}s")

# Bits that the record keeps beside the response's header flags, in places where a response's header
# holds QR and the opcode.
FLAG_DO: Final = 0x8000
FLAG_NODATA: Final = 0x4000
FLAG_EDNS: Final = 0x2000
FLAG_LIMITED: Final = 0x1000  # dropped or slipped by response rate limiting
FLAG_SILENT: Final = 0x0800  # no response was sent
FLAG_STREAM: Final = 0x0040  # TCP, DoT or DoH, the source does not say which (the header's Z)


class Kind(IntEnum):
    """Which leg of a conversation an event is about."""

    QUERY = 1  # a client asked this server
    UPSTREAM = 2  # this server asked another one; `client` is that other one


class Role(IntEnum):
    """Which stream an event belongs to."""

    AUTHORITATIVE = 1
    RECURSIVE = 2


class Provenance(IntFlag):
    """Why an answer is what it is."""

    NATIVE = 1
    WILDCARD = 2
    ALIAS = 4
    POOL = 8
    DNS64 = 16
    STALE = 32
    CACHED = 64
    POLICY = 128


class Validation(IntEnum):
    """DNSSEC state of an answer (RFC 4033 5); UNTRIED where nobody validated."""

    UNTRIED = 0
    SECURE = 1
    INSECURE = 2
    BOGUS = 3
    INDETERMINATE = 4


class Cause(IntEnum):
    """Why a query failed, where that is known."""

    NONE = 0
    VALIDATION = 1
    REACHABILITY = 2
    DELEGATION = 3
    LIMIT = 4
    ACCESS = 5
    FORMAT = 6
    UNKNOWN = 7


@dataclass(slots=True, init=False)
class Event:
    """One query, or one upstream attempt, as far as its source can know it.

    Addresses are in presentation form, names absolute in presentation form, times in nanoseconds of
    the Unix epoch, durations in microseconds. `rcode` is what the client got. `weight` is how many
    queries this event stands for, where a source samples.
    """

    at_ns: int
    kind: Kind
    role: Role | None
    source: str
    client: str | None
    client_port: int | None
    transport: Transport | None
    listener: int | None
    qname: str | None
    qtype: int | None
    qclass: int | None
    opcode: int | None
    rcode: int | None
    flags: int
    is_nodata: bool | None
    is_do: bool | None
    ede: int | None
    validation: Validation | None
    provenance: Provenance | None
    cause: Cause | None
    zone: str | None
    duration_us: int | None
    response_octets: int | None
    answer_count: int | None
    upstream_family: int | None
    weight: int
    detail: str

    def __init__(
        self,
        *,
        at_ns: int,
        kind: Kind = Kind.QUERY,
        role: Role | None = None,
        source: str = "quada",
        client: str | None = None,
        client_port: int | None = None,
        transport: Transport | None = None,
        listener: int | None = None,
        qname: str | None = None,
        qtype: int | None = None,
        qclass: int | None = None,
        opcode: int | None = None,
        rcode: int | None = None,
        flags: int = 0,
        is_nodata: bool | None = None,
        is_do: bool | None = None,
        ede: int | None = None,
        validation: Validation | None = None,
        provenance: Provenance | None = None,
        cause: Cause | None = None,
        zone: str | None = None,
        duration_us: int | None = None,
        response_octets: int | None = None,
        answer_count: int | None = None,
        upstream_family: int | None = None,
        weight: int = 1,
        detail: str = "",
    ) -> None:
        # Written out because it is compiled with the class; what a dataclass makes is interpreted.
        self.at_ns = at_ns
        self.kind = kind
        self.role = role
        self.source = source
        self.client = client
        self.client_port = client_port
        self.transport = transport
        self.listener = listener
        self.qname = qname
        self.qtype = qtype
        self.qclass = qclass
        self.opcode = opcode
        self.rcode = rcode
        self.flags = flags
        self.is_nodata = is_nodata
        self.is_do = is_do
        self.ede = ede
        self.validation = validation
        self.provenance = provenance
        self.cause = cause
        self.zone = zone
        self.duration_us = duration_us
        self.response_octets = response_octets
        self.answer_count = answer_count
        self.upstream_family = upstream_family
        self.weight = weight
        self.detail = detail

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Event], tuple[dict[str, Any]]]:
        """Be kept over a restart, compiled or not."""
        return event_of, ({one.name: getattr(self, one.name) for one in fields(self)},)

    @property
    def blamed(self) -> Cause | None:
        """The cause, where there is one: None also for `Cause.NONE`."""
        # By name: compiled, whatever is not None would be true.
        return None if self.cause is Cause.NONE else self.cause

    @property
    def family(self) -> int | None:
        """6 or 4, from the client's address; None where that is unknown."""
        return None if self.client is None else 6 if ":" in self.client else 4

    def to_json(self) -> dict[str, Any]:
        """Give a JSON object: names for numbers, RFC 3339 UTC time, unknown fields absent."""
        at = datetime.fromtimestamp(self.at_ns // 1_000_000_000, UTC)
        out: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{self.at_ns // 1_000_000 % 1000:03d}Z",
            "kind": self.kind.name.lower(),
            "role": self.role.name.lower() if self.role else None,
            "source": self.source,
            "client": self.client,
            "client_port": self.client_port,
            "family": self.family,
            "transport": self.transport.name.lower() if self.transport else None,
            "qname": self.qname,
            "qtype": _maybe(
                self.qtype, lambda n: dns.rdatatype.to_text(dns.rdatatype.RdataType.make(n))
            ),
            "rcode": _maybe(
                self.rcode, lambda n: dns.rcode.to_text(dns.rcode.from_flags(n & 15, n >> 4 << 24))
            ),
            "nodata": self.is_nodata,
            "do": self.is_do,
            "ede": self.ede,
            "validation": _maybe(self.validation, lambda v: Validation(v).name.lower()),
            "provenance": _maybe(self.provenance, provenance_names),
            "cause": self.blamed.name.lower() if self.blamed is not None else None,
            "zone": self.zone,
            "duration_us": self.duration_us,
            "response_octets": self.response_octets,
            "answer_count": self.answer_count,
            "upstream_family": self.upstream_family,
            "flags": _flag_names(self.flags),
            "weight": self.weight if self.weight != 1 else None,
            "detail": self.detail or None,
        }
        return {key: value for key, value in out.items() if value is not None}


def compose_tail(
    *,
    role: Role,
    transport: Transport,
    qname: bytes,
    qtype: int,
    qclass: int = codes.IN,
    rcode: int = codes.NOERROR,
    flags: int = 0,
    kind: Kind = Kind.QUERY,
    provenance: int = 0,
    ede: int = NO_EDE,
    validation: int = 0,
    opcode: int = codes.QUERY,
    response_octets: int = 0,
    answer_count: int = 0,
    duration_us: int = 0,
    zone_offset: int = NO_ZONE,
    worker: int = 0,
    listener: int = 0,
    cause: int = 0,
    upstream_family: int = 0,
) -> bytes:
    """Compose all of a record but its time and peer: TAIL_OCTETS octets.

    `qname` is the wire name; `zone_offset` is where in it the zone's name begins. A name over 190
    octets is cut at the end, and its length field keeps telling its true length.
    """
    return _TAIL.pack(
        kind, role, transport, provenance, qtype, qclass, rcode, flags, ede, validation, opcode,
        min(response_octets, 0xFFFF), min(answer_count, 0xFFFF), min(duration_us, 0xFFFFFFFF),
        zone_offset, worker, listener, cause, upstream_family, len(qname), qname[:_NAME_OCTETS],
    )  # fmt: skip


def before_name(tail: bytes) -> bytes:
    """Give a tail up to the place of the question name."""
    return tail[:_NAME_AT]


def with_name(before: bytes, qname: bytes) -> bytes:
    """Complete what `before_name` gave with another name of the same length."""
    return (before + qname[:_NAME_OCTETS]).ljust(TAIL_OCTETS, b"\x00")


def compose_head(at_ns: int, peer: bytes) -> bytes:
    """Compose the head of a record: time, and a raw sockaddr of up to 28 octets."""
    return _HEAD.pack(at_ns, peer)


def compose_peer(address: str, port: int) -> bytes:
    """Compose the raw socket address of a record from presentation form."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        return (
            struct.pack("<H", _AF_INET6) + port.to_bytes(2, "big") + bytes(4) + ip.packed + bytes(4)
        )
    return struct.pack("<H", _AF_INET) + port.to_bytes(2, "big") + ip.packed


def parse_peer(peer: bytes) -> tuple[str, int] | None:
    """Parse a raw socket address: presentation form, and port. None for another family."""
    family = int.from_bytes(peer[:2], "little")
    port = int.from_bytes(peer[2:4], "big")
    if family == _AF_INET6:
        # A mapped address is an IPv4 client on a dual-stack socket.
        return addresses.to_text(addresses.unmapped(peer[8:24])), port
    if family == _AF_INET:
        return addresses.to_text(peer[4:8]), port
    return None


def event_of(told: dict[str, Any]) -> Event:
    """Make an event of its fields by name."""
    return Event(**told)


# What is read for every event is looked up: calling an enumeration costs ten times that.
_KINDS: Final = {int(one): one for one in Kind}
_ROLES: Final = {int(one): one for one in Role}
_TRANSPORTS: Final = {int(one): one for one in Transport}
_VALIDATIONS: Final = {int(one): one for one in Validation}
_CAUSES: Final = {int(one): one for one in Cause}
_PROVENANCES: Final = tuple(Provenance(bits) for bits in range(256))


def parse_record(record: bytes, source: str = "quada") -> Event:
    """Parse a record of RECORD_OCTETS octets into an Event. Raises ValueError for other octets."""
    try:
        return _parse_record(record, source)
    except (KeyError, struct.error) as error:
        raise ValueError("this is no event record") from error


def _parse_record(record: bytes, source: str) -> Event:
    at_ns, peer = _HEAD.unpack_from(record)
    (
        kind, role, transport, provenance, qtype, qclass, rcode, flags, ede, validation, opcode,
        response_octets, answer_count, duration_us, zone_offset, _worker, listener, cause,
        upstream_family, name_octets, name,
    ) = _TAIL.unpack_from(record, HEAD_OCTETS)  # fmt: skip
    address = parse_peer(peer)
    is_whole = name_octets <= _NAME_OCTETS
    qname = name[:name_octets] if is_whole else _whole_labels(name)
    return Event(
        at_ns=at_ns,
        kind=_KINDS[kind],
        role=_ROLES[role],
        source=source,
        client=address[0] if address else None,
        client_port=address[1] if address else None,
        transport=_TRANSPORTS[transport],
        listener=listener,
        qname=names.to_text(qname) if qname else None,
        qtype=qtype,
        qclass=qclass,
        opcode=opcode,
        rcode=None if flags & FLAG_SILENT else rcode,
        flags=flags,
        is_nodata=flags & FLAG_NODATA != 0,
        is_do=flags & FLAG_DO != 0,
        ede=None if ede == NO_EDE else ede,
        validation=_VALIDATIONS[validation],
        provenance=_PROVENANCES[provenance],
        cause=_CAUSES[cause] if cause else None,
        zone=names.to_text(qname[zone_offset:]) if zone_offset < len(qname) and is_whole else None,
        duration_us=duration_us,
        response_octets=response_octets,
        answer_count=answer_count,
        upstream_family=upstream_family or None,
        detail="" if is_whole else "name cut",
    )


def cause_of_ede(ede: int | None) -> Cause:
    """Say what an Extended DNS Error blames (RFC 8914 4)."""
    if ede is None:
        return Cause.UNKNOWN
    if 5 <= ede <= 12 or ede in (1, 2, 25, 27):
        return Cause.VALIDATION
    if ede in (22, 23):
        return Cause.REACHABILITY
    return Cause.UNKNOWN


_PROVENANCE_BITS: Final = {int(bit): (bit.name or "").lower() for bit in Provenance}


def provenance_names(provenance: int) -> list[str]:
    """Give the names of provenance bits, as JSON and the console show them."""
    bits = int(provenance)
    return [name for bit, name in _PROVENANCE_BITS.items() if bits & bit]


def _whole_labels(name: bytes) -> bytes:
    at = 0
    while at < len(name) and at + 1 + name[at] < len(name):
        at += 1 + name[at]
    return name[:at] + names.ROOT


_FLAG_NAMES: Final = (
    (codes.AA, "aa"),
    (codes.TC, "tc"),
    (codes.RD, "rd"),
    (codes.RA, "ra"),
    (codes.AD, "ad"),
    (codes.CD, "cd"),
    (FLAG_LIMITED, "limited"),
    (FLAG_SILENT, "silent"),
    (FLAG_STREAM, "stream"),
)


def _flag_names(flags: int) -> list[str] | None:
    return [name for bit, name in _FLAG_NAMES if flags & bit] or None


def _maybe(value: Any, show: Any) -> Any:
    return None if value is None else show(value)
