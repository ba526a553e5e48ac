"""A file followed as it grows: across renaming, truncation and compression of what was rotated."""

from __future__ import annotations

import gzip
import os
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK_OCTETS: Final = 1 << 20
_LINE_OCTETS_MAX: Final = 65_536  # our choice: a longer line is no log line, and is cut


class Position(NamedTuple):
    """How far a file was read: which file it was, and the octet after the last whole line."""

    inode: int
    at: int


class Follower:
    """Gives the whole lines that were added since the last call.

    Takes the position to go on from. A renamed file is read to its end before its successor; a file
    that became shorter is read from its start.
    """

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._inode = 0
        self._at = 0
        self._rest = b""
        self._is_cut = False
        self.cut_count = 0
        self._open(position)

    @property
    def position(self) -> Position:
        """Where the next whole line begins."""
        return Position(self._inode, self._at - len(self._rest))

    def take(self) -> list[str]:
        """Give what there is, at most a mebibyte of it; nothing where nothing was added."""
        if self._file is None:
            self._open(None)
            if self._file is None:
                return []
        octets = self._file.read(_CHUNK_OCTETS)
        if not octets:
            self._look_for_successor()
            return []
        self._at += len(octets)
        lines = (self._rest + octets).split(b"\n")
        self._rest = lines.pop()
        if self._is_cut and lines:
            # The end of a line whose beginning was given already.
            lines.pop(0)
            self._is_cut = False
        if len(self._rest) > _LINE_OCTETS_MAX:
            if not self._is_cut:
                lines.append(self._rest[:_LINE_OCTETS_MAX])
                self.cut_count += 1
            self._rest, self._is_cut = b"", True
        return [one[:_LINE_OCTETS_MAX].decode("utf-8", "backslashreplace") for one in lines]

    def rest(self) -> list[str]:
        """Give a last line that has no end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "backslashreplace")] if rest and not self._is_cut else []

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, position: Position | None) -> None:
        try:
            # Compressed files are read once, from their start: nobody appends to them.
            if self._path.suffix == ".gz":
                self._file = gzip.open(self._path)  # type: ignore[assignment]  # noqa: SIM115
            else:
                self._file = self._path.open("rb")
            found = os.fstat(self._file.fileno())  # type: ignore[union-attr]
        except FileNotFoundError as error:
            if self._inode or position:
                return  # between the renaming and the new file
            raise ConfigFault("there is no such file", place=str(self._path)) from error
        except OSError as error:
            raise ConfigFault(f"cannot read it: {error.strerror}", place=str(self._path)) from error
        self._inode, self._at, self._rest, self._is_cut = found.st_ino, 0, b"", False
        if position is not None and position.inode == found.st_ino:
            self._at = min(position.at, found.st_size)
            self._file.seek(self._at)  # type: ignore[union-attr]

    def _look_for_successor(self) -> None:
        """At the end of a file: has another taken its name, or has it become shorter?"""
        if self._path.suffix == ".gz" or self._file is None:
            return
        try:
            found = self._path.stat()
        except OSError:
            return
        if found.st_ino != self._inode:
            if self._file.read(1):
                self._file.seek(-1, 1)  # something came in between: the old file first
                return
            self.close()
            self._open(None)
        elif found.st_size < self._at:
            self._file.seek(0)
            self._at, self._rest = 0, b""
