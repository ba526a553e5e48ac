"""Sockets, bound before anything is forked or given up.

Each worker has sockets of its own on every address (SO_REUSEPORT), so that the kernel spreads
queries and workers share nothing.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from quada.server.plan import Address
from quada.wire.ask import Transport
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from quada.server.plan import Listen

_RECEIVE_OCTETS = 4 << 20  # our choice: a fifth of a second of queries at full speed
_BACKLOG = 1024
_PORT_TRIES = 20
_DATAGRAM = (Transport.UDP, Transport.DOQ)
_STREAM = (Transport.UDP, Transport.DOT, Transport.DOH)


class Bound(NamedTuple):
    """One worker's sockets of one listener; a listener for UDP has a TCP socket too."""

    listen: Listen
    datagram: socket.socket | None
    stream: socket.socket | None

    @property
    def socket(self) -> socket.socket:
        """The only socket of a listener that has one."""
        found = self.stream or self.datagram
        assert found is not None
        return found


def bind(listeners: tuple[Listen, ...], workers: int) -> tuple[list[list[Bound]], list[Listen]]:
    """Bind every listener for every worker.

    Gives the sockets by worker, and the listeners with port 0 replaced by the port that was given.
    Raises: ReachFault, saying which address and why.
    """
    by_worker: list[list[Bound]] = [[] for _ in range(workers)]
    actual = []
    for wanted in listeners:
        listen = wanted
        for worker in by_worker:
            worker.append(_bind_one(listen))
            listen = worker[-1].listen
        actual.append(listen)
    return by_worker, actual


def bind_web(addresses: tuple[Address, ...]) -> list[socket.socket]:
    """Bind the sockets of API and console. Raises: ReachFault."""
    sockets = [_bound(address, socket.SOCK_STREAM) for address in addresses]
    for sock in sockets:
        sock.listen(_BACKLOG)
    return sockets


def _bind_one(listen: Listen) -> Bound:
    """Bind one worker's sockets of a listener; a port chosen by the kernel must suit both."""
    for tries_left in range(_PORT_TRIES, -1, -1):
        datagram = stream = None
        found = listen
        try:
            if listen.transport in _DATAGRAM or listen.has_http3:
                datagram = _bound(found.address, socket.SOCK_DGRAM)
                found = _at(found, datagram)
            if listen.transport in _STREAM:
                stream = _bound(found.address, socket.SOCK_STREAM)
                found = _at(found, stream)
                stream.listen(_BACKLOG)
        except ReachFault:
            if datagram is not None:
                datagram.close()
            if listen.address.port or not tries_left:
                raise
            continue
        return Bound(found, datagram, stream)
    raise AssertionError("the loop returns or raises")


def has_ipv6() -> bool:
    """Tell whether this machine can bind an IPv6 socket at all."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _at(listen: Listen, sock: socket.socket) -> Listen:
    return listen._replace(address=Address(listen.address.host, sock.getsockname()[1]))


def _bound(address: Address, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two sockets, so that a client's family is never in doubt.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_OCTETS)
        host, _, scope = address.host.partition("%")
        if scope:
            index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
            sock.bind((host, address.port, 0, index))
        else:
            sock.bind((host, address.port))
    except OSError as error:
        remedy = {
            errno.EADDRINUSE: "something else listens there: stop it or choose another port",
            errno.EACCES: "ports below 1024 need root: choose a high port",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
            errno.EAFNOSUPPORT: "this machine has no such address family",
        }.get(error.errno or 0, "")
        raise ReachFault(
            f"cannot listen at {address}: {error.strerror}", place=str(address), remedy=remedy
        ) from error
    sock.setblocking(False)
    return sock
