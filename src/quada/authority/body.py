"""Bodies: all of a response but what comes from the packet, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.telemetry.event as event
import quada.wire.codes as codes
import quada.wire.edns as edns
from quada.telemetry.event import Role, compose_tail
from quada.wire.ask import Transport
from quada.wire.compose import Composer

if TYPE_CHECKING:
    from quada.authority.find import Result
    from quada.wire.respond import Answered

_PADDING_BLOCK_OCTETS: Final = 468  # RFC 8467 4.1
_STREAM_OCTETS: Final = 65_535
_SILENCE: Final = b""


class Body(NamedTuple):
    """All of a response but what comes from the packet.

    `flags` is the 16-bit field without RD. `moment_s` is as in Result. `optional` are additional
    records to leave out where they do not fit (`optional_count` of them).
    """

    flags: int
    extended_rcode: int
    answer_count: int
    authority_count: int
    additional_count: int
    octets: bytes
    optional: bytes
    optional_count: int
    options: bytes
    provenance: int
    ede: int
    zone_offset: int
    is_nodata: bool
    moment_s: int
    may_keep: bool


class Client(NamedTuple):
    """What a query's OPT (or its absence) means for the response.

    Equal `key`s share bodies, equal `kind`s whole responses too.
    """

    has_opt: bool
    is_do: bool
    limit_octets: int
    key: bytes
    kind: bytes
    opt: bytes


def compose_body(qname: bytes, result: Result, client: Client, *, may_keep: bool) -> Body:
    """Make octets of a Result."""
    anchor = result.anchor if result.anchor is not None else qname
    composer = Composer(anchor, len(qname) - len(anchor))
    answer_count = sum(composer.add(*item) for item in result.answer)
    authority_count = sum(composer.add(*item) for item in result.authority)
    for proof in result.proofs:
        rrset, signatures = proof.signed
        authority_count += composer.add(proof.owner, rrset.rdtype, rrset.ttl, rrset.rdatas)
        authority_count += composer.add(proof.owner, codes.RRSIG, rrset.ttl, signatures)
    additional_count = sum(composer.add(*item) for item in result.glue)
    octets = composer.octets
    optional_count = sum(composer.add(*item) for item in result.additional)
    flags = codes.QR | result.rcode | (codes.AA if result.is_authoritative else 0)
    options = edns.compose_ede(result.ede, result.detail) if result.ede != event.NO_EDE else b""
    offset = event.NO_ZONE if result.zone is None else len(qname) - len(result.zone)
    return Body(
        flags, 0, answer_count, authority_count, additional_count, octets,
        composer.octets[len(octets) :], optional_count, options if client.has_opt else b"",
        result.provenance, result.ede, offset, result.is_nodata, result.moment_s,
        may_keep and (client.has_opt or not options),
    )  # fmt: skip


def compose_response(
    body: Body,
    question: bytes,
    qname: bytes,
    fixed: bytes,
    rd: int,
    client: Client,
    transport: Transport,
    worker: int,
) -> Answered:
    """Put header, question, body and OPT together, within what the client can take."""
    opt = client.opt
    if body.options and client.has_opt:
        size = int.from_bytes(opt[9:11], "big") + len(body.options)
        opt = opt[:9] + size.to_bytes(2, "big") + opt[11:] + body.options
    flags = body.flags | rd
    limit = client.limit_octets if transport is Transport.UDP else _STREAM_OCTETS
    answer_count, authority_count = body.answer_count, body.authority_count
    additional_count = body.additional_count
    octets = body.octets
    room = limit - 12 - len(question) - len(opt) - len(octets)
    if room < 0:
        flags |= codes.TC
        octets = b""
        answer_count = authority_count = additional_count = 0
    elif body.optional and len(body.optional) <= room:
        octets += body.optional
        additional_count += body.optional_count
    if body.extended_rcode and opt:
        opt = opt[:5] + bytes((body.extended_rcode,)) + opt[6:]
    response = b"".join(
        (
            flags.to_bytes(2, "big"),
            b"\x00\x01",
            answer_count.to_bytes(2, "big"),
            authority_count.to_bytes(2, "big"),
            (additional_count + client.has_opt).to_bytes(2, "big"),
            question,
            octets,
            opt,
        )
    )
    shown = flags & ~(codes.QR | 0xF)
    if body.is_nodata:
        shown |= event.FLAG_NODATA
    if client.has_opt:
        shown |= event.FLAG_EDNS | event.FLAG_DO if client.is_do else event.FLAG_EDNS
    tail = compose_tail(
        role=Role.AUTHORITATIVE,
        transport=transport,
        qname=qname,
        qtype=fixed[0] << 8 | fixed[1],
        rcode=body.extended_rcode << 4 | flags & 0xF,
        flags=shown,
        provenance=body.provenance,
        ede=body.ede,
        response_octets=len(response) + 2,
        answer_count=answer_count,
        zone_offset=body.zone_offset,
        worker=worker,
    )
    return response, tail


def failure_body(rcode: int, ede: int, client: Client) -> Body:
    """A Body that says an rcode, with its EDE where there is one (RFC 8914 3)."""
    options = edns.compose_ede(ede) if ede != event.NO_EDE and client.has_opt else b""
    return Body(
        codes.QR | rcode & 0xF, rcode >> 4, 0, 0, 0, b"", b"", 0, options, 0, ede,
        event.NO_ZONE, False, 0, False,
    )  # fmt: skip


def padded(response: bytes, client: Client) -> bytes:
    """Pad a response, whose OPT comes last, to a multiple of 468 octets (RFC 8467 4.1)."""
    size = len(response) + 2 + 4
    padding = -size % _PADDING_BLOCK_OCTETS
    if size + padding > _STREAM_OCTETS:
        return response
    at = response.rindex(client.opt[:5], 0, len(response))
    opt = response[at:]
    options_octets = int.from_bytes(opt[9:11], "big") + 4 + padding
    return b"".join(
        (
            response[:at], opt[:9], options_octets.to_bytes(2, "big"), opt[11:],
            edns.compose_option(codes.OPTION_PADDING, bytes(padding)),
        )
    )  # fmt: skip


def silence(packet: bytes, transport: Transport, worker: int) -> Answered:
    """Say nothing to a response or a scrap (RFC 1035 7.3), and log that."""
    return _SILENCE, compose_tail(
        role=Role.AUTHORITATIVE, transport=transport, qname=b"", qtype=0,
        flags=event.FLAG_SILENT, cause=event.Cause.FORMAT, worker=worker,
    )  # fmt: skip


def is_name(octets: bytes) -> bool:
    """Tell whether octets up to a zero octet are a whole name: labels that end exactly there."""
    size = len(octets)
    if not 0 < size <= 255:
        return False
    at, last = 0, size - 1
    while at < last:
        if octets[at] > 63:
            return False
        at += octets[at] + 1
    return at == last and octets[last] == 0
