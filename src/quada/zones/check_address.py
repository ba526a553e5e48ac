"""Zone rules of addresses: AAAA beside A, glue in both families, targets that exist, ALIAS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import MalformedMessage
from quada.zones.rdata import type_name, write_ipv6
from quada.zones.rules import Finding, Severity, Subject, rrsets, rule, target_of, text
from quada.zones.zone import Node, find

if TYPE_CHECKING:
    from collections.abc import Iterator

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

GLUE_MISSING = rule(
    "glue-missing",
    ERROR,
    "A delegation to a name below itself is a circle unless glue is given.",
    "add AAAA (and A) records for the name server",
    "RFC 9471 3",
)
GLUE_WITHOUT_AAAA = rule(
    "glue-without-aaaa",
    ERROR,
    "Glue with A alone makes the child unreachable over IPv6.",
    "add the name server's AAAA beside its A",
    "RFC 9471 3, RFC 3901",
)
NS_WITHOUT_AAAA = rule(
    "ns-without-aaaa",
    ERROR,
    "A name server without AAAA cannot be asked over IPv6.",
    "add the name server's AAAA",
    "RFC 3901 (BCP 91)",
)
FEW_IPV6_NS = rule(
    "few-ipv6-ns",
    WARNING,
    "Fewer than two name servers can be asked over IPv6.",
    "give a second name server an AAAA",
    "RFC 3901 (BCP 91), RFC 2182 5",
)
TARGET_CNAME = {
    codes.NS: rule(
        "ns-target-cname", ERROR, "Resolvers need not follow a CNAME at an NS target.",
        "point NS at the host's own name", "RFC 2181 10.3",
    ),
    codes.MX: rule(
        "mx-target-cname", ERROR, "Mail servers need not follow a CNAME at an MX target.",
        "point MX at the host's own name", "RFC 2181 10.3, 5321 5.1",
    ),
    codes.SRV: rule(
        "srv-target-cname", ERROR, "The SRV target must not be an alias.",
        "point SRV at the host's own name", "RFC 2782",
    ),
}  # fmt: skip
TARGET_MISSING = {
    codes.NS: rule(
        "ns-target-missing", ERROR, "The name server has no address.",
        "add its AAAA and A, or remove the NS", "RFC 1912 2.8",
    ),
    codes.MX: rule(
        "mx-target-missing", ERROR, "The mail exchanger has no address.",
        "add its AAAA and A, or remove the MX", "RFC 5321 5.1",
    ),
    codes.SRV: rule(
        "srv-target-missing", ERROR, "The service's host has no address.",
        "add its AAAA and A, or remove the SRV", "RFC 2782",
    ),
}  # fmt: skip
AAAA_MISSING = rule(
    "aaaa-missing",
    INFO,
    "A host with A alone cannot be reached by IPv6-only clients.",
    "add an AAAA, or list the name as IPv4-only in the policy",
    "RFC 6540",
)
AAAA_SPECIAL = rule(
    "aaaa-special",
    WARNING,
    "The address is of a range that the Internet does not route.",
    "use a global unicast address",
    "RFC 6890, RFC 4291",
)
TTL_FAMILY = rule(
    "ttl-family",
    INFO,
    "A and AAAA that expire at different times change family at moves.",
    "give both one TTL",
    "RFC 2181 5.2",
)
HINT_FAMILY = rule(
    "hint-family",
    WARNING,
    "An ipv4hint without ipv6hint steers clients to IPv4.",
    "add ipv6hint",
    "RFC 9460 7.3",
)
ALIAS_AND_CNAME = rule(
    "alias-and-cname",
    ERROR,
    "A CNAME stands alone, so the ALIAS can never speak.",
    "keep one of the two",
    "RFC 1034 3.6.2",
    refuses=True,
)
ALIAS_AND_ADDRESS = rule(
    "alias-and-address",
    WARNING,
    "An explicit address wins over the ALIAS for its family only.",
    "keep it if that is meant, else remove it",
    "docs/alias.md",
)
ALIAS_LOOP = rule(
    "alias-loop",
    ERROR,
    "Following the target comes back to the name: no address can be found.",
    "point the ALIAS at a name with addresses",
    "RFC 1034 3.6.2",
)

_SPECIAL: Final = (
    # prefix octets, prefix length in bits, what it is (IANA IPv6 Special-Purpose Address Registry)
    (bytes(16), 128, "the unspecified address (RFC 4291 2.5.2)"),
    (bytes(15) + b"\x01", 128, "loopback (RFC 4291 2.5.3)"),
    (bytes(10) + b"\xff\xff", 96, "an IPv4-mapped address (RFC 4291 2.5.5.2)"),
    (b"\x00\x64\xff\x9b" + bytes(8), 96, "a NAT64 address (RFC 6052 2.1)"),
    (b"\x00\x64\xff\x9b\x00\x01", 48, "a local NAT64 address (RFC 8215)"),
    (b"\x01\x00" + bytes(6), 64, "a discard address (RFC 6666)"),
    (b"\x01\x00" + bytes(5) + b"\x01", 64, "a dummy address (RFC 9780)"),
    (b"\x20\x01\x00\x00", 32, "a Teredo address (RFC 4380)"),
    (b"\x20\x01\x00", 23, "an address of a protocol (RFC 2928)"),
    (b"\x26\x20\x00\x4f\x80\x00", 48, "an address of AS112 (RFC 7534)"),
    (b"\x5f\x00", 16, "a segment identifier (RFC 9602)"),
    (b"\x20\x01\x0d\xb8", 32, "a documentation address (RFC 3849)"),
    (b"\x3f\xff\x00", 20, "a documentation address (RFC 9637)"),
    (b"\x20\x02", 16, "a 6to4 address (RFC 7526)"),
    (b"\xfc", 7, "a unique local address (RFC 4193)"),
    (b"\xfe\x80", 10, "a link-local address (RFC 4291 2.5.6)"),
    (b"\xff", 8, "a multicast address (RFC 4291 2.7)"),
)
_SPECIAL_IPV4: Final = (
    # IANA IPv4 Special-Purpose Address Registry, and multicast
    (b"\x00", 8, "an address of this network (RFC 791 3.2)"),
    (b"\x0a", 8, "a private address (RFC 1918)"),
    (b"\x64\x40", 10, "a shared address (RFC 6598)"),
    (b"\x7f", 8, "loopback (RFC 1122 3.2.1.3)"),
    (b"\xa9\xfe", 16, "a link-local address (RFC 3927)"),
    (b"\xac\x10", 12, "a private address (RFC 1918)"),
    (b"\xc0\x00\x00", 24, "an address of a protocol (RFC 6890 2.1)"),
    (b"\xc0\x00\x02", 24, "a documentation address (RFC 5737)"),
    (b"\xc0\x1f\xc4", 24, "an address of AS112 (RFC 7535)"),
    (b"\xc0\x34\xc1", 24, "an address of AMT (RFC 7450)"),
    (b"\xc0\x58\x63", 24, "a 6to4 relay's address (RFC 7526)"),
    (b"\xc0\xa8", 16, "a private address (RFC 1918)"),
    (b"\xc0\xaf\x30", 24, "an address of AS112 (RFC 7534)"),
    (b"\xc6\x12", 15, "an address for benchmarks (RFC 2544)"),
    (b"\xc6\x33\x64", 24, "a documentation address (RFC 5737)"),
    (b"\xcb\x00\x71", 24, "a documentation address (RFC 5737)"),
    (b"\xe0", 4, "a multicast address (RFC 1112)"),
    (b"\xf0", 4, "a reserved address (RFC 1112 4)"),
)
_MAX_STEPS: Final = 16  # our choice because a longer chain of aliases is a mistake in itself


def special_range(address: bytes) -> str:
    """Say of which special range an address is, 16 octets or 4; empty for global unicast."""
    size = len(address)
    value = int.from_bytes(address, "big")
    for prefix, bits, what in _SPECIAL if size == 16 else _SPECIAL_IPV4:
        padded = int.from_bytes(prefix.ljust(size, b"\x00"), "big")
        if value >> (8 * size - bits) == padded >> (8 * size - bits):
            return what
    return ""


def check_delegations(subject: Subject) -> Iterator[Finding]:
    """Check that each name server of the zone and of its children can be reached, IPv6 first."""
    for owner, rrset in rrsets(subject.zone, codes.NS):
        is_apex = owner == subject.zone.origin
        over_ipv6 = unknown = 0
        for rdata in rrset.rdatas:
            target = target_of(codes.NS, rdata)
            if target is None:
                continue
            is_below = not is_apex and names.is_subdomain(target, owner)
            # Below the cut nothing but glue can be known, and there without glue is a circle.
            glue = subject.zone.nodes.get(target, ())
            node = glue if is_below else glue or subject.lookup(target)
            if node is None:
                unknown += 1
                continue
            over_ipv6 += find(node, codes.AAAA) is not None
            yield from _check_server(owner, target, node, is_apex=is_apex)
        if is_apex and not unknown and 0 < over_ipv6 < 2:
            yield FEW_IPV6_NS.at(owner, codes.NS, "one name server alone has an AAAA")


def _check_server(owner: bytes, target: bytes, node: Node, *, is_apex: bool) -> Iterator[Finding]:
    name = text(target)
    if find(node, codes.AAAA) is not None:
        return
    if find(node, codes.CNAME) is not None or find(node, codes.ALIAS) is not None:
        return  # ns-target-cname says it; an ALIAS has its addresses elsewhere
    is_in_domain = names.is_subdomain(target, owner)
    if find(node, codes.A) is not None:
        if is_apex or not is_in_domain:
            message = f"name server {name} of {text(owner)} has A and no AAAA"
            yield NS_WITHOUT_AAAA.at(target, codes.AAAA, message)
        else:
            message = f"delegation {text(owner)}: glue of {name} has A and no AAAA"
            yield GLUE_WITHOUT_AAAA.at(target, codes.AAAA, message)
    elif is_in_domain and not is_apex:
        message = f"delegation {text(owner)}: name server {name} has no glue"
        yield GLUE_MISSING.at(owner, codes.NS, message)


def check_targets(subject: Subject) -> Iterator[Finding]:
    """Check that NS, MX and SRV point to names with addresses, not to aliases."""
    for rdtype in (codes.NS, codes.MX, codes.SRV):
        for owner, rrset in rrsets(subject.zone, rdtype):
            for rdata in rrset.rdatas:
                target = target_of(rdtype, rdata)
                if target is None or target == names.ROOT:
                    continue
                node = subject.lookup(target)
                if node is None:
                    continue
                where = f"{text(owner)} {type_name(rdtype)} points to {text(target)}"
                if find(node, codes.CNAME) is not None:
                    yield TARGET_CNAME[rdtype].at(owner, rdtype, f"{where}, which is a CNAME")
                elif not any(r.rdtype in (codes.A, codes.AAAA, codes.ALIAS) for r in node):
                    is_glue_case = rdtype == codes.NS and owner != subject.zone.origin
                    if not (is_glue_case and names.is_subdomain(target, owner)):
                        message = f"{where}, which has no address"
                        yield TARGET_MISSING[rdtype].at(owner, rdtype, message)


def check_families(subject: Subject) -> Iterator[Finding]:
    """Check that AAAA stands beside A, with one TTL, and with addresses that are routed."""
    policy = subject.policy
    for owner, node in subject.zone.nodes.items():
        aaaa, a = find(node, codes.AAAA), find(node, codes.A)
        if (
            a is not None
            and aaaa is None
            and find(node, codes.ALIAS) is None
            and owner not in policy.ipv4_only
            and not (subject.cuts and subject.is_occluded(owner))
        ):
            finding = AAAA_MISSING.at(owner, codes.AAAA, f"{text(owner)} has A and no AAAA")
            if policy.requires_aaaa:
                finding = finding._replace(severity=WARNING)
            yield finding
        if aaaa is not None and a is not None and aaaa.ttl != a.ttl:
            message = f"{text(owner)}: AAAA lives {aaaa.ttl} s, A lives {a.ttl} s"
            yield TTL_FAMILY.at(owner, codes.AAAA, message)
        if aaaa is not None and not policy.allows_special:
            for rdata in aaaa.rdatas:
                what = special_range(rdata)
                if what:
                    message = f"{text(owner)}: {write_ipv6(rdata)} is {what}"
                    yield AAAA_SPECIAL.at(owner, codes.AAAA, message)
        for rdtype in (codes.SVCB, codes.HTTPS):
            service = find(node, rdtype)
            for rdata in service.rdatas if service else ():
                keys = _service_keys(rdata)
                if 4 in keys and 6 not in keys:
                    message = f"{text(owner)} {type_name(rdtype)} has ipv4hint and no ipv6hint"
                    yield HINT_FAMILY.at(owner, rdtype, message)


def _service_keys(rdata: bytes) -> set[int]:
    """Give the SvcParamKeys of SVCB data (RFC 9460 2.2)."""
    keys: set[int] = set()
    try:
        _, at = names.parse_name(rdata, 2)
    except MalformedMessage:
        return keys
    while at + 4 <= len(rdata):
        keys.add(int.from_bytes(rdata[at : at + 2], "big"))
        at += 4 + int.from_bytes(rdata[at + 2 : at + 4], "big")
    return keys


def check_aliases(subject: Subject) -> Iterator[Finding]:
    """Check ALIAS records: neighbours, and chains that come back."""
    for owner, rrset in rrsets(subject.zone, codes.ALIAS):
        node = subject.zone.nodes[owner]
        if find(node, codes.CNAME) is not None:
            yield ALIAS_AND_CNAME.at(owner, codes.ALIAS, f"{text(owner)} has ALIAS and CNAME")
        for rdtype in (codes.AAAA, codes.A):
            if find(node, rdtype) is not None:
                kind = type_name(rdtype)
                message = f"{text(owner)} has {kind} beside ALIAS: the {kind} wins for its family"
                yield ALIAS_AND_ADDRESS.at(owner, codes.ALIAS, message)
        for rdata in rrset.rdatas:
            target = target_of(codes.ALIAS, rdata)
            if target is not None and _comes_back(subject, owner, target):
                message = f"ALIAS of {text(owner)} to {text(target)} comes back to itself"
                yield ALIAS_LOOP.at(owner, codes.ALIAS, message)


def _comes_back(subject: Subject, owner: bytes, target: bytes) -> bool:
    seen = {owner}
    for _ in range(_MAX_STEPS):
        if target in seen:
            return True
        seen.add(target)
        node = subject.lookup(target) or ()
        onward = find(node, codes.CNAME) or find(node, codes.ALIAS)
        if onward is None:
            return False
        following = target_of(onward.rdtype, onward.rdatas[0])
        if following is None:
            return False
        target = following
    return True
