"""What a recursion came to, and the octets that tell a client so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import quada.telemetry.event as event
import quada.wire.codes as codes
import quada.wire.edns as edns
from quada.telemetry.event import Cause, Provenance, Role, Validation, cause_of_ede, compose_tail
from quada.wire.ask import Transport
from quada.wire.compose import Composer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.resolver.policy import Action
    from quada.resolver.task import Resolution
    from quada.wire.question import Question
    from quada.wire.records import Record
    from quada.wire.respond import Answered

_STALE_TTL_S: Final = 30  # RFC 8767 5
_SIGNATURES: Final = frozenset((codes.RRSIG, codes.NSEC, codes.NSEC3))


@dataclass(slots=True)
class Recursed:
    """How a recursion ended: what to say and where it is from."""

    resolution: Resolution
    provenance: Provenance = Provenance.NATIVE
    ede: int | None = None
    ede_text: str = ""
    action: Action | None = None
    cause: Cause = Cause.NONE  # why it failed, also where the client was not told


def compose_answer(
    question: Question,
    recursed: Recursed,
    transport: Transport,
    *,
    now: float,
    payload_octets: int,
    worker: int,
    took_us: int = 0,
    cause: int = 0,
) -> Answered:
    """Make octets: sections as the client may have them, EDNS, TC; and the event's tail.

    Takes the time, to age TTLs by, the largest response over UDP, and who tells of it.
    """
    resolution, opt = recursed.resolution, question.edns
    is_do = opt is not None and opt.is_do
    is_cd = bool(question.flags & codes.CD)
    is_bogus = resolution.validation is Validation.BOGUS
    rcode = resolution.rcode
    answer: Iterable[Record] = resolution.answer
    authority: Iterable[Record] = resolution.authority
    if is_bogus and not is_cd:
        rcode, answer, authority, cause = codes.SERVFAIL, (), (), event.Cause.VALIDATION
    elif rcode == codes.SERVFAIL and not cause:
        cause = event.Cause.REACHABILITY
    flags = codes.QR | codes.RA | question.flags & (codes.RD | codes.CD) | rcode & 0xF
    wants_ad = is_do or bool(question.flags & codes.AD)
    if resolution.validation is Validation.SECURE and wants_ad and rcode in (0, 3):
        flags |= codes.AD
    composer = Composer(question.qname, 0)
    elapsed = int(max(0.0, now - resolution.stored_at))
    ttl_max = _STALE_TTL_S if resolution.is_stale else 1 << 31
    counts = [
        _add(composer, section, question, elapsed, ttl_max, is_do=is_do)
        for section in (answer, authority)
    ]
    octets = composer.octets
    options = b""
    if recursed.ede is not None and opt is not None:
        options = edns.compose_ede(recursed.ede, recursed.ede_text[:200])
    composed_opt = b""
    if opt is not None:
        composed_opt = edns.compose_opt(
            options,
            payload_octets=payload_octets,
            flags=codes.EDNS_DO if is_do else 0,
            extended_rcode=rcode >> 4,
        )
    limit = 65_535
    if transport is Transport.UDP:
        asked = opt.payload_octets if opt else edns.MIN_PAYLOAD_OCTETS
        limit = min(asked, payload_octets)
    if 12 + len(question.octets) + len(octets) + len(composed_opt) > limit:
        flags |= codes.TC
        octets, counts = b"", [0, 0]
    response = b"".join(
        (
            flags.to_bytes(2, "big"),
            b"\x00\x01",
            counts[0].to_bytes(2, "big"),
            counts[1].to_bytes(2, "big"),
            b"\x00" + bytes((opt is not None,)),
            question.octets,
            octets,
            composed_opt,
        )
    )
    cause = cause or recursed.cause
    if rcode == codes.SERVFAIL and not cause:
        cause = cause_of(recursed)
    is_nodata = rcode == 0 and not any(r.rdtype == question.qtype for r in answer)
    shown = flags & ~(codes.QR | 0xF) | (event.FLAG_NODATA if is_nodata else 0)
    if opt is not None:
        shown |= event.FLAG_EDNS | (event.FLAG_DO if is_do else 0)
    tail = compose_tail(
        role=Role.RECURSIVE,
        transport=transport,
        qname=question.qname,
        qtype=question.qtype,
        rcode=rcode,
        flags=shown,
        provenance=recursed.provenance,
        ede=event.NO_EDE if recursed.ede is None else recursed.ede,
        validation=resolution.validation,
        response_octets=len(response) + 2,
        answer_count=counts[0],
        duration_us=took_us,
        worker=worker,
        cause=cause,
    )
    return response, tail


def bare_answer(packet: bytes, transport: Transport, rcode: int, worker: int) -> Answered:
    """Answer a packet that could not be read: a header alone, or silence (RFC 1035 4.1.1)."""
    is_silent = len(packet) < 12 or bool(packet[2] & 0x80)
    tail = compose_tail(
        role=Role.RECURSIVE, transport=transport, qname=b"", qtype=0, rcode=rcode,
        flags=event.FLAG_SILENT if is_silent else 0, cause=event.Cause.FORMAT,
        worker=worker,
    )  # fmt: skip
    if is_silent:
        return b"", tail
    flags = codes.QR | (packet[2] << 8) & 0x7900 | codes.RA | rcode
    return flags.to_bytes(2, "big") + bytes(8), tail


def cause_of(recursed: Recursed) -> Cause:
    """Say why a lookup failed, as far as its validation and EDE tell."""
    if recursed.resolution.validation is Validation.BOGUS:
        return Cause.VALIDATION
    return cause_of_ede(recursed.ede)


def _add(
    composer: Composer,
    records: Iterable[Record],
    question: Question,
    elapsed: int,
    ttl_max: int,
    *,
    is_do: bool,
) -> int:
    """Add a section's records, aged; signatures and proofs only for those who set DO."""
    count = 0
    qname, qtype = question.qname, question.qtype
    for owner, rdtype, ttl, rdata in records:
        if not is_do and rdtype in _SIGNATURES and rdtype != qtype:
            continue
        aged = ttl - elapsed
        aged = 0 if aged < 0 else aged if aged < ttl_max else ttl_max
        count += composer.add(None if owner == qname else owner, rdtype, aged, (rdata,))
    return count
