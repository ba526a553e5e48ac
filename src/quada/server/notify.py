"""NOTIFY: telling secondaries of a new version (RFC 1996), over both families."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import structlog

import quada.wire.codes as codes
import quada.wire.names as names
from quada.server.plan import read_address
from quada.transport.client import Client
from quada.wire.ask import Ask, Endpoint, NoReply

if TYPE_CHECKING:
    from quada.server.plan import Plan
    from quada.zones import Zone

log = structlog.get_logger()
_TIMEOUT_S: Final = 3.0
_TRIES: Final = 5  # RFC 1996 3.6 suggests five
_FIRST_PAUSE_S: Final = 1.0
_SETTLE_S: Final = 0.2  # our choice: workers take a version in that time, unless they are busy
_AGAIN_S: Final = 5.0  # our choice: for those who asked a worker that was


class Notifier:
    """Sends NOTIFY to the servers a zone's settings name."""

    def __init__(self, plan: Plan) -> None:
        self._targets = {
            zone.origin: [read_address(text) for text in zone.section.also_notify]
            for zone in plan.zones
        }
        self._client = Client()
        self._running: dict[tuple[bytes, Endpoint], asyncio.Task[None]] = {}
        self._latest: dict[tuple[bytes, Endpoint], Zone] = {}
        self._waiting: set[tuple[bytes, Endpoint]] = set()

    def notify(self, zone: Zone) -> None:
        """Tell every secondary, beside everything else."""
        for address in self._targets.get(zone.origin, ()):
            endpoint = Endpoint(address.host, address.port)
            key = (zone.origin, endpoint)
            self._latest[key] = zone
            if key in self._waiting:
                continue  # it will tell of this version then, however fast they come
            before = self._running.get(key)
            if before is not None:
                before.cancel()  # who hears of this version need not hear of the one before
            self._waiting.add(key)
            self._running[key] = asyncio.create_task(self._tell(key))

    async def _tell(self, key: tuple[bytes, Endpoint]) -> None:
        """Tell one secondary, twice: it may have asked a worker that was behind."""
        await asyncio.sleep(_SETTLE_S)
        self._waiting.discard(key)
        if await self._reach(self._latest[key], key[1]):
            await asyncio.sleep(_AGAIN_S)
            await self._reach(self._latest[key], key[1])

    async def _reach(self, zone: Zone, endpoint: Endpoint) -> bool:
        """Send a NOTIFY until it is answered; tell whether it was."""
        query = secrets.token_bytes(2) + compose_notify(zone)
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            outcome = await self._client.perform(Ask(endpoint, query, _TIMEOUT_S))
            if not isinstance(outcome, NoReply):
                return True
            await asyncio.sleep(pause_s)
            pause_s *= 2
        log.warning(
            "a secondary does not hear NOTIFY",
            zone=names.to_text(zone.origin),
            serial=zone.serial,
            secondary=endpoint.address,
        )
        return False


def compose_notify(zone: Zone) -> bytes:
    """Compose a NOTIFY, less its id, with the new SOA.

    A secondary that is transferring an older version right now, NSD for one, comes again only where
    it knows of the newer. RFC: 1996 3.7
    """
    flags = codes.NOTIFY << 11 | codes.AA
    soa = zone.soa
    assert soa is not None
    rdata = soa.rdatas[0]
    kind = codes.SOA.to_bytes(2, "big") + b"\x00\x01"
    return b"".join(
        (
            flags.to_bytes(2, "big"), b"\x00\x01\x00\x01" + bytes(4), zone.origin, kind,
            b"\xc0\x0c", kind, soa.ttl.to_bytes(4, "big"), len(rdata).to_bytes(2, "big"), rdata,
        )
    )  # fmt: skip
