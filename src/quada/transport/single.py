"""One Ask performed at a time, blocking: for command line tools that wait for each answer.

The server's client (many Asks at once, encrypted transports) is another; both keep a reply only
when it comes from whom was asked, carries the id and echoes the question (RFC 5452 9.1).
"""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING

from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence, Transport

if TYPE_CHECKING:
    from quada.wire.ask import Endpoint

_MAX_UDP_OCTETS = 65535


def perform(ask: Ask) -> Outcome:
    """Send a query over UDP or TCP and wait for its answer, at most `timeout_s`."""
    began = time.monotonic()
    try:
        if ask.to.transport == Transport.UDP:
            message = _over_udp(ask, began)
        else:
            message = _over_tcp(ask, began)
    except TimeoutError:
        return NoReply(ask, Silence.TIMEOUT, time.monotonic() - began, "no answer in time")
    except ConnectionRefusedError as error:
        return NoReply(ask, Silence.REFUSED, time.monotonic() - began, str(error))
    except (ConnectionResetError, BrokenPipeError, EOFError) as error:
        return NoReply(ask, Silence.RESET, time.monotonic() - began, str(error))
    except OSError as error:
        why = Silence.UNREACHABLE if error.errno != errno.EMSGSIZE else Silence.GARBAGE
        return NoReply(ask, why, time.monotonic() - began, str(error))
    if message is None:
        return NoReply(
            ask, Silence.GARBAGE, time.monotonic() - began, "an answer to another question"
        )
    return Reply(ask, message, time.monotonic() - began)


def _socket(to: Endpoint, kind: socket.SocketKind) -> tuple[socket.socket, tuple[object, ...]]:
    # getaddrinfo of a literal asks nobody; it gives link-local addresses their scope.
    found = socket.getaddrinfo(to.address, to.port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    return socket.socket(found[0], kind), found[4]


def _over_udp(ask: Ask, began: float) -> bytes | None:
    sock, address = _socket(ask.to, socket.SOCK_DGRAM)
    with sock:
        # A connected socket hears of ICMP errors and of nobody but the server.
        sock.connect(address)
        sock.send(ask.query)
        while True:
            sock.settimeout(_left(ask, began))
            message = sock.recv(_MAX_UDP_OCTETS)
            if _is_answer(ask.query, message):
                return message


def _over_tcp(ask: Ask, began: float) -> bytes | None:
    sock, address = _socket(ask.to, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(_left(ask, began))
        sock.connect(address)
        sock.sendall(len(ask.query).to_bytes(2, "big") + ask.query)
        length = int.from_bytes(_exactly(sock, 2, ask, began), "big")
        message = _exactly(sock, length, ask, began)
    return message if _is_answer(ask.query, message) else None


def _exactly(sock: socket.socket, count: int, ask: Ask, began: float) -> bytes:
    octets = b""
    while len(octets) < count:
        sock.settimeout(_left(ask, began))
        part = sock.recv(count - len(octets))
        if not part:
            raise EOFError("the connection was closed before the answer")
        octets += part
    return octets


def _left(ask: Ask, began: float) -> float:
    left = ask.timeout_s - (time.monotonic() - began)
    if left <= 0:
        raise TimeoutError
    return left


def _is_answer(query: bytes, message: bytes) -> bool:
    """Tell whether a message answers a query: id, QR and question, case aside."""
    if len(message) < 12 or message[:2] != query[:2] or not message[2] & 0x80:
        return False
    if message[4:6] == b"\x00\x00":  # FORMERR may come without the question
        return True
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    return message[12:end].lower() == query[12:end].lower()
