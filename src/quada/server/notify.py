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


class Notifier:
    """Sends NOTIFY to the servers a zone's settings name."""

    def __init__(self, plan: Plan) -> None:
        self._targets = {
            zone.origin: [read_address(text) for text in zone.section.also_notify]
            for zone in plan.zones
        }
        self._client = Client()
        self._running: set[asyncio.Task[None]] = set()

    def notify(self, zone: Zone) -> None:
        """Tell every secondary, beside everything else."""
        for address in self._targets.get(zone.origin, ()):
            endpoint = Endpoint(address.host, address.port)
            task = asyncio.create_task(self._tell(zone.origin, zone.serial, endpoint))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _tell(self, origin: bytes, serial: int, endpoint: Endpoint) -> None:
        flags = codes.NOTIFY << 11 | codes.AA
        query = b"".join(
            (
                secrets.token_bytes(2),
                flags.to_bytes(2, "big"),
                b"\x00\x01" + bytes(6),
                origin,
                codes.SOA.to_bytes(2, "big") + b"\x00\x01",
            )
        )
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            outcome = await self._client.perform(Ask(endpoint, query, _TIMEOUT_S))
            if not isinstance(outcome, NoReply):
                return
            await asyncio.sleep(pause_s)
            pause_s *= 2
        log.warning(
            "a secondary does not hear NOTIFY",
            zone=names.to_text(origin),
            serial=serial,
            secondary=endpoint.address,
        )
