"""DNS over TLS, the client's side (RFC 7858)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from typing import TYPE_CHECKING

from quada.transport.client import is_answer
from quada.transport.kept import IDLE_S, PENDING_MAX, client_context
from quada.transport.tls import ALPN_DOT

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint


class DotConnection:
    """One connection to one server; answers may come in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._pending: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self.is_open = True
        self.uses = 0
        self.heard_at = time.monotonic()
        self._task = asyncio.create_task(self._read())

    async def ask(self, query: bytes) -> bytes:
        """Send a query and wait for its answer. Raises: ConnectionResetError."""
        if len(self._pending) >= PENDING_MAX:
            raise ConnectionResetError("too many questions wait on the connection")
        self.uses += 1
        number = secrets.randbits(16)
        while number in self._pending:
            number = secrets.randbits(16)
        sent = number.to_bytes(2, "big") + query[2:]
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[number] = sent, waiting
        try:
            self._writer.write(len(sent).to_bytes(2, "big") + sent)
            return await waiting
        finally:
            self._pending.pop(number, None)

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
            while True:
                size = int.from_bytes(await self._some(2), "big")
                message = await self._some(size)
                self.heard_at = time.monotonic()
                found = self._pending.get(int.from_bytes(message[:2], "big"))
                if found is not None and is_answer(message, found[0]) and not found[1].done():
                    found[1].set_result(message)
        self.is_open = False
        for _, waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection ended"))
        self._writer.transport.abort()

    async def _some(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), IDLE_S)

    def close(self) -> None:
        """End it."""
        self._task.cancel()
        self._writer.transport.abort()


async def open_dot(to: Endpoint, ca_file: str) -> DotConnection:
    """Connect to a server. Raises: OSError, ssl.SSLError."""
    reader, writer = await asyncio.open_connection(
        to.address,
        to.port,
        ssl=client_context(ca_file, ALPN_DOT, name=to.name),
        server_hostname=to.name or to.address,
    )
    return DotConnection(reader, writer)
