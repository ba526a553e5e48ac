"""The connections of one listener: how many there may be, and how long each may say nothing.

One place for TCP, TLS, HTTPS and QUIC: a client that opens many or trickles octets meets the same
bounds whatever it speaks.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Protocol

from quada.wire.respond import peer_network

_SWEEP_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Bounds on connections. Networks are /56 and /24.

    `idle_s` counts from the last whole query (RFC 7766 6.2.3); a query must be whole `idle_s` after
    its first octet, so that trickling octets does not hold a connection.
    """

    idle_s: float = 10.0
    connections_max: int = 4096
    per_network_max: int = 256


class Guest(Protocol):
    """One connection."""

    def is_idle_since(self, moment: float) -> bool:
        """Tell whether nothing whole has come since a moment, and nothing is owed."""

    def close(self) -> None:
        """End the connection."""


class Guests:
    """Admits connections of one listener and closes those that say nothing."""

    def __init__(self, limits: StreamLimits) -> None:
        self.limits = limits
        self.refused_count = 0
        self.present: dict[Guest, bytes] = {}
        self._networks: dict[bytes, int] = {}

    def admit(self, guest: Guest, peer: bytes) -> bool:
        """Take one in, by its raw socket address, unless a bound is reached."""
        network = peer_network(peer)
        here = self._networks.get(network, 0)
        limits = self.limits
        if len(self.present) >= limits.connections_max or here >= limits.per_network_max:
            self.refused_count += 1
            return False
        self.present[guest] = network
        self._networks[network] = here + 1
        return True

    def leave(self, guest: Guest) -> None:
        """Forget one that has ended; one that never was admitted costs nothing."""
        network = self.present.pop(guest, None)
        if network is None:
            return
        left = self._networks[network] - 1
        if left:
            self._networks[network] = left
        else:
            del self._networks[network]

    async def sweep(self) -> None:
        """Close idle connections, for ever; one clock for all costs less than one each."""
        while True:
            await asyncio.sleep(min(_SWEEP_S, self.limits.idle_s / 4))
            oldest = time.monotonic() - self.limits.idle_s
            for guest in [one for one in self.present if one.is_idle_since(oldest)]:
                guest.close()
