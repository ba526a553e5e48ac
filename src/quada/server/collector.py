"""The collector: one process that empties the event rings into the spool, and to whoever watches.

The spool is a directory of segments of event records as the workers wrote them; a record is whole
or absent, because a segment is read in steps of a record. The oldest segments go when space is
short.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from typing import IO, TYPE_CHECKING, Final

from quada.telemetry.event import RECORD_OCTETS, parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quada.server.ring import Ring

_SEGMENT_OCTETS: Final = 16 << 20
_PAUSE_S: Final = 0.02  # our choice: an event is seen within a fiftieth of a second
_WATCHER_OCTETS: Final = 4 << 20  # what a slow watcher may leave unread before it loses events


class Spool:
    """The segments of a spool directory, written by one process."""

    def __init__(self, directory: Path, keep_octets: int) -> None:
        self._directory = directory
        self._keep_octets = max(keep_octets, 2 * _SEGMENT_OCTETS)
        self._file: IO[bytes] | None = None
        self._size = 0
        self.failed_count = 0
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)

    def write(self, block: bytes) -> None:
        """Append records. A full disk loses them, counted, and stops nothing."""
        try:
            if self._file is None or self._size >= _SEGMENT_OCTETS:
                self._turn()
            assert self._file is not None
            self._file.write(block)
            self._size += len(block)
        except OSError:
            self.failed_count += len(block) // RECORD_OCTETS
            self.close()

    def close(self) -> None:
        """Close the present segment."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _turn(self) -> None:
        self.close()
        segments = sorted(self._directory.glob("*.events"))
        total = sum(segment.stat().st_size for segment in segments)
        for segment in segments:
            if total < self._keep_octets - _SEGMENT_OCTETS:
                break
            total -= segment.stat().st_size
            segment.unlink()
        path = self._directory / f"{time.time_ns():020d}.events"
        self._file = path.open("ab", buffering=0)
        self._size = 0


def read_spool(directory: Path, last: int) -> Iterator[bytes]:
    """Give the last records of a spool, oldest first; `last` is how many at most."""
    blocks: list[bytes] = []
    wanted = last * RECORD_OCTETS
    for segment in sorted(directory.glob("*.events"), reverse=True):
        if wanted <= 0:
            break
        with contextlib.suppress(OSError), segment.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size // RECORD_OCTETS * RECORD_OCTETS
            take = min(whole, wanted)
            file.seek(whole - take)
            blocks.append(file.read(take))
            wanted -= take
    for block in reversed(blocks):
        for at in range(0, len(block), RECORD_OCTETS):
            yield block[at : at + RECORD_OCTETS]


class Collector:
    """Empties rings for ever; serves watchers on a unix socket."""

    def __init__(
        self, rings: list[Ring], spool: Spool, socket_path: Path, jsonl: Path | None
    ) -> None:
        self._rings = rings
        self._spool = spool
        self._socket_path = socket_path
        self._jsonl = jsonl
        self._watchers: set[asyncio.StreamWriter] = set()

    async def run(self, until: asyncio.Event) -> None:
        """Collect until told to stop, then once more."""
        self._socket_path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._watch, self._socket_path)
        self._socket_path.chmod(0o660)
        try:
            while not until.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(until.wait(), _PAUSE_S)
                self._collect()
        finally:
            self._collect()
            self._spool.close()
            server.close()
            self._socket_path.unlink(missing_ok=True)

    def _collect(self) -> None:
        for ring in self._rings:
            block = ring.take()
            if not block:
                continue
            self._spool.write(block)
            for watcher in list(self._watchers):
                if watcher.transport.get_write_buffer_size() < _WATCHER_OCTETS:
                    watcher.write(block)
            if self._jsonl is not None:
                self._write_lines(self._jsonl, block)

    @staticmethod
    def _write_lines(path: Path, block: bytes) -> None:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            for at in range(0, len(block), RECORD_OCTETS):
                event = parse_record(block[at : at + RECORD_OCTETS])
                file.write(json.dumps(event.to_json()) + "\n")

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._watchers.add(writer)
        try:
            while await reader.read(1024):
                pass  # watchers have nothing to say
        except ConnectionError:
            pass
        finally:
            self._watchers.discard(writer)
            writer.close()
