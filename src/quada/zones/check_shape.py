"""Zone rules of shape: what must be there, what may not stand together, what nobody can reach."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.zones.rdata import strings, type_name
from quada.zones.rules import Finding, Severity, Subject, rrsets, rule, target_of, text
from quada.zones.zone import find

if TYPE_CHECKING:
    from collections.abc import Iterator

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

NO_SOA = rule(
    "no-soa",
    ERROR,
    "Without a SOA a zone cannot say NXDOMAIN or NODATA.",
    "add one SOA at the apex",
    "RFC 1035 5.2",
    refuses=True,
)
MANY_SOA = rule(
    "many-soa",
    ERROR,
    "A zone has exactly one SOA, at its apex.",
    "keep one SOA at the apex",
    "RFC 1035 5.2",
    refuses=True,
)
NO_NS = rule(
    "no-ns",
    ERROR,
    "Without NS at the apex nobody can be referred to the zone.",
    "add at least two NS at the apex",
    "RFC 1035 5.2",
    refuses=True,
)
SINGLE_NS = rule(
    "single-ns",
    WARNING,
    "One name server is a single point of failure.",
    "add a second NS in another network",
    "RFC 1034 4.1",
)
CNAME_AND_OTHER = rule(
    "cname-and-other",
    ERROR,
    "A CNAME stands alone: other data at its name is never found.",
    "remove the other data or the CNAME; at the apex use ALIAS",
    "RFC 1034 3.6.2",
    refuses=True,
)
MANY_CNAME = rule(
    "many-cname",
    ERROR,
    "A name has one canonical name.",
    "keep one CNAME",
    "RFC 2181 10.1",
    refuses=True,
)
MANY_DNAME = rule(
    "many-dname", ERROR, "A name has one DNAME.", "keep one DNAME", "RFC 6672 2.4", refuses=True
)
DNAME_BELOW = rule(
    "dname-below",
    ERROR,
    "Names below a DNAME are never found: they are rewritten first.",
    "remove the names below, or the DNAME",
    "RFC 6672 2.4",
)
OCCLUDED = rule(
    "occluded",
    WARNING,
    "Data below a delegation belongs to the child zone and is never answered.",
    "move the records to the child zone",
    "RFC 2136 7.18",
)
WILDCARD_NS = rule(
    "wildcard-ns",
    WARNING,
    "NS at a wildcard has no defined meaning.",
    "delegate the names one by one",
    "RFC 4592 4.2",
)
DUPLICATE = rule(
    "duplicate-record",
    INFO,
    "A record written twice serves once.",
    "remove one of the two lines",
    "RFC 2181 5",
)
MIXED_TTL = rule(
    "mixed-ttl",
    WARNING,
    "Records of one RRset have one TTL; the lowest is served.",
    "give all records of the set one TTL",
    "RFC 2181 5.2",
)
TTL_MISSING = rule(
    "ttl-missing",
    WARNING,
    "Without $TTL, readers differ in what records without a TTL get.",
    "begin the file with $TTL",
    "RFC 2308 4",
)
LOST_INDENT = rule(
    "lost-indent",
    WARNING,
    "IN at a line's start is a host name to other servers; here it is the class.",
    "indent the line, or write the owner",
    "RFC 1035 5.1",
)
DOUBLED_ORIGIN = rule(
    "doubled-origin",
    WARNING,
    "The zone's name stands twice: a closing dot is probably missing.",
    "end the name with a dot",
    "RFC 1035 5.1",
)
HOST_CHARACTERS = rule(
    "host-characters",
    WARNING,
    "Host names hold letters, digits and hyphens only.",
    "rename the host",
    "RFC 1123 2.1",
)
SOA_TIMERS = rule(
    "soa-timers",
    WARNING,
    "Timers out of proportion make secondaries late or drop the zone.",
    "refresh above retry, expire well above both, minimum at most a day",
    "RFC 1912 2.2, 2308 5",
)
SOA_SERIAL = rule(
    "soa-serial",
    WARNING,
    "A serial of 0, or a date to come, is hard to go on from.",
    "use YYYYMMDDnn of today or a plain counter",
    "RFC 1912 2.2",
)
SOA_PRIMARY = rule(
    "soa-primary-cname",
    ERROR,
    "The SOA's primary must be a host name.",
    "name the host itself",
    "RFC 2181 10.3",
)
NULL_MX = rule(
    "null-mx-mixed",
    ERROR,
    "MX 0 . says that there is no mail; beside others it contradicts them.",
    "keep the null MX alone, or remove it",
    "RFC 7505 3",
)
MANY_SPF = rule(
    "many-spf",
    ERROR,
    "More than one SPF record is a permanent error for receivers.",
    "merge them into one",
    "RFC 7208 4.5",
)
LONG_SPF = rule(
    "long-spf",
    WARNING,
    "A long SPF record may not fit an answer of 512 octets.",
    "shorten it to 450 octets",
    "RFC 7208 3.4",
)
SPF_TYPE = rule(
    "spf-type",
    INFO,
    "Type SPF is obsolete and not asked for.",
    "publish SPF as TXT only",
    "RFC 7208 3.1",
)


def check_apex(subject: Subject) -> Iterator[Finding]:
    """Check SOA and NS at the apex, and SOA elsewhere."""
    zone = subject.zone
    soa = zone.soa
    if soa is None:
        yield NO_SOA.at(zone.origin, codes.SOA, "the apex has no SOA")
    elif len(soa.rdatas) > 1:
        yield MANY_SOA.at(zone.origin, codes.SOA, f"the apex has {len(soa.rdatas)} SOA records")
    else:
        yield from _check_soa(subject, soa.rdatas[0])
    for owner, _ in rrsets(zone, codes.SOA):
        if owner != zone.origin:
            yield MANY_SOA.at(owner, codes.SOA, f"{text(owner)} is not the apex and has a SOA")
    servers = zone.rrset(zone.origin, codes.NS)
    if servers is None:
        yield NO_NS.at(zone.origin, codes.NS, "the apex has no NS")
    elif len(servers.rdatas) == 1:
        yield SINGLE_NS.at(zone.origin, codes.NS, "the zone has a single name server")


def _check_soa(subject: Subject, rdata: bytes) -> Iterator[Finding]:
    origin = subject.zone.origin
    serial, refresh, retry, expire, minimum = struct.unpack("!IIIII", rdata[-20:])
    wrong = []
    if retry >= refresh:
        wrong.append(f"retry {retry} is not below refresh {refresh}")
    if expire < refresh + retry:
        wrong.append(f"expire {expire} is below refresh plus retry")
    elif expire < 604800:
        wrong.append(f"expire {expire} is below a week")
    if minimum > 86400:
        wrong.append(f"minimum {minimum} keeps negative answers above a day")
    if refresh < 300 or retry < 60:
        wrong.append(f"refresh {refresh} and retry {retry} make secondaries ask very often")
    for message in wrong:
        yield SOA_TIMERS.at(origin, codes.SOA, message)
    if serial == 0:
        yield SOA_SERIAL.at(origin, codes.SOA, "the serial is 0")
    elif subject.now_s is not None and 2000000000 <= serial < 2200000000:
        today = int(datetime.fromtimestamp(subject.now_s, UTC).strftime("%Y%m%d"))
        if serial // 100 > today + 1:
            yield SOA_SERIAL.at(origin, codes.SOA, f"the serial {serial} is a date to come")
    primary, _ = names.parse_name(rdata, 0)
    if find(subject.lookup(primary) or (), codes.CNAME):
        yield SOA_PRIMARY.at(origin, codes.SOA, f"the primary {text(primary)} is a CNAME")


def check_neighbours(subject: Subject) -> Iterator[Finding]:
    """Check what stands together at a name, and what lies below CNAME's relatives and cuts."""
    zone = subject.zone
    glue = frozenset((codes.A, codes.AAAA, codes.RRSIG))
    dnames = frozenset(owner for owner, _ in rrsets(zone, codes.DNAME))
    for owner, node in zone.nodes.items():
        for rrset in node:
            if rrset.rdtype == codes.CNAME:
                rest = [
                    type_name(other.rdtype)
                    for other in node
                    # RFC 4035 2.5: signatures and denial stand beside a CNAME.
                    if other.rdtype not in (codes.CNAME, codes.RRSIG, codes.NSEC)
                ]
                if rest:
                    message = f"{text(owner)} has a CNAME beside {', '.join(sorted(rest))}"
                    yield CNAME_AND_OTHER.at(owner, codes.CNAME, message)
                if len(rrset.rdatas) > 1:
                    yield MANY_CNAME.at(owner, codes.CNAME, f"{text(owner)} has several CNAMEs")
            elif rrset.rdtype == codes.DNAME and len(rrset.rdatas) > 1:
                yield MANY_DNAME.at(owner, codes.DNAME, f"{text(owner)} has several DNAMEs")
            elif rrset.rdtype == codes.NS and owner[:2] == b"\x01*":
                yield WILDCARD_NS.at(owner, codes.NS, f"{text(owner)} is a wildcard with NS")
        if node and owner != zone.origin and (subject.cuts or dnames):
            yield from _check_below(subject, owner, glue, dnames)


def _check_below(
    subject: Subject, owner: bytes, glue: frozenset[int], dnames: frozenset[bytes]
) -> Iterator[Finding]:
    zone = subject.zone
    above = names.parent(owner)
    while names.is_subdomain(above, zone.origin):
        if above in dnames:
            message = f"{text(owner)} lies below the DNAME at {text(above)}"
            # NSEC3 owners lie below the apex, and so below a DNAME there (RFC 6672 5.3.2).
            if any(r.rdtype not in (codes.NSEC3, codes.RRSIG) for r in zone.nodes[owner]):
                yield DNAME_BELOW.at(owner, 0, message)
            return
        if above == zone.origin:
            return
        if above in subject.cuts:
            for rrset in zone.nodes[owner]:
                if rrset.rdtype not in glue:
                    kind = type_name(rrset.rdtype)
                    message = f"{text(owner)} {kind} lies below the delegation {text(above)}"
                    yield OCCLUDED.at(owner, rrset.rdtype, message)
            return
        above = names.parent(above)


def check_spelling(subject: Subject) -> Iterator[Finding]:
    """Check names that look like slips of the pen."""
    origin = subject.zone.origin
    doubled = origin[:-1] + origin
    pointing = (codes.NS, codes.CNAME, codes.MX, codes.SRV, codes.PTR, codes.ALIAS)
    for owner, node in subject.zone.nodes.items():
        if origin != names.ROOT and node and names.is_subdomain(owner, doubled):
            yield DOUBLED_ORIGIN.at(owner, 0, f"{text(owner)} holds the zone's name twice")
        for rrset in node:
            if rrset.rdtype in pointing and origin != names.ROOT:
                for rdata in rrset.rdatas:
                    if rdata[-len(doubled) :].lower() == doubled:
                        target = text(target_of(rrset.rdtype, rdata) or names.ROOT)
                        message = f"{text(owner)} points to {target}"
                        yield DOUBLED_ORIGIN.at(owner, rrset.rdtype, message)
            elif rrset.rdtype in (codes.A, codes.AAAA) and not _is_host(owner):
                message = f"{text(owner)} has an address and is not a host name"
                yield HOST_CHARACTERS.at(owner, rrset.rdtype, message)


def _is_host(owner: bytes) -> bool:
    if owner.replace(b"-", b"").isalnum():
        return True
    labels = names.split(owner)
    if labels and labels[0] == b"*":
        labels = labels[1:]
    return all(
        label.replace(b"-", b"").isalnum() and label[:1] != b"-" and label[-1:] != b"-"
        for label in labels
    )


def check_mail(subject: Subject) -> Iterator[Finding]:
    """Check MX and SPF."""
    for owner, rrset in rrsets(subject.zone, codes.MX):
        if len(rrset.rdatas) > 1 and any(rdata[2:] == b"\x00" for rdata in rrset.rdatas):
            yield NULL_MX.at(owner, codes.MX, f"{text(owner)} has a null MX beside others")
    for owner, rrset in rrsets(subject.zone, codes.TXT):
        policies = []
        for rdata in rrset.rdatas:
            try:
                joined = b"".join(strings(rdata))
            except DataFault:
                continue
            if joined.lower() == b"v=spf1" or joined[:7].lower() == b"v=spf1 ":
                policies.append(joined)
        if len(policies) > 1:
            yield MANY_SPF.at(owner, codes.TXT, f"{text(owner)} has {len(policies)} SPF records")
        for policy in policies:
            if len(policy) > 450:
                message = f"the SPF record of {text(owner)} has {len(policy)} octets"
                yield LONG_SPF.at(owner, codes.TXT, message)
    for owner, _ in rrsets(subject.zone, 99):
        yield SPF_TYPE.at(owner, 99, f"{text(owner)} has a record of type SPF")
