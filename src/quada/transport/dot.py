"""DNS over TLS, the client's side: few connections, many questions on each (RFC 7858, RFC 7766)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from typing import Final

from quada.transport.client import is_answer
from quada.transport.tls import ALPN_DOT
from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence

_IDLE_S: Final = 10.0
_PENDING_MAX: Final = 1_000
_PAD_OCTETS: Final = 128  # RFC 8467 4.1
_PADDING: Final = 12  # RFC 7830


class _Connection:
    """One connection to one server; answers may come in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._pending: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self.is_open = True
        self.uses = 0
        self._task = asyncio.create_task(self._read())

    async def ask(self, query: bytes) -> bytes:
        """Send a query and wait for its answer. Raises: ConnectionResetError."""
        if len(self._pending) >= _PENDING_MAX:
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
                found = self._pending.get(int.from_bytes(message[:2], "big"))
                if found is not None and is_answer(message, found[0]) and not found[1].done():
                    found[1].set_result(message)
        self.is_open = False
        for _, waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection ended"))
        self._writer.transport.abort()

    async def _some(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), _IDLE_S)

    def close(self) -> None:
        """End it."""
        self._task.cancel()
        self._writer.transport.abort()


class DotClient:
    """Performs Asks over TLS, keeping a connection a server.

    An Ask whose endpoint has a name is answered only by who can prove it (strict, RFC 8310 5); one
    without is encrypted and not authenticated (opportunistic). `ca_file` is trusted beside none.
    """

    def __init__(self, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._connections: dict[tuple[str, int, str], _Connection] = {}
        self._opening: dict[tuple[str, int, str], asyncio.Task[_Connection]] = {}

    async def perform(self, ask: Ask) -> Outcome:
        """Send a query and wait. Never raises for what the network does."""
        started = time.monotonic()

        def nothing(why: Silence, detail: str = "") -> NoReply:
            return NoReply(ask, why, time.monotonic() - started, detail)

        try:
            async with asyncio.timeout(ask.timeout_s):
                message = await self._ask(ask)
        except TimeoutError:
            return nothing(Silence.TIMEOUT)
        except ssl.SSLError as error:
            return nothing(Silence.TLS, getattr(error, "verify_message", "") or error.reason or "")
        except ConnectionRefusedError:
            return nothing(Silence.REFUSED)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return nothing(Silence.RESET, str(error))
        except OSError as error:
            return nothing(Silence.UNREACHABLE, error.strerror or str(error))
        return Reply(ask, ask.query[:2] + message[2:], time.monotonic() - started)

    async def _ask(self, ask: Ask) -> bytes:
        query = padded(ask.query)
        connection = await self._connection(ask)
        was_used = connection.uses > 0
        try:
            return await connection.ask(query)
        except ConnectionResetError:
            if not was_used:
                raise
        # It had been idle, and was closed: that says nothing of the server (RFC 7766 6.2.4).
        return await (await self._connection(ask)).ask(query)

    async def _connection(self, ask: Ask) -> _Connection:
        key = ask.to.address, ask.to.port, ask.to.name
        found = self._connections.get(key)
        if found is not None and found.is_open:
            return found
        opening = self._opening.get(key)
        if opening is None:
            opening = self._opening[key] = asyncio.create_task(self._open(*key))
            opening.add_done_callback(lambda _: self._opening.pop(key, None))
        made = await asyncio.shield(opening)
        self._connections[key] = made
        return made

    async def _open(self, address: str, port: int, name: str) -> _Connection:
        context = self._contexts.get(bool(name))
        if context is None:
            context = self._contexts[bool(name)] = client_context(self._ca_file, name=name)
        async with asyncio.timeout(_IDLE_S):
            reader, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=name or address
            )
        return _Connection(reader, writer)

    def close(self) -> None:
        """End all connections."""
        for one in self._connections.values():
            one.close()


def client_context(ca_file: str, *, name: str) -> ssl.SSLContext:
    """Make the TLS of a client: with a name the server must prove it, without one nothing."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if not name:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN_DOT])
    return context


def padded(query: bytes) -> bytes:
    """Pad a query whose last record is an empty OPT to a multiple of 128 octets (RFC 8467 4.1)."""
    is_opt = (
        query[10:12] != b"\x00\x00"
        and query[-11:-8] == b"\x00\x00\x29"
        and query[-2:] == b"\x00\x00"
    )
    if not is_opt:
        return query
    size = -(len(query) + 4) % _PAD_OCTETS
    option = _PADDING.to_bytes(2, "big") + size.to_bytes(2, "big") + bytes(size)
    return query[:-2] + len(option).to_bytes(2, "big") + option
