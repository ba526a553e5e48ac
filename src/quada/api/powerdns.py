"""The part of the PowerDNS Authoritative Server's v1 HTTP API that its clients use.

Zones and RRsets, with PATCH that replaces and deletes RRsets as one change. Names are absolute,
zone ids are names. What quada has no word for (metadata, statistics) is answered empty.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

import quada.api.trial as trial
import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.access import Caller
from quada.api.operations import Operations
from quada.api.trial import DryRun
from quada.store.zones import Summary
from quada.wire.faults import DataFault
from quada.zones import Change, Record, Zone
from quada.zones.rdata import type_name, write_rdata

VERSION: Final = "4.9.0"
"""The version whose API this is; octodns-powerdns reads it to know what it may use."""
_RRSETS_MAX: Final = 100_000


class RecordBody(BaseModel):
    """One record of an RRset; a disabled one is refused, because quada keeps no data unserved."""

    content: str
    disabled: bool = False


class RRsetBody(BaseModel):
    """One RRset, and what is to become of it."""

    name: str
    type: str
    ttl: int | None = None
    changetype: str = "REPLACE"
    records: list[RecordBody] = Field(default=[], max_length=10_000)
    comments: list[dict[str, Any]] = []


class PatchBody(BaseModel):
    """RRsets to replace and delete, all or none."""

    rrsets: list[RRsetBody] = Field(default=[], max_length=_RRSETS_MAX)


class ZoneBody(PatchBody):
    """A zone to be made."""

    name: str
    kind: str = "Native"
    nameservers: list[str] = []
    masters: list[str] = []


def make_router(operations: Operations, caller_of: Callable[..., Caller]) -> APIRouter:
    """Make the routes. Takes what gives a request's caller."""
    router = APIRouter(prefix="/api", tags=["PowerDNS v1"])
    Who = Annotated[Caller, Depends(caller_of)]

    @router.get("")
    def versions(caller: Who) -> list[dict[str, Any]]:
        # lego asks this before anything else.
        return [{"version": 1, "url": "/api/v1"}]

    router.include_router(_make_v1(operations, caller_of))
    return router


def _make_v1(operations: Operations, caller_of: Callable[..., Caller]) -> APIRouter:
    router = APIRouter(prefix="/v1")
    Who = Annotated[Caller, Depends(caller_of)]
    zones_path = "/servers/{server}/zones"

    @router.get("/servers")
    def servers(caller: Who) -> list[dict[str, Any]]:
        return [_server()]

    @router.get("/servers/{server}")
    def server_one(server: str, caller: Who) -> dict[str, Any]:
        return _server()

    @router.get("/servers/{server}/config")
    @router.get("/servers/{server}/statistics")
    def nothing(server: str, caller: Who) -> list[Any]:
        return []

    @router.get(zones_path)
    def zones(server: str, caller: Who, zone: str = "") -> list[dict[str, Any]]:
        found = operations.zones(caller)
        wanted = zone.rstrip(".").lower()
        return [
            _zone_data(view)
            for view in found
            if not wanted or names.to_text(view.origin).rstrip(".") == wanted
        ]

    @router.post(zones_path, status_code=201, responses=trial.RESPONSES)
    def add_zone(server: str, body: ZoneBody, caller: Who, dry_run: DryRun = False) -> Any:
        wanted = [one for one in body.rrsets if one.type.upper() not in ("SOA", "NS")]
        done = operations.add_zone(
            caller, body.name, _servers_of(body), is_trial=dry_run,
            and_then=lambda zone: _change(operations, zone, wanted),
        )  # fmt: skip
        if dry_run:
            return trial.told(done)
        return _whole(operations, caller, body.name)

    @router.get(zones_path + "/{zone}")
    def zone_one(
        server: str, zone: str, caller: Who, rrsets: bool = True, rrset_name: str = "",
        rrset_type: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        if not rrsets:
            return _zone_data(operations.zone_view(caller, zone))
        return _whole(operations, caller, zone, rrset_name, rrset_type)

    @router.patch(zones_path + "/{zone}", status_code=204, responses=trial.RESPONSES)
    def patch(
        server: str, zone: str, body: PatchBody, caller: Who, dry_run: DryRun = False
    ) -> Response:
        version = operations.zone(caller, zone)
        change = _change(operations, version, body.rrsets)
        done = operations.commit(caller, version, change, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return Response(status_code=204)

    @router.put(zones_path + "/{zone}/notify")
    @router.put(zones_path + "/{zone}/rectify")
    def done(server: str, zone: str, caller: Who) -> dict[str, str]:
        operations.zone_view(caller, zone)
        return {"result": "changes are notified and signed as they are made"}

    @router.get(zones_path + "/{zone}/export", response_class=PlainTextResponse)
    def export(server: str, zone: str, caller: Who) -> PlainTextResponse:
        return PlainTextResponse(operations.text(caller, zone))

    @router.get(zones_path + "/{zone}/cryptokeys")
    @router.get(zones_path + "/{zone}/metadata")
    def none_of_zone(server: str, zone: str, caller: Who) -> list[Any]:
        operations.zone_view(caller, zone)
        return []

    @router.delete(zones_path + "/{zone}", status_code=204, responses=trial.RESPONSES)
    def remove(server: str, zone: str, caller: Who, dry_run: DryRun = False) -> Response:
        done = operations.remove_zone(caller, zone, is_trial=dry_run)
        if dry_run:
            return trial.told(done)
        return Response(status_code=204)

    return router


def _change(operations: Operations, zone: Zone, rrsets: list[RRsetBody]) -> Change:
    """Give what a list of RRsets would change, as one change. Raises: DataFault."""
    removed: list[Record] = []
    added: list[Record] = []
    seen: set[tuple[str, str]] = set()
    for at, wanted in enumerate(rrsets):
        key = (wanted.name.lower(), wanted.type.upper())
        if key in seen:
            raise DataFault("an RRset comes twice", place=f"rrsets[{at}]")
        seen.add(key)
        kind = wanted.changetype.upper()
        if kind not in ("REPLACE", "DELETE"):
            raise DataFault(
                f"{wanted.changetype!r} is no changetype", place=f"rrsets[{at}].changetype",
                remedy="REPLACE or DELETE",
            )  # fmt: skip
        if any(record.disabled for record in wanted.records):
            raise DataFault(
                "quada keeps no disabled records", place=f"rrsets[{at}].records.disabled"
            )
        values = [record.content for record in wanted.records] if kind == "REPLACE" else []
        name = wanted.name if wanted.name.endswith(".") else f"{wanted.name}."
        change = operations.replace_rrset(zone, name, wanted.type.upper(), wanted.ttl, values)
        removed += change.removed
        added += change.added
    return Change(tuple(removed), tuple(added))


def _servers_of(body: ZoneBody) -> list[str]:
    """Give a new zone's name servers: named apart, or as its NS RRset."""
    own = [
        record.content
        for rrset in body.rrsets
        if rrset.type.upper() == "NS" and rrset.name.rstrip(".") == body.name.rstrip(".")
        for record in rrset.records
    ]
    return body.nameservers or own


def _server() -> dict[str, Any]:
    return {
        "type": "Server",
        "id": "localhost",
        "daemon_type": "authoritative",
        "version": VERSION,
        "url": "/api/v1/servers/localhost",
        "config_url": "/api/v1/servers/localhost/config{/config_setting}",
        "zones_url": "/api/v1/servers/localhost/zones{/zone}",
    }


def _zone_data(view: Summary) -> dict[str, Any]:
    name = names.to_text(view.origin)
    return {
        "id": name,
        "name": name,
        "type": "Zone",
        "url": f"/api/v1/servers/localhost/zones/{name}",
        "kind": "Native",
        "serial": view.serial,
        "notified_serial": view.serial,
        "edited_serial": view.serial,
        "masters": [],
        "dnssec": False,
        "account": "",
    }


def _whole(
    operations: Operations, caller: Caller, name: str, owner: str = "", rdtype: str = ""
) -> dict[str, Any]:
    view = operations.zone_view(caller, name)
    zone = operations.zone(caller, name)
    rrsets = []
    for node_owner, node in zone.nodes.items():
        text = names.to_text(node_owner)
        if owner and text != owner.lower():
            continue
        rrsets += [
            {
                "name": text,
                "type": type_name(rrset.rdtype),
                "ttl": rrset.ttl,
                "records": [
                    {"content": write_rdata(rrset.rdtype, rdata), "disabled": False}
                    for rdata in rrset.rdatas
                ],
                "comments": [],
            }
            for rrset in node
            if not rdtype or type_name(rrset.rdtype) == rdtype.upper()
        ]
    is_signed = zone.rrset(zone.origin, codes.DNSKEY) is not None
    return {**_zone_data(view), "dnssec": is_signed, "rrsets": rrsets}
