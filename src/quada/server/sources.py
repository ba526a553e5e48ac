"""Log sources of the collector: files it follows (text or dnstap), dnstap it is sent, our rings.

A source gives events and can say how far it is; what its parser still waits to join goes into that
position too, so a restart between two lines of one query makes one event of them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol

from quada.server.plan import LogSource, read_address
from quada.server.ring import RingReader, split
from quada.store.follow import FollowedFile, Follower, FrameFollower, Piece, Position
from quada.telemetry.event import RECORD_OCTETS, parse_record
from quada.telemetry.ingest import Parser, detect, make_parser
from quada.telemetry.ingest.dnstap import BrokenStream, DnstapParser, FrameStream
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from quada.telemetry.event import Event

_LAST_RECORDS: Final = 50_000  # taken at the end, when nothing else needs the core
_SAMPLE: Final = 200
_IDLE_NS: Final = 10_000_000_000  # longer than any parser waits for a line that belongs
_READ_OCTETS: Final = 1 << 18
_CONNECTIONS_MAX: Final = 64
_SHOWN: Final = 5
_MAY_UNPICKLE: Final = {
    ("collections", "OrderedDict"), ("collections", "deque"), ("quada.wire.ask", "Transport"),
    *(("quada.telemetry.event", name) for name in
      ("event_of", "Event", "Kind", "Role", "Cause", "Validation", "Provenance")),
}  # fmt: skip


class _Reads(Protocol[Piece]):
    """A parser of lines, or of frames."""

    line_count: int
    event_count: int
    unknown_count: int
    unknown: deque[str]

    def feed(self, pieces: list[Piece], now_ns: int, /) -> list[Event]: ...
    def flush(self) -> list[Event]: ...
    def state(self) -> dict[str, Any]: ...
    def resume(self, state: dict[str, Any], /) -> None: ...


class FileSource(Generic[Piece]):
    """A log that is followed. Takes the position that was stored."""

    def __init__(self, source: LogSource, position: dict[str, Any] | None) -> None:
        self._source = source
        self._stored = position or {}
        self._follower: FollowedFile[Piece] | None = None
        self._parser: _Reads[Piece] | None = None
        self._early: list[Piece] = []
        self._heard_ns = 0
        self.trouble = ""
        if "parser" in self._stored:
            self._parser = self._made(self._stored["format"])
            with contextlib.suppress(Exception):  # a parser of another version waits for nothing
                self._parser.resume(_unpack(self._stored["parser"]))

    def take(self, now_ns: int) -> list[Event]:
        """Give the events of what was added, of a mebibyte at most."""
        try:
            if self._follower is None:
                stored = self._stored.get("at")
                self._follower = self._open(
                    Path(self._source.path), Position(*stored) if stored else None
                )
            pieces = self._follower.take()
        except ConfigFault as fault:  # not there yet, or not ours to read: looked for again
            self.trouble = str(fault)
            return []
        self.trouble = self._follower.trouble
        # A parser that was just restored may be about to hear the rest.
        self._heard_ns = self._heard_ns or now_ns
        if not pieces:
            if self._parser is not None and now_ns - self._heard_ns > _IDLE_NS:
                return self._parser.flush()
            return []
        self._heard_ns = now_ns
        if self._parser is None:
            pieces, self._early = self._early + pieces, []
            self._parser = self._found_out(pieces)
            if self._parser is None:
                self._early = pieces
                return []
        return self._parser.feed(pieces, now_ns)

    def position(self) -> dict[str, Any]:
        """Say how far all given events reach."""
        if self._follower is None or self._early:
            return self._stored
        if self._parser is None:
            return {**self._stored, "at": self._follower.position}
        parser = self._parser
        format_name = self._source.format
        if format_name == "auto":
            format_name = self._stored.get("format", "auto")
        return {
            "at": self._follower.position, "format": format_name,
            "parser": _pack(parser.state()), **_account(parser),
        }  # fmt: skip

    def account(self) -> dict[str, Any]:
        """Tell the lines or frames, the events, and what was not understood so far."""
        return _account(self._parser) if self._parser is not None else {}

    def close(self) -> None:
        """Let the file go."""
        if self._follower is not None:
            self._follower.close()

    def _open(self, path: Path, position: Position | None) -> FollowedFile[Piece]:
        """Begin to follow. Raises: ConfigFault."""
        raise NotImplementedError

    def _made(self, format_name: str) -> _Reads[Piece]:
        """Make the parser."""
        raise NotImplementedError

    def _found_out(self, pieces: list[Piece]) -> _Reads[Piece] | None:
        """Make the parser that these are for; None where they do not tell yet."""
        raise NotImplementedError


class TextSource(FileSource[str]):
    """A log of lines."""

    def _open(self, path: Path, position: Position | None) -> Follower:
        return Follower(path, position)

    def _made(self, format_name: str) -> Parser:
        return make_parser(format_name, self._source.name, self._source.stream)

    def _found_out(self, pieces: list[str]) -> Parser | None:
        name = self._source.format
        if name == "auto":
            try:
                name = detect(pieces[-_SAMPLE:])
            except ConfigFault as fault:
                self.trouble = str(fault)
                if len(pieces) < _SAMPLE * 10:
                    return None
                name = "bind"  # its parser then counts what it does not understand
            self._stored = {"format": name}
        return self._made(name)


class TapFileSource(FileSource[bytes]):
    """A file of dnstap frames."""

    def _open(self, path: Path, position: Position | None) -> FrameFollower:
        return FrameFollower(path, position)

    def _made(self, format_name: str) -> DnstapParser:
        return DnstapParser(self._source.name, self._source.stream)

    def _found_out(self, pieces: list[bytes]) -> DnstapParser:
        return self._made("dnstap")


class TapSource:
    """dnstap that other servers send, over unix or TCP, with either handshake.

    It never makes a sender wait: what comes while there is no room is dropped and counted.
    """

    def __init__(self, source: LogSource, has_room: Callable[[], bool]) -> None:
        self._source = source
        self._has_room = has_room
        self._parser = DnstapParser(source.name, source.stream)
        self._events: list[Event] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._heard_ns = 0
        self.lost_count = 0
        self.trouble = ""

    async def start(self) -> None:
        """Listen. Where that cannot be it is told in `trouble`."""
        path = self._source.path
        try:
            if path.startswith("unix:"):
                place = _free(Path(path.removeprefix("unix:")))
                self._server = await asyncio.start_unix_server(self._serve, place)
            else:
                at = read_address(path.removeprefix("tcp://"), 6000)
                self._server = await asyncio.start_server(self._serve, at.host, at.port)
        except OSError as error:
            self.trouble = f"cannot listen: {error.strerror or error}"

    def take(self, now_ns: int) -> list[Event]:
        """Give the events since the last call."""
        out, self._events = self._events, []
        if out:
            self._heard_ns = now_ns
        elif now_ns - self._heard_ns > _IDLE_NS:
            out = self._parser.flush()
        return out

    def position(self) -> dict[str, Any]:
        """Give the account: nobody can go back on a socket."""
        return {**self.account(), "lost": self.lost_count}

    def account(self) -> dict[str, Any]:
        """Tell the frames, events and frames not understood so far."""
        return _account(self._parser)

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(writer)
        stream = FrameStream()
        try:
            while octets := await reader.read(_READ_OCTETS):
                frames = stream.feed(octets)
                if stream.replies:
                    writer.write(stream.replies)
                    stream.replies = b""
                if self._has_room() and len(self._events) < _READ_OCTETS:
                    self._events += self._parser.feed(frames, time.time_ns())
                else:
                    self.lost_count += len(frames)
                if stream.is_ended:
                    await writer.drain()
                    return
        except (BrokenStream, OSError) as error:
            self.trouble = str(error)
        finally:
            self._connections.discard(writer)
            writer.close()


class RingSource:
    """One of our own rings, read at a bounded rate so that the servers keep their cores.

    What comes faster waits in the ring; when a quarter of it waits, every n-th event is taken and
    counts as n. Takes the rate in events a second; 0 is no bound.
    """

    def __init__(self, path: Path, position: dict[str, Any] | None, per_second: int = 0) -> None:
        # Who was here before us is nobody: what the ring still has is to be stored.
        self._reader = RingReader(path, back=1 << 62)
        self._inode = path.stat().st_ino
        self._per_second = per_second
        self._taken_ns = 0
        self.is_ending = False
        self.lost_count = 0
        self.sampled_count = 0
        self.trouble = ""
        if position is not None:
            same = position["at"][0] == self._inode
            self._reader.position = position["at"][1] if same else 0
            self.lost_count = position["lost"]
            self.sampled_count = position.get("sampled", 0)

    def take(self, now_ns: int) -> list[Event]:
        """Give the events since the last call, or as many as the rate allows."""
        most, step = self._allowed(now_ns), 1
        if most is None:
            block = self._reader.take()
        elif self._reader.behind > self._reader.capacity // 4:
            before = self._reader.position
            block, step = self._reader.skim(max(1, most))
            self.sampled_count += self._reader.position - before - len(block) // RECORD_OCTETS
        else:
            block = self._reader.take(most)
        out = [parse_record(record) for record in split(block)]
        if step > 1:
            for event in out:
                event.weight = step
        self.lost_count += self._reader.lost_count
        self._reader.lost_count = 0
        return out

    def _allowed(self, now_ns: int) -> int | None:
        """Give how many events the rate allows now; None where nothing bounds it."""
        if not self._per_second:
            return None
        if self.is_ending:
            return _LAST_RECORDS
        elapsed_ns = min(now_ns - self._taken_ns, 1_000_000_000) if self._taken_ns else 0
        most = max(0, elapsed_ns * self._per_second // 1_000_000_000)
        if most or not self._taken_ns:
            self._taken_ns = now_ns
        return most or 1

    def position(self) -> dict[str, Any]:
        """Say how far it was read, and how much went by unread."""
        return {
            "at": [self._inode, self._reader.position], "lost": self.lost_count,
            "sampled": self.sampled_count,
        }  # fmt: skip

    def close(self) -> None:
        """Let the ring go."""
        self._reader.close()


def _free(place: Path) -> Path:
    """Remove what an earlier listener has left."""
    if place.is_socket():
        place.unlink()
    return place


def _account(parser: _Reads[str] | _Reads[bytes]) -> dict[str, Any]:
    return {
        "lines": parser.line_count, "events": parser.event_count,
        "unknown": parser.unknown_count, "samples": list(parser.unknown)[-_SHOWN:],
    }  # fmt: skip


def _pack(state: dict[str, Any]) -> str:
    return base64.b64encode(pickle.dumps(state)).decode("ascii")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # What a parser holds and nothing that could run.
        if (module, name) not in _MAY_UNPICKLE:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def _unpack(text: str) -> dict[str, Any]:
    found: dict[str, Any] = _Unpickler(io.BytesIO(base64.b64decode(text))).load()
    return found
