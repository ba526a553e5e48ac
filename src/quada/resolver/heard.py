"""What is sent to a server, and what its answer comes to: octets out, octets in, nothing kept.

Everything a server says is looked at here before it is believed: that it answers what was asked,
that it speaks for its own zone, that a referral leads downwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.resolver.cache as cache
import quada.wire.addresses as addresses
import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import Delegation
from quada.wire.ask import NoReply, Outcome, Silence, Transport
from quada.wire.edns import compose_opt
from quada.wire.faults import MalformedMessage
from quada.wire.skim import Skimmed, follow, skim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quada.wire.records import Record

SERVERS_MAX: Final = 13  # addresses asked of one zone for one question
FOLDED: Final = "changed the question's case"
_MINIMISED_TYPE: Final = codes.A  # RFC 9156 2.1: a common type, so that it does not stand out
_CASE_BITS: Final = bytes(0x20 if 0x61 <= octet <= 0x7A else 0 for octet in range(256))
_OPTS: Final = {
    (False, False): b"",
    (False, True): b"",
    (True, False): compose_opt(),
    (True, True): compose_opt(flags=codes.EDNS_DO),
}


def compose_query(
    name: bytes, rdtype: int, bits: int, *, has_edns: bool, is_do: bool, is_rd: bool
) -> bytes:
    """Compose a query with id 0, its name in random case, which a forger must guess too (0x20).

    Takes random `bits`, at least as many as the name has bits.
    """
    size = len(name)
    flips = bits & int.from_bytes(name.translate(_CASE_BITS), "big")
    return b"".join(
        (
            b"\x00\x00\x01\x10\x00\x01\x00\x00\x00\x00\x00"
            if is_rd
            else b"\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00",
            b"\x01" if has_edns else b"\x00",
            (int.from_bytes(name, "big") ^ flips).to_bytes(size, "big"),
            rdtype.to_bytes(2, "big"),
            b"\x00\x01",
            _OPTS[has_edns, is_do],
        )
    )


def hear(outcome: Outcome, query: bytes, name: bytes, *, is_brief: bool = False) -> Skimmed | str:
    """Read an outcome: the response, or what was wrong in words.

    Takes the query as sent and the lower-cased name it asks for; `is_brief` where only the answer
    section matters, if there is one. What the answer compresses against the question comes out in
    lower case, not in the random case it was asked in.
    """
    if isinstance(outcome, NoReply):
        detail = f": {outcome.detail}" if outcome.why is Silence.TLS and outcome.detail else ""
        return f"gave no answer ({outcome.why.name.lower()}{detail})"
    message = outcome.message
    end = 12 + len(name)
    echoed = message[12:end]
    try:
        if echoed != query[12:end]:
            if echoed.lower() != name:
                skim(message)  # garbage has a better reason than a wrong question
                return "answered another question"
            # TCP cannot be forged blindly, and some servers fold case: only UDP must echo it.
            if outcome.ask.to.transport is Transport.UDP:
                return FOLDED
        return skim(message[:12] + name + message[end:], qname=name, is_brief=is_brief)
    except MalformedMessage as fault:
        return f"answered garbage ({fault})"


def referral_of(
    response: Skimmed, delegation: Delegation, name: bytes, now: float
) -> Delegation | None:
    """Read a referral: downwards, towards the name, and nothing else (RFC 2181 6)."""
    if response.answer or response.rcode != codes.NOERROR:
        return None
    cut: bytes | None = None
    servers: list[bytes] = []
    ttl = cache.TTL_MAX_S
    for record in response.authority:
        if record.rdtype == codes.SOA:
            return None
        if record.rdtype != codes.NS:
            continue
        is_down = len(record.owner) > len(delegation.zone) and names.is_subdomain(
            record.owner, delegation.zone
        )
        if not is_down or not names.is_subdomain(name, record.owner):
            continue
        if cut is None or record.owner == cut:
            cut = record.owner
            servers.append(record.rdata.lower())
            ttl = min(ttl, record.ttl)
    if cut is None:
        return None
    glue: dict[bytes, list[str]] = {}
    wanted = set(servers)
    for record in response.additional:
        # Glue is believed inside the zone that refers, and only for servers it names.
        if record.owner in wanted and names.is_subdomain(record.owner, delegation.zone):
            address = address_of(record)
            if address:
                glue.setdefault(record.owner, []).append(address)
    return Delegation(
        cut,
        tuple(servers[:SERVERS_MAX]),
        {owner: tuple(addresses) for owner, addresses in glue.items()},
        now + max(ttl, 1),
    )


def is_lame(response: Skimmed, delegation: Delegation) -> bool:
    """Tell whether a server does not serve the zone: it refers sideways or upwards, or denies a
    name on behalf of another zone."""
    if delegation.is_forward or response.answer:
        return False
    zone = delegation.zone
    is_own = False
    for record in response.authority:
        if record.rdtype == codes.SOA:
            return not names.is_subdomain(record.owner, zone)
        if record.rdtype == codes.NS and record.owner != zone:
            is_own = is_own or names.is_subdomain(record.owner, zone)
    return not (is_own or response.flags & codes.AA or response.rcode == codes.NXDOMAIN)


def ttl_of(answer: Sequence[Record], authority: Sequence[Record], name: bytes, rdtype: int) -> int:
    """Give how long an answer holds: its lowest TTL, or the SOA's negative one (RFC 2308 5)."""
    ttl = cache.TTL_MAX_S
    for record in answer:
        if record.rdtype != rdtype or record.owner != name:
            break
        if record.ttl < ttl:
            ttl = record.ttl
    else:
        if answer:
            return ttl
    _, links, found = follow(answer, name, rdtype)
    used = [record.ttl for record in (*links, *found)]
    if found or links:
        return min([cache.TTL_MAX_S, *used])
    soa = next((r for r in authority if r.rdtype == codes.SOA), None)
    if soa is None:
        return cache.FAILURE_TTL_S
    return min(cache.NEGATIVE_TTL_MAX_S, soa.ttl, int.from_bytes(soa.rdata[-4:], "big"))


def minimised(name: bytes, rdtype: int, zone: bytes, extra: int) -> tuple[bytes, int]:
    """Give as much of a name as the zone's servers need to know (RFC 9156 2)."""
    labels = names.label_count(name) - names.label_count(zone)
    if labels <= extra:
        return name, rdtype
    at = 0
    for _ in range(labels - extra):
        at += name[at] + 1
    return name[at:], _MINIMISED_TYPE


def address_of(record: Record) -> str:
    """Give the address of an AAAA or A record; empty for what is none, or never a server's."""
    size = {codes.AAAA: 16, codes.A: 4}.get(record.rdtype)
    if size is None or len(record.rdata) != size:
        return ""
    octets = record.rdata
    is_multicast = octets[0] == 0xFF if size == 16 else octets[0] >> 4 == 0xE
    if is_multicast or not any(octets):
        return ""
    return addresses.to_text(octets)
