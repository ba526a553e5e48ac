"""Zone files: loaded at start, watched, and taken again only when they are good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

import quada.wire.names as names
from quada.store.files import load_zone_file
from quada.wire.faults import DataFault
from quada.zones import refusals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quada.server.plan import ZonePlan
    from quada.zones import Zone

log = structlog.get_logger()


class ZoneFiles:
    """The zone files of a run. `refused` maps a zone to why its file was not taken."""

    def __init__(self, zones: tuple[ZonePlan, ...]) -> None:
        self._zones = [
            zone for zone in zones if zone.file is not None and zone.section.role == "primary"
        ]
        self._stamps: dict[bytes, tuple[int, int]] = {}
        self.refused: dict[str, str] = {}

    def load_all(self, progress: Callable[[str, int, float], None] | None) -> Iterator[Zone]:
        """Load every file. Raises: DataFault for the first that is not good."""
        for plan in self._zones:
            name = names.to_text(plan.origin)

            def advance(records: int, part: float, name: str = name) -> None:
                if progress is not None:
                    progress(name, records, part)

            self._stamps[plan.origin] = _stamp(plan)
            yield _load(plan, advance)

    def changed(self, *, is_forced: bool = False) -> Iterator[Zone]:
        """Load the files that are newer than what serves; a bad one is logged and left out."""
        for plan in self._zones:
            stamp = _stamp(plan)
            if stamp == self._stamps.get(plan.origin) and not is_forced:
                continue
            self._stamps[plan.origin] = stamp
            name = names.to_text(plan.origin)
            try:
                zone = _load(plan, None)
            except DataFault as fault:
                self.refused[name] = str(fault)
                log.error("zone file refused, the old version serves", zone=name, fault=str(fault))
                continue
            self.refused.pop(name, None)
            yield zone


def _load(plan: ZonePlan, progress: Callable[[int, float], None] | None) -> Zone:
    assert plan.file is not None
    zone = load_zone_file(plan.file, plan.origin, progress)
    refused = refusals_of(zone)
    if refused:
        first = refused[0]
        raise DataFault(
            f"{first.message} [{first.code}]", place=first.place or str(plan.file), remedy=first.fix
        )
    return zone


def _stamp(plan: ZonePlan) -> tuple[int, int]:
    assert plan.file is not None
    try:
        found = plan.file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
