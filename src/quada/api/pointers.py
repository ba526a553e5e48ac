"""PTR records that follow addresses: what our reverse zones need for an edit of a forward zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.zones import Change, Record, Zone
from quada.zones.check_reverse import reverse_name

if TYPE_CHECKING:
    from quada.api.access import Caller
    from quada.api.operations import Edited, Operations


class Reverse(NamedTuple):
    """What a reverse zone of ours would need for an edit of a forward zone."""

    zone: Zone
    change: Change


def told(operations: Operations, caller: Caller, address: bytes) -> dict[str, Any]:
    """Tell an address's reverse name, the zone of ours it lies in, and what its PTR says."""
    name = reverse_name(address)
    zone = _Above(operations, caller).find(name)
    pointer = zone.rrset(name, codes.PTR) if zone else None
    return {
        "reverse": names.to_text(name),
        "zone": names.to_text(zone.origin) if zone else "",
        "pointer": [names.to_text(rdata) for rdata in pointer.rdatas] if pointer else [],
    }


def changes(operations: Operations, caller: Caller, edited: Edited) -> list[Reverse]:
    """Give the changes that make PTR records in our reverse zones follow an edit's addresses.

    A PTR that names another host is left alone: whose it is, is a decision, not a default.
    """
    above = _Above(operations, caller)
    found: dict[bytes, Reverse] = {}
    for records, is_new in ((edited.change.removed, False), (edited.change.added, True)):
        for record in records:
            if record.rdtype not in (codes.AAAA, codes.A):
                continue
            name = reverse_name(record.rdata)
            zone = above.find(name)
            if zone is None or not caller.may_change(zone.origin):
                continue
            pointers = zone.rrset(name, codes.PTR)
            there = pointers.rdatas if pointers else ()
            known = found.get(zone.origin, Reverse(zone, Change((), ())))
            pointer = Record(name, codes.PTR, record.ttl, record.owner)
            if is_new and (not there or set(there) <= {p.rdata for p in known.change.removed}):
                change = known.change._replace(added=(*known.change.added, pointer))
            elif not is_new and record.owner in there:
                change = known.change._replace(removed=(*known.change.removed, pointer))
            else:
                continue
            found[zone.origin] = Reverse(zone, change)
    return list(found.values())


class _Above:
    """Finds the zone of ours with the longest origin above a name; looks the zones up once."""

    def __init__(self, operations: Operations, caller: Caller) -> None:
        self._operations = operations
        self._caller = caller
        self._origins = {view.origin for view in operations.zones(caller)}
        self._zones: dict[bytes, Zone] = {}

    def find(self, name: bytes) -> Zone | None:
        """Give that zone."""
        origin = name
        while origin not in self._origins:
            if origin == names.ROOT:
                return None
            origin = names.parent(origin)
        if origin not in self._zones:
            self._zones[origin] = self._operations.zone(self._caller, names.to_text(origin))
        return self._zones[origin]
