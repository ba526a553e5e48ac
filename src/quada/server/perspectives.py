"""Remote perspectives of a validation: other source addresses of this host, or agents elsewhere."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quada.acme.validate import BODY_OCTETS, Failed, Fetch, Fetched, Handshake, Lookup
from quada.server.validating import Validating, perform_fetch, perform_handshake
from quada.wire.call import Call, CallKind
from quada.wire.faults import ConfigFault, PeerFault, ReachFault

if TYPE_CHECKING:
    from quada.acme.validate import Answer, Ask
    from quada.server.looking import Hands

_CALL_S: Final = 10.0  # what an agent takes at most


class FromAddress:
    """Makes requests from given source addresses of this host, one a family; looks up as another.

    Takes what it looks up by, and the addresses. Raises: ConfigFault.
    """

    def __init__(self, lookups: Validating, sources: list[str]) -> None:
        self._lookups = lookups
        self._sources = {ipaddress.ip_address(one).version: one for one in sources}

    async def perform(self, ask: Ask) -> Answer:
        """Perform one step."""
        if isinstance(ask, Lookup):
            return await self._lookups.perform(ask)
        source = self._sources.get(ipaddress.ip_address(ask.address).version)
        if source is None:
            return Failed("dial", "this perspective has no address of that family", 0.0)
        if isinstance(ask, Handshake):
            return await perform_handshake(ask, source)
        return await perform_fetch(ask, source)


class FromAgent:
    """Has an agent make the requests of http-01; names are looked up here.

    An agent that is away is a perspective that fails, and no end of the validation.
    """

    def __init__(self, lookups: Validating, hands: Hands) -> None:
        self._lookups = lookups
        self._hands = hands

    async def perform(self, ask: Ask) -> Answer:
        """Perform one step."""
        if isinstance(ask, Lookup):
            return await self._lookups.perform(ask)
        if not isinstance(ask, Fetch):
            return Failed("dial", "agents shake no hands for acme-tls/1", 0.0)
        parts = urlsplit(ask.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        wanted = Call(
            ask.address, ask.port, CallKind(parts.scheme), parts.netloc,
            min(_CALL_S, ask.timeout_s), target,
        )  # fmt: skip
        try:
            one = (await asyncio.to_thread(self._hands.call, [wanted]))[0]
        except (PeerFault, ReachFault) as fault:
            return Failed("dial", f"the agent does not answer: {fault}", 0.0)
        if one.stage:
            return Failed(one.stage, one.why, one.total_s)
        return Fetched(one.status, one.location, one.body[: BODY_OCTETS + 1], one.total_s)


def read_perspectives(texts: list[str], lookups: Validating) -> dict[str, FromAddress]:
    """Read `NAME=ADDRESS,ADDRESS` as perspectives. Raises: ConfigFault."""
    made = {}
    for text in texts:
        name, is_pair, addresses = text.partition("=")
        try:
            found = [str(ipaddress.ip_address(one)) for one in addresses.split(",")]
        except ValueError:
            found = []
        if not is_pair or not found or not name:
            raise ConfigFault(
                f"{text!r} is no perspective", place="--perspective",
                remedy="NAME=ADDRESS or NAME=ADDRESS,ADDRESS, addresses of this host",
            )  # fmt: skip
        made[name] = FromAddress(lookups, found)
    return made
