"""Events handed on to other people's pipelines: JSON lines, dnstap, OTLP logs.

Each output has a bounded queue and a task of its own in the collector's process. One that is slow,
full or away loses its oldest events with a count, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
from collections import deque
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from quada.server.plan import read_address
from quada.store.rows import address_policy
from quada.telemetry.emit import compose_dnstap, compose_export
from quada.telemetry.filter import read_filter
from quada.telemetry.ingest.dnstap import CONTENT_TYPE, control, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BufferedWriter

    import httpx

    from quada.config.settings import OutputSection
    from quada.telemetry.event import Event

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_QUEUE_MAX: Final = 100_000  # our choice: some 50 MB while a receiver is away
_BATCH: Final = 1_000
_PAUSE_S: Final = 0.2
_BACKOFF_S: Final = 1.0
_BACKOFF_MAX_S: Final = 60.0
_SEND_S: Final = 10.0
_END_S: Final = 2.0
_FINISH_S: Final = 1.0
_ACCEPT, _START, _STOP, _READY = 1, 2, 3, 4  # control frames of Frame Streams
_CONTROL_MAX: Final = 512
_RETRIED: Final = (429, 502, 503, 504)  # OTLP specification, "Retryable Response Codes"


class NotSent(Exception):
    """A batch did not go; it may be tried again."""


class Output:
    """One output. `feed` takes events, `run` sends them until told to end."""

    def __init__(self, section: OutputSection, show_client: Callable[[str], str]) -> None:
        self.name = section.name
        self.sent_count = self.lost_count = 0
        self.trouble = ""
        self._to = section.to
        self._fits = read_filter(section.filter.split())
        self._show_client = show_client
        self._queue: deque[Event] = deque()
        self._taken_count = 0  # how many have left the queue in front, sent or lost

    def feed(self, events: Sequence[Event]) -> None:
        """Take events that fit the filter; beyond the bound the oldest go."""
        for event in events:
            if not self._fits(event):
                continue
            if event.client is not None:
                shown = self._show_client(event.client)
                event = event if shown == event.client else replace(event, client=shown)
            self._queue.append(event)
        while len(self._queue) > _QUEUE_MAX:
            self._take()
            self.lost_count += 1

    async def run(self, until: asyncio.Event) -> None:
        """Send what comes until told to end, then what is left, for a moment."""
        wait_s = _BACKOFF_S
        while not until.is_set():
            try:
                await self._drain()
                wait_s, pause_s = _BACKOFF_S, _PAUSE_S
                self.trouble = ""
            except (NotSent, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._say(str(error) or type(error).__name__)
                await self.close()
                pause_s, wait_s = wait_s, min(wait_s * 2, _BACKOFF_MAX_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), pause_s)
        with contextlib.suppress(NotSent, OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_END_S):
                await self._drain()
        self.lost_count += len(self._queue)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_END_S):
                await self.close()

    async def send(self, batch: Sequence[Event]) -> None:
        """Send a batch, or raise NotSent, OSError or TimeoutError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Hang up; the next batch connects again."""

    async def _drain(self) -> None:
        while self._queue:
            batch = list(islice(self._queue, _BATCH))
            first = self._taken_count
            async with asyncio.timeout(_SEND_S):
                await self.send(batch)
            # While they were sent, `feed` may have counted some of them as lost.
            self.lost_count -= min(len(batch), self._taken_count - first)
            while self._taken_count < first + len(batch):
                self._take()
            self.sent_count += len(batch)

    def _take(self) -> None:
        self._queue.popleft()
        self._taken_count += 1

    def _say(self, why: str) -> None:
        if why != self.trouble:
            log.warning("events are not handed on", output=self.name, why=why)
        self.trouble = why


class FileLines(Output):
    """JSON lines appended to a file, which is opened again where it was moved away."""

    _file: BufferedWriter | None = None

    async def send(self, batch: Sequence[Event]) -> None:
        """Append a batch."""
        await asyncio.to_thread(self._append, _lines(batch))

    def _append(self, lines: bytes) -> None:
        path = Path(self._to)
        if self._file is not None:
            try:
                is_same = path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
            except FileNotFoundError:
                is_same = False
            if not is_same:
                self._file.close()
                self._file = None
        if self._file is None:
            self._file = path.open("ab")
        self._file.write(lines)
        self._file.flush()

    async def close(self) -> None:
        """Let the file go."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class Stream(Output):
    """What goes over a stream: tcp://[::1]:6000 or unix:/run/x.sock."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter | None = None

    async def send(self, batch: Sequence[Event]) -> None:
        """Send a batch; connect before, where that is not so yet."""
        if self._writer is None or self._reader.at_eof():
            await self.close()
            await self._connect()
            await self.greet()
        assert self._writer is not None
        self._writer.write(self.compose(batch))
        await self._writer.drain()

    async def greet(self) -> None:
        """Say what the receiver wants to hear first."""

    def compose(self, batch: Sequence[Event]) -> bytes:
        """Compose the octets of a batch."""
        raise NotImplementedError

    async def close(self) -> None:
        """Hang up."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def _connect(self) -> None:
        if self._to.startswith("unix:"):
            path = self._to.removeprefix("unix:")
            self._reader, self._writer = await asyncio.open_unix_connection(path)
        else:
            at = read_address(self._to.removeprefix("tcp://"), 6000)
            self._reader, self._writer = await asyncio.open_connection(at.host, at.port)


class StreamLines(Stream):
    """JSON lines over a stream."""

    def compose(self, batch: Sequence[Event]) -> bytes:
        """Compose lines."""
        return _lines(batch)


class Dnstap(Stream):
    """dnstap over Frame Streams, with the two-way handshake."""

    async def greet(self) -> None:
        """READY, their ACCEPT, START."""
        assert self._writer is not None
        self._writer.write(control(_READY, CONTENT_TYPE))
        head = await self._reader.readexactly(8)
        size = int.from_bytes(head[4:], "big")
        if head[:4] != bytes(4) or not 4 <= size <= _CONTROL_MAX:
            raise NotSent("the receiver speaks no Frame Streams")
        answer = await self._reader.readexactly(size)
        if int.from_bytes(answer[:4], "big") != _ACCEPT:
            raise NotSent("the receiver does not take dnstap")
        self._writer.write(control(_START, CONTENT_TYPE))

    def compose(self, batch: Sequence[Event]) -> bytes:
        """Compose frames; what has no whole name is none, and counts as lost."""
        identity = socket.gethostname().encode()
        frames = [compose_dnstap(event, identity) for event in batch]
        whole = [octets for octets in frames if octets is not None]
        self.lost_count += len(frames) - len(whole)
        return b"".join(frame(octets) for octets in whole)

    async def close(self) -> None:
        """STOP, wait for their FINISH, and hang up."""
        try:
            if self._writer is not None and not self._writer.is_closing():
                self._writer.write(control(_STOP))
                async with asyncio.timeout(_FINISH_S):
                    await self._writer.drain()
                    # Who hangs up before FINISH breaks the pipe that it comes through.
                    await self._reader.read(_CONTROL_MAX)
        except OSError:  # TimeoutError is one
            pass
        finally:
            await super().close()


class Otlp(Output):
    """OTLP logs over HTTP, gzipped JSON."""

    _client: httpx.AsyncClient | None = None

    async def send(self, batch: Sequence[Event]) -> None:
        """Post a batch. What the receiver calls wrong is lost, not tried again."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, timeout=_SEND_S)
        body = gzip.compress(json.dumps(compose_export(batch, socket.gethostname())).encode(), 1)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            answer = await self._client.post(self._to, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotSent(str(error) or type(error).__name__) from error
        if answer.status_code in _RETRIED:
            raise NotSent(f"status {answer.status_code}")
        if answer.status_code >= 300:
            self.lost_count += len(batch)
            self.sent_count -= len(batch)
            self._say(f"status {answer.status_code}")
            return
        refused = _refused_count(answer.content)
        self.lost_count += refused
        self.sent_count -= refused

    async def close(self) -> None:
        """End the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def make_output(section: OutputSection, clients: str, key_path: Path) -> Output:
    """Make an output of its section. Takes the policy for client addresses and its key's place."""
    show = address_policy(clients, key_path)
    if section.kind == "otlp":
        return Otlp(section, show)
    if section.kind == "dnstap":
        return Dnstap(section, show)
    is_stream = section.to.startswith(("unix:", "tcp://"))
    return StreamLines(section, show) if is_stream else FileLines(section, show)


def _lines(batch: Sequence[Event]) -> bytes:
    return "".join(f"{json.dumps(event.to_json())}\n" for event in batch).encode()


def _refused_count(answer: bytes) -> int:
    """Read how many records a receiver of OTLP did not take (ExportLogsPartialSuccess)."""
    try:
        told: Any = json.loads(answer or b"{}")
        return max(0, int(told.get("partialSuccess", {}).get("rejectedLogRecords", 0)))
    except (ValueError, AttributeError, TypeError):
        return 0  # it answered with protobuf, or nothing
