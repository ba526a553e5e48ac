"""Zone rules of reverse zones: nibbles that make an address, and agreement with forward zones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.zones.rdata import write_ipv6, write_name
from quada.zones.rules import Finding, Severity, Subject, rrsets, rule, target_of, text
from quada.zones.zone import find

if TYPE_CHECKING:
    from collections.abc import Iterator

IP6_ARPA: Final = names.from_text("ip6.arpa.")
IN_ADDR_ARPA: Final = names.from_text("in-addr.arpa.")
_NIBBLES: Final = frozenset(b"0123456789abcdef")

NIBBLE_COUNT = rule(
    "nibble-count",
    Severity.ERROR,
    "A PTR is found only at exactly 32 nibbles below ip6.arpa; other counts are never asked for.",
    "write all 32 nibbles; `quada reverse make` generates them",
    "RFC 3596 2.5",
)
NIBBLE_FORM = rule(
    "nibble-form",
    Severity.ERROR,
    "Each label below ip6.arpa is one hexadecimal digit.",
    "write one nibble a label",
    "RFC 3596 2.5",
)
PTR_DRIFT = rule(
    "ptr-drift",
    Severity.WARNING,
    "The PTR names a host that does not have the address.",
    "run `quada reverse sync`, or add the address to the host",
    "RFC 1912 2.1",
)
PTR_MISSING = rule(
    "ptr-missing",
    Severity.WARNING,
    "An address without PTR has no name in logs and mail checks.",
    "run `quada reverse sync`",
    "RFC 1912 2.1",
)
OCTET_COUNT = rule(
    "octet-count",
    Severity.WARNING,
    "A PTR is found at exactly 4 octets below in-addr.arpa.",
    "write all 4 octets",
    "RFC 1035 3.5",
)


def reverse_name(address: bytes) -> bytes:
    """Give the ip6.arpa name of 16 octets or the in-addr.arpa name of 4 (RFC 3596 2.5)."""
    if len(address) == 16:
        return b"".join(b"\x01%c" % digit for digit in address.hex().encode()[::-1]) + IP6_ARPA
    labels = (str(octet).encode() for octet in reversed(address))
    return b"".join(bytes((len(label),)) + label for label in labels) + IN_ADDR_ARPA


def reverse_address(name: bytes) -> bytes | None:
    """Give the address of a full reverse name, 16 or 4 octets, or None where it is not one."""
    labels = names.split(name)[::-1]
    try:
        if labels[:2] == [b"arpa", b"ip6"] and len(labels) == 34:
            if all(len(label) == 1 for label in labels[2:]):
                return bytes.fromhex(b"".join(labels[2:]).decode())
        elif labels[:2] == [b"arpa", b"in-addr"] and len(labels) == 6:
            return bytes(int(label) for label in labels[2:])
    except ValueError:
        pass
    return None


def check_nibbles(subject: Subject) -> Iterator[Finding]:
    """Check that PTR owners are whole addresses, and say the right name where they are not."""
    origin = subject.zone.origin
    if names.is_subdomain(origin, IP6_ARPA):
        for owner, rrset in rrsets(subject.zone, codes.PTR):
            labels = names.split(owner[: -len(IP6_ARPA)] + b"\x00")
            if any(len(label) != 1 or label[0] not in _NIBBLES for label in labels):
                if labels[0] != b"*":
                    message = f"{text(owner)} has a label that is not one hexadecimal digit"
                    yield NIBBLE_FORM.at(owner, codes.PTR, message)
            elif len(labels) != 32:
                yield from _wrong_count(subject, owner, rrset.rdatas, labels)
    elif names.is_subdomain(origin, IN_ADDR_ARPA) and not _is_classless(origin):
        for owner, _ in rrsets(subject.zone, codes.PTR):
            count = names.label_count(owner) - 2
            if count != 4 and owner[:2] != b"\x01*" and not _is_classless(owner):
                message = f"{text(owner)} has {count} of 4 octets"
                yield OCTET_COUNT.at(owner, codes.PTR, message)


def _is_classless(name: bytes) -> bool:
    """Tell whether a label is a range of addresses, `0/26` or `0-63` (RFC 2317 4)."""
    above = name[: -len(IN_ADDR_ARPA)]
    return b"/" in above or b"-" in above


def _wrong_count(
    subject: Subject, owner: bytes, rdatas: tuple[bytes, ...], labels: list[bytes]
) -> Iterator[Finding]:
    origin = subject.zone.origin
    zone_nibbles = names.label_count(origin) - 2
    message = (
        f"{text(owner)} has {len(labels)} of 32 nibbles "
        f"({len(labels) - zone_nibbles} written in a zone of {zone_nibbles})"
    )
    fixes = []
    for rdata in rdatas:
        target = target_of(codes.PTR, rdata)
        node = subject.lookup(target) if target is not None else None
        found = find(node or (), codes.AAAA)
        for address in found.rdatas if found else ():
            right = reverse_name(address)
            if names.is_subdomain(right, origin) and target is not None:
                fixes.append(
                    f"{text(target)} is {write_ipv6(address)}: write {write_name(right, origin)}"
                )
    if not fixes and len(labels) < 32:
        gap = 32 - len(labels)
        host = labels[: len(labels) - zone_nibbles]
        whole = [*host, *[b"0"] * gap, *labels[len(host) :]]
        address = bytes.fromhex(b"".join(reversed(whole)).decode())
        fixes.append(
            f"if the address is {write_ipv6(address)}, "
            f"write {write_name(reverse_name(address), origin)}"
        )
    yield NIBBLE_COUNT.at(owner, codes.PTR, message, fix="; ".join(fixes))


def check_agreement(subject: Subject) -> Iterator[Finding]:
    """Check PTR against forward zones, and forward addresses against reverse zones, both given."""
    zone = subject.zone
    for owner, rrset in rrsets(zone, codes.PTR):
        address = reverse_address(owner)
        if address is None:
            continue
        rdtype = codes.AAAA if len(address) == 16 else codes.A
        for rdata in rrset.rdatas:
            target = target_of(codes.PTR, rdata)
            node = subject.lookup(target) if target is not None else None
            if node is None or target is None or find(node, codes.CNAME) or find(node, codes.ALIAS):
                continue
            found = find(node, rdtype)
            if found is None or address not in found.rdatas:
                message = f"{text(owner)} names {text(target)}, which does not have the address"
                yield PTR_DRIFT.at(owner, codes.PTR, message)
    if not any(names.is_subdomain(origin, names.from_text("arpa.")) for origin in subject.others):
        return
    for rdtype in (codes.AAAA, codes.A):
        for owner, rrset in rrsets(zone, rdtype):
            for address in rrset.rdatas:
                name = reverse_name(address)
                node = subject.lookup(name)
                if node is not None and not any(r.rdtype in (codes.PTR, codes.CNAME) for r in node):
                    message = f"{text(owner)}: no PTR at {text(name)}"
                    yield PTR_MISSING.at(owner, rdtype, message)
