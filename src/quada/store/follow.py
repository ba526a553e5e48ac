"""A file followed as it grows: across renaming, truncation and compression of what was rotated.

What it holds is lines of text, or dnstap frames.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
from typing import IO, TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from quada.telemetry.ingest.dnstap import BrokenStream, FrameStream
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from pathlib import Path

Piece = TypeVar("Piece", str, bytes)

_CHUNK_OCTETS: Final = 1 << 20
_MARK_OCTETS: Final = 256  # our choice: two or three lines, with their times
LINE_OCTETS_MAX: Final = 65_536  # our choice: a longer line is no log line, and is cut


class Position(NamedTuple):
    """How far a file was read: which file it was, and the octet after the last whole piece.

    `mark` tells a file from a later one with its inode: a hash of its first octets.
    """

    inode: int
    at: int
    mark: str = ""


class FollowedFile(Generic[Piece]):
    """What was added to a file since the last call, in whole pieces.

    Takes the position to go on from. A renamed file is read to its end before its successor; a file
    that became shorter is read from its start. `trouble` says why nothing more comes.
    """

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self.trouble = ""
        self._path = path
        self._file: IO[bytes] | None = None
        self._inode = 0
        self._first = b""
        self._is_gzip = False
        self._at = 0
        self._open(position)

    @property
    def position(self) -> Position:
        """Where the next whole piece begins."""
        at = self._at - self._uncut()
        return Position(self._inode, at, _mark(self._head(at)))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def take(self) -> list[Piece]:
        """Give what there is, at most a mebibyte of it; nothing where nothing was added."""
        raise NotImplementedError

    def _read(self) -> bytes:
        """Give what there is, at most a mebibyte of it; nothing where nothing was added."""
        if self._file is None:
            self._open(None)
        octets = self._file.read(_CHUNK_OCTETS) if self._file is not None else b""
        self._at += len(octets)
        if not octets:
            self._look_for_successor()
        return octets

    def _begin(self) -> None:
        """Forget what was not cut yet: another file begins, or this one anew."""
        raise NotImplementedError

    def _uncut(self) -> int:
        """Tell how many of the octets that were read belong to no whole piece yet."""
        raise NotImplementedError

    def _open(self, position: Position | None) -> None:
        path = self._path if position is None else self._place_of(position)
        try:
            # Compressed files are read once, from their start: nobody appends to them.
            if path.suffix == ".gz":
                self._file = gzip.open(path)  # type: ignore[assignment]  # noqa: SIM115
            else:
                self._file = path.open("rb")
            found = os.fstat(self._file.fileno())  # type: ignore[union-attr]
        except FileNotFoundError as error:
            if self._inode or position:
                return  # between the renaming and the new file
            raise ConfigFault("there is no such file", place=str(self._path)) from error
        except OSError as error:
            raise ConfigFault(f"cannot read it: {error.strerror}", place=str(self._path)) from error
        self._inode, self._at = found.st_ino, 0
        self._begin()
        self._is_gzip = path.suffix == ".gz"
        self._first = b""
        if position is not None and _mark(self._head(_marked(position))) == position.mark:
            self._at = position.at if self._is_gzip else min(position.at, found.st_size)
            self._file.seek(self._at)  # type: ignore[union-attr]

    def _place_of(self, position: Position) -> Path:
        """Find where the file of a position is by now: renamed, compressed, or gone."""
        candidates = [
            *self._rotated(),
            self._path,
            *self._path.parent.glob(f"{self._path.name}*.gz"),
        ]
        for wants_inode in (True, False) if position.at else (True,):
            for path in candidates:
                try:
                    is_same = path.stat().st_ino == position.inode
                    if (is_same or not wants_inode) and position.mark == _mark_of(path, position):
                        return path
                except (OSError, EOFError):
                    continue
        return self._path

    def _rotated(self) -> list[Path]:
        """Give the files that once had this name, the oldest first."""
        form = re.compile(re.escape(self._path.name) + r"[.-]\d[\d-]*")
        found = []
        with contextlib.suppress(OSError):
            for path in self._path.parent.iterdir():
                if form.fullmatch(path.name):
                    with contextlib.suppress(OSError):
                        found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found)]

    def _look_for_successor(self) -> None:
        """At the end of a file: has another taken its name, or has it become shorter?"""
        if self._file is None or (self._path.suffix == ".gz"):
            return
        try:
            found = self._path.stat()
        except OSError:
            return
        if found.st_ino != self._inode:
            if self._file.read(1):
                self._file.seek(-1, 1)  # something came in between: the old file first
                return
            following = self._following()
            self.close()
            # What had the name between the old file and the one of now comes first.
            kept, self._path = self._path, following
            try:
                self._open(None)
            finally:
                self._path = kept
        elif found.st_size < self._at:
            self._file.seek(0)
            self._at, self._first = 0, b""
            self._begin()

    def _following(self) -> Path:
        rotated = self._rotated()
        for at, path in enumerate(rotated[:-1]):
            with contextlib.suppress(OSError):
                if path.stat().st_ino == self._inode:
                    return rotated[at + 1]
        return self._path

    def _head(self, at: int) -> bytes:
        """Give the first octets of the file, of those before a place."""
        size = min(at, _MARK_OCTETS)
        if len(self._first) < size and self._file is not None:
            if self._is_gzip:
                back = self._file.tell()
                self._file.seek(0)
                self._first = self._file.read(_MARK_OCTETS)
                self._file.seek(back)
            else:
                self._first = os.pread(self._file.fileno(), _MARK_OCTETS, 0)
        return self._first[:size]


class Follower(FollowedFile[str]):
    """Gives the whole lines of text that were added since the last call."""

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self._rest = b""
        self._is_cut = False
        self.cut_count = 0
        super().__init__(path, position)

    def take(self) -> list[str]:
        """Give what there is, at most a mebibyte of it; nothing where nothing was added."""
        while octets := self._read():
            lines = self._cut(octets)
            if lines:  # else all of it was inside one line
                return [one[:LINE_OCTETS_MAX].decode("utf-8", "backslashreplace") for one in lines]
        return []

    def rest(self) -> list[str]:
        """Give a last line that has no end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "backslashreplace")] if rest and not self._is_cut else []

    def _begin(self) -> None:
        self._rest, self._is_cut = b"", False

    def _uncut(self) -> int:
        return len(self._rest)

    def _cut(self, octets: bytes) -> list[bytes]:
        lines = (self._rest + octets).split(b"\n")
        self._rest = lines.pop()
        if self._is_cut and lines:
            # The end of a line whose beginning was given already.
            lines.pop(0)
            self._is_cut = False
        if len(self._rest) > LINE_OCTETS_MAX:
            if not self._is_cut:
                lines.append(self._rest[:LINE_OCTETS_MAX])
                self.cut_count += 1
            self._rest, self._is_cut = b"", True
        return lines


class FrameFollower(FollowedFile[bytes]):
    """Gives the whole dnstap frames that were added since the last call.

    Where a file goes on with something else than frames, `trouble` says so, and the rest of that
    file is passed over: nothing in it tells where a frame would begin again.
    """

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self._stream = FrameStream()
        super().__init__(path, position)

    def take(self) -> list[bytes]:
        """Give what there is, at most a mebibyte of it; nothing where nothing was added."""
        while True:
            octets = self._read()
            if self.trouble:
                return []
            try:
                frames = self._stream.feed(octets)
            except BrokenStream as fault:
                self.trouble = str(fault)
                return []
            if frames or not octets:  # else all of it was inside one frame
                return frames

    def _begin(self) -> None:
        self._stream = FrameStream()
        self.trouble = ""

    def _uncut(self) -> int:
        return 0 if self.trouble else self._stream.waiting_octets


def _marked(position: Position) -> int:
    """Give how many octets a position's mark is of."""
    return min(position.at, _MARK_OCTETS)


def _mark(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=8).hexdigest()


def _mark_of(path: Path, position: Position) -> str:
    if path.suffix == ".gz":
        with gzip.open(path) as packed:
            return _mark(packed.read(_marked(position)))
    with path.open("rb") as file:
        return _mark(file.read(_marked(position)))
