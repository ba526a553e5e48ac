"""The pages. Each shows what an operation gives, and says which command does the same."""

import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import jinja2
from fastapi import APIRouter, Cookie, Depends, FastAPI, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute

import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.access import check_scopes
from quada.api.dnssec import ZoneKeys
from quada.api.listing import is_system
from quada.api.operations import Edit, Edited, Operations
from quada.api.own import Number, stream
from quada.api.problem import status_of
from quada.api.records import Draft, owner_text, read_type
from quada.api.runs import Kind, Runs
from quada.api.signing import ds_lines, outlook
from quada.console.figures import CLASSES, figure, stacks
from quada.console.session import COOKIE, Login, Sessions
from quada.doctor import Finding
from quada.telemetry.event import Role
from quada.wire.faults import DataFault, Fault, ReachFault
from quada.zones import Record, Severity, write_record
from quada.zones.keyset import describe
from quada.zones.rdata import read_ipv6, type_name, write_rdata
from quada.zones.read import read_text

_HERE: Final = Path(__file__).parent
_PER_PAGE: Final = 100
_EVENTS: Final = 5_000
_TYPES: Final = (
    "AAAA", "A", "ALIAS", "CAA", "CNAME", "HTTPS", "MX", "NS", "POOL", "PTR", "SRV", "SSHFP",
    "SVCB", "TLSA", "TXT",
)  # fmt: skip
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STATIC: Final = {"console.css": "text/css", "console.js": "text/javascript"}


class Pages:
    """Renders templates; everything put into them is escaped."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True,
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters["name"] = names.to_text
        self._templates.filters["time"] = _time
        self._templates.filters["type"] = type_name
        self._templates.filters["value"] = lambda r: write_rdata(r.rdtype, r.rdata)
        self._templates.filters["line"] = write_record

    def show(
        self, template: str, login: Login | None = None, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """Give a page."""
        text = self._templates.get_template(template).render(
            login=login, csrf=login.csrf if login else "", **values
        )
        return HTMLResponse(text, code, _HEADERS)


def add_console(app: FastAPI, operations: Operations) -> None:
    """Add the console to an application that has the API."""
    pages = Pages()
    sessions = Sessions(operations, app.state.gate)
    router = APIRouter(include_in_schema=False, route_class=_route(pages))
    _add_login(router, pages, sessions, operations)
    _add_zones(router, pages, sessions, operations, app)
    _add_editor(router, pages, sessions, operations)
    _add_watching(router, pages, sessions, operations)
    _add_looking(router, pages, sessions, app)
    _add_people(router, pages, sessions, operations)
    app.include_router(router)


def _route(pages: Pages) -> type[APIRoute]:
    """Routes that show a fault as a page."""

    class Shown(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            original = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                try:
                    return await original(request)
                except Fault as fault:
                    return pages.show("fault.html", code=status_of(fault), fault=fault)

            return guarded

    return Shown


def _add_login(router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations) -> None:
    @router.get("/static/{name}")
    def static(name: str) -> Response:
        kind = _STATIC.get(name)
        if kind is None:
            return Response(status_code=404)
        headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
        return Response((_HERE / "static" / name).read_bytes(), 200, headers, kind)

    @router.get("/login")
    def login_page(once: str = "") -> Response:
        # A link is used by a click, not by being fetched: mail scanners and previews fetch.
        return pages.show("login.html", once=once, refused=False)

    @router.post("/login")
    def log_in(
        request: Request,
        once: Annotated[str, Form()] = "",
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
    ) -> Response:
        entered = (
            sessions.by_link(request, once)
            if once
            else sessions.by_password(request, name, password)
        )
        return entered or pages.show("login.html", code=403, once="", refused=True)

    @router.post("/logout")
    def log_out(
        login: Annotated[Login, Depends(sessions.posted)],
        cookie: Annotated[str, Cookie(alias=COOKIE)] = "",
    ) -> Response:
        return sessions.leave(cookie)


def _add_zones(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations, app: FastAPI
) -> None:
    runs: Runs = app.state.runs
    keys: ZoneKeys = app.state.keys
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]

    @router.get("/")
    def zones(login: Seen, text: str = "") -> Response:
        found = [
            view
            for view in operations.zones(login.caller)
            if text.lower() in names.to_text(view.origin)
        ]
        return pages.show("zones.html", login, zones=found, text=text)

    @router.post("/zones")
    def add_zone(
        login: Posted,
        name: Annotated[str, Form()],
        servers: Annotated[str, Form()] = "",
        zone_text: Annotated[str, Form()] = "",
    ) -> Response:
        added = operations.add_zone(login.caller, name.strip(), servers.split(), zone_text)
        return RedirectResponse(f"/zones/{names.to_text(added.zone.origin)}", 303)

    @router.get("/zones/{zone}/history")
    def history(zone: str, login: Seen) -> Response:
        entries = operations.history(login.caller, zone)
        return pages.show(
            "history.html", login, zone=operations.zone(login.caller, zone), entries=entries
        )

    @router.post("/zones/{zone}/undo")
    def undo(zone: str, login: Posted, number: Annotated[int, Form(ge=1, lt=2**53)]) -> Response:
        operations.undo(login.caller, zone, number)
        return RedirectResponse(f"/zones/{zone}/history", 303)

    @router.get("/zones/{zone}/health")
    def health(zone: str, login: Seen) -> Response:
        version = operations.zone(login.caller, zone)
        findings = operations.findings(login.caller, zone)
        status = _status(operations)
        name = names.to_text(version.origin)
        held = [one for one in status.get("dnssec", []) if one["zone"] == name]
        _, signed = keys.find(login.caller, zone)
        told = outlook(signed, operations.now()) if signed else None
        serving = [one["serial"] for one in status.get("zones", []) if one["zone"] == name]
        return pages.show(
            "health.html", login, zone=version, findings=findings, held=held[0] if held else None,
            serving=serving, is_reached=bool(status), error=Severity.ERROR, outlook=told,
            keys=describe(signed.state) if signed else [], ds=ds_lines(signed) if signed else [],
        )  # fmt: skip

    @router.get("/zones/{zone}/doctor")
    def doctor(zone: str, login: Seen) -> Response:
        login.caller.need_read()
        version = operations.zone(login.caller, zone)
        found = [
            run
            for run in runs.recent(login.caller, Kind.DOCTOR)
            if names.is_subdomain(names.from_text(run.name), version.origin)
        ]
        return pages.show("doctor.html", login, zone=version, runs=found)

    @router.get("/zones/{zone}/text")
    def text(zone: str, login: Seen) -> Response:
        return Response(operations.text(login.caller, zone), 200, _HEADERS, "text/plain")


def _add_editor(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations
) -> None:
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]

    @router.get("/zones/{zone}")
    def editor(
        zone: str,
        login: Seen,
        text: str = "",
        rdtype: str = "",
        edit: int = 0,
        page: Annotated[int, Query(ge=1)] = 1,
    ) -> Response:
        listing = operations.records(login.caller, zone)
        version = listing.zone
        kind = read_type(rdtype) if rdtype else None
        found = listing.search(rdtype=kind, text=text)
        start = (page - 1) * _PER_PAGE
        return pages.show(
            "editor.html", login, zone=version, origin=version.origin, types=_TYPES, text=text,
            rdtype=rdtype, edit=edit, page=page, page_count=-(-len(found) // _PER_PAGE) or 1,
            total=len(found), records=found[start : start + _PER_PAGE], owner=owner_text,
            is_system=is_system, may_change=login.caller.may_change(version.origin),
        )  # fmt: skip

    @router.post("/zones/{zone}/preview")
    def preview(
        zone: str,
        login: Posted,
        name: Annotated[str, Form()] = "",
        rdtype: Annotated[str, Form()] = "",
        ttl: Annotated[str, Form()] = "",
        value: Annotated[str, Form()] = "",
        lines: Annotated[str, Form()] = "",
        number: Annotated[int, Form()] = 0,
        is_delete: Annotated[bool, Form()] = False,
    ) -> Response:
        version = operations.zone(login.caller, zone)
        draft = Draft(name.strip(), rdtype, value.strip(), _ttl(ttl))
        if lines.strip():
            edit = Edit(creates=_pasted(lines, version.origin))
        elif is_delete:
            edit = Edit(deletes=(number,))
        elif number:
            edit = Edit(updates=((number, draft),))
        else:
            edit = Edit(creates=(draft,))
        tried = operations.edit(login.caller, zone, edit, is_trial=True)
        return _preview(pages, login, zone, edit, tried, version.serial, operations)

    @router.post("/zones/{zone}/apply")
    def apply(
        zone: str,
        login: Posted,
        edit: Annotated[str, Form()],
        serial: Annotated[int, Form()],
        why: Annotated[str, Form()] = "",
        with_reverse: Annotated[bool, Form()] = False,
    ) -> Response:
        wanted = _read_edit(edit)
        done = operations.edit(login.caller, zone, wanted, why=why, expect_serial=serial)
        if with_reverse:
            for reverse in operations.reverse_of(login.caller, done):
                operations.commit(login.caller, reverse.zone, reverse.change, why=why)
        return RedirectResponse(f"/zones/{zone}", 303)

    @router.get("/address")
    def address(value: str, login: Seen) -> Response:
        """Tell what an address written so far is: its whole form, and its reverse name."""
        try:
            octets = read_ipv6(value.strip())
        except DataFault as fault:
            return JSONResponse({"fault": fault.message})
        told = operations.reverse_name(login.caller, octets)
        digits = octets.hex()
        whole = ":".join(digits[at : at + 4] for at in range(0, 32, 4))
        return JSONResponse({"whole": whole, **told})


def _add_watching(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations
) -> None:
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
    async def tail_stream(request: Request, login: Seen, since: int = 0) -> StreamingResponse:
        login.caller.need_read()
        take = operations.server.following(since)
        return StreamingResponse(stream(request, take), media_type="text/event-stream")

    @router.get("/dashboard")
    def dashboard(login: Seen) -> Response:
        login.caller.need_read()
        events = operations.server.recent(_EVENTS)
        figures = {role.name.lower(): figure(events, role) for role in Role}
        bars = {role: stacks(one.mix) for role, one in figures.items()}
        return pages.show(
            "dashboard.html", login, figures=figures, bars=bars, classes=CLASSES,
            count=len(events),
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

    @router.get("/servers")
    def servers(login: Seen) -> Response:
        login.caller.need_read()
        return pages.show("servers.html", login, status=_status(operations))


def _add_looking(router: APIRouter, pages: Pages, sessions: Sessions, app: FastAPI) -> None:
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

        return StreamingResponse(told(), 200, _HEADERS, "text/event-stream")


def _add_people(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations
) -> None:
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]
    accounts = operations.accounts

    @router.get("/people")
    def people(login: Seen) -> Response:
        return _people(login)

    @router.post("/people/password")
    def password(request: Request, login: Posted, new: Annotated[str, Form()] = "") -> Response:
        name = login.caller.who.removeprefix("user ")
        accounts.set_password(name, new)
        operations.audit(login.caller, "password set", name)
        return RedirectResponse("/login", 303)

    @router.post("/people/tokens")
    def add_token(
        login: Posted,
        name: Annotated[str, Form()],
        scopes: Annotated[str, Form()],
        days: Annotated[int, Form(ge=0)] = 0,
    ) -> Response:
        login.caller.need_admin()
        now_s = operations.now()
        wanted = check_scopes(tuple(scopes.split()))
        secret = accounts.add_token(name, wanted, now_s, now_s + days * 86_400 if days else None)
        operations.audit(login.caller, "token added", f"{name}: {' '.join(wanted)}")
        return _people(login, secret)

    @router.post("/people/tokens/remove")
    def remove_token(login: Posted, name: Annotated[str, Form()]) -> Response:
        login.caller.need_admin()
        accounts.remove_token(name)
        operations.audit(login.caller, "token removed", name)
        return RedirectResponse("/people", 303)

    def _people(login: Login, secret: str = "") -> Response:
        is_admin = login.caller.is_admin
        return pages.show(
            "people.html", login, secret=secret, is_admin=is_admin,
            tokens=accounts.tokens() if is_admin else [],
            users=accounts.users() if is_admin else [],
            audit=accounts.audited() if is_admin else [],
        )  # fmt: skip


def _preview(
    pages: Pages, login: Login, zone: str, edit: Edit, tried: Edited, serial: int,
    operations: Operations,
) -> Response:  # fmt: skip
    return pages.show(
        "preview.html", login, zone=tried.zone, change=tried.change, serial=serial,
        findings=tried.findings, error=Severity.ERROR, edit=_write_edit(edit),
        reverses=operations.reverse_of(login.caller, tried),
        refused=[one for one in tried.findings if one.rule.refuses],
        soa=codes.SOA,
    )  # fmt: skip


def _pasted(lines: str, origin: bytes) -> tuple[Draft, ...]:
    """Read pasted zone text as drafts. Raises: DataFault with line and column."""
    zone = read_text(f"$TTL 3600\n{lines}\n", origin, place="pasted text").zone
    return tuple(_as_draft(record, origin) for record in zone.records())


def _as_draft(record: Record, origin: bytes) -> Draft:
    name = owner_text(record.owner, origin)
    value = write_rdata(record.rdtype, record.rdata)
    return Draft(name, type_name(record.rdtype), value, record.ttl)


def _write_edit(edit: Edit) -> str:
    return json.dumps(edit)


def _read_edit(text: str) -> Edit:
    """Read back what a preview's form carries. Raises: DataFault."""
    try:
        creates, updates, deletes = json.loads(text)
        return Edit(
            tuple(Draft(*draft) for draft in creates),
            tuple((int(number), Draft(*draft)) for number, draft in updates),
            tuple(int(number) for number in deletes),
        )
    except (ValueError, TypeError) as error:
        raise DataFault("the form holds no edit", place="edit") from error


def _ttl(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdigit():
        raise DataFault(f"{text!r} is no TTL", place="ttl", remedy="write seconds")
    return int(text)


def _status(operations: Operations) -> dict[str, Any]:
    """Give the server's status; empty where it does not answer."""
    try:
        found: dict[str, Any] = operations.server.command("status")
    except ReachFault:
        return {}
    return found


def _time(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "never"
