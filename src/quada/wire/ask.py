"""The one vocabulary by which thinking rooms reach the outside: an Ask, then a Reply or a NoReply.

ALIAS, recursion, zone transfers and doctor return Asks; a driver (`transport`, or a test) performs
them and hands the outcome back. The thinking room never learns how.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Transport(IntEnum):
    """How a message travels; the numbers are those of the event record."""

    UDP = 1
    TCP = 2
    DOT = 3
    DOH = 4
    DOQ = 5


class Endpoint(NamedTuple):
    """Where to send: an address in presentation form (`2001:db8::53`), a port, a transport.

    `name` is the name to authenticate (RFC 8310 5) and, for DoH, the URI's host; empty where there
    is nothing to check. `path` is the DoH path.
    """

    address: str
    port: int = 53
    transport: Transport = Transport.UDP
    name: str = ""
    path: str = "/dns-query"

    @property
    def family(self) -> int:
        """6 for an IPv6 address, 4 for an IPv4 one."""
        return 6 if ":" in self.address else 4


class Ask(NamedTuple):
    """One message to send, and how long to wait for its answer.

    `query` is a whole DNS message; its id is the asker's choice. `timeout_s` counts from sending.
    The driver keeps a reply only if it comes from `to`, carries the id, and echoes the question
    (RFC 5452 9.1), so that a Reply is never a stranger's.
    """

    to: Endpoint
    query: bytes
    timeout_s: float


class Reply(NamedTuple):
    """An answer to an Ask: the whole message and the round trip in seconds."""

    ask: Ask
    message: bytes
    rtt_s: float


class Silence(IntEnum):
    """Why there was no reply."""

    TIMEOUT = 1
    REFUSED = 2  # ICMP port unreachable, or TCP RST to the SYN
    UNREACHABLE = 3  # no route, no address of that family
    RESET = 4  # the connection ended before the answer
    TLS = 5  # handshake or certificate
    GARBAGE = 6  # octets came, but never an answer to this question


class NoReply(NamedTuple):
    """No answer to an Ask: why, after how many seconds, and in words for the log."""

    ask: Ask
    why: Silence
    elapsed_s: float
    detail: str = ""


Outcome = Reply | NoReply
