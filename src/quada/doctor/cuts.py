"""Zone cuts as answers tell of them."""

from __future__ import annotations

from typing import Final

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from quada.doctor.observation import Cut
from quada.doctor.probe import Wanted
from quada.wire.ask import Transport

SERVERS_MAX: Final = 32


def asked_again(answer: dns.message.Message | None, qname: str, qtype: str) -> Wanted | None:
    """Say how to ask a server once more: over TCP what was cut, without EDNS who knows none."""
    if answer is not None and answer.flags & dns.flags.TC:
        return Wanted("", qname, qtype, Transport.TCP, 1232)
    if answer is not None and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        return Wanted("", qname, qtype)
    return None


def cut_in(answer: dns.message.Message, candidate: str, parent: str) -> Cut | None:
    """Find the delegation in an answer for NS: a referral, or an answer of who serves both."""
    for section in (answer.answer, answer.authority):
        for rrset in section:
            owner = rrset.name.to_text().lower()
            if rrset.rdtype != dns.rdatatype.NS or owner != candidate:
                continue
            servers = sorted(item.target.to_text().lower() for item in rrset)
            glue: dict[str, list[str]] = {}
            for extra in answer.additional:
                host = extra.name.to_text().lower()
                if host in servers and extra.rdtype in (dns.rdatatype.AAAA, dns.rdatatype.A):
                    glue.setdefault(host, []).extend(item.to_text() for item in extra)
            ordered = {host: sorted(found, key=v6_first) for host, found in glue.items()}
            return Cut(candidate, parent, servers[:SERVERS_MAX], ordered)
    return None


def cut_above(answer: dns.message.Message, name: str, zone: str) -> Cut | None:
    """Find the delegation that an answer about a name refers to, below the zone that was asked."""
    if answer.answer:
        return None
    for rrset in answer.authority:
        owner = rrset.name.to_text().lower()
        is_above = name == owner or name.endswith(f".{owner}")
        is_below = zone == "." or owner.endswith(f".{zone}")
        if rrset.rdtype == dns.rdatatype.NS and is_above and is_below and owner != zone:
            return cut_in(answer, owner, zone)
    return None


def apex_in(answer: dns.message.Message) -> str:
    """Give the apex that an answer about an SOA names; nothing where it names none."""
    for section in (answer.answer, answer.authority):
        for rrset in section:
            if rrset.rdtype == dns.rdatatype.SOA:
                return rrset.name.to_text().lower()
    return ""


def family_of(address: str) -> int:
    """6 or 4."""
    return 6 if ":" in address else 4


def v6_first(address: str) -> tuple[bool, str]:
    """Sort key: IPv6 before IPv4."""
    return ":" not in address, address
