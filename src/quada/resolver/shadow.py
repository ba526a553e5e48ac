"""The IPv6-only shadow: of what was resolved, what would not have been over IPv6 alone, and why.

Iteration learns who serves a zone and where anyway; here that is noted, one count a message, so
that it can be always on. A zone is in the shadow when no server of its delegation has an address in
IPv6: whoever speaks IPv6 alone cannot ask it, whatever the zone itself holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import quada.wire.codes as codes
import quada.wire.names as names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.resolver.cache import Cache, Delegation

_ZONES_MAX: Final = 20_000  # our choice: about 10 MiB; those asked first go first
_NO_GLUE: Final = "no AAAA glue"
_NO_ADDRESS: Final = "no AAAA"


class _Seen:
    """A zone that was asked: its delegation as learnt last, and how often it was asked."""

    __slots__ = ("count", "delegation")

    def __init__(self, delegation: Delegation) -> None:
        self.delegation = delegation
        self.count = 0


class Shadow:
    """What a resolver worker learnt of zones and their servers' families. Bounded."""

    def __init__(self) -> None:
        self._zones: dict[bytes, _Seen] = {}

    def note(self, delegation: Delegation) -> None:
        """Count a message to a zone's servers."""
        seen = self._zones.get(delegation.zone)
        if seen is None:
            if len(self._zones) >= _ZONES_MAX:
                del self._zones[next(iter(self._zones))]
            seen = self._zones[delegation.zone] = _Seen(delegation)
        elif seen.delegation is not delegation:
            seen.delegation = delegation
        seen.count += 1

    def unknown(self, cache: Cache, now: float) -> Iterator[bytes]:
        """Give servers whose AAAA must be looked up before their zone can be judged."""
        for seen in list(self._zones.values()):
            reasons = _reasons(seen.delegation, cache, now)
            if reasons is not None:
                yield from (server for server, reason in reasons.items() if not reason)

    def report(self, cache: Cache, now: float) -> list[dict[str, Any]]:
        """Tell of each zone that IPv6 alone does not reach: most asked first.

        Gives `zone`, `verdict` ("no", or "unknown" while a server's AAAA was not looked up),
        `asked` messages, and `servers` with what each lacks.
        """
        rows = []
        for zone, seen in self._zones.items():
            reasons = _reasons(seen.delegation, cache, now)
            if reasons is None:
                continue
            rows.append(
                {
                    "zone": names.to_text(zone),
                    "verdict": "no" if all(reasons.values()) else "unknown",
                    "asked": seen.count,
                    "servers": {names.to_text(one): why for one, why in reasons.items()},
                }
            )
        return sorted(rows, key=lambda row: -int(row["asked"]))

    def __len__(self) -> int:
        return len(self._zones)


def _reasons(delegation: Delegation, cache: Cache, now: float) -> dict[bytes, str] | None:
    """Say of each server why IPv6 does not reach it; empty where that is not known yet.

    None where one server has an address in IPv6, or an operator named the servers.
    """
    if delegation.is_fixed:
        return None
    reasons: dict[bytes, str] = {}
    for server in delegation.servers:
        if any(":" in address for address in delegation.glue.get(server, ())):
            return None
        if names.is_subdomain(server, delegation.zone):
            reasons[server] = _NO_GLUE  # inside the zone it cannot be looked up without glue
            continue
        known = cache.get(server, codes.AAAA, now)
        if known is None:
            reasons[server] = ""
        elif any(record.rdtype == codes.AAAA for record in known.answer):
            return None
        else:
            reasons[server] = _NO_ADDRESS
    return reasons
