"""The one vocabulary by which thinking rooms reach the outside: an Ask, then a Reply or a NoReply.

ALIAS, recursion, zone transfers and doctor return Asks; a driver (`transport`, or a test) performs
them and hands the outcome back. The thinking room never learns how.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple


class Transport(IntEnum):
    """How a message travels; the numbers are those of the event record."""

    UDP = 1
    TCP = 2
    DOT = 3
    DOH = 4
    DOQ = 5


_SCHEMES: Final = {Transport.DOT: "tls", Transport.DOH: "https", Transport.DOQ: "quic"}
_PORTS: Final = {Transport.DOT: 853, Transport.DOH: 443, Transport.DOQ: 853}
ENCRYPTED: Final = frozenset(_SCHEMES)


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

    def __str__(self) -> str:
        """Write it: `tls://[2001:db8::53]:853#NAME`, plain without scheme and port 53."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        scheme = _SCHEMES.get(self.transport)
        if scheme is None:
            return self.address if self.port == 53 else f"{host}:{self.port}"
        path = self.path if self.transport is Transport.DOH else ""
        return f"{scheme}://{host}:{self.port}{path}" + (f"#{self.name}" if self.name else "")


@lru_cache(maxsize=10_000)
def read_endpoint(text: str) -> Endpoint:
    """Read what `str` writes, and the same with the usual port and path left out.

    Raises: ValueError.
    """
    scheme, is_url, rest = text.rpartition("://")
    kind = next((one for one, known in _SCHEMES.items() if known == scheme), Transport.UDP)
    if is_url and kind is Transport.UDP:
        raise ValueError(f"{scheme!r} is not one of {', '.join(_SCHEMES.values())}")
    rest, _, name = rest.partition("#")
    where, slash, path = rest.partition("/")
    if slash and kind is not Transport.DOH:
        raise ValueError("only https:// has a path")
    if name and not is_url:
        raise ValueError("it has a name and no encryption: write tls://ADDRESS#NAME")
    host, port = where, ""
    if where.startswith("["):
        host, _, port = where[1:].partition("]")
        port = port.removeprefix(":")
    elif where.count(":") == 1:
        host, _, port = where.partition(":")
    ipaddress.ip_address(host.partition("%")[0])
    number = int(port) if port else _PORTS.get(kind, 53)
    if not 0 <= number <= 65535:
        raise ValueError(f"{number} is no port")
    found = Endpoint(host, number, kind, name.rstrip("."))
    return found._replace(path=slash + path) if path else found


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
