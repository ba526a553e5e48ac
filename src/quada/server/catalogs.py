"""Catalogs of our own zones, kept as zones come and go (RFC 9432)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from quada.zones.catalog import make_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from quada.server.plan import Plan
    from quada.zones import Zone


class Catalogs:
    """The catalogs that this server makes: zones of role `catalog` without primaries."""

    def __init__(self, plan: Plan, put: Callable[[Zone], None]) -> None:
        self._put = put
        self._not_ours = {z.origin for z in plan.zones if z.section.role != "primary"}
        self._groups = {zone.origin: zone.section.group for zone in plan.zones}
        self._listed: dict[bytes, tuple[dict[bytes, str], int]] = {
            zone.origin: ({}, 0)
            for zone in plan.zones
            if zone.section.role == "catalog" and not zone.section.primaries
        }

    def make(self, origins: Iterable[bytes]) -> Iterator[Zone]:
        """Give the catalogs whose members are not those of the last time."""
        ours = {o: self._groups.get(o, "") for o in origins if o not in self._not_ours}
        for catalog, (listed, serial) in self._listed.items():
            if listed == ours and serial:
                continue
            serial = max(int(time.time()), serial + 1)
            self._listed[catalog] = (ours, serial)
            yield make_catalog(catalog, ours, serial)

    def refresh(self, origins: Iterable[bytes]) -> None:
        """Serve the catalogs that have changed."""
        for zone in self.make(list(origins)):
            self._put(zone)
