"""The event ring: a worker writes, the collector reads, nobody waits.

Shared memory made before the workers are forked. One writer advances `written` after its record is
whole; one reader copies blocks and keeps `read` to itself. A reader that falls a whole ring behind
has lost records: it knows exactly how many, because both counters only grow.
"""

from __future__ import annotations

import mmap
from typing import Final

from quada.telemetry.event import RECORD_OCTETS

_HEADER_OCTETS: Final = 4096  # a page, so that records start aligned
RECORDS: Final = 65_536  # our choice: 16 MiB, a third of a second at 200,000 queries a second
_SLACK: Final = 1024  # records next to the writer that a reader leaves alone


class Ring:
    """A ring of event records. `append` belongs to one process, `take` to another."""

    def __init__(self, records: int = RECORDS) -> None:
        self._memory = mmap.mmap(-1, _HEADER_OCTETS + records * RECORD_OCTETS)
        self._records = records
        self._size = records * RECORD_OCTETS
        view = memoryview(self._memory)
        self._counters = view[:16].cast("Q")
        self._octets = view[_HEADER_OCTETS:]
        self._at = 0
        self._read = 0
        self.lost_count = 0

    @property
    def written_count(self) -> int:
        """How many records were ever written."""
        return self._counters[0]

    def append(self, head: bytes, peer: bytes, tail: bytes) -> None:
        """Write one record: 8 octets of time, 28 of peer, the tail."""
        at = self._at
        self._octets[at : at + RECORD_OCTETS] = head + peer + tail
        self._at = (at + RECORD_OCTETS) % self._size
        self._counters[0] += 1

    def resume(self) -> None:
        """Go on after a worker died and another takes its ring."""
        self._at = self._counters[0] % self._records * RECORD_OCTETS

    def take(self) -> bytes:
        """Copy all records since the last call; counts in `lost_count` what was overwritten."""
        written = self._counters[0]
        behind = written - self._read
        room = self._records - _SLACK
        if behind > room:
            self.lost_count += behind - room
            self._read = written - room
            behind = room
        if not behind:
            return b""
        start = self._read % self._records * RECORD_OCTETS
        size = behind * RECORD_OCTETS
        if start + size <= self._size:
            block = bytes(self._octets[start : start + size])
        else:
            first = self._size - start
            block = bytes(self._octets[start:]) + bytes(self._octets[: size - first])
        self._read = written
        # What the writer overwrote while we copied is lost too.
        overtaken = self._counters[0] - self._read + behind - self._records
        if overtaken > 0:
            self.lost_count += overtaken
            block = block[overtaken * RECORD_OCTETS :]
        return block
