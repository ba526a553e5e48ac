"""What stands behind a listener: the shape by which transport and a role meet.

`transport` knows sockets and nothing of DNS data; a role (`authority`, `resolver`) knows DNS data
and nothing of sockets. A listener looks a packet up in `answers` itself, because a function call
per query is a tenth of what a query may cost; only what is not there goes to `answer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from quada.wire.ask import Transport
    from quada.wire.limit import Limiter

_AF_INET6: Final = 10  # Linux's number, in the first octet of a raw socket address

Answered = tuple[bytes, bytes]
"""A finished answer: the response without its two id octets (empty for silence), and the event's
tail (`telemetry.event.compose_tail`)."""


def peer_address(peer: bytes) -> bytes:
    """Give the address of a raw socket address: 16 octets, or 4."""
    return peer[8:24] if peer[0] == _AF_INET6 else peer[4:8]


def peer_network(peer: bytes) -> bytes:
    """Give the network that limits count by: the leading octets of a /56, or of a /24."""
    return peer[8:15] if peer[0] == _AF_INET6 else peer[4:7]


class Deferred(NamedTuple):
    """An answer that needs the outside: a lookup, the store, or a stream of messages.

    The listener hands it to the server room, which drives `work` (a value of the role that made it)
    and sends what comes of it. `packet` is the whole query, `peer` the raw socket address.
    """

    packet: bytes
    peer: bytes
    transport: Transport
    work: Any


class Responder(Protocol):
    """A role, seen from its listeners. One per worker process; never shared between threads.

    `answers` maps a UDP query less its id to its Answered. The role fills it, bounds it, and
    empties it when data change; keys are whole packets, so everything the answer depends on
    (flags, EDNS, case) is part of the key. A role puts nothing there that depends on the peer, but
    for this: where `clients` is a set, they are only for peers whose address is in it.
    """

    answers: dict[bytes, Answered]
    limiter: Limiter | None
    is_trusted: bool
    """Whether the last `answer` was to a client whose address is proven (a valid cookie)."""

    @property
    def clients(self) -> set[bytes] | None:
        """Addresses (16 or 4 octets) known to be served; None where everybody is."""

    def begin(self, now_ns: int) -> None:
        """Take the time (nanoseconds of the Unix epoch), once per batch of queries."""

    def answer(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        """Answer one query. Never raises, whatever the packet holds."""
