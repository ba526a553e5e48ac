"""TLS for a stream listener, with a bound on connections from the moment they are accepted.

asyncio tells a protocol of a client only once hands were shaken; whoever opens connections and says
nothing would be counted by nobody until the handshake's time is over.
"""

from __future__ import annotations

import asyncio
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any, Final

from quada.transport.exchange import raw_peer
from quada.transport.guests import Guests

if TYPE_CHECKING:
    import ssl

    from quada.transport.guests import StreamLimits

HANDSHAKE_S: Final = 10  # our choice: TLS takes two round trips


class TlsDoor:
    """What the connections of one TLS listener share: the context, and who is there.

    Give `open`'s protocols to a server that knows nothing of TLS. Connections count by network and
    in all, whether hands are shaken or not.
    """

    def __init__(
        self, context: ssl.SSLContext, limits: StreamLimits, handshake_s: int = HANDSHAKE_S
    ) -> None:
        self.context = context
        self.handshake_s = handshake_s
        self.guests = Guests(limits)

    def open(self, inner: asyncio.BaseProtocol) -> SSLProtocol:
        """Give the protocol that speaks TLS with a client and `inner` behind it."""
        return _Doorway(self, inner)


class _Doorway(SSLProtocol):
    """One connection, from accept to end."""

    def __init__(self, door: TlsDoor, inner: asyncio.BaseProtocol) -> None:
        nobody: Any = None  # how a handshake fails is the client's business
        super().__init__(
            asyncio.get_running_loop(), inner, door.context, nobody, server_side=True,
            ssl_handshake_timeout=door.handshake_s,
        )  # fmt: skip
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to shake hands, unless a bound is reached."""
        assert isinstance(transport, asyncio.Transport)
        peer = raw_peer(transport.get_extra_info("peername"))
        if self._door.guests.admit(self, peer):
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the client."""
        self._door.guests.leave(self)
        super().connection_lost(exc)

    def is_idle_since(self, moment: float) -> bool:
        """Never: what is behind ends idle connections, and the handshake has its own time."""
        return False

    def close(self) -> None:
        """Leave it: see `is_idle_since`."""
