"""An event as a dnstap message (dnstap.proto): who, over what, when, and a DNS message.

An event keeps no message. What is composed has its header, question, rcode and EDE, and no records:
what readers count is right, what they look up in answers is not there.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import quada.wire.codes as codes
import quada.wire.edns as edns
import quada.wire.names as names
from quada.telemetry.event import Event, Kind, Role
from quada.telemetry.fallback import is_unanswered
from quada.wire.ask import Transport
from quada.wire.faults import DataFault

_SHOWN: Final = codes.AA | codes.TC | codes.RD | codes.RA | codes.AD | codes.CD
# Message types (dnstap.proto): of the query alone where nothing came back, else of the response.
_AUTH, _RESOLVER, _CLIENT = (1, 2), (3, 4), (5, 6)
_PROTOCOLS: Final = {Transport.UDP: 1, Transport.TCP: 2, Transport.DOT: 3, Transport.DOH: 4,
                     Transport.DOQ: 7}  # fmt: skip
_MESSAGE: Final = 1  # Dnstap.Type


def compose_dnstap(event: Event, identity: bytes) -> bytes | None:
    """Compose a frame's octets; None for an event without a whole question name.

    Takes the identity of the server that sends it.
    """
    if event.qname is None or event.qtype is None or event.detail == "name cut":
        return None
    try:
        qname = names.from_text(event.qname)
    except DataFault:
        return None
    is_upstream = event.kind is Kind.UPSTREAM
    is_response = event.rcode is not None and not (is_upstream and is_unanswered(event))
    pair = _RESOLVER if event.kind is Kind.UPSTREAM else _AUTH
    if event.kind is Kind.QUERY and event.role is Role.RECURSIVE:
        pair = _CLIENT
    # The initiator is the client; of an upstream leg it is ourselves, and `client` was asked.
    address_field, port_field = (5, 7) if event.kind is Kind.UPSTREAM else (4, 6)
    message = _number(1, pair[is_response])
    address = _packed(event.client)
    if address is not None:
        message += _number(2, 2 if len(address) == 16 else 1)
    if event.transport is not None:
        message += _number(3, _PROTOCOLS[event.transport])
    if address is not None:
        message += _octets(address_field, address)
    if event.client_port is not None:
        message += _number(port_field, event.client_port)
    asked_ns = event.at_ns - (event.duration_us or 0) * 1000 if is_response else event.at_ns
    message += _time(8, asked_ns)
    if event.zone is not None:
        try:
            message += _octets(11, names.from_text(event.zone))
        except DataFault:
            return None
    if is_response:
        message += _time(12, event.at_ns) + _octets(14, _wire(event, qname, is_response=True))
    else:
        message += _octets(10, _wire(event, qname, is_response=False))
    return (
        _octets(1, identity) + _octets(2, b"quada") + _octets(14, message) + _number(15, _MESSAGE)
    )


def _wire(event: Event, qname: bytes, *, is_response: bool) -> bytes:
    """Compose the message that the event is about, as far as it is known.

    Its id is of its time: who pairs queries with responses must not take one for another's.
    """
    rcode = (event.rcode or 0) if is_response else 0
    flags = event.flags & (_SHOWN if is_response else codes.RD | codes.CD)
    flags |= (event.opcode or 0) << 11 | (codes.QR | rcode & 0xF if is_response else 0)
    opt = b""
    if rcode > 0xF or event.ede is not None or event.is_do:
        opt = edns.compose_opt(
            b"" if event.ede is None or not is_response else edns.compose_ede(event.ede),
            flags=codes.EDNS_DO if event.is_do else 0,
            extended_rcode=rcode >> 4,
        )
    qclass = codes.IN if event.qclass is None else event.qclass
    return b"".join(
        (
            (event.at_ns >> 10 & 0xFFFF).to_bytes(2, "big"), flags.to_bytes(2, "big"),
            b"\x00\x01\x00\x00\x00\x00\x00",
            bytes((bool(opt),)), qname, (event.qtype or 0).to_bytes(2, "big"),
            qclass.to_bytes(2, "big"), opt,
        )
    )  # fmt: skip


def _packed(client: str | None) -> bytes | None:
    try:
        return ipaddress.ip_address((client or "").partition("%")[0]).packed
    except ValueError:
        return None  # unknown, or hashed


def _time(field: int, at_ns: int) -> bytes:
    seconds, rest = divmod(max(0, at_ns), 1_000_000_000)
    return _number(field, seconds) + _varint((field + 1) << 3 | 5) + rest.to_bytes(4, "little")


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _octets(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
