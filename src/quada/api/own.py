"""quada's own resources, beside the forms of others: what DNSimple and PowerDNS have no word for.

History and undo, trials, checks, status, explanations, events as they happen.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

import quada.wire.names as names
from quada.api.access import Caller
from quada.api.data import edited_data, entry_data, finding_data, numbered_data
from quada.api.operations import Edit, NotFound, Operations
from quada.api.pools import pool_data, read_pools
from quada.api.records import Draft
from quada.api.runs import Kind, Runs, run_data
from quada.api.trial import DryRun
from quada.store.accounts import audit_data
from quada.store.alerts import alert_data
from quada.telemetry.event import Event
from quada.wire.faults import DataFault

_PAUSE_S: Final = 0.25
_PER_SECOND_MAX: Final = 200  # events a browser is sent a second; the rest is counted aloud
_RECENT_MAX: Final = 1_000


LastSeen = Annotated[str, Header()]
"""`Last-Event-ID`: the last event that a follower saw before its connection was lost."""
Number = Annotated[int, Path(ge=1, le=2**53 - 1)]  # what JSON numbers hold exactly (RFC 8259 6)


class DraftBody(BaseModel):
    """A record as zone text has it; in an update what is absent stays."""

    name: str | None = None
    type: str | None = None
    value: str | None = None
    ttl: int | None = None

    def draft(self) -> Draft:
        """Give it as operations take it."""
        return Draft(self.name, self.type, self.value, self.ttl)


class ChangeBody(BaseModel):
    """What is to happen at once: deletes, then updates, then creates."""

    creates: list[DraftBody] = []
    updates: dict[int, DraftBody] = {}
    deletes: list[int] = []
    why: str = ""


class ZoneText(Response):
    """Zone text as a media type (RFC 4027)."""

    media_type = "text/dns"


class TextBody(BaseModel):
    """A zone's whole content as zone text."""

    text: str
    why: str = ""


class RunBody(BaseModel):
    """What to look at: a domain's health, or the incident checklist for a name."""

    kind: Kind
    name: str = Field(max_length=1024)


def make_router(operations: Operations, caller_of: Callable[..., Caller], runs: Runs) -> APIRouter:
    """Make the routes. Takes what gives a request's caller."""
    router = APIRouter(prefix="/quada/v1", tags=["quada"])
    Who = Annotated[Caller, Depends(caller_of)]

    @router.get("/status")
    def status(caller: Who) -> Any:
        caller.need_read()
        return operations.server.command("status")

    @router.get("/zones/{zone}")
    def zone(zone: str, caller: Who, response: Response) -> dict[str, Any]:
        listing = operations.records(caller, zone)
        version, records = listing.zone, listing.records
        response.headers["ETag"] = f'"{version.serial}"'
        return {
            "zone": names.to_text(version.origin),
            "serial": version.serial,
            "records": [numbered_data(one) for one in records],
        }

    @router.post("/zones/{zone}/changes")
    def change(
        zone: str,
        body: ChangeBody,
        caller: Who,
        dry_run: DryRun = False,
        if_match: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        edit = Edit(
            tuple(one.draft() for one in body.creates),
            tuple((number, one.draft()) for number, one in body.updates.items()),
            tuple(body.deletes),
        )
        done = operations.edit(
            caller, zone, edit, why=body.why, expect_serial=_serial(if_match), is_trial=dry_run
        )
        return edited_data(done)

    @router.put("/zones/{zone}/text")
    def replace(
        zone: str,
        body: TextBody,
        caller: Who,
        dry_run: DryRun = False,
        if_match: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        done = operations.replace_text(
            caller, zone, body.text, why=body.why, expect_serial=_serial(if_match),
            is_trial=dry_run,
        )  # fmt: skip
        return edited_data(done)

    @router.get("/zones/{zone}/text", response_class=ZoneText)
    def text(zone: str, caller: Who) -> ZoneText:
        headers = {"ETag": f'"{operations.zone(caller, zone).serial}"'}
        return ZoneText(operations.text(caller, zone), headers=headers)

    @router.get("/zones/{zone}/history")
    def history(
        zone: str, caller: Who, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> list[dict[str, Any]]:
        return [entry_data(entry) for entry in operations.history(caller, zone, limit=limit)]

    @router.post("/zones/{zone}/history/{number}/undo")
    def undo(zone: str, number: Number, caller: Who, dry_run: DryRun = False) -> dict[str, Any]:
        return edited_data(operations.undo(caller, zone, number, is_trial=dry_run))

    @router.get("/zones/{zone}/checks")
    def checks(zone: str, caller: Who) -> list[dict[str, Any]]:
        return [finding_data(one) for one in operations.findings(caller, zone)]

    @router.get("/pools")
    def pools(caller: Who) -> list[dict[str, Any]]:
        caller.need_read()
        return [pool_data(one) for one in read_pools(operations.server.command("status")["pools"])]

    @router.get("/pools/{name}")
    def pool(name: str, caller: Who) -> dict[str, Any]:
        caller.need_read()
        for one in read_pools(operations.server.command("status")["pools"]):
            if one.name == name:
                return pool_data(one)
        raise NotFound(f"Pool `{name}` not found", place="pool")

    @router.get("/explain")
    def explain(name: str, caller: Who, type: str = "AAAA") -> Any:  # noqa: A002
        caller.need_read()
        return operations.server.command("explain", name=name, rdtype=type)

    @router.get("/audit")
    def audit(caller: Who) -> list[dict[str, Any]]:
        caller.need_admin()
        return [audit_data(line) for line in operations.accounts.audited()]

    @router.get("/alerts")
    def alerts(caller: Who, is_open: bool = False) -> list[dict[str, Any]]:
        caller.need_read()
        return [alert_data(one) for one in operations.alerts.alerts(is_open=is_open)]

    @router.post("/alerts/{number}/acknowledge")
    def acknowledge(number: Number, caller: Who, dry_run: DryRun = False) -> dict[str, Any]:
        caller.need_admin()
        if not dry_run:
            operations.alerts.acknowledge(number, caller.who)
        return alert_data(operations.alerts.alert(number))

    @router.get("/events")
    def events(
        caller: Who, count: Annotated[int, Query(ge=1, le=_RECENT_MAX)] = 100
    ) -> list[dict[str, Any]]:
        caller.need_read()
        return [event.to_json() for event in operations.server.recent(count)]

    @router.get("/events/live")
    async def live(
        request: Request, caller: Who, last_event_id: LastSeen = ""
    ) -> StreamingResponse:
        caller.need_read()
        take = operations.server.following(since_of(last_event_id))
        return StreamingResponse(stream(request, take), media_type="text/event-stream")

    _add_runs(router, runs, caller_of)
    return router


def _add_runs(router: APIRouter, runs: Runs, caller_of: Callable[..., Caller]) -> None:
    Who = Annotated[Caller, Depends(caller_of)]

    @router.post("/runs", status_code=202)
    async def start(body: RunBody, caller: Who, response: Response) -> dict[str, Any]:
        run = runs.start(caller, body.kind, body.name)
        response.headers["Location"] = f"/quada/v1/runs/{run.number}"
        return run_data(run)

    @router.get("/runs")
    async def recent(caller: Who) -> list[dict[str, Any]]:
        return [run_data(run) for run in runs.recent(caller)]

    @router.get("/runs/{number}")
    async def one(number: str, caller: Who) -> dict[str, Any]:
        return run_data(runs.find(caller, number))


async def stream(request: Request, take: Callable[[], list[Event]]) -> AsyncIterator[str]:
    """Give events as server-sent events until the client leaves; says how many it left out."""
    most = int(_PER_SECOND_MAX * _PAUSE_S)
    while not await request.is_disconnected():
        events = await asyncio.to_thread(take)
        for event in events[-most:]:
            yield f"id: {event.at_ns}\ndata: {json.dumps(event.to_json())}\n\n"
        if len(events) > most:
            yield f"event: skipped\ndata: {len(events) - most}\n\n"
        yield ": alive\n\n"
        await asyncio.sleep(_PAUSE_S)


def since_of(last_event_id: str, since: int | None = None) -> int | None:
    """Give the time a follower wants to go on from: what it says it saw last, else `since`."""
    is_time = last_event_id.isdecimal() and len(last_event_id) < 20
    return int(last_event_id) if is_time else since


def _serial(if_match: str | None) -> int | None:
    """Read If-Match (RFC 9110 13.1.1): a serial in quotes, or `*` for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not text.isdecimal():
        raise DataFault("If-Match holds no serial", place="If-Match", remedy='as in "2026112101"')
    return int(text)
