"""A zone version written as zone text that people read and every server loads (RFC 1035 5)."""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.rdata as rdata_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.wire.records import Record
    from quada.zones.zone import Zone

_MAX_PAD: Final = 40  # owners longer than this push their record right alone, not the whole column
_FIRST: Final = {codes.SOA: 0, codes.NS: 1, codes.AAAA: 2, codes.A: 3, codes.ALIAS: 4}
"""The order of types at a name: what makes the zone, then IPv6 before IPv4, then by number."""


def write_zone(zone: Zone, *, is_portable: bool = False) -> Iterator[str]:
    """Write a version as lines, names in canonical order and relative to the apex.

    Takes: `is_portable` to write quada's ALIAS as `TYPE65401 \\# ...`, which other servers load.
    Gives: lines with their newline; joined they are the text. The same version always gives the
    same text.
    """
    origin = zone.origin
    default_ttl = _usual_ttl(zone)
    if default_ttl is None:
        yield f"$ORIGIN {names.to_text(origin)}\n"
        return
    yield f"$ORIGIN {names.to_text(origin)}\n$TTL {default_ttl}\n"
    owners = [owner for owner in zone.ordered_names() if zone.nodes[owner]]
    texts = {owner: rdata_text.write_name(owner, origin) for owner in owners}
    pad = max((len(text) for text in texts.values() if len(text) <= _MAX_PAD), default=1)
    for owner in owners:
        label = texts[owner]
        for rrset in sorted(zone.nodes[owner], key=lambda r: (_FIRST.get(r.rdtype, 9), r.rdtype)):
            ttl = "" if rrset.ttl == default_ttl else str(rrset.ttl)
            name = rdata_text.type_name(rrset.rdtype)
            is_foreign = is_portable and rrset.rdtype == codes.ALIAS
            if is_foreign:
                name = f"TYPE{codes.ALIAS}"
            for rdata in rrset.rdatas:
                if rrset.rdtype == codes.SOA:
                    text = _soa(rdata, origin)
                elif is_foreign:
                    text = f"\\# {len(rdata)} {rdata.hex()}"
                else:
                    text = rdata_text.write_rdata(rrset.rdtype, rdata, origin)
                yield f"{label:<{pad}} {ttl:>6} IN {name:<5} {text}\n"
                label = ""


def write_record(record: Record, origin: bytes | None = None) -> str:
    """Write one record on one line: owner, TTL, class, type, data; absolute without an origin."""
    owner = rdata_text.write_name(record.owner, origin)
    text = rdata_text.write_rdata(record.rdtype, record.rdata, origin)
    return f"{owner} {record.ttl} IN {rdata_text.type_name(record.rdtype)} {text}"


def _usual_ttl(zone: Zone) -> int | None:
    counts = Counter(rrset.ttl for node in zone.nodes.values() for rrset in node)
    # The smallest of equals, so that the same data always give the same text.
    return min(counts, key=lambda ttl: (-counts[ttl], ttl)) if counts else None


def _soa(wire: bytes, origin: bytes) -> str:
    """Write SOA data over several lines, each number with what it means (RFC 1035 3.3.13)."""
    text = rdata_text.write_rdata(codes.SOA, wire, origin)
    if text.startswith("\\#"):
        return text
    primary, mailbox, *_ = text.split()
    numbers = struct.unpack("!IIIII", wire[-20:])
    notes = ("serial", "refresh", "retry", "expire", "minimum: TTL of negative answers (RFC 2308)")
    lines = [f"{primary} {mailbox} ("]
    lines += [
        f"{'':16}{number:<11}; {note}{_span(number) if note != 'serial' else ''}"
        for number, note in zip(numbers, notes, strict=True)
    ]
    return "\n".join([*lines, f"{'':16})"])


def _span(seconds: int) -> str:
    """Say a time in the largest units that fit: `, 2w`, `, 1h30m`."""
    if seconds < 60:
        return ""
    out = ""
    for unit, length in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            out += f"{count}{unit}"
    return f", {out}"
