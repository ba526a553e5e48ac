"""QUIC, the server's side, as DoQ and HTTP/3 share it, on aioquic.

Memory of a connection is bounded by what aioquic lets a client have open at once (128 streams of a
kind, a new one for each that closed) and by what a stream may carry, which is counted here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

import structlog
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    QuicEvent,
    StopSendingReceived,
    StreamReset,
)

from quada.transport.exchange import raw_peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic.quic.connection import QuicConnection
    from aioquic.tls import SessionTicket

    from quada.transport.guests import Guests
    from quada.transport.tls import Certificate

log: structlog.stdlib.BoundLogger = structlog.get_logger()
# aioquic warns of every connection that ends with an error: clients would fill our log.
logging.getLogger("quic").setLevel(logging.CRITICAL)
_TICKETS_MAX: Final = 10_000  # our choice because a ticket is kept until used or pushed out
_WINDOW_OCTETS: Final = 1 << 18  # our choice: what a connection may have unread
_STREAM_OCTETS: Final = 1 << 16  # our choice: what a stream may have unread; it grows as it is read
_RESETS_MAX: Final = 200  # as for HTTP/2: streams a client may take back


class Tickets:
    """Session tickets for resumption: bounded, each used once (RFC 8446 8.1)."""

    def __init__(self) -> None:
        self._kept: dict[bytes, SessionTicket] = {}

    def add(self, ticket: SessionTicket) -> None:
        """Keep a ticket, dropping the oldest beyond the bound."""
        while len(self._kept) >= _TICKETS_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[ticket.ticket] = ticket

    def pop(self, label: bytes) -> SessionTicket | None:
        """Take a ticket out."""
        return self._kept.pop(label, None)


class QuicGuest(QuicConnectionProtocol):
    """One client connection; what is spoken on it, a subclass knows."""

    overload: ClassVar[int]  # the protocol's error code for too much

    def __init__(self, quic: QuicConnection, *args: Any, guests: Guests, **kwargs: Any) -> None:
        super().__init__(quic, *args, **kwargs)
        self._guests = guests
        self._active_at = time.monotonic()
        self._is_known = self._is_over = False
        self._reset_count = 0
        self.owed: set[int] = set()
        _offer_no_early_data(quic)

    @property
    def peer(self) -> bytes:
        """The client's raw socket address; it may change while the connection lasts."""
        return raw_peer(self._quic._network_paths[0].addr)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Admit the client with its first datagram; end the connection where anything is amiss."""
        is_admitted = self._is_known or self._guests.admit(self, raw_peer(addr))
        self._is_known = True
        try:
            super().datagram_received(data, addr)
        except Exception as error:
            # Whatever a client found to send that aioquic did not think of ends its own connection.
            log.warning("a QUIC connection broke", why=repr(error))
            self.refuse(self.overload)
        if not is_admitted:
            self.refuse(self.overload)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Follow what becomes of streams and of the connection."""
        if isinstance(event, StopSendingReceived):
            self.owed.discard(event.stream_id)  # aioquic has reset our side
        elif isinstance(event, StreamReset):
            self.owed.discard(event.stream_id)
            self.forget(event.stream_id)
            self._reset_count += 1
            if self._reset_count > _RESETS_MAX:
                self.refuse(self.overload)
        elif isinstance(event, ConnectionTerminated):
            self._is_over = True
            self.owed.clear()
            self._guests.leave(self)

    def forget(self, stream: int) -> None:
        """Drop what has come of a request."""
        raise NotImplementedError

    def served(self, stream: int) -> None:
        """Note that a whole query has come, and that its answer is owed."""
        self._active_at = time.monotonic()
        self.owed.add(stream)

    def is_idle_since(self, moment: float) -> bool:
        """Tell whether nothing whole has come since a moment, and nothing is owed."""
        return self._active_at < moment and not self.owed

    def refuse(self, code: int, reason: str = "") -> None:
        """End the connection for what the client did."""
        self.owed.clear()
        self._is_over = True
        self.close(code, reason)


def _offer_no_early_data(quic: QuicConnection) -> None:
    """Have tickets say that early data is not taken (RFC 9250 4.5, RFC 9001 9.2).

    aioquic has no setting for it. That each ticket is good once keeps replays out in any case.
    """
    initialize = quic._initialize

    def without(peer_cid: bytes) -> None:
        initialize(peer_cid)
        quic.tls._max_early_data = None

    quic._initialize = without  # type: ignore[method-assign]


async def serve_quic(
    sock: Any,
    certificate: Certificate,
    alpn: str,
    guests: Guests,
    make: Callable[..., QuicGuest],
) -> asyncio.DatagramTransport:
    """Serve on a bound UDP socket; `make` is the constructor of a connection's QuicGuest.

    Addresses are validated by Retry, so that the server cannot be used to amplify (RFC 9000 8.1).
    """
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=[alpn],
        idle_timeout=guests.limits.idle_s,
        max_data=_WINDOW_OCTETS,
        max_stream_data=_STREAM_OCTETS,
    )
    configuration.load_cert_chain(certificate.chain, certificate.key)
    certificate.follow(lambda: configuration.load_cert_chain(certificate.chain, certificate.key))
    tickets = Tickets()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: QuicServer(
            configuration=configuration,
            create_protocol=make,
            session_ticket_fetcher=tickets.pop,
            session_ticket_handler=tickets.add,
            retry=True,
        ),
        sock=sock,
    )
    return transport
