"""Pages of zones: the list, health, history, doctor; and the record editor."""

import json
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse

import quada.api.pointers as pointers
import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.dnssec import ZoneKeys
from quada.api.listing import is_system
from quada.api.operations import Edit, Edited, Operations
from quada.api.records import Draft, owner_text, read_type
from quada.api.runs import Kind, Runs
from quada.api.signing import ds_lines, outlook
from quada.console.pages import HEADERS, Pages, status_of_server
from quada.console.session import Login, Sessions
from quada.wire.faults import DataFault
from quada.zones import Record, Severity
from quada.zones.keyset import describe
from quada.zones.rdata import read_ipv6, type_name, write_rdata
from quada.zones.read import read_text

_PER_PAGE: Final = 100
_TYPES: Final = (
    "AAAA", "A", "ALIAS", "CAA", "CNAME", "HTTPS", "MX", "NS", "POOL", "PTR", "SRV", "SSHFP",
    "SVCB", "TLSA", "TXT",
)  # fmt: skip


def add_zones(
    router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations, app: FastAPI
) -> None:
    """Add the pages of zones."""
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
        status = status_of_server(operations)
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
        return Response(operations.text(login.caller, zone), 200, HEADERS, "text/plain")


def add_editor(router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations) -> None:
    """Add the record editor."""
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
            for reverse in pointers.changes(operations, login.caller, done):
                operations.commit(login.caller, reverse.zone, reverse.change, why=why)
        return RedirectResponse(f"/zones/{zone}", 303)

    @router.get("/address")
    def address(value: str, login: Seen) -> Response:
        """Tell what an address written so far is: its whole form, and its reverse name."""
        try:
            octets = read_ipv6(value.strip())
        except DataFault as fault:
            return JSONResponse({"fault": fault.message})
        told = pointers.told(operations, login.caller, octets)
        digits = octets.hex()
        whole = ":".join(digits[at : at + 4] for at in range(0, 32, 4))
        return JSONResponse({"whole": whole, **told})


def _preview(
    pages: Pages, login: Login, zone: str, edit: Edit, tried: Edited, serial: int,
    operations: Operations,
) -> Response:  # fmt: skip
    return pages.show(
        "preview.html", login, zone=tried.zone, change=tried.change, serial=serial,
        findings=tried.findings, error=Severity.ERROR, edit=_write_edit(edit),
        reverses=pointers.changes(operations, login.caller, tried),
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
