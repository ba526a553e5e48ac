"""Asks over connections that are kept: one a server, many questions on each (RFC 7766, 8484, 9250).

What is the same for DoT, DoH and DoQ stands here: opening once for all who wait, asking again where
an idle connection had been closed, and saying in one way why there is no answer.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Final, Protocol

from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence, Transport

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint

IDLE_S: Final = 10.0
PENDING_MAX: Final = 1_000  # our choice: questions that wait on one connection
_PAD_OCTETS: Final = 128  # RFC 8467 4.1
_PADDING: Final = 12  # RFC 7830


class Connection(Protocol):
    """One connection to one server."""

    is_open: bool
    uses: int
    heard_at: float

    async def ask(self, query: bytes) -> bytes:
        """Send a query and give its answer. Raises: ConnectionError, PeerBroke."""

    def close(self) -> None:
        """End it."""


class PeerBroke(ConnectionError):
    """The server answered, and not with DNS: an HTTP status, a message about something else."""


class HandshakeFailed(ConnectionError):
    """The server did not prove who it is, or speaks no TLS that we do."""


class KeptClient:
    """Performs Asks over TLS, HTTPS and QUIC, keeping a connection a server.

    An Ask whose endpoint has a name is answered only by who can prove it (strict, RFC 8310 5); one
    without is encrypted and not authenticated (opportunistic). `ca_file` is trusted beside none.
    """

    def __init__(self, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._connections: dict[Endpoint, Connection] = {}
        self._opening: dict[Endpoint, asyncio.Task[Connection]] = {}

    async def perform(self, ask: Ask) -> Outcome:
        """Send a query and wait. Never raises for what the network does."""
        started = time.monotonic()

        def nothing(why: Silence, detail: str = "") -> NoReply:
            return NoReply(ask, why, time.monotonic() - started, detail)

        try:
            async with asyncio.timeout(ask.timeout_s):
                message = await self._ask(ask)
        except TimeoutError:
            self._suspect(ask.to, started)
            return nothing(Silence.TIMEOUT)
        except ssl.SSLError as error:
            return nothing(Silence.TLS, getattr(error, "verify_message", "") or error.reason or "")
        except HandshakeFailed as error:
            return nothing(Silence.TLS, str(error))
        except PeerBroke as error:
            return nothing(Silence.GARBAGE, str(error))
        except ConnectionRefusedError:
            return nothing(Silence.REFUSED)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return nothing(Silence.RESET, str(error))
        except OSError as error:
            return nothing(Silence.UNREACHABLE, error.strerror or str(error))
        return Reply(ask, ask.query[:2] + message[2:], time.monotonic() - started)

    async def _ask(self, ask: Ask) -> bytes:
        query = padded(ask.query)
        connection = await self._connection(ask.to)
        was_used = connection.uses > 0
        try:
            return await connection.ask(query)
        except PeerBroke:
            raise
        except ConnectionError:
            if not was_used:
                raise
        # It had been idle, and was closed: that says nothing of the server (RFC 7766 6.2.4).
        return await (await self._connection(ask.to)).ask(query)

    async def _connection(self, to: Endpoint) -> Connection:
        found = self._connections.get(to)
        if found is not None and found.is_open:
            return found
        opening = self._opening.get(to)
        if opening is None:
            opening = self._opening[to] = asyncio.create_task(self._open(to))
            opening.add_done_callback(lambda done: self._opened(to, done))
        return await asyncio.shield(opening)

    def _opened(self, to: Endpoint, done: asyncio.Task[Connection]) -> None:
        """Keep a connection, though all who asked for it may have given up by now."""
        self._opening.pop(to, None)
        if not done.cancelled() and done.exception() is None:
            self._connections[to] = done.result()

    async def _open(self, to: Endpoint) -> Connection:
        # Imported where it is used: most resolvers forward over none of these.
        async with asyncio.timeout(IDLE_S):
            if to.transport is Transport.DOT:
                from quada.transport.dot import open_dot

                return await open_dot(to, self._ca_file)
            if to.transport is Transport.DOH:
                from quada.transport.doh_client import open_doh

                return await open_doh(to, self._ca_file)
            from quada.transport.doq_client import open_doq

            return await open_doq(to, self._ca_file)

    def _suspect(self, to: Endpoint, since: float) -> None:
        """Ask the next question on another connection, where this one has gone silent."""
        found = self._connections.get(to)
        if found is not None and found.heard_at < since:
            # Who still waits on it may go on waiting; it ends when it is idle.
            del self._connections[to]

    def close(self) -> None:
        """End all connections, those that are not open yet too."""
        for task in self._opening.values():
            task.cancel()
        for one in self._connections.values():
            one.close()


def client_context(ca_file: str, *alpn: str, name: str) -> ssl.SSLContext:
    """Make the TLS of a client: with a name the server must prove it, without one nothing."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if not name:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
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
