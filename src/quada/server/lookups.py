"""ALIAS targets looked up: the Keeper's Asks performed, its news delivered to every worker."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority import Keeper
from quada.server.deliver import AliasNews
from quada.telemetry.metrics import Histogram
from quada.transport.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.authority import AliasSettings
    from quada.authority.keeper import Turn
    from quada.server.deliver import Delivery
    from quada.wire.ask import Ask, Endpoint

_TARGETS_MAX: Final = 1_000  # our choice: more series than this of one label are their own trouble


class Lookups:
    """Drives one Keeper in the supervisor."""

    def __init__(self, settings: AliasSettings, deliver: Callable[[Delivery], None]) -> None:
        self._keeper = Keeper(settings)
        self._deliver = deliver
        self._client = Client()
        self._durations = {codes.AAAA: Histogram(), codes.A: Histogram()}
        self._asking: set[asyncio.Task[None]] = set()
        self._is_wanted = asyncio.Event()

    def use(self, upstreams: list[Endpoint]) -> None:
        """Ask these resolvers from now on."""
        self._keeper.settings = replace(self._keeper.settings, upstreams=tuple(upstreams))

    def want(self, targets: tuple[bytes, ...]) -> None:
        """Look targets up."""
        now = time.time()
        for target in targets:
            self._follow(self._keeper.want(target, now))

    def asked(self, targets: tuple[bytes, ...]) -> None:
        """Note targets in use."""
        self._keeper.asked(targets, time.time())

    async def run(self) -> None:
        """Wake the keeper when it wants to be."""
        while True:
            due = self._keeper.next_at
            self._is_wanted.clear()
            wait_s = None if due is None else max(0.0, due - time.time())
            try:
                # Not wait_for: it loses a cancellation that comes with what it waits for.
                async with asyncio.timeout(wait_s):
                    await self._is_wanted.wait()
            except TimeoutError:
                self._follow(self._keeper.wake(time.time()))

    def status(self) -> dict[str, Any]:
        """Give counts, for status and metrics."""
        counters = self._keeper.counters
        return {
            "lookups": counters.lookups,
            "attempts": counters.attempts,
            "failures": counters.failures,
            "prefetches": counters.prefetches,
            "refused": counters.refused,
            "durations": {
                family: {"counts": found.counts, "sum_us": found.sum_us}
                for family, found in zip(("6", "4"), self._durations.values(), strict=True)
            },
            "targets": self._keeper.standings(time.time(), limit=_TARGETS_MAX),
        }

    def explain(self, target: str) -> dict[str, Any]:
        """Tell what is known of a target."""
        return self._keeper.explain(names.from_text(target).lower(), time.time())

    def _follow(self, turn: Turn) -> None:
        if turn.news:
            self._deliver(AliasNews(turn.news))
        while self._keeper.ended:
            rdtype, took_ms = self._keeper.ended.popleft()
            self._durations[rdtype].add(round(took_ms * 1000), 1)
        for ask in turn.asks:
            task = asyncio.create_task(self._ask(ask))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        self._is_wanted.set()

    async def _ask(self, ask: Ask) -> None:
        outcome = await self._client.perform(ask)
        self._follow(self._keeper.take(outcome, time.time()))
