"""The DNSimple v2 form of zones and records, so that its clients work with another base URL.

Paths, shapes and errors are those of DNSimple's published API. Where DNSimple shows data in its own
way (absolute names without the closing dot, the priority of MX and SRV apart), so does this file,
and only this file.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

import quada.api.trial as trial
import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.access import Caller
from quada.api.listing import Numbered, is_system
from quada.api.operations import Edit, NotFound, Operations
from quada.api.records import Draft, owner_text, read_type, to_unicode
from quada.api.trial import DryRun
from quada.store.zones import Summary
from quada.wire.faults import DataFault
from quada.zones.rdata import type_name, write_rdata
from quada.zones.tokens import quote

ACCOUNT: Final = 1
"""One quada is one account: DNSimple's clients want a number for it."""
_PER_PAGE: Final = 30
_PER_PAGE_MAX: Final = 100
_BATCH_MAX: Final = 1_000
_ONE_NAME: Final = frozenset((codes.NS, codes.CNAME, codes.PTR, codes.DNAME, codes.ALIAS))
_PRIORITY: Final = frozenset((codes.MX, codes.SRV))
_REVERSE: Final = (b"\x03ip6\x04arpa\x00", b"\x07in-addr\x04arpa\x00")


class RecordBody(BaseModel):
    """A record as clients send it; an update sends what changes."""

    name: str | None = None
    type: str | None = None
    content: str | None = None
    ttl: int | None = None
    priority: int | None = None


class UpdateBody(RecordBody):
    """An update within a batch."""

    id: int


class DeleteBody(BaseModel):
    """A delete within a batch."""

    id: int


class BatchBody(BaseModel):
    """Deletes, updates and creates, all or none."""

    creates: list[RecordBody] = Field(default=[], max_length=_BATCH_MAX)
    updates: list[UpdateBody] = Field(default=[], max_length=_BATCH_MAX)
    deletes: list[DeleteBody] = Field(default=[], max_length=_BATCH_MAX)


class ZoneBody(BaseModel):
    """A domain to be added; `name_servers` is quada's own addition."""

    name: str
    name_servers: list[str] = []


class Paging:
    """The query parameters of every list."""

    def __init__(
        self,
        page: Annotated[int, Query(ge=1)] = 1,
        per_page: Annotated[int, Query(ge=1, le=_PER_PAGE_MAX)] = _PER_PAGE,
        sort: str = "",
    ) -> None:
        self.page, self.per_page, self.sort = page, per_page, sort

    def cut(self, items: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Give one page of a list, with what DNSimple says of pages."""
        start = (self.page - 1) * self.per_page
        return {
            "data": [show(item) for item in items[start : start + self.per_page]],
            "pagination": {
                "current_page": self.page,
                "per_page": self.per_page,
                "total_entries": len(items),
                "total_pages": -(-len(items) // self.per_page),
            },
        }

    def order(self, items: Sequence[Any], keys: dict[str, Callable[[Any], Any]]) -> Sequence[Any]:
        """Sort by `field:asc,field:desc`. Raises: DataFault for an unknown field."""
        for part in reversed(self.sort.split(",") if self.sort else []):
            field, _, direction = part.partition(":")
            if field not in keys or direction not in ("", "asc", "desc"):
                raise DataFault(
                    f"cannot sort by {part!r}", place="sort", remedy=f"one of {', '.join(keys)}"
                )
            items = sorted(items, key=keys[field], reverse=direction == "desc")
        return items


Pages = Annotated[Paging, Depends()]


def make_router(operations: Operations, caller_of: Callable[..., Caller]) -> APIRouter:
    """Make the routes. Takes what gives a request's caller."""
    router = APIRouter(prefix="/v2", tags=["DNSimple v2"])
    Who = Annotated[Caller, Depends(caller_of)]

    @router.get("/whoami")
    def whoami(caller: Who) -> dict[str, Any]:
        return {"data": {"user": None, "account": _account()}}

    @router.get("/accounts")
    def accounts(caller: Who) -> dict[str, Any]:
        return {"data": [_account()]}

    @router.get("/{account}/zones")
    def zones(account: int, caller: Who, pages: Pages, name_like: str = "") -> dict[str, Any]:
        found = [
            view
            for view in operations.zones(caller)
            if name_like.lower() in names.to_text(view.origin)
        ]
        by = {"id": lambda view: view.number, "name": lambda view: names.to_text(view.origin)}
        return pages.cut(pages.order(found, by), _zone_data)

    @router.get("/{account}/zones/{zone}")
    def zone(account: int, zone: str, caller: Who) -> dict[str, Any]:
        return {"data": _zone_data(operations.zone_view(caller, zone))}

    @router.get("/{account}/zones/{zone}/file")
    def zone_file(account: int, zone: str, caller: Who) -> dict[str, Any]:
        return {"data": {"zone": operations.text(caller, zone)}}

    @router.get("/{account}/zones/{zone}/distribution")
    def distribution(account: int, zone: str, caller: Who) -> dict[str, Any]:
        return {"data": {"distributed": operations.is_served(caller, zone)}}

    @router.put("/{account}/zones/{zone}/activation", responses=trial.RESPONSES)
    def activate(account: int, zone: str, caller: Who, dry_run: DryRun = False) -> Any:
        done = operations.activate(caller, zone, is_active=True, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return {"data": _zone_data(operations.zone_view(caller, zone))}

    @router.delete("/{account}/zones/{zone}/activation", responses=trial.RESPONSES)
    def deactivate(account: int, zone: str, caller: Who, dry_run: DryRun = False) -> Any:
        done = operations.activate(caller, zone, is_active=False, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return {"data": _zone_data(operations.zone_view(caller, zone))}

    @router.get("/{account}/domains")
    def domains(account: int, caller: Who, pages: Pages) -> dict[str, Any]:
        return pages.cut(operations.zones(caller), _domain_data)

    @router.post("/{account}/domains", status_code=201, responses=trial.RESPONSES)
    def add_domain(account: int, body: ZoneBody, caller: Who, dry_run: DryRun = False) -> Any:
        done = operations.add_zone(caller, body.name, body.name_servers, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        view = operations.zone_view(caller, names.to_text(done.zone.origin))
        return {"data": _domain_data(view)}

    @router.get("/{account}/domains/{zone}")
    def domain(account: int, zone: str, caller: Who) -> dict[str, Any]:
        return {"data": _domain_data(operations.zone_view(caller, zone))}

    @router.delete("/{account}/domains/{zone}", status_code=204, responses=trial.RESPONSES)
    def remove_domain(account: int, zone: str, caller: Who, dry_run: DryRun = False) -> Response:
        done = operations.remove_zone(caller, zone, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return Response(status_code=204)

    _add_records(router, operations, caller_of)
    return router


def _add_records(
    router: APIRouter, operations: Operations, caller_of: Callable[..., Caller]
) -> None:
    Who = Annotated[Caller, Depends(caller_of)]
    path = "/{account}/zones/{zone}/records"

    def show(caller: Caller, zone: str) -> Callable[[Numbered], dict[str, Any]]:
        view = operations.zone_view(caller, zone)
        return lambda one: _record_data(view, one)

    @router.get(path)
    def records(
        account: int,
        zone: str,
        caller: Who,
        pages: Pages,
        name: str | None = None,
        name_like: str = "",
        type: str | None = None,  # noqa: A002  (DNSimple's word)
    ) -> dict[str, Any]:
        listing = operations.records(caller, zone)
        origin = listing.zone.origin
        rdtype = read_type(type) if type else None
        found = listing.search(name=name, name_like=name_like, rdtype=rdtype)
        by: dict[str, Callable[[Numbered], Any]] = {
            "id": lambda one: one.number,
            "name": lambda one: owner_text(one.record.owner, origin),
            "content": lambda one: _content(one)[0],
            "type": lambda one: type_name(one.record.rdtype),
        }
        return pages.cut(pages.order(found, by), show(caller, zone))

    @router.post(path, status_code=201, responses=trial.RESPONSES)
    def create(
        account: int, zone: str, body: RecordBody, caller: Who, dry_run: DryRun = False
    ) -> Any:
        edit = Edit(creates=(_draft(body),))
        done = operations.edit(caller, zone, edit, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return {"data": show(caller, zone)(done.created[0])}

    @router.get(path + "/{record}")
    def one(account: int, zone: str, record: int, caller: Who) -> dict[str, Any]:
        return {"data": show(caller, zone)(operations.record(caller, zone, record))}

    @router.get(path + "/{record}/distribution")
    def distribution(account: int, zone: str, record: int, caller: Who) -> dict[str, Any]:
        operations.record(caller, zone, record)
        return {"data": {"distributed": operations.is_served(caller, zone)}}

    @router.patch(path + "/{record}", responses=trial.RESPONSES)
    def update(
        account: int, zone: str, record: int, body: RecordBody, caller: Who,
        dry_run: DryRun = False,
    ) -> Any:  # fmt: skip
        before = operations.record(caller, zone, record)
        edit = Edit(updates=((record, _draft(body, before)),))
        done = operations.edit(caller, zone, edit, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return {"data": show(caller, zone)(done.updated[0])}

    @router.delete(path + "/{record}", status_code=204, responses=trial.RESPONSES)
    def delete(
        account: int, zone: str, record: int, caller: Who, dry_run: DryRun = False
    ) -> Response:
        done = operations.edit(caller, zone, Edit(deletes=(record,)), is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return Response(status_code=204)

    @router.post("/{account}/zones/{zone}/batch", responses=trial.RESPONSES)
    def batch(
        account: int, zone: str, body: BatchBody, caller: Who, dry_run: DryRun = False
    ) -> Any:
        listing = operations.records(caller, zone)
        updates = []
        for at, wanted in enumerate(body.updates):
            before = listing.find(wanted.id)
            if before is None:
                raise NotFound(f"Record `{wanted.id}` not found", place=f"updates[{at}]")
            updates.append((wanted.id, _draft(wanted, before)))
        edit = Edit(
            creates=tuple(_draft(one) for one in body.creates),
            updates=tuple(updates),
            deletes=tuple(one.id for one in body.deletes),
        )
        done = operations.edit(caller, zone, edit, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        shown = show(caller, zone)
        return {
            "data": {
                "creates": [shown(one) for one in done.created],
                "updates": [shown(one) for one in done.updated],
                "deletes": [{"id": one.id} for one in body.deletes],
            }
        }


def _account() -> dict[str, Any]:
    return {
        "id": ACCOUNT, "email": "", "plan_identifier": "quada",
        "created_at": _time(0), "updated_at": _time(0),
    }  # fmt: skip


def _zone_data(view: Summary) -> dict[str, Any]:
    return {
        "id": view.number,
        "account_id": ACCOUNT,
        "name": _bare(view.origin),
        "reverse": any(names.is_subdomain(view.origin, one) for one in _REVERSE),
        "secondary": False,
        "last_transferred_at": None,
        "active": view.is_active,
        "created_at": _time(view.created_at),
        "updated_at": _time(view.updated_at),
    }


def _domain_data(view: Summary) -> dict[str, Any]:
    return {
        "id": view.number,
        "account_id": ACCOUNT,
        "registrant_id": None,
        "name": _bare(view.origin),
        "unicode_name": to_unicode(_bare(view.origin)),
        "state": "hosted",
        "auto_renew": False,
        "private_whois": False,
        "expires_at": None,
        "created_at": _time(view.created_at),
        "updated_at": _time(view.updated_at),
    }


def _record_data(view: Summary, one: Numbered) -> dict[str, Any]:
    content, priority = _content(one)
    record = one.record
    return {
        "id": one.number,
        "zone_id": _bare(view.origin),
        "parent_id": None,
        "name": owner_text(record.owner, view.origin),
        "content": content,
        "ttl": record.ttl,
        "priority": priority,
        "type": type_name(record.rdtype),
        "regions": ["global"],
        "system_record": is_system(record, view.origin),
        # DNS data have no times of their own; these are the zone's.
        "created_at": _time(view.created_at),
        "updated_at": _time(view.updated_at),
    }


def _content(one: Numbered) -> tuple[str, int | None]:
    """Give data as DNSimple shows them, and the priority it shows apart."""
    rdtype = one.record.rdtype
    text = write_rdata(rdtype, one.record.rdata)
    priority: int | None = None
    if rdtype in _PRIORITY:
        first, _, text = text.partition(" ")
        priority = int(first)
    if (rdtype in _ONE_NAME or rdtype in _PRIORITY) and text.endswith(".") and len(text) > 1:
        text = text[:-1]
    return text, priority


def _draft(body: RecordBody, before: Numbered | None = None) -> Draft:
    """Turn a body into zone text. Raises: DataFault naming the field."""
    name, content, priority = body.name, body.content, body.priority
    if name is None and before is None:
        name = ""  # DNSimple's own clients leave an empty name out
    if body.type is not None:
        rdtype = read_type(body.type)
    elif before is not None:
        rdtype = before.record.rdtype
    else:
        raise DataFault("it is missing", place="type")
    if before is not None and rdtype in _PRIORITY and (content is None) != (priority is None):
        was_content, was_priority = _content(before)
        content = was_content if content is None else content
        priority = was_priority if priority is None else priority
    if content is not None:
        content = _value(rdtype, content.strip(), priority)
    return Draft(name, body.type, content, body.ttl)


def _value(rdtype: int, content: str, priority: int | None) -> str:
    if rdtype == codes.TXT and not content.startswith('"'):
        octets = content.encode()
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        return " ".join(quote(piece) for piece in pieces)
    if rdtype in _ONE_NAME or rdtype in _PRIORITY:
        content = content if content.endswith(".") else f"{content}."
    if rdtype in _PRIORITY:
        fields = content.split()
        wants_priority = len(fields) == (1 if rdtype == codes.MX else 3)
        if wants_priority:
            content = f"{priority or 0} {content}"
    return content


def _bare(name: bytes) -> str:
    return names.to_text(name).rstrip(".") or "."


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
