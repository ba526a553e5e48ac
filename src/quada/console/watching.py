"""Pages of what happens: live tail, dashboard, alerts, explain, server, and looks that run."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

import quada.wire.names as names
from quada.api.access import Caller
from quada.api.operations import Operations
from quada.api.own import LastSeen, Number, since_of, stream
from quada.api.runs import Kind, Runs
from quada.console.figures import CLASSES, Figures, figure, figure_of, stacks
from quada.console.pages import HEADERS, Pages, status_of_server
from quada.console.session import Login, Sessions
from quada.doctor import Finding
from quada.telemetry.event import Role
from quada.wire.faults import Fault
from quada.wire.serial import is_later

_EVENTS: Final = 5_000
_VERSIONS_MAX: Final = 50
SPANS: Final = {"hour": (60, 60), "day": (1_800, 48), "week": (14_400, 42)}
"""What the dashboard may look back over: seconds a slice, and how many slices."""


def add_watching(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations
) -> None:
    """Add the pages of what happens."""
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]

    @router.get("/tail")
    def tail(login: Seen) -> Response:
        login.caller.need_read()
        recent = operations.server.recent(50)
        since = recent[-1].at_ns if recent else 0
        shown = [event.to_json() for event in recent]
        return pages.show("tail.html", login, events=shown, since=since)

    @router.get("/tail/stream")
    async def tail_stream(
        request: Request, login: Seen, since: int = 0, last_event_id: LastSeen = ""
    ) -> StreamingResponse:
        login.caller.need_read()
        take = operations.server.following(since_of(last_event_id, since))
        return StreamingResponse(stream(request, take), media_type="text/event-stream")

    @router.get("/dashboard")
    def dashboard(login: Seen, span: str = "") -> Response:
        login.caller.need_read()
        fault = ""
        figures: dict[str, Figures] = {}
        if span in SPANS:
            slice_s, slice_count = SPANS[span]
            now_s = operations.now()
            start_s = (now_s // slice_s + 1 - slice_count) * slice_s
            try:
                found = operations.server.span(start_s, slice_s, slice_count)
                figures = {role.name.lower(): figure_of(found, role, slice_count) for role in Role}
            except Fault as missing:
                fault = str(missing)
        else:
            events = operations.server.recent(_EVENTS)
            figures = {role.name.lower(): figure(events, role) for role in Role}
        bars = {role: stacks(one.mix) for role, one in figures.items()}
        return pages.show(
            "dashboard.html", login, figures=figures, bars=bars, classes=CLASSES, span=span,
            spans=SPANS, fault=fault, versions=versions(operations, login.caller),
        )  # fmt: skip

    @router.get("/alerts")
    def alerts(login: Seen, all: bool = False) -> Response:  # noqa: A002
        login.caller.need_read()
        found = operations.alerts.alerts(is_open=not all)
        return pages.show("alerts.html", login, alerts=found, is_all=all)

    @router.post("/alerts/{number}/acknowledge")
    def acknowledge(number: Number, login: Posted) -> Response:
        login.caller.need_admin()
        operations.alerts.acknowledge(number, login.caller.who)
        return RedirectResponse("/alerts", 303)

    @router.get("/explain")
    def explain(login: Seen, name: str = "", rdtype: str = "AAAA") -> Response:
        login.caller.need_read()
        told: Any = None
        fault: Fault | None = None
        if name:
            try:
                told = operations.server.command("explain", name=name, rdtype=rdtype)
            except Fault as found:
                fault = found
        shown = json.dumps(told, indent=2, ensure_ascii=False) if told is not None else ""
        return pages.show(
            "explain.html", login, wanted=name, rdtype=rdtype, told=shown, fault=fault
        )


class Version(NamedTuple):
    """A zone's serial in the store, if it is there, and as served, if it is."""

    zone: str
    stored: int | None
    served: int | None

    @property
    def is_behind(self) -> bool:
        """Whether what is served is not yet, or no more, what is stored."""
        if self.stored is None:
            return False
        return self.served is None or is_later(self.stored, self.served)


def versions(operations: Operations, caller: Caller) -> list[Version]:
    """Give the versions of the zones a caller may see, those that lag first."""
    served = {one["zone"]: one["serial"] for one in status_of_server(operations).get("zones", [])}
    stored = {
        names.to_text(one.origin): one.serial for one in operations.zones(caller) if one.is_active
    }
    known = [name for name in served if caller.may_see(names.from_text(name))]
    found = [
        Version(one, stored.get(one), served.get(one)) for one in {**stored, **dict.fromkeys(known)}
    ]
    return sorted(found, key=lambda one: (not one.is_behind, one.zone))[:_VERSIONS_MAX]


def add_looking(router: APIRouter, pages: Pages, sessions: Sessions, app: FastAPI) -> None:
    """Add the pages of looks: doctor and the incident checklist."""
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]
    runs: Runs = app.state.runs

    @router.get("/incident")
    async def incident(login: Seen, name: str = "") -> Response:
        found = runs.recent(login.caller, Kind.INCIDENT)
        return pages.show("incident.html", login, runs=found, wanted=name)

    @router.post("/runs")
    async def start(
        login: Posted, kind: Annotated[Kind, Form()], name: Annotated[str, Form()]
    ) -> Response:
        run = runs.start(login.caller, kind, name)
        return RedirectResponse(f"/runs/{run.number}", 303)

    @router.get("/runs/{number}")
    async def one(number: str, login: Seen) -> Response:
        run = runs.find(login.caller, number)
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in run.findings:
            groups.setdefault((finding.code, finding.verdict), []).append(finding)
        return pages.show("run.html", login, run=run, groups=list(groups.values()))

    @router.get("/runs/{number}/stream")
    async def follow(number: str, login: Seen) -> StreamingResponse:
        run = runs.find(login.caller, number)

        async def told() -> AsyncIterator[str]:
            async for count in runs.follow(run):
                stages = [{"stage": stage, "after_s": after} for stage, after in run.stages]
                yield f"data: {json.dumps(stages[:count])}\n\n"
            yield "event: done\ndata: {}\n\n"

        return StreamingResponse(told(), 200, HEADERS, "text/event-stream")
