"""The webhook provider protocol of external-dns, version 1, over the zones a caller may change.

external-dns sends no token, but the name and password of its URL: `http://token:SECRET@host/...`.
It gives up for good on a 4xx and tries again on a 5xx, so one name that is refused must be neither:
what is good is applied, what is not is written down, and the answer is 500, as its own server's.
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, NamedTuple

import structlog
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

import quada.api.trial as trial
import quada.wire.codes as codes
import quada.wire.names as names
from quada.api.access import Caller, Denied
from quada.api.data import edited_data
from quada.api.operations import USUAL_TTL_S, Edited, Operations
from quada.api.records import Draft, read_draft, read_owner, read_type
from quada.api.trial import DryRun
from quada.store.zones import SerialConflict
from quada.wire.faults import DataFault
from quada.zones import Change, Record, Zone, refusals
from quada.zones.rdata import write_rdata
from quada.zones.tokens import quote

MEDIA_TYPE: Final = "application/external.dns.webhook+json;version=1"
PREFIX: Final = "/external-dns"
_HEADERS: Final = {"Vary": "Content-Type"}  # external-dns before 0.14 insists on it
_ENDPOINTS_MAX: Final = 100_000
_TRIES: Final = 3
_NAPTR: Final = 35  # RFC 3403
_TYPES: Final = {
    "AAAA": codes.AAAA, "A": codes.A, "CNAME": codes.CNAME, "TXT": codes.TXT, "SRV": codes.SRV,
    "NS": codes.NS, "PTR": codes.PTR, "MX": codes.MX, "NAPTR": _NAPTR,
}  # fmt: skip
_NAMES: Final = {number: name for name, number in _TYPES.items()}
_ENDS_IN_NAME: Final = frozenset((codes.CNAME, codes.NS, codes.PTR, codes.MX, codes.SRV, _NAPTR))
_KEEPS_DOT: Final = frozenset((codes.SRV, _NAPTR))  # external-dns leaves these as they are written
_ALIAS: Final = "alias"  # the property that asks its PowerDNS provider for ALIAS too

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Property(BaseModel):
    """A property of an endpoint that only some providers know."""

    name: str = ""
    value: str = ""


class Endpoint(BaseModel):
    """An RRset as external-dns has it. What is unknown here is given back as it came."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    dns_name: str = Field("", alias="dnsName", max_length=1024)
    targets: list[str] | None = None
    record_type: str = Field("", alias="recordType", max_length=20)
    set_identifier: str | None = Field(None, alias="setIdentifier")
    record_ttl: int | None = Field(None, alias="recordTTL", ge=0, lt=1 << 31)
    labels: dict[str, str] | None = None
    provider_specific: list[Property] | None = Field(None, alias="providerSpecific")

    @property
    def is_alias(self) -> bool:
        """Whether a CNAME is to be an ALIAS."""
        return any(
            one.name == _ALIAS and one.value == "true" for one in self.provider_specific or ()
        )


class Changes(BaseModel):
    """A plan. external-dns before 0.18 writes the keys with capitals."""

    create: list[Endpoint] | None = None
    update_old: list[Endpoint] | None = None
    update_new: list[Endpoint] | None = None
    delete: list[Endpoint] | None = None

    @staticmethod
    def read(body: bytes) -> "Changes":
        """Read a plan. Raises: ValidationError."""
        found = _PLAN.validate_json(body or b"null") or {}
        keys = {key.lower(): value for key, value in found.items()}
        named = {"updateold": "update_old", "updatenew": "update_new"}
        return Changes(**{named.get(key, key): value for key, value in keys.items()})


_PLAN: Final = TypeAdapter(dict[str, list[Endpoint] | None] | None)
_LIST: Final = TypeAdapter(list[Endpoint] | None)


class Part(NamedTuple):
    """What a plan wants of one RRset: data to take away, data to add, and the TTL."""

    removed: list[bytes]
    added: list[bytes]
    ttl: int | None


class Webhook(Response):
    """An answer of the protocol."""

    media_type = MEDIA_TYPE


def make_router(operations: Operations, caller_of: Callable[..., Caller]) -> APIRouter:
    """Make the routes. Takes what gives a request's caller."""
    router = APIRouter(prefix=PREFIX, tags=["external-dns webhook"])
    Who = Annotated[Caller, Depends(caller_of)]
    Body = Annotated[bytes, Depends(_body)]
    filter_shape = _shown_as(TypeAdapter(dict[str, list[str]]))
    list_shape = _shown_as(TypeAdapter(list[Endpoint]))
    sent = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {}}}}}

    @router.get("/healthz", response_class=PlainTextResponse)
    def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @router.get(
        "", dependencies=[Depends(_acceptable)], response_class=Webhook, responses=filter_shape
    )
    @router.get("/", dependencies=[Depends(_acceptable)], include_in_schema=False)
    def negotiate(caller: Who) -> Response:
        # A filter without names would match every domain there is.
        zones = [names.to_text(origin).rstrip(".") for origin in _zones(operations, caller)]
        if not zones:
            raise Denied(f"{caller.who} may change no zone")
        return _answer({"include": zones})

    @router.get(
        "/records", dependencies=[Depends(_acceptable)], response_class=Webhook,
        responses=list_shape,
    )  # fmt: skip
    def records(caller: Who) -> Response:
        found = [
            one
            for origin in _zones(operations, caller)
            for one in endpoints(operations.zone(caller, names.to_text(origin)))
        ]
        return _answer(found)

    @router.post("/records", status_code=204, openapi_extra=sent, responses=trial.RESPONSES)
    def apply(body: Body, caller: Who, dry_run: DryRun = False) -> Response:
        changes = _read(Changes.read, body)
        done, refused = apply_changes(operations, caller, changes, is_trial=dry_run)
        if dry_run:
            shown = [edited_data(one) for one in done]
            return JSONResponse({"changes": shown, "refused": refused})
        for why in refused:
            log.warning("external-dns: refused", who=caller.who, why=why)
        if refused:
            operations.audit(caller, "external-dns: refused", "; ".join(refused)[:1000])
            raise HTTPException(500, "; ".join(refused)[:2000])
        return Response(status_code=204)

    @router.post(
        "/adjustendpoints", dependencies=[Depends(_acceptable)], openapi_extra=sent,
        response_class=Webhook, responses=list_shape,
    )  # fmt: skip
    def adjust(body: Body, caller: Who) -> Response:
        origins = _zones(operations, caller)
        return _answer([_adjusted(one, origins) for one in _read(_LIST.validate_json, body) or ()])

    return router


def endpoints(zone: Zone) -> list[dict[str, Any]]:
    """Give a zone's RRsets as external-dns has them; what it knows no type for is left out.

    So are SOA and NS of the apex, which are the zone's own; an ALIAS is a CNAME with a property.
    """
    out = []
    for owner, node in zone.nodes.items():
        for rrset in node:
            rdtype = codes.CNAME if rrset.rdtype == codes.ALIAS else rrset.rdtype
            if rdtype not in _NAMES or (owner == zone.origin and rdtype == codes.NS):
                continue
            one: dict[str, Any] = {
                "dnsName": names.to_text(owner).rstrip("."),
                "targets": [_shown(rdtype, write_rdata(rdtype, one)) for one in rrset.rdatas],
                "recordType": _NAMES[rdtype],
                "recordTTL": rrset.ttl,
            }
            if rrset.rdtype == codes.ALIAS:
                one["providerSpecific"] = [{"name": _ALIAS, "value": "true"}]
            out.append(one)
    return out


def apply_changes(
    operations: Operations, caller: Caller, changes: Changes, *, is_trial: bool = False
) -> tuple[list[Edited], list[str]]:
    """Apply a plan, a zone at a time; gives what was done, and what was refused and why.

    A zone's changes are one change. Where the checks refuse it, its RRsets are tried one by one.
    """
    origins = _zones(operations, caller)
    wanted: dict[bytes, dict[tuple[bytes, int], Part]] = {}
    refused: list[str] = []
    for is_new, endpoint in _ordered(changes):
        try:
            origin, owner, rdtype, rdatas = _read_endpoint(endpoint, origins)
        except DataFault as fault:
            if is_new:  # what cannot be here need not be taken away
                refused.append(f"{endpoint.dns_name} {endpoint.record_type}: {fault}")
            continue
        parts = wanted.setdefault(origin, {})
        part = parts.setdefault((owner, rdtype), Part([], [], None))
        (part.added if is_new else part.removed).extend(rdatas)
        if is_new and endpoint.record_ttl:
            parts[owner, rdtype] = part._replace(ttl=endpoint.record_ttl)
    done: list[Edited] = []
    for origin, parts in wanted.items():
        try:
            done.append(_commit(operations, caller, origin, parts, is_trial=is_trial))
        except DataFault as whole:
            if len(parts) == 1:
                refused.append(str(whole))
                continue
            for key, part in parts.items():
                try:
                    one = _commit(operations, caller, origin, {key: part}, is_trial=is_trial)
                except DataFault as fault:
                    refused.append(f"{names.to_text(key[0])}: {fault}")
                else:
                    done.append(one)
    return done, refused


def _ordered(changes: Changes) -> Iterable[tuple[bool, Endpoint]]:
    """Give what goes, then what comes."""
    for is_new, lists in (
        (False, (changes.delete, changes.update_old)),
        (True, (changes.update_new, changes.create)),
    ):
        for endpoint in (one for found in lists for one in found or ()):
            yield is_new, endpoint


def _commit(
    operations: Operations,
    caller: Caller,
    origin: bytes,
    parts: dict[tuple[bytes, int], Part],
    *,
    is_trial: bool,
) -> Edited:
    """Change RRsets of a zone, again where somebody was quicker. Raises: DataFault."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(SerialConflict):
            return _commit_once(operations, caller, origin, parts, is_trial=is_trial)
    return _commit_once(operations, caller, origin, parts, is_trial=is_trial)


def _commit_once(
    operations: Operations,
    caller: Caller,
    origin: bytes,
    parts: dict[tuple[bytes, int], Part],
    *,
    is_trial: bool,
) -> Edited:
    """Change RRsets of a zone. What is there or gone already is no fault: plans repeat."""
    zone = operations.zone(caller, names.to_text(origin))
    gone: list[Record] = []
    come: list[Record] = []
    for (owner, rdtype), part in parts.items():
        rrset = zone.rrset(owner, rdtype)
        before = rrset.rdatas if rrset else ()
        after = dict.fromkeys([*(one for one in before if one not in part.removed), *part.added])
        ttl = part.ttl or (rrset.ttl if rrset else USUAL_TTL_S)
        gone += [Record(owner, rdtype, rrset.ttl, one) for one in before] if rrset else []
        come += [Record(owner, rdtype, ttl, one) for one in after]
    change = Change(tuple(gone), tuple(come))
    done = operations.commit(
        caller, zone, change, why="external-dns", expect_serial=zone.serial, is_trial=is_trial
    )
    if is_trial and (found := refusals(done.findings)):  # as the store would refuse it
        raise DataFault(found[0].message, place=names.to_text(found[0].owner))
    return done


def _read_endpoint(
    endpoint: Endpoint, origins: list[bytes]
) -> tuple[bytes, bytes, int, list[bytes]]:
    """Give an endpoint's zone, owner, type and data. Raises: DataFault."""
    if endpoint.set_identifier:
        raise DataFault("sets of one name by identifier are not done here", place="setIdentifier")
    owner = read_owner(f"{endpoint.dns_name.rstrip('.')}.", names.ROOT)
    origin = _zone_of(owner, origins)
    if origin is None:
        raise DataFault("it is in no zone that may be changed", place="dnsName")
    rdtype = read_type(endpoint.record_type)
    if rdtype not in _NAMES:
        raise DataFault("external-dns has no such type", place="recordType")
    name, kind = names.to_text(owner), endpoint.record_type
    if rdtype == codes.CNAME and endpoint.is_alias:
        kind = "ALIAS"
    drafts = [Draft(name, kind, _value(rdtype, one)) for one in endpoint.targets or ()]
    if not drafts:
        raise DataFault("there is no target", place="targets")
    read = [read_draft(draft, origin) for draft in drafts]
    return origin, owner, read[0].rdtype, [record.rdata for record in read]


def _adjusted(endpoint: Endpoint, origins: list[bytes]) -> dict[str, Any]:
    """Give an endpoint as it will be told by `/records`, so that no plan sees a difference.

    A CNAME at an apex becomes an ALIAS; properties that mean nothing here are taken off.
    """
    is_alias = endpoint.record_type == "CNAME" and endpoint.is_alias
    try:
        rdtype = read_type(endpoint.record_type)
        owner = read_owner(f"{endpoint.dns_name.rstrip('.')}.", names.ROOT)
        is_alias = is_alias or (rdtype == codes.CNAME and owner in origins)
        read = [
            read_draft(Draft("@", endpoint.record_type, _value(rdtype, one)), names.ROOT)
            for one in endpoint.targets or ()
        ]
        targets = [_shown(rdtype, write_rdata(rdtype, record.rdata)) for record in read]
    except DataFault:
        targets = endpoint.targets or []  # it is refused, with its reason, where it is applied
    own = [Property(name=_ALIAS, value="true")] if is_alias else None
    after = endpoint.model_copy(update={"targets": targets, "provider_specific": own})
    return after.model_dump(by_alias=True, exclude_none=True)


def _value(rdtype: int, target: str) -> str:
    """Give a target as zone text has it: names absolute, text quoted."""
    if rdtype in _ENDS_IN_NAME and not target.endswith("."):
        return f"{target}."
    if rdtype == codes.TXT and not target.startswith('"'):
        octets = target.encode()
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        return " ".join(quote(piece) for piece in pieces)
    return target


def _shown(rdtype: int, text: str) -> str:
    is_bare = rdtype in _ENDS_IN_NAME and rdtype not in _KEEPS_DOT and len(text) > 1
    return text.removesuffix(".") if is_bare else text


def _zones(operations: Operations, caller: Caller) -> list[bytes]:
    """Give the zones a caller may change; not the root, whose filter would match every domain."""
    found = [one.origin for one in operations.zones(caller) if caller.may_change(one.origin)]
    return [origin for origin in found if origin != names.ROOT]


def _zone_of(owner: bytes, origins: list[bytes]) -> bytes | None:
    found = [origin for origin in origins if names.is_subdomain(owner, origin)]
    return max(found, key=len) if found else None


def _acceptable(accept: Annotated[str, Header()] = "") -> None:
    """Refuse a client that wants another version of the protocol alone."""
    kinds = [kind.replace(" ", "").partition(";q=")[0] for kind in accept.split(",") if kind]
    if kinds and not {MEDIA_TYPE, "*/*", "application/*"} & set(kinds):
        raise HTTPException(406, f"this is spoken here: {MEDIA_TYPE}")


async def _body(request: Request) -> bytes:
    """Give a body; Go's client sends it without a content type."""
    kind = request.headers.get("content-type", "").replace(" ", "")
    if kind.startswith("application/external.dns.webhook") and kind != MEDIA_TYPE:
        raise HTTPException(415, f"this is spoken here: {MEDIA_TYPE}")
    return await request.body()


def _read(reader: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        found = reader(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise DataFault(first["msg"], place=place) from error
    lists = found.__dict__.values() if isinstance(found, Changes) else (found,)
    if sum(len(one or ()) for one in lists) > _ENDPOINTS_MAX:
        raise DataFault(f"more than {_ENDPOINTS_MAX} endpoints", place="body")
    return found


def _shown_as(adapter: TypeAdapter[Any]) -> dict[int | str, dict[str, Any]]:
    """Say a success's shape for OpenAPI."""
    schema = adapter.json_schema(ref_template="#/{model}")
    found = schema.pop("$defs", {})
    if "items" in schema:
        schema["items"] = {**found.get("Endpoint", {}), "properties": {}}
    return {200: {"content": {MEDIA_TYPE: {"schema": schema}}}}


def _answer(value: Any) -> Response:
    return Webhook(json.dumps(value), 200, _HEADERS)
