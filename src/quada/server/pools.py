"""Pools watched: checks performed on their intervals, changes of state delivered and logged."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog

from quada.authority.pool import HERE, Probe, Result, Sight
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
                if state.pool.check.probe is not Probe.NONE and HERE in state.pool.vantage:
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
                "is_known": health.is_known or state.pool.check.probe is Probe.NONE,
                "since": health.since,
                "checked_at": health.last.checked_at,
                "took_ms": round(health.last.took_ms, 2),
                "detail": state.reason(member.address),
                "agree": state.pool.agree,
                "vantage": [
                    {"name": name, **asdict(health.sights.get(name, Sight()))}
                    for name in state.pool.vantage
                ],
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
            self._take(Result(state.pool.name, member.address, is_good, took_ms, detail))
            await asyncio.sleep(check.interval_s * random.uniform(0.9, 1.1))

    def seen(self, pool: str, vantage: str, results: list[dict[str, Any]]) -> None:
        """Take what an agent saw, as the web process hands it on."""
        if vantage == HERE:
            return
        for one in results:
            self._take(Result(pool, one["address"], one["is_good"], one["took_ms"], one["detail"],
                              vantage))  # fmt: skip

    def _take(self, result: Result) -> None:
        state = self._pools.get(result.pool)
        turned = state.take(result, time.time()) if state is not None else None
        if state is None or turned is None:
            return
        log.warning(
            "pool member turned",
            pool=turned.pool,
            address=turned.address,
            is_healthy=turned.is_healthy,
            detail=turned.detail,
            is_pool_down=turned.is_pool_down,
        )
        self._deliver(PoolNews(state))
