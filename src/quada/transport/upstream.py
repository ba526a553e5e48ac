"""The resolver's way out: datagrams by callback, and streams where datagrams do not do."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from quada.transport.client import Client
from quada.transport.datagrams import Datagrams
from quada.transport.kept import KeptClient
from quada.wire.ask import ENCRYPTED, Ask, Outcome, Reply, Transport

if TYPE_CHECKING:
    from collections.abc import Callable


class Upstream:
    """Performs Asks by callback. One per worker. `ca_file` is trusted for encrypted servers."""

    def __init__(self, ca_file: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._datagrams = Datagrams()
        self._client = Client()
        self._kept = KeptClient(ca_file)
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, ask: Ask, done: Callable[[Outcome], None]) -> None:
        """Send a query; `done` is called once, later, with what came of it."""
        if ask.to.transport is Transport.UDP:
            self._datagrams.perform(ask, done)
            return
        task = self._loop.create_task(self._over_stream(ask, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Close all sockets."""
        self._datagrams.close()
        self._kept.close()

    async def _over_stream(self, ask: Ask, done: Callable[[Outcome], None]) -> None:
        if ask.to.transport in ENCRYPTED:
            done(await self._kept.perform(ask))
            return
        query = secrets.token_bytes(2) + ask.query[2:]
        outcome = await self._client.perform(ask._replace(query=query))
        if isinstance(outcome, Reply):
            outcome = Reply(ask, b"\x00\x00" + outcome.message[2:], outcome.rtt_s)
        done(outcome._replace(ask=ask))
