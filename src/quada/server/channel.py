"""Messages between the supervisor and its processes: pickled values over socketpairs.

Only processes forked from one another speak here, so pickle carries nothing from outside.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Channel:
    """One end. `start` must be called in a running loop; then `send` and the receiver work."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Make two ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(one), cls(other)

    async def start(self, receive: Callable[[Any], None], gone: Callable[[], None]) -> None:
        """Begin to receive; `gone` is called when the other end closed, or something was missed."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._sock)
        self._task = asyncio.create_task(self._pump(reader, receive, gone))

    def send(self, value: Any) -> None:
        """Send a value; what the other end has not read yet waits in memory."""
        if self._writer is not None and not self._writer.is_closing():
            octets = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            self._writer.write(len(octets).to_bytes(8, "big") + octets)

    def close(self) -> None:
        """Close this end."""
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()
        else:
            self._sock.close()

    async def _pump(
        self, reader: asyncio.StreamReader, receive: Callable[[Any], None], gone: Callable[[], None]
    ) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(8), "big")
                octets = await reader.readexactly(size)
                try:
                    receive(pickle.loads(octets))
                except Exception:  # a bug of ours; a worker that missed something starts anew
                    log.exception("what another process sent could not be taken")
                    gone()
        except (asyncio.IncompleteReadError, ConnectionError):
            gone()
