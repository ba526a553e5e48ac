"""dnstap: Frame Streams and the protobuf messages inside, decoded as far as events need.

Client legs (AUTH, CLIENT, STUB, TOOL) become queries, the others upstream attempts. A query waits
for its response; one that never comes is an attempt without an answer.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import OrderedDict, deque
from typing import ClassVar, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.telemetry.event import Cause, Event, Kind, Role, cause_of_ede
from quada.telemetry.ingest.kept import Kept
from quada.wire.ask import Transport
from quada.wire.faults import MalformedMessage, PeerFault
from quada.wire.skim import skim

CONTENT_TYPE: Final = b"protobuf:dnstap.Dnstap"
_ACCEPT, _START, _STOP, _READY, _FINISH = 1, 2, 3, 4, 5
_FIELD_CONTENT_TYPE: Final = 1
_FRAME_OCTETS_MAX: Final = 1 << 18  # two DNS messages of 64 KiB, and what is around them
_CONTROL_OCTETS_MAX: Final = 512  # the Frame Streams specification
_WAITING_MAX: Final = 8_192
_WAIT_NS: Final = 10_000_000_000
_KEPT_MAX: Final = 20
_EDE: Final = codes.OPTION_EDE

# Message types: what leg they are of, and whether they carry a response (dnstap.proto).
_LEGS: Final = {
    1: (Kind.QUERY, Role.AUTHORITATIVE, False), 2: (Kind.QUERY, Role.AUTHORITATIVE, True),
    3: (Kind.UPSTREAM, Role.RECURSIVE, False), 4: (Kind.UPSTREAM, Role.RECURSIVE, True),
    5: (Kind.QUERY, Role.RECURSIVE, False), 6: (Kind.QUERY, Role.RECURSIVE, True),
    7: (Kind.UPSTREAM, Role.RECURSIVE, False), 8: (Kind.UPSTREAM, Role.RECURSIVE, True),
    9: (Kind.UPSTREAM, None, False), 10: (Kind.UPSTREAM, None, True),
    11: (Kind.UPSTREAM, None, False), 12: (Kind.UPSTREAM, None, True),
    13: (Kind.QUERY, Role.AUTHORITATIVE, False), 14: (Kind.QUERY, Role.AUTHORITATIVE, True),
}  # fmt: skip
_PROTOCOLS: Final = {1: Transport.UDP, 2: Transport.TCP, 3: Transport.DOT, 4: Transport.DOH,
                     7: Transport.DOQ}  # fmt: skip


class BrokenStream(PeerFault):
    """Octets that are no Frame Stream: the connection is of no more use."""

    code = "broken-stream"


class FrameStream:
    """Cuts octets into frames, and says what to answer in the two-way handshake.

    `replies` is to be sent back where there is somebody to send to.
    """

    def __init__(self) -> None:
        self._octets = bytearray()
        self.replies = b""
        self.is_ended = False

    @property
    def waiting_octets(self) -> int:
        """How many of the octets that were taken are of no whole frame yet."""
        return len(self._octets)

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets, give whole data frames. Raises: BrokenStream.

        What is whole before the broken place is given first; the call after that raises.
        """
        self._octets += octets
        frames: list[bytes] = []
        at = 0
        while True:
            try:
                size = self._whole(at, frames)
            except BrokenStream:
                if not frames:
                    raise
                break
            if not size:
                break
            at += size
        del self._octets[:at]
        return frames

    def _whole(self, at: int, frames: list[bytes]) -> int:
        """Take the frame at a place: its octets with those that tell its size; 0 for half a one."""
        view = self._octets
        left = len(view) - at
        if left < 4:
            return 0
        size = int.from_bytes(view[at : at + 4], "big")
        if size:
            if size > _FRAME_OCTETS_MAX:
                raise BrokenStream(f"a frame of {size} octets")
            if left < 4 + size:
                return 0
            frames.append(bytes(view[at + 4 : at + 4 + size]))
            return 4 + size
        if left < 8:
            return 0
        size = int.from_bytes(view[at + 4 : at + 8], "big")
        if not 4 <= size <= _CONTROL_OCTETS_MAX:
            raise BrokenStream(f"a control frame of {size} octets")
        if left < 8 + size:
            return 0
        self._control(bytes(view[at + 8 : at + 8 + size]))
        return 8 + size

    def _control(self, octets: bytes) -> None:
        kind = int.from_bytes(octets[:4], "big")
        if kind in (_READY, _START):
            at = 4
            types = []
            while at + 8 <= len(octets):
                field, size = struct.unpack_from("!II", octets, at)
                if field == _FIELD_CONTENT_TYPE:
                    types.append(octets[at + 8 : at + 8 + size])
                at += 8 + size
            if types and CONTENT_TYPE not in types:
                raise BrokenStream("the stream carries something else than dnstap")
        if kind == _READY:
            self.replies += control(_ACCEPT, CONTENT_TYPE)
        elif kind == _STOP:
            self.replies += control(_FINISH)
            self.is_ended = True


def control(kind: int, content_type: bytes = b"") -> bytes:
    """Compose a control frame."""
    body = kind.to_bytes(4, "big")
    if content_type:
        body += struct.pack("!II", _FIELD_CONTENT_TYPE, len(content_type)) + content_type
    return b"\x00\x00\x00\x00" + len(body).to_bytes(4, "big") + body


def frame(octets: bytes) -> bytes:
    """Compose a data frame."""
    return len(octets).to_bytes(4, "big") + octets


class DnstapParser(Kept):
    """Events from dnstap frames. See `Parser` for the meaning of the counts."""

    KEPT: ClassVar[tuple[str, ...]] = (
        "line_count", "event_count", "unknown_count", "unknown", "_waiting",
    )  # fmt: skip

    def __init__(self, source: str, role: Role | None = None) -> None:
        self.source = source
        self.role = role
        self.line_count = 0
        self.event_count = 0
        self.unknown_count = 0
        self.unknown: deque[str] = deque(maxlen=_KEPT_MAX)
        self._waiting: OrderedDict[tuple[int, bytes, int, bytes], Event] = OrderedDict()
        self._questions: dict[bytes, tuple[str, int]] = {}
        self._addresses: dict[bytes, str] = {}

    def feed(self, frames: list[bytes], now_ns: int) -> list[Event]:
        """Parse frames. Never raises for what a frame holds."""
        out: list[Event] = []
        for octets in frames:
            self.line_count += 1
            try:
                self._parse(octets, now_ns, out)
            except (ValueError, IndexError, MalformedMessage, struct.error):
                self.refuse(octets[:100].hex())
        self.event_count += len(out)
        return out

    def refuse(self, what: str) -> None:
        """Count a frame that is not understood, or something that is none."""
        self.unknown_count += 1
        self.unknown.append(what)

    def flush(self) -> list[Event]:
        """Give what still waits for a response."""
        left = list(self._waiting.values())
        self._waiting.clear()
        self.event_count += len(left)
        return left

    def _parse(self, octets: bytes, now_ns: int, out: list[Event]) -> None:
        body = fields(octets).get(14)
        if not isinstance(body, bytes):
            raise ValueError("no message")
        message = fields(body)
        leg = _LEGS.get(_number(message, 1))
        if leg is None:
            raise ValueError("unknown message type")
        kind, role, is_response = leg
        wire = message.get(14 if is_response else 10)
        if not isinstance(wire, bytes) or len(wire) < 12:
            raise ValueError("no DNS message")
        # The initiator of a query leg is the client, that of an upstream leg is ourselves.
        address = message.get(4 if kind is Kind.QUERY else 5, b"")
        port = _number(message, 6 if kind is Kind.QUERY else 7)
        if not isinstance(address, bytes):
            raise ValueError("no address")
        at_ns = _time(message, 12 if is_response else 8) or _time(message, 8) or now_ns
        qname, qtype = self._question(wire)
        own_port = _number(message, 6)
        key = (kind, address, own_port, wire[:2] + qname.encode())
        if not is_response:
            event = self._event(kind, role, message, address, port, at_ns)
            event.qname, event.qtype = qname, qtype
            if kind is Kind.UPSTREAM:
                event.cause = Cause.REACHABILITY
                event.zone = self._zone(message)
            before = self._waiting.pop(key, None)
            if before is not None:
                out.append(before)  # asked again from the same port with the same id
            self._waiting[key] = event
            self._expire(at_ns, out)
            return
        waited = self._waiting.pop(key, None)
        event = waited or self._event(kind, role, message, address, port, at_ns)
        if kind is Kind.UPSTREAM:
            event.zone = event.zone or self._zone(message)
        event.qname, event.qtype = qname, qtype
        asked_ns = waited.at_ns if waited else _time(message, 8)
        if asked_ns and at_ns >= asked_ns:
            event.duration_us = (at_ns - asked_ns) // 1000
        self._ended(event, wire)
        out.append(event)

    def _event(
        self, kind: Kind, role: Role | None, message: dict[int, int | bytes], address: bytes,
        port: int, at_ns: int,
    ) -> Event:  # fmt: skip
        text = self._addresses.get(address)
        if text is None and address:
            text = str(ipaddress.ip_address(address))
            if len(self._addresses) >= _WAITING_MAX:
                self._addresses.clear()
            self._addresses[address] = text
        return Event(
            at_ns=at_ns, kind=kind, role=self.role or role, source=self.source, client=text,
            client_port=port or None, transport=_PROTOCOLS.get(_number(message, 3)),
            upstream_family=(6 if ":" in text else 4) if text and kind is Kind.UPSTREAM else None,
        )  # fmt: skip

    def _ended(self, event: Event, wire: bytes) -> None:
        flags = wire[2] << 8 | wire[3]
        event.rcode = flags & 0xF
        event.flags = flags & (codes.AA | codes.TC | codes.RD | codes.RA | codes.AD | codes.CD)
        event.response_octets = len(wire)
        event.answer_count = wire[6] << 8 | wire[7]
        event.is_nodata = event.rcode == 0 and not event.answer_count and not flags & codes.TC
        event.cause = None
        if event.rcode == codes.SERVFAIL:
            edns = skim(wire, needs_question=False).edns
            option = edns.option(_EDE) if edns is not None else None
            if option is not None and len(option) >= 2:
                event.ede = option[0] << 8 | option[1]
            event.cause = cause_of_ede(event.ede)

    @staticmethod
    def _zone(message: dict[int, int | bytes]) -> str | None:
        """Give the zone whose server was asked, where the sender says it (`query_zone`)."""
        zone = message.get(11)
        return (
            names.to_text(names.parse_name(zone, 0)[0].lower()) if isinstance(zone, bytes) else None
        )

    def _question(self, wire: bytes) -> tuple[str, int]:
        if wire[4:6] != b"\x00\x01":
            return ".", 0
        end = wire.find(b"\x00", 12) + 5
        key = wire[12:end]
        known = self._questions.get(key)
        if known is None:
            name, at = names.parse_name(wire, 12)
            known = names.to_text(name.lower()), wire[at] << 8 | wire[at + 1]
            if len(self._questions) >= _WAITING_MAX:
                self._questions.clear()
            self._questions[key] = known
        return known

    def _expire(self, at_ns: int, out: list[Event]) -> None:
        while self._waiting:
            first = next(iter(self._waiting.values()))
            if len(self._waiting) <= _WAITING_MAX and at_ns - first.at_ns < _WAIT_NS:
                return
            out.append(self._waiting.popitem(last=False)[1])


def fields(octets: bytes) -> dict[int, int | bytes]:
    """Parse a protobuf message's fields. Raises: ValueError, IndexError."""
    out: dict[int, int | bytes] = {}
    at, size = 0, len(octets)
    while at < size:
        tag = octets[at]
        if tag < 0x80:  # nearly all numbers are one octet: no call for those
            at += 1
        else:
            tag, at = _varint(octets, at)
        kind = tag & 7
        if kind > 2 and kind != 5:
            raise ValueError("a field of an unknown kind")
        if kind in (1, 5):
            width = 8 if kind == 1 else 4
            if at + width > size:
                raise ValueError("a field is cut short")
            out[tag >> 3] = int.from_bytes(octets[at : at + width], "little")
            at += width
            continue
        value = octets[at]
        if value < 0x80:
            at += 1
        else:
            value, at = _varint(octets, at)
        if kind == 2:
            if at + value > size:
                raise ValueError("a field is cut short")
            out[tag >> 3] = octets[at : at + value]
            at += value
        else:
            out[tag >> 3] = value
    return out


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    octet = octets[at]
    if octet < 0x80:
        return octet, at + 1
    value, shift = octet & 0x7F, 7
    while True:
        at += 1
        octet = octets[at]
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _number(message: dict[int, int | bytes], field: int) -> int:
    value = message.get(field, 0)
    return value if isinstance(value, int) else 0


def _time(message: dict[int, int | bytes], field: int) -> int:
    seconds = _number(message, field)
    return seconds * 1_000_000_000 + _number(message, field + 1) if seconds else 0
