"""Dynamic update (RFC 2136): what an UPDATE message does to a zone, or the rcode it deserves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

import quada.wire.codes as codes
from quada.wire.serial import is_later
from quada.zones import Change, Record, Zone

if TYPE_CHECKING:
    from dns.rrset import RRset as TextRRset

_META: Final = frozenset(range(128, 256))  # RFC 6895 3.1: questions and transport, never data


class Refused(NamedTuple):
    """An update that is not done: the rcode, and in words why."""

    rcode: int
    why: str


def judge_update(zone: Zone, message: dns.message.Message) -> Change | Refused:
    """Judge prerequisites (RFC 2136 3.2), prescan (3.4.1) and perform updates (3.4.2) on a zone.

    Gives one change for the whole message: all of it happens, or nothing.
    """
    try:
        for rrset in message.sections[1]:
            refused = _prerequisite(zone, rrset, message.sections[1])
            if refused is not None:
                return refused
        return _updated(zone, message.sections[2])
    except (dns.exception.DNSException, ValueError):
        return Refused(codes.FORMERR, "a record of the update cannot be read")


def _owner(rrset: TextRRset) -> bytes:
    return (rrset.name.to_wire() or b"").lower()


def _rdatas(rrset: TextRRset) -> list[bytes]:
    return [rdata.to_wire() or b"" for rdata in rrset]


def _is_in_zone(zone: Zone, owner: bytes) -> bool:
    import quada.wire.names as names

    return names.is_subdomain(owner, zone.origin)


def _prerequisite(zone: Zone, rrset: TextRRset, section: list[TextRRset]) -> Refused | None:
    """RFC 2136 3.2.5. dnspython keeps the class that was sent in `deleting`, or IN."""
    owner, rdtype = _owner(rrset), int(rrset.rdtype)
    if not _is_in_zone(zone, owner):
        return Refused(int(dns.rcode.NOTZONE), "a prerequisite is outside the zone")
    sent = int(rrset.deleting) if rrset.deleting else int(rrset.rdclass)
    node = zone.node(owner)
    if sent == codes.CLASS_ANY:
        if rdtype == codes.ANY:
            return None if node else Refused(codes.NXDOMAIN, "a name that must exist does not")
        if zone.rrset(owner, rdtype) is None:
            return Refused(int(dns.rcode.NXRRSET), "an RRset that must exist does not")
        return None
    if sent == codes.CLASS_NONE:
        if rdtype == codes.ANY:
            return Refused(codes.YXDOMAIN, "a name that must not exist does") if node else None
        if zone.rrset(owner, rdtype) is not None:
            return Refused(int(dns.rcode.YXRRSET), "an RRset that must not exist does")
        return None
    here = zone.rrset(owner, rdtype)
    wanted = {
        rdata
        for other in section
        if not other.deleting and _owner(other) == owner and int(other.rdtype) == rdtype
        for rdata in _rdatas(other)
    }
    if here is None or set(here.rdatas) != wanted:
        return Refused(int(dns.rcode.NXRRSET), "an RRset is not what it must be")
    return None


def _updated(zone: Zone, section: list[TextRRset]) -> Change | Refused:
    """RFC 2136 3.4.2: apply each record in order to a version of its own."""
    from quada.zones import diff

    now = zone
    for rrset in section:
        owner, rdtype = _owner(rrset), int(rrset.rdtype)
        if not _is_in_zone(zone, owner):
            return Refused(int(dns.rcode.NOTZONE), "an update is outside the zone")
        if rdtype in _META and rdtype != codes.ANY:
            return Refused(codes.FORMERR, "an update is of a type that is no data")
        sent = int(rrset.deleting) if rrset.deleting else int(rrset.rdclass)
        if sent == codes.CLASS_ANY:
            change = _delete_rrsets(now, owner, rdtype)
        elif sent == codes.CLASS_NONE:
            change = _delete_records(now, owner, rdtype, _rdatas(rrset))
        else:
            change = _add_records(now, owner, rdtype, rrset.ttl, _rdatas(rrset))
        now = now.changed(change)
    return diff(zone, now)


def _is_kept(zone: Zone, owner: bytes, rdtype: int) -> bool:
    """The apex keeps its SOA and NS (RFC 2136 3.4.2.3)."""
    return owner == zone.origin and rdtype in (codes.SOA, codes.NS)


def _delete_rrsets(zone: Zone, owner: bytes, rdtype: int) -> Change:
    gone = [
        Record(owner, rrset.rdtype, rrset.ttl, rdata)
        for rrset in zone.node(owner) or ()
        if rdtype in (codes.ANY, rrset.rdtype) and not _is_kept(zone, owner, rrset.rdtype)
        for rdata in rrset.rdatas
    ]
    return Change(tuple(gone), ())


def _delete_records(zone: Zone, owner: bytes, rdtype: int, rdatas: list[bytes]) -> Change:
    rrset = zone.rrset(owner, rdtype)
    # The SOA stays, and so does the last NS of the apex (RFC 2136 3.4.2.4).
    is_last_ns = (
        owner == zone.origin
        and rdtype == codes.NS
        and rrset is not None
        and set(rrset.rdatas) <= set(rdatas)
    )
    if rrset is None or is_last_ns or (rdtype == codes.SOA and owner == zone.origin):
        return Change((), ())
    gone = [Record(owner, rdtype, rrset.ttl, rdata) for rdata in rdatas if rdata in rrset.rdatas]
    return Change(tuple(gone), ())


def _add_records(zone: Zone, owner: bytes, rdtype: int, ttl: int, rdatas: list[bytes]) -> Change:
    """RFC 2136 3.4.2.2: CNAME and other data exclude one another in silence; SOA only forwards."""
    node = zone.node(owner) or ()
    here = zone.rrset(owner, rdtype)
    has_cname = any(rrset.rdtype == codes.CNAME for rrset in node)
    is_exempt = rdtype in (codes.RRSIG, codes.NSEC)
    if rdtype == codes.CNAME:
        if any(rrset.rdtype not in (codes.CNAME, codes.RRSIG, codes.NSEC) for rrset in node):
            return Change((), ())
    elif has_cname and not is_exempt:
        return Change((), ())
    replaced: list[Record] = []
    if rdtype == codes.SOA:
        if here is None or not is_later(_serial(rdatas[0]), _serial(here.rdatas[0])):
            return Change((), ())
        replaced = [Record(owner, rdtype, here.ttl, rdata) for rdata in here.rdatas]
    elif rdtype == codes.CNAME and here is not None:
        replaced = [Record(owner, rdtype, here.ttl, rdata) for rdata in here.rdatas]
    elif here is not None and here.ttl != ttl:
        # One TTL an RRset (RFC 2181 5.2): the newest word rules.
        replaced = [Record(owner, rdtype, here.ttl, rdata) for rdata in here.rdatas]
        rdatas = list(dict.fromkeys([*here.rdatas, *rdatas]))
    return Change(tuple(replaced), tuple(Record(owner, rdtype, ttl, rdata) for rdata in rdatas))


def _serial(soa: bytes) -> int:
    return int.from_bytes(soa[-20:-16], "big")
