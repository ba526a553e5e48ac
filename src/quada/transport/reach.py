"""All that this machine can ask and call: Asks over every transport, and Calls."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from quada.transport.calls import call
from quada.transport.client import Client
from quada.transport.kept import KeptClient
from quada.wire.ask import Ask, Outcome, Transport

if TYPE_CHECKING:
    from quada.wire.call import Call, Called


# aioquic writes of certificates it refuses to a logger of its own: the outcome says it here.
logging.getLogger("quic").addHandler(logging.NullHandler())


def is_own(address: str) -> bool:
    """Tell whether an address is one of this machine's: who sends there is sent from there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 53))  # sends nothing
        except OSError:
            return False
        return bool(probe.getsockname()[0] == address)


class Reach:
    """Performs Asks over UDP, TCP, TLS, HTTPS and QUIC, and Calls, for who looks at others.

    An encrypted Ask with a name is answered only by who can prove it; one without, by anybody.
    `ca_file` is trusted in place of the system's CAs.
    """

    def __init__(self, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._plain = Client()
        self._kept = KeptClient(ca_file)

    async def perform(self, ask: Ask) -> Outcome:
        """Send a query and wait. Never raises for what the network does."""
        is_plain = ask.to.transport in (Transport.UDP, Transport.TCP)
        return await (self._plain if is_plain else self._kept).perform(ask)

    async def call(self, wanted: Call) -> Called:
        """Perform a Call. Never raises for what the network does."""
        return await call(wanted, self._ca_file)

    def close(self) -> None:
        """End what connections are kept."""
        self._kept.close()
