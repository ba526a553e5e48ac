"""Zones that a resolver answers from files, whatever the world says of them (local data).

Answers as the zone's own server would: CNAMEs followed while they stay inside, wildcards (RFC
4592), no data and no name with the SOA. A chain that leaves ends with its CNAME; the client goes
on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.records import Record

if TYPE_CHECKING:
    from quada.zones import Zone
    from quada.zones.zone import Node

_LINKS_MAX: Final = 8


class LocalZones:
    """Local zones by their apex; the nearest to a name answers for it."""

    def __init__(self, zones: tuple[Zone, ...]) -> None:
        self._zones = {zone.origin: zone for zone in zones}
        self._ends = tuple(self._zones)

    def find(self, qname: bytes, qtype: int) -> tuple[int, list[Record], list[Record]] | None:
        """Answer a question; None for a name of no local zone. Gives rcode, answer, authority."""
        zone = self._zone_of(qname)
        if zone is None:
            return None
        answer: list[Record] = []
        name = qname
        for _ in range(_LINKS_MAX):
            node = _node(zone, name)
            if node is None:
                return codes.NXDOMAIN, answer, _negative(zone)
            found = next((one for one in node if one.rdtype == qtype), None)
            if found is not None:
                answer += [Record(name, qtype, found.ttl, rdata) for rdata in found.rdatas]
                return codes.NOERROR, answer, []
            alias = next((one for one in node if one.rdtype == codes.CNAME), None)
            if alias is None:
                break
            answer.append(Record(name, codes.CNAME, alias.ttl, alias.rdatas[0]))
            name = alias.rdatas[0].lower()
            if not names.is_subdomain(name, zone.origin):
                return codes.NOERROR, answer, []
        return codes.NOERROR, answer, _negative(zone)

    def _zone_of(self, name: bytes) -> Zone | None:
        if not name.endswith(self._ends):  # nearly every question: one look is all it costs
            return None
        while True:
            zone = self._zones.get(name)
            if zone is not None or name == names.ROOT:
                return zone
            name = names.parent(name)


def _node(zone: Zone, name: bytes) -> Node | None:
    """What a name owns, or a wildcard owns for it; None where there is no such name."""
    node = zone.nodes.get(name)
    if node is not None:
        return node
    encloser = name
    while encloser not in zone.nodes:
        encloser = names.parent(encloser)
    return zone.nodes.get(b"\x01*" + encloser)


def _negative(zone: Zone) -> list[Record]:
    soa = zone.soa
    if soa is None:
        return []
    minimum = int.from_bytes(soa.rdatas[0][-4:], "big")
    return [Record(zone.origin, codes.SOA, min(soa.ttl, minimum), soa.rdatas[0])]
