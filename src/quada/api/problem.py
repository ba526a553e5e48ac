"""How faults are said: as problem details (RFC 9457) by quada's own form, in DNSimple's by others.

DNSimple's envelope (`message`, `errors` by field) is what its clients read; PowerDNS's clients read
`error`. Both carry the fault's stable code and remedy too.
"""

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from quada.api.access import Denied, Unauthenticated
from quada.api.operations import NotFound
from quada.api.runs import Busy
from quada.store.answers import KeyBusy, KeyReused, KeysFull
from quada.store.keys import StaleSave
from quada.store.zones import SerialConflict
from quada.wire.faults import DataFault, Fault, ReachFault

OWN: Final = "/quada/v1"
MEDIA_TYPE: Final = "application/problem+json"  # RFC 9457 6.1
_STATUS: Final[tuple[tuple[type[Fault], int], ...]] = (
    (Unauthenticated, 401),
    (Denied, 403),
    (NotFound, 404),
    (SerialConflict, 412),
    (KeyReused, 422),
    (KeyBusy, 409),
    (StaleSave, 409),
    (KeysFull, 429),
    (DataFault, 400),
    (Busy, 503),
    (ReachFault, 504),
)


class Wrong(BaseModel):
    """One thing that is wrong with a request: where, and why."""

    field: str
    detail: str


class Problem(BaseModel):
    """A problem (RFC 9457 3.1); `code`, `remedy` and `errors` are quada's own members."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    remedy: str = ""
    errors: list[Wrong] = []


class Kind(BaseModel):
    """What a type of problem means."""

    type: str
    title: str
    status: int


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": words,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    for status, words in (("4XX", "What is wrong with the request"), ("5XX", "What failed here"))
}
"""What every route of quada's own may answer instead, for OpenAPI."""
_DNSIMPLE_SCHEMA: Final = {
    "type": "object",
    "required": ["message", "code"],
    "properties": {
        "message": {"type": "string"},
        "code": {"type": "string"},
        "error": {"type": "string"},
        "remedy": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "array"}},
    },
}
OTHERS_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": words, "content": {"application/json": {"schema": _DNSIMPLE_SCHEMA}}}
    for status, words in (("4XX", "What is wrong with the request"), ("5XX", "What failed here"))
}


def status_of(fault: Fault) -> int:
    """Give the HTTP status that says a fault."""
    return next((status for kind, status in _STATUS if isinstance(fault, kind)), 500)


def show(request: Request, fault: Exception) -> Response:
    """Give the answer that says a fault, in the form of the path it came by."""
    own = request.url.path.startswith(f"{OWN}/")
    if isinstance(fault, HTTPException):
        said = _problem_of_http(request, fault) if own else _http(fault)
        return JSONResponse(
            said, fault.status_code, fault.headers, MEDIA_TYPE if own else "application/json"
        )
    if isinstance(fault, RequestValidationError):
        return _problem_of_invalid(request, fault) if own else _invalid(fault)
    if not isinstance(fault, Fault):
        broken = HTTPException(500, "something broke here; the server's log says what")
        return show(request, broken)
    status = status_of(fault)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    if own:
        return JSONResponse(_problem(request, fault, status), status, headers, MEDIA_TYPE)
    return JSONResponse(_envelope(fault, status), status, headers)


def make_router() -> APIRouter:
    """Make the routes that say what each type of problem means."""
    router = APIRouter(prefix=f"{OWN}/problems", tags=["quada"], responses=RESPONSES)

    @router.get("")
    def kinds() -> list[Kind]:
        return [_kind(kind, status) for kind, status in _STATUS]

    @router.get("/{code}")
    def kind(code: str) -> Kind:
        for known, status in _STATUS:
            if known.code == code:
                return _kind(known, status)
        raise NotFound(f"no problem here has the code {code!r}", place="code")

    return router


def _kind(kind: type[Fault], status: int) -> Kind:
    return Kind(type=_type(kind.code), title=_title(kind), status=status)


def _type(code: str) -> str:
    return f"{OWN}/problems/{code}"


def _title(kind: type[Fault]) -> str:
    return (kind.__doc__ or kind.code).partition("\n")[0].partition(";")[0].rstrip(".")


def _problem(request: Request, fault: Fault, status: int) -> dict[str, Any]:
    kind = next((kind for kind, _ in _STATUS if isinstance(fault, kind)), type(fault))
    errors = [Wrong(field=fault.place or "base", detail=fault.message)] if status == 400 else []
    return Problem(
        type=_type(kind.code), title=_title(kind), status=status, detail=fault.message,
        instance=request.url.path, code=fault.code, remedy=fault.remedy, errors=errors,
    ).model_dump()  # fmt: skip


def _problem_of_http(request: Request, fault: HTTPException) -> dict[str, Any]:
    return Problem(
        type="about:blank", title=HTTPStatus(fault.status_code).phrase, status=fault.status_code,
        detail=fault.detail, instance=request.url.path, code=f"http-{fault.status_code}",
    ).model_dump()  # fmt: skip


def _problem_of_invalid(request: Request, fault: RequestValidationError) -> Response:
    errors = [Wrong(field=field, detail=detail) for field, detail in _fields(fault)]
    said = Problem(
        type=_type(DataFault.code), title=_title(DataFault), status=400,
        detail="Validation failed", instance=request.url.path, code=DataFault.code, errors=errors,
    )  # fmt: skip
    return JSONResponse(said.model_dump(), 400, media_type=MEDIA_TYPE)


def _envelope(fault: Fault, status: int) -> dict[str, Any]:
    body: dict[str, Any] = {"message": fault.message, "code": fault.code}
    if status == 400:
        body = {"message": "Validation failed", "errors": {fault.place or "base": [fault.message]}}
        body["code"] = fault.code
    if fault.remedy:
        body["remedy"] = fault.remedy
    # Some of PowerDNS's clients show this key alone.
    body["error"] = str(fault)
    return body


def _invalid(fault: RequestValidationError) -> Response:
    errors: dict[str, list[str]] = {}
    for field, detail in _fields(fault):
        errors.setdefault(field, []).append(detail)
    body = {"message": "Validation failed", "errors": errors, "code": DataFault.code}
    return JSONResponse({**body, "error": "Validation failed"}, 400)


def _http(fault: HTTPException) -> dict[str, Any]:
    return {
        "message": fault.detail, "error": fault.detail, "code": f"http-{fault.status_code}"
    }  # fmt: skip


def _fields(fault: RequestValidationError) -> list[tuple[str, str]]:
    return [
        (".".join(str(part) for part in error["loc"][1:]) or "base", error["msg"])
        for error in fault.errors()
    ]
