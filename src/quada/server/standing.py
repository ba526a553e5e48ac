"""How the zones that serve stand: serial, since when, until when their signatures are good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import quada.wire.codes as codes
import quada.wire.names as names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.zones import Zone


class Standing:
    """Remembers when each zone's version came to serve."""

    def __init__(self) -> None:
        self._loaded: dict[bytes, float] = {}

    def status(self, zones: Iterable[Zone]) -> list[dict[str, Any]]:
        """Tell of each zone, in the order given."""
        out = []
        for zone in zones:
            made: dict[str, Any] = {"zone": names.to_text(zone.origin), "serial": zone.serial}
            loaded = self._loaded.get(zone.origin)
            if loaded is not None:
                made["loaded_at"] = loaded
            expires_at = signatures_end_at(zone)
            if expires_at is not None:
                made["signature_expires_at"] = expires_at
            out.append(made)
        return out

    def loaded(self, origin: bytes) -> None:
        """Note that another version of a zone serves from now on."""
        self._loaded[origin] = time.time()

    def dropped(self, origin: bytes) -> None:
        """Forget a zone."""
        self._loaded.pop(origin, None)


def signatures_end_at(zone: Zone) -> int | None:
    """Give when the first signature at a zone's apex ends, Unix time; None where there is none.

    The apex has those of SOA, NS and DNSKEY, without which nothing else of the zone is secure.
    RFC: 4034 3.1.5.
    """
    found = zone.rrset(zone.origin, codes.RRSIG)
    if found is None:
        return None
    return min(int.from_bytes(rdata[8:12], "big") for rdata in found.rdatas)
