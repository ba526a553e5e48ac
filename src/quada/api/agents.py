"""Vantage points elsewhere: agents call in and take probes; doctor leaves probes and waits.

An agent is known by its token's name, so nobody speaks for another. Nothing is kept on disk; what
waits is bounded, and what nobody fetches is given up.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from quada.api.access import AGENT, Caller, Denied
from quada.api.operations import NotFound
from quada.wire.call import PING_OCTETS_MAX, CallKind
from quada.wire.faults import ReachFault

_POLL_S: Final = 20.0
_GONE_S: Final = 60.0  # an agent that has not called for so long is away
_SLACK_S: Final = 15.0  # our choice: for the agent's two calls, beside the probes' own time
_AGENTS_MAX: Final = 1_000
_BATCHES_MAX: Final = 64
_HOST: Final = r"^[A-Za-z0-9_.:-]*$"
_PATH: Final = r"^/[!-~]*$"


class AskBody(BaseModel):
    """One probe: a DNS message in hex, and where it goes."""

    address: str = Field(max_length=64)
    port: int = Field(53, ge=1, le=65_535)
    transport: Literal["udp", "tcp", "dot", "doh", "doq"] = "udp"
    query: str = Field(max_length=2_048, pattern="^([0-9a-f]{2})+$")
    timeout_s: float = Field(2.0, gt=0, le=10)
    name: str = Field("", max_length=255, pattern=_HOST)
    path: str = Field("/dns-query", max_length=255, pattern=_PATH)


class CallBody(BaseModel):
    """One call of a service: connect, shake hands, GET, as far as its kind goes."""

    address: str = Field(max_length=64)
    port: int = Field(ge=0, le=65_535)
    kind: CallKind
    octets: int = Field(0, ge=0, le=PING_OCTETS_MAX)
    name: str = Field("", max_length=255, pattern=_HOST)
    path: str = Field("/", max_length=255, pattern=_PATH)
    timeout_s: float = Field(4.0, gt=0, le=10)


class BatchBody(BaseModel):
    """Probes to be made at once."""

    asks: list[AskBody] = Field([], max_length=512)
    calls: list[CallBody] = Field([], max_length=512)


class ReplyBody(BaseModel):
    """What came: a message in hex, or why there is none."""

    message: str = Field("", max_length=131_072, pattern="^([0-9a-f]{2})*$")
    silence: str = Field("", max_length=20)
    detail: str = Field("", max_length=200)
    seconds: float = Field(ge=0)


class CalledBody(BaseModel):
    """What came of a call; see `quada.wire.call.Called`. `body` is in hex, and cut."""

    stage: Literal["", "dial", "tls", "read", "protocol", "refused"] = ""
    why: str = Field("", max_length=200)
    dial_s: float = Field(0.0, ge=0)
    total_s: float = Field(0.0, ge=0)
    certificate_fault: str = Field("", max_length=200)
    status: int = Field(0, ge=0, le=999)
    location: str = Field("", max_length=2_000)
    expires_at: float = 0.0
    segment_octets: int = Field(0, ge=0, le=65_535)
    body: str = Field("", max_length=40_000, pattern="^([0-9a-f]{2})*$")


class RepliesBody(BaseModel):
    """The replies to one batch, in its order."""

    batch: int
    replies: list[ReplyBody] = Field([], max_length=512)
    called: list[CalledBody] = Field([], max_length=512)


class HelloBody(BaseModel):
    """What an agent says of itself when it calls."""

    families: list[int] = Field([], max_length=2)
    version: str = Field("", max_length=40)


@dataclass(slots=True)
class _Agent:
    name: str
    families: list[int] = field(default_factory=list)
    version: str = ""
    place: str = ""
    seen_at: float = 0.0
    waiting: dict[int, BatchBody] = field(default_factory=dict)
    taken: dict[int, tuple[int, int]] = field(default_factory=dict)
    answers: dict[int, "asyncio.Future[RepliesBody]"] = field(default_factory=dict)
    called: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """Where probes are left for agents, and replies for who asked."""

    def __init__(self) -> None:
        self._agents: dict[str, _Agent] = {}
        self._batch = 0

    def agents(self) -> list[dict[str, Any]]:
        """Give the agents that called in lately."""
        now = time.monotonic()
        return [
            {"name": one.name, "families": one.families, "version": one.version,
             "address": one.place, "seen_s": round(now - one.seen_at, 1)}
            for one in self._agents.values()
            if now - one.seen_at < _GONE_S
        ]  # fmt: skip

    async def poll(self, name: str, place: str, hello: HelloBody) -> dict[str, Any]:
        """Take an agent's call: give it a batch, or nothing after a while."""
        if name not in self._agents and len(self._agents) >= _AGENTS_MAX:
            raise ReachFault("there are too many agents", place=name)
        agent = self._agents.setdefault(name, _Agent(name))
        agent.families, agent.version, agent.place = hello.families, hello.version, place
        agent.seen_at = time.monotonic()
        if not agent.waiting:
            agent.called.clear()
            try:
                await asyncio.wait_for(agent.called.wait(), _POLL_S)
            except TimeoutError:
                return {"batch": 0, "asks": [], "calls": []}
            finally:
                agent.seen_at = time.monotonic()
        number, batch = agent.waiting.popitem()
        agent.taken[number] = len(batch.asks), len(batch.calls)
        return {"batch": number, **batch.model_dump(mode="json")}

    def replied(self, name: str, body: RepliesBody) -> None:
        """Take the replies to a batch that this agent was given. Raises: NotFound, Denied."""
        agent = self._agents.get(name)
        counts = agent.taken.pop(body.batch, None) if agent is not None else None
        if agent is None or counts is None:
            raise NotFound("no such batch waits for this agent", place=str(body.batch))
        if counts != (len(body.replies), len(body.called)):
            raise Denied(f"{counts[0]} replies and {counts[1]} calls are wanted, no more or fewer")
        waiting = agent.answers.get(body.batch)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)

    async def ask(self, name: str, body: BatchBody) -> RepliesBody:
        """Have an agent make probes. Raises: NotFound, ReachFault where it does not answer."""
        agent = self._agents.get(name)
        if agent is None or time.monotonic() - agent.seen_at > _GONE_S:
            raise NotFound("no such agent has called in lately", place=name)
        if len(agent.answers) >= _BATCHES_MAX:
            raise ReachFault("the agent has too much to do", place=name)
        self._batch += 1
        number = self._batch
        agent.answers[number] = asyncio.get_running_loop().create_future()
        agent.waiting[number] = body
        agent.called.set()
        waits = [*(one.timeout_s for one in body.asks), *(one.timeout_s for one in body.calls)]
        longest = max(waits, default=0.0)
        try:
            return await asyncio.wait_for(agent.answers[number], longest + _SLACK_S)
        except TimeoutError:
            raise ReachFault("the agent did not answer in time", place=name) from None
        finally:
            for known in (agent.answers, agent.waiting, agent.taken):
                known.pop(number, None)


def make_router(caller_of: Callable[..., Caller], desk: Desk) -> APIRouter:
    """Make the routes of agents, and of who asks them."""
    router = APIRouter(prefix="/quada/v1", tags=["agents"])
    Who = Annotated[Caller, Depends(caller_of)]

    def agent_of(caller: Caller) -> str:
        if AGENT not in caller.scopes:
            raise Denied(f"{caller.who} is no agent")
        return caller.who.removeprefix("token ")

    @router.get("/agents")
    async def agents(caller: Who) -> list[dict[str, Any]]:
        """List the agents that called in lately."""
        caller.need_read()
        return desk.agents()

    @router.post("/agents/{name}/asks")
    async def ask(name: str, body: BatchBody, caller: Who) -> dict[str, Any]:
        """Have an agent make probes, and wait for what came."""
        caller.need_admin()
        return (await desk.ask(name, body)).model_dump(include={"replies", "called"})

    @router.post("/agent/poll")
    async def poll(body: HelloBody, caller: Who) -> dict[str, Any]:
        """Call in, and take a batch of probes; batch 0 is none."""
        return await desk.poll(agent_of(caller), caller.place, body)

    @router.post("/agent/replies", status_code=204)
    async def replies(body: RepliesBody, caller: Who) -> None:
        """Give the replies to a batch."""
        desk.replied(agent_of(caller), body)

    return router
