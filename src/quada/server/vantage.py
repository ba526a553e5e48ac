"""Pools checked from elsewhere: agents make the checks, the supervisor hears what they saw.

This runs where agents call in, in the web process. What an agent cannot tell, for want of a family
or of itself, is handed on as unknown and never as a fault of the member.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.agents import AskBody, BatchBody, CallBody
from quada.authority.pool import HERE, Probe
from quada.transport.health import USUAL_PORT
from quada.wire.call import PING_OCTETS_MIN, CallKind
from quada.wire.faults import Fault
from quada.wire.question import compose_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.api.agents import CalledBody, Desk, ReplyBody
    from quada.authority.pool import Check, Member, Pool

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_KINDS: Final = {
    Probe.TCP: CallKind.TCP,
    Probe.HTTP: CallKind.HTTP,
    Probe.HTTPS: CallKind.HTTPS,
    Probe.ICMP: CallKind.PING,
}
_REFUSES: Final = "the agent refuses"


async def watch_from_agents(
    pools: Iterable[Pool], desk: Desk, tell: Callable[[str, str, list[dict[str, Any]]], None]
) -> None:
    """Have agents check the pools that name them, until cancelled.

    Takes `tell`, which is called in a thread with pool, vantage point and results.
    """
    async with asyncio.TaskGroup() as group:
        for pool in pools:
            for name in pool.vantage:
                if name != HERE and pool.check.probe is not Probe.NONE:
                    group.create_task(_watch(pool, name, desk, tell))


async def _watch(
    pool: Pool, name: str, desk: Desk, tell: Callable[[str, str, list[dict[str, Any]]], None]
) -> None:
    check = pool.check
    await asyncio.sleep(random.uniform(0, min(1.0, check.interval_s)))
    while True:
        results = await look(pool, name, desk)
        try:
            await asyncio.to_thread(tell, pool.name, name, results)
        except Fault as fault:  # the supervisor ends, or is busy: the next round tells it
            log.warning("pool checks are not handed on", pool=pool.name, fault=str(fault))
        await asyncio.sleep(check.interval_s * random.uniform(0.9, 1.1))


async def look(pool: Pool, name: str, desk: Desk) -> list[dict[str, Any]]:
    """Have one agent check every member that it has the family for; give a result of each."""
    agent = next((one for one in desk.agents() if one["name"] == name), None)
    families = agent["families"] if agent is not None else []
    seen = [member for member in pool.members if _family(member) in families]
    try:
        replies = await desk.ask(name, _batch(seen, pool.check))
    except Fault as fault:
        return [_unknown(member, str(fault)) for member in pool.members]
    if pool.check.probe is Probe.DNS:
        found = {m.address: _dns(m, one) for m, one in zip(seen, replies.replies, strict=True)}
    else:
        found = {
            member.address: _called(member, one, pool.check)
            for member, one in zip(seen, replies.called, strict=True)
        }
    missing = "the agent has no route of that family"
    return [found.get(one.address) or _unknown(one, missing) for one in pool.members]


def _family(member: Member) -> int:
    return 6 if member.rdtype == codes.AAAA else 4


def _batch(members: list[Member], check: Check) -> BatchBody:
    is_ping = check.probe is Probe.ICMP
    port = check.port or USUAL_PORT.get(check.probe, 1)
    timeout_s = min(10.0, check.timeout_s)
    if check.probe is Probe.DNS:
        query = compose_query(0, names.ROOT, codes.SOA).hex()
        return BatchBody(
            asks=[
                AskBody(
                    address=one.address, port=port, query=query, timeout_s=timeout_s, name="",
                    path="/",
                )
                for one in members
            ],
            calls=[],
        )  # fmt: skip
    return BatchBody(
        calls=[
            CallBody(
                address=one.address, port=port, kind=_KINDS[check.probe], name=check.host,
                path=check.path, timeout_s=timeout_s, octets=PING_OCTETS_MIN if is_ping else 0,
            )
            for one in members
        ],
        asks=[],
    )  # fmt: skip


def _dns(member: Member, reply: ReplyBody) -> dict[str, Any]:
    if _REFUSES in reply.detail:
        return _unknown(member, reply.detail)
    detail = f"rcode {int(reply.message[6:8], 16) & 0xF}" if reply.message else reply.silence
    return _result(member, bool(reply.message), reply.seconds, detail)


def _called(member: Member, one: CalledBody, check: Check) -> dict[str, Any]:
    if one.stage == "refused":
        return _unknown(member, one.why)
    if one.stage:
        return _result(member, False, one.total_s, one.why)
    if check.probe in (Probe.TCP, Probe.ICMP):
        word = "connected" if check.probe is Probe.TCP else "echo reply"
        return _result(member, True, one.total_s, word)
    if one.certificate_fault and check.host:
        return _result(member, False, one.total_s, one.certificate_fault)
    detail = f"status {one.status}"
    if one.status != check.status:
        detail += f", wanted {check.status}"
    return _result(member, one.status == check.status, one.total_s, detail)


def _result(member: Member, is_good: bool | None, took_s: float, detail: str) -> dict[str, Any]:
    return {"address": member.address, "is_good": is_good, "took_ms": took_s * 1000,
            "detail": detail}  # fmt: skip


def _unknown(member: Member, why: str) -> dict[str, Any]:
    return _result(member, None, 0.0, f"UNKNOWN: {why}")
