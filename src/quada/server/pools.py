"""Pools watched: checks performed on their intervals, changes of state delivered and logged."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import structlog

from quada.authority.pool import Probe, Result
from quada.server.deliver import PoolNews
from quada.transport.health import MayNotProbe, perform

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.authority import PoolState
    from quada.authority.pool import Member
    from quada.server.deliver import Delivery

log = structlog.get_logger()


class PoolWatch:
    """Watches every member of every pool."""

    def __init__(self, pools: dict[str, PoolState], deliver: Callable[[Delivery], None]) -> None:
        self._pools = pools
        self._deliver = deliver

    async def run(self) -> None:
        """Check for ever."""
        async with asyncio.TaskGroup() as group:
            for state in self._pools.values():
                if state.pool.check.probe is not Probe.NONE:
                    for member in state.pool.members:
                        group.create_task(self._watch(state, member))

    def status(self) -> list[dict[str, Any]]:
        """Tell every member's health, for `quada pool status`."""
        return [
            {
                "pool": state.pool.name,
                "address": member.address,
                "weight": member.weight,
                "priority": member.priority,
                "label": member.label,
                "policy": str(state.pool.policy),
                "probe": str(state.pool.check.probe),
                "answers": state.pool.answer_count,
                "ttl_s": state.pool.ttl_s,
                "is_healthy": health.is_healthy,
                "since": health.since,
                "checked_at": health.checked_at,
                "took_ms": round(health.took_ms, 2),
                "detail": health.detail,
            }
            for state in self._pools.values()
            for member in state.pool.members
            for health in (state.health[member.address],)
        ]

    async def _watch(self, state: PoolState, member: Member) -> None:
        check = state.pool.check
        await asyncio.sleep(random.uniform(0, min(1.0, check.interval_s)))
        while True:
            try:
                is_good, took_ms, detail = await perform(
                    check.probe, member.address, port=check.port, host=check.host,
                    path=check.path, status=check.status, timeout_s=check.timeout_s,
                )  # fmt: skip
            except MayNotProbe:
                log.error("this check needs rights", pool=state.pool.name, probe=check.probe)
                return
            result = Result(state.pool.name, member.address, is_good, took_ms, detail)
            turned = state.take(result, time.time())
            if turned is not None:
                log.warning(
                    "pool member turned",
                    pool=turned.pool,
                    address=turned.address,
                    is_healthy=turned.is_healthy,
                    detail=turned.detail,
                    is_pool_down=turned.is_pool_down,
                )
                self._deliver(PoolNews(state))
            await asyncio.sleep(check.interval_s * random.uniform(0.9, 1.1))
