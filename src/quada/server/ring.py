"""The event ring: a worker writes, anybody reads, nobody waits.

One file a worker, mapped into memory: the worker's writes are plain copies, the kernel carries them
to disk, and a reader maps the same file. So the log is always on, costs no system call, survives
the server, and its size is fixed. The counter in front only grows; a reader that falls a whole ring
behind knows from it exactly how many records it lost.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Final

from quada.telemetry.event import RECORD_OCTETS, parse_record
from quada.wire.faults import DataFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from quada.telemetry.event import Event

_HEADER_OCTETS: Final = 4096  # a page, so that records start aligned
_MAGIC: Final = b"quada ring 1\x00\x00\x00\x00"
_COUNTER_AT: Final = 16
_SLACK: Final = 1024  # records next to the writer that a reader leaves alone
_RELEASE_OCTETS: Final = 1 << 20  # written memory goes back to the page cache in steps of this
RECORDS_MIN: Final = 4096


class Ring:
    """The writer's end. Made before the worker is forked, used by the worker alone.

    Takes the file and how many records it holds. Raises: ReachFault where the file cannot be made
    whole; space is taken at once, so that a full disk cannot stop a worker later.
    """

    def __init__(self, path: Path, records: int) -> None:
        self._records = max(records, RECORDS_MIN)
        self._size = self._records * RECORD_OCTETS
        whole = _HEADER_OCTETS + self._size
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            if path.exists() and path.stat().st_size != whole:
                path.unlink()
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o640), "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, whole)
                self._memory = mmap.mmap(file.fileno(), whole)
        except OSError as error:
            raise ReachFault(
                f"cannot make the event log: {error.strerror}",
                place=str(path),
                remedy="make room, or give another server.state_dir or smaller events.keep_mib",
            ) from error
        view = memoryview(self._memory)
        view[: len(_MAGIC)] = _MAGIC
        self._counter = view[_COUNTER_AT : _COUNTER_AT + 8].cast("Q")
        self._octets = view[_HEADER_OCTETS:]
        self._at = self._counter[0] % self._records * RECORD_OCTETS
        self._started_count = self._counter[0]

    @property
    def written_count(self) -> int:
        """How many records were written since this end was made."""
        return self._counter[0] - self._started_count

    def append(self, head: bytes, peer: bytes, tail: bytes) -> None:
        """Write one record: 8 octets of time, 28 of peer, the tail."""
        self.extend(head + peer + tail, 1)

    def extend(self, block: bytes, count: int) -> None:
        """Write whole records, fewer than the ring holds."""
        at = self._at
        end = at + len(block)
        if end <= self._size:
            self._octets[at:end] = block
        else:
            first = self._size - at
            self._octets[at:] = block[:first]
            end -= self._size
            self._octets[:end] = block[first:]
        self._counter[0] += count
        self._at = end % self._size
        if at >> 20 != end >> 20:
            self._release(at)

    def resume(self) -> None:
        """Go on where the last writer ended: a worker that died leaves its ring to the next."""
        self._at = self._counter[0] % self._records * RECORD_OCTETS

    def _release(self, at: int) -> None:
        """Unmap what was written; it stays in the page cache, and out of our memory."""
        start = (at >> 20) * _RELEASE_OCTETS
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._memory.madvise(mmap.MADV_DONTNEED, start, _RELEASE_OCTETS)


class RingReader:
    """A reader's end: any process, any number. `lost_count` grows by what was overwritten unread.

    Raises: DataFault for a file that is no ring.
    """

    def __init__(self, path: Path, *, back: int = 0) -> None:
        self.path = path
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            records = (size - _HEADER_OCTETS) // RECORD_OCTETS
            if records < RECORDS_MIN or file.read(len(_MAGIC)) != _MAGIC:
                raise DataFault("this is not an event ring", place=str(path))
            self._memory = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
        self._records = records
        self._size = records * RECORD_OCTETS
        self.lost_count = 0
        self._read = max(0, self._written() - min(back, records - _SLACK))

    @property
    def position(self) -> int:
        """How many records were read or skipped since the ring was made: a place to resume at."""
        return self._read

    @position.setter
    def position(self, position: int) -> None:
        self._read = min(position, self._written())

    @property
    def behind(self) -> int:
        """How many records there are that were not read."""
        return self._written() - self._read

    @property
    def capacity(self) -> int:
        """How many records the ring holds."""
        return self._records

    def skim(self, most: int) -> tuple[bytes, int]:
        """Copy every n-th record since the last call, at most so many, and give n.

        For readers that cannot take all of them; what lies between is read by nobody.
        """
        written = self._written()
        first = max(self._read, written - self._records + _SLACK)
        step = max(1, -(-(written - first) // max(1, most)))
        block = []
        for number in range(first, written, step):
            at = _HEADER_OCTETS + number % self._records * RECORD_OCTETS
            block.append(self._memory[at : at + RECORD_OCTETS])
        self._read = written
        # The oldest may have been overwritten while they were copied.
        overtaken = -(-max(0, self._written() - self._records - first) // step)
        return b"".join(block[overtaken:]), step

    def take(self, most: int | None = None) -> bytes:
        """Copy the records since the last call: all of them, or the oldest so many."""
        written = self._written()
        behind = written - self._read
        room = self._records - _SLACK
        if behind > room:
            self.lost_count += behind - room
            self._read = written - room
            behind = room
        if behind <= 0:
            self._read = written  # a ring made anew starts again
            return b""
        if most is not None:
            behind = min(behind, most)
        start = _HEADER_OCTETS + self._read % self._records * RECORD_OCTETS
        end = start + behind * RECORD_OCTETS
        limit = _HEADER_OCTETS + self._size
        if end <= limit:
            block = self._memory[start:end]
        else:
            block = self._memory[start:limit] + self._memory[_HEADER_OCTETS : end - self._size]
        first = self._read
        self._read = first + behind
        # What the writer overwrote while we copied is lost too.
        overtaken = min(behind, max(0, self._written() - first - self._records))
        self.lost_count += overtaken
        return block[overtaken * RECORD_OCTETS :]

    def close(self) -> None:
        """Let the file go."""
        self._memory.close()

    def _written(self) -> int:
        return int.from_bytes(self._memory[_COUNTER_AT : _COUNTER_AT + 8], "little")


def ring_path(directory: Path, role: str, worker: int) -> Path:
    """Give the file of a worker's ring."""
    return directory / f"{role}-{worker}.ring"


def open_rings(directory: Path, *, back: int = 0) -> list[RingReader]:
    """Open every ring of a state directory's `events`, each `back` records before its end."""
    return [RingReader(path, back=back) for path in sorted(directory.glob("*.ring"))]


def take_events(readers: Iterable[RingReader]) -> list[Event]:
    """Take the events that came since the last call, of all rings in the order of time."""
    found = [parse_record(record) for reader in readers for record in split(reader.take())]
    found.sort(key=lambda event: event.at_ns)
    return found


def split(block: bytes) -> Iterator[bytes]:
    """Give the records of a block one by one."""
    for at in range(0, len(block), RECORD_OCTETS):
        yield block[at : at + RECORD_OCTETS]
