"""Many questions over few UDP sockets, without a task, a timer or a loop handle for each.

Each query gets a random id on one of many sockets with random ports (RFC 5452 9.2). An answer
counts only if it comes from the server asked, to the socket it was asked from, with that id.
"""

from __future__ import annotations

import asyncio
import secrets
import select
import socket
import time
from typing import TYPE_CHECKING, Final

from quada.transport.chance import random_bits
from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable

_SOCKETS: Final = 64  # a family, our choice: 6 bits beside the id's 16 and the name's case
_USES_MAX: Final = 2_000  # then a socket is replaced, and its port with it
_RECEIVE_OCTETS: Final = 1 << 20  # our choice: a burst of answers must wait, not be lost
_MESSAGE_OCTETS: Final = 4096  # our choice: queries offer 1232 (see wire.edns)
_TICK_S: Final = 0.02  # how exact a timeout is


class _Pending:
    """A query under way. `done` is None once it has an outcome."""

    __slots__ = ("ask", "done", "key", "socket", "started")

    def __init__(
        self, ask: Ask, done: Callable[[Outcome], None], sock: _Socket, key: tuple[int, str, int]
    ) -> None:
        self.ask, self.socket, self.key = ask, sock, key
        self.done: Callable[[Outcome], None] | None = done
        self.started = time.monotonic()


class _Socket:
    """One UDP socket and what is asked on it, by id, address and port."""

    __slots__ = ("pending", "sock", "uses")

    def __init__(self, family: int) -> None:
        is_v6 = family == 6
        self.sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_OCTETS)
        self.sock.bind(("::" if is_v6 else "0.0.0.0", 0))
        self.pending: dict[tuple[int, str, int], _Pending] = {}
        self.uses = 0

    def receive(self) -> None:
        """Take one datagram; the loop calls again while there are more."""
        try:
            message, address = self.sock.recvfrom(_MESSAGE_OCTETS)
        except OSError:
            return
        if len(message) < 12 or not message[2] & 0x80:
            return
        key = (message[0] << 8 | message[1], address[0], address[1])
        found = self.pending.pop(key, None)
        if found is None or found.done is None:
            return
        done, found.done = found.done, None
        elapsed_s = time.monotonic() - found.started
        done(Reply(found.ask, b"\x00\x00" + message[2:], elapsed_s))


class Datagrams:
    """Performs Asks over UDP by callback. One per worker.

    Timeouts lie in slots of a wheel, so that setting one costs an append and taking it back
    nothing. Where the system has epoll, all sockets are one descriptor to the event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, list[_Socket]] = {6: [], 4: []}
        self._by_fd: dict[int, _Socket] = {}
        self._wheel: dict[int, list[_Pending]] = {}
        self._is_turning = False
        self._turned = 0
        self._poll = select.epoll() if hasattr(select, "epoll") else None
        if self._poll is not None:
            self._loop.add_reader(self._poll.fileno(), self._receive)

    def perform(self, ask: Ask, done: Callable[[Outcome], None]) -> None:
        """Send a query; `done` is called once, later, with what came of it."""
        address, port = ask.to.address, ask.to.port
        try:
            one = self._pick(6 if ":" in address else 4)
            while True:
                query_id = random_bits(16)
                key = (query_id, address, port)
                if key not in one.pending:
                    break
            one.sock.sendto(query_id.to_bytes(2, "big") + ask.query[2:], (address, port))
        except OSError as error:
            outcome = NoReply(ask, Silence.UNREACHABLE, 0.0, error.strerror or str(error))
            self._loop.call_soon(done, outcome)
            return
        pending = one.pending[key] = _Pending(ask, done, one, key)
        slot = int((pending.started + ask.timeout_s) / _TICK_S) + 1
        waiting = self._wheel.get(slot)
        if waiting is None:
            self._wheel[slot] = [pending]
        else:
            waiting.append(pending)
        if not self._is_turning:
            self._is_turning = True
            self._turned = int(pending.started / _TICK_S)
            self._loop.call_later(_TICK_S, self._turn)

    def close(self) -> None:
        """Close all sockets."""
        for one in list(self._by_fd.values()):
            self._drop(one)
        if self._poll is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()

    def _receive(self) -> None:
        assert self._poll is not None
        for fd, _ in self._poll.poll(0, 2 * _SOCKETS):
            one = self._by_fd.get(fd)
            if one is not None:
                one.receive()

    def _turn(self) -> None:
        """Call off what is overdue."""
        now = time.monotonic()
        until = int(now / _TICK_S)
        for slot in range(self._turned + 1, until + 1):
            for pending in self._wheel.pop(slot, ()):
                done, pending.done = pending.done, None
                if done is None:
                    continue
                pending.socket.pending.pop(pending.key, None)
                done(NoReply(pending.ask, Silence.TIMEOUT, now - pending.started))
        self._turned = until
        self._is_turning = bool(self._wheel)
        if self._is_turning:
            self._loop.call_later(_TICK_S, self._turn)

    def _pick(self, family: int) -> _Socket:
        """Give a socket by chance; one that was used much is replaced when nothing waits on it."""
        sockets = self._sockets[family]
        if len(sockets) < _SOCKETS:
            one = self._open(family)
            sockets.append(one)
        else:
            at = random_bits(16) % _SOCKETS
            one = sockets[at]
            if one.uses >= _USES_MAX and not one.pending:
                self._drop(one)
                one = sockets[at] = self._open(family)
        one.uses += 1
        return one

    def _open(self, family: int) -> _Socket:
        one = _Socket(family)
        # Ports change at different times, not all of them at once.
        one.uses = secrets.randbelow(_USES_MAX // 2)
        fd = one.sock.fileno()
        self._by_fd[fd] = one
        if self._poll is not None:
            self._poll.register(fd, select.EPOLLIN)
        else:
            self._loop.add_reader(fd, one.receive)
        return one

    def _drop(self, one: _Socket) -> None:
        fd = one.sock.fileno()
        if self._poll is not None:
            self._poll.unregister(fd)
        else:
            self._loop.remove_reader(fd)
        del self._by_fd[fd]
        one.sock.close()
