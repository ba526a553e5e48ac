"""The resolver's way out: many questions on few sockets, without a task for each.

Each query gets a random id on one of many sockets with random ports (RFC 5452 9.2). An answer
counts only if it comes from the server asked, to the socket it was asked from, with that id.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from typing import TYPE_CHECKING, Final

from quada.transport.client import Client
from quada.transport.kept import KeptClient
from quada.wire.ask import ENCRYPTED, Ask, NoReply, Outcome, Reply, Silence, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

_SOCKETS: Final = 64  # a family, our choice: 22 bits of port and id together with the id's 16
_USES_MAX: Final = 2_000  # then a socket is replaced, and its port with it
_DRAIN: Final = 64
_RECEIVE_OCTETS: Final = 1 << 20  # our choice: a burst of answers must wait, not be lost


class _Pending:
    __slots__ = ("ask", "done", "started", "timer")

    def __init__(
        self,
        ask: Ask,
        done: Callable[[Outcome], None],
        started: float,
        timer: asyncio.TimerHandle,
    ) -> None:
        self.ask, self.done, self.started, self.timer = ask, done, started, timer


class _Socket:
    """One UDP socket and what is asked on it."""

    def __init__(self, family: socket.AddressFamily, loop: asyncio.AbstractEventLoop) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_OCTETS)
        self.sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
        self.pending: dict[tuple[int, str, int], _Pending] = {}
        self.uses = 0
        self._loop = loop
        loop.add_reader(self.sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_DRAIN):
            try:
                message, address = self.sock.recvfrom(65_535)
            except OSError:
                return
            if len(message) < 12 or not message[2] & 0x80:
                continue
            key = (message[0] << 8 | message[1], address[0], address[1])
            found = self.pending.pop(key, None)
            if found is None:
                continue
            found.timer.cancel()
            elapsed = time.monotonic() - found.started
            found.done(Reply(found.ask, b"\x00\x00" + message[2:], elapsed))

    def close(self) -> None:
        self._loop.remove_reader(self.sock.fileno())
        self.sock.close()


class Upstream:
    """Performs Asks by callback. One per worker. `ca_file` is trusted for encrypted servers."""

    def __init__(self, ca_file: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, list[_Socket]] = {6: [], 4: []}
        self._client = Client()
        self._kept = KeptClient(ca_file)
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, ask: Ask, done: Callable[[Outcome], None]) -> None:
        """Send a query; `done` is called once, later, with what came of it."""
        if ask.to.transport is not Transport.UDP:
            task = self._loop.create_task(self._over_stream(ask, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        try:
            one = self._pick(ask.to.family)
            key = self._key(one, ask)
            timer = self._loop.call_later(ask.timeout_s, self._overdue, one, key)
            one.pending[key] = _Pending(ask, done, time.monotonic(), timer)
            one.sock.sendto(key[0].to_bytes(2, "big") + ask.query[2:], (key[1], key[2]))
        except OSError as error:
            with contextlib.suppress(UnboundLocalError):
                timer.cancel()
                one.pending.pop(key, None)
            outcome = NoReply(ask, Silence.UNREACHABLE, 0.0, error.strerror or str(error))
            self._loop.call_soon(done, outcome)

    def close(self) -> None:
        """Close all sockets."""
        for sockets in self._sockets.values():
            for one in sockets:
                one.close()
        self._kept.close()

    @staticmethod
    def _key(one: _Socket, ask: Ask) -> tuple[int, str, int]:
        while True:
            key = (secrets.randbits(16), ask.to.address, ask.to.port)
            if key not in one.pending:
                return key

    def _pick(self, family: int) -> _Socket:
        sockets = self._sockets[family]
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        if len(sockets) < _SOCKETS:
            sockets.append(_Socket(kind, self._loop))
            one = sockets[-1]
        else:
            at = secrets.randbelow(_SOCKETS)
            one = sockets[at]
            if one.uses >= _USES_MAX and not one.pending:
                one.close()
                one = sockets[at] = _Socket(kind, self._loop)
        one.uses += 1
        return one

    @staticmethod
    def _overdue(one: _Socket, key: tuple[int, str, int]) -> None:
        found = one.pending.pop(key, None)
        if found is not None:
            elapsed = time.monotonic() - found.started
            found.done(NoReply(found.ask, Silence.TIMEOUT, elapsed))

    async def _over_stream(self, ask: Ask, done: Callable[[Outcome], None]) -> None:
        if ask.to.transport in ENCRYPTED:
            done(await self._kept.perform(ask))
            return
        query = secrets.token_bytes(2) + ask.query[2:]
        outcome = await self._client.perform(ask._replace(query=query))
        if isinstance(outcome, Reply):
            outcome = Reply(ask, b"\x00\x00" + outcome.message[2:], outcome.rtt_s)
        done(outcome._replace(ask=ask))
