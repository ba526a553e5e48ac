"""The supervisor's stored zones: what others write to the store reaches the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from quada.store.zones import ZoneStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from quada.zones import Zone

_POLL_S: Final = 0.03  # our choice: an edit is served within a tenth of a second, unasked


class StoredZones:
    """Follows a zone store. Without its file, nothing; the file may appear later."""

    def __init__(
        self, path: Path, put: Callable[[Zone], None], drop: Callable[[bytes], None]
    ) -> None:
        self._path = path
        self._put = put
        self._drop = drop
        self._store: ZoneStore | None = None
        self._known: dict[bytes, tuple[int, Zone]] = {}
        self._version = -1

    def load_all(self) -> Iterator[Zone]:
        """Give every zone of the store, at start."""
        store = self._open()
        if store is None:
            return
        self._version = store.data_version()
        for origin, revision in store.active_zones().items():
            zone = store.zone(origin)
            if zone is not None:
                self._known[origin] = (revision, zone)
                yield zone

    def before_fork(self) -> None:
        """Close what a child must not share."""
        if self._store is not None:
            self._store.close()
            self._version = -1  # a new connection counts anew

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            self.refresh()

    def refresh(self) -> list[str]:
        """Serve what has changed in the store; tells which zones did."""
        store = self._open()
        if store is None:
            return []
        version = store.data_version()
        if version == self._version:
            return []
        self._version = version
        changed = []
        zones = store.active_zones()
        for origin in [origin for origin in self._known if origin not in zones]:
            del self._known[origin]
            self._drop(origin)
            changed.append(origin.hex())
        for origin, revision in zones.items():
            known = self._known.get(origin)
            if known is not None and known[0] == revision:
                continue
            zone = self._follow(store, origin, known)
            if zone is not None:
                self._known[origin] = (revision, zone)
                self._put(zone)
                changed.append(origin.hex())
        return changed

    @staticmethod
    def _follow(store: ZoneStore, origin: bytes, known: tuple[int, Zone] | None) -> Zone | None:
        """Give the present version: by the journal from the one known, or read whole."""
        if known is not None:
            entries = store.since_revision(origin, known[0])
            if entries is not None:
                zone = known[1]
                for entry in entries:
                    zone = zone.changed(entry.change)
                return zone
        return store.zone(origin)

    def _open(self) -> ZoneStore | None:
        if self._store is None and self._path.exists():
            self._store = ZoneStore.open(self._path)
        return self._store
