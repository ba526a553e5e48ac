"""Zone rules of signed zones, as far as the zone's own text tells (RFC 4035, RFC 9276)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import quada.wire.codes as codes
from quada.zones.rdata import type_name
from quada.zones.rules import Finding, Severity, Subject, rrsets, rule, text
from quada.zones.zone import find

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOON_S = 7 * 86400  # our choice because a week leaves time for people to act

DS_WITHOUT_NS = rule(
    "ds-without-ns",
    Severity.ERROR,
    "DS belongs to a delegation; elsewhere it means nothing.",
    "add the delegation's NS, or remove the DS",
    "RFC 4035 2.4",
)
SIGNATURE_EXPIRED = rule(
    "signature-expired",
    Severity.ERROR,
    "Validating resolvers answer SERVFAIL for the data.",
    "sign the zone again",
    "RFC 4035 5.3.1",
)
SIGNATURE_SOON = rule(
    "signature-soon",
    Severity.WARNING,
    "The signature ends within a week.",
    "sign the zone again, and see why it was not done",
    "RFC 6781 4.4.2",
)
SIGNATURE_EARLY = rule(
    "signature-early",
    Severity.ERROR,
    "The signature begins in the future.",
    "check the signer's clock",
    "RFC 4035 5.3.1",
)
SIGNATURE_MISSING = rule(
    "signature-missing",
    Severity.ERROR,
    "In a signed zone, data without a signature is bogus.",
    "sign the zone again",
    "RFC 4035 2.2",
)
NSEC3_ITERATIONS = rule(
    "nsec3-iterations",
    Severity.WARNING,
    "Iterations cost resolvers work and protect nothing.",
    "use 0 iterations and no salt",
    "RFC 9276 3.1",
)
WEAK_ALGORITHM = rule(
    "weak-algorithm",
    Severity.WARNING,
    "Resolvers have begun to treat the algorithm as insecure.",
    "roll to algorithm 13, digest 2",
    "RFC 8624 3, RFC 9905",
)


def check_dnssec(subject: Subject) -> Iterator[Finding]:
    """Check DS placement, signature times, unsigned data, NSEC3 cost and weak algorithms."""
    zone = subject.zone
    for owner, rrset in rrsets(zone, codes.DS):
        if find(zone.nodes[owner], codes.NS) is None or owner == zone.origin:
            yield DS_WITHOUT_NS.at(owner, codes.DS, f"{text(owner)} has DS and is no delegation")
        if any(len(rdata) > 3 and rdata[3] == 1 for rdata in rrset.rdatas):
            yield WEAK_ALGORITHM.at(owner, codes.DS, f"{text(owner)} has a DS of SHA-1")
    keys = zone.rrset(zone.origin, codes.DNSKEY)
    for rdata in keys.rdatas if keys else ():
        if len(rdata) > 3 and rdata[3] in (1, 3, 5, 6, 7, 12):
            message = f"a DNSKEY uses algorithm {rdata[3]}"
            yield WEAK_ALGORITHM.at(zone.origin, codes.DNSKEY, message)
    parameters = zone.rrset(zone.origin, codes.NSEC3PARAM)
    for rdata in parameters.rdatas if parameters else ():
        count = int.from_bytes(rdata[2:4], "big")
        if count:
            message = f"NSEC3 uses {count} iterations"
            yield NSEC3_ITERATIONS.at(zone.origin, codes.NSEC3PARAM, message)
    if keys is not None and zone.rrset(zone.origin, codes.RRSIG) is not None:
        yield from _check_signatures(subject)


def _check_signatures(subject: Subject) -> Iterator[Finding]:
    zone, now_s = subject.zone, subject.now_s
    for owner, node in zone.nodes.items():
        if not node or (subject.cuts and subject.is_occluded(owner)):
            continue
        signatures = find(node, codes.RRSIG)
        covered = set()
        for rdata in signatures.rdatas if signatures else ():
            rdtype = int.from_bytes(rdata[:2], "big")
            covered.add(rdtype)
            if now_s is not None and len(rdata) >= 18:
                yield from _check_times(owner, rdtype, rdata, now_s)
        is_cut = owner in subject.cuts
        for rrset in node:
            rdtype = rrset.rdtype
            # RFC 4035 2.2: NS and glue at a cut are not signed; an ALIAS is expanded, then signed.
            if rdtype in (codes.RRSIG, codes.ALIAS) or rdtype in covered:
                continue
            if is_cut and rdtype not in (codes.DS, codes.NSEC, codes.NSEC3):
                continue
            message = f"{text(owner)} {type_name(rdtype)} has no signature"
            yield SIGNATURE_MISSING.at(owner, rdtype, message)


def _check_times(owner: bytes, rdtype: int, rdata: bytes, now_s: int) -> Iterator[Finding]:
    # RFC 4034 3.1.5: the times are serial numbers of 32 bits.
    left = _distance(int.from_bytes(rdata[8:12], "big"), now_s)
    begun = -_distance(int.from_bytes(rdata[12:16], "big"), now_s)
    what = f"the signature of {text(owner)} {type_name(rdtype)}"
    if left < 0:
        yield SIGNATURE_EXPIRED.at(owner, rdtype, f"{what} ended {-left // 3600} hours ago")
    elif left < _SOON_S:
        yield SIGNATURE_SOON.at(owner, rdtype, f"{what} ends in {left // 3600} hours")
    if begun < 0:
        yield SIGNATURE_EARLY.at(owner, rdtype, f"{what} begins in {-begun} seconds")


def _distance(then: int, now_s: int) -> int:
    """Give the seconds from now to a 32-bit time, by serial arithmetic (RFC 1982)."""
    gap = (then - now_s) & 0xFFFFFFFF
    return gap - (1 << 32) if gap & 0x80000000 else gap
