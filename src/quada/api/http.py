"""The HTTP application: who calls, limits, and the routers of each form."""

import base64
import binascii
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import quada.api.agents as agents
import quada.api.dnsimple as dnsimple
import quada.api.dnssec as dnssec
import quada.api.externaldns as externaldns
import quada.api.own as own
import quada.api.powerdns as powerdns
import quada.api.problem as problem
from quada import __version__
from quada.api.access import Caller, Unauthenticated
from quada.api.operations import Operations
from quada.api.repeats import Repeats, describe
from quada.api.runs import Runs
from quada.store.answers import FILE, Answers
from quada.wire.faults import Fault

_BODY_OCTETS_MAX: Final = 16 << 20  # a zone text of some 200,000 records
_HOUR_S: Final = 3600
_FAILURES_MAX: Final = 20  # wrong tokens and passwords from one network in an hour
_NETWORKS_MAX: Final = 10_000
_TOKEN: Final = "token"  # the name in Basic credentials whose password is a token
Bearer = Annotated[Any, Security(HTTPBearer(auto_error=False))]
ApiKey = Annotated[Any, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]


class Counter:
    """Counts by key within the hour, for a bounded number of keys."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._hour = 0

    def add(self, key: str, now_s: int) -> int:
        """Count one, and give how many are left."""
        self._turn(now_s)
        self._counts[key] = self._counts.get(key, 0) + 1
        while len(self._counts) > _NETWORKS_MAX:
            self._counts.popitem(last=False)
        return self.limit - self._counts[key]

    def left(self, key: str, now_s: int) -> int:
        """Give how many are left."""
        self._turn(now_s)
        return self.limit - self._counts.get(key, 0)

    def _turn(self, now_s: int) -> None:
        if now_s // _HOUR_S != self._hour:
            self._hour = now_s // _HOUR_S
            self._counts.clear()


class Gate:
    """Finds out who calls. `failures` counts wrong secrets by the caller's network."""

    def __init__(self, operations: Operations, per_hour: int) -> None:
        self._operations = operations
        self.failures = Counter(_FAILURES_MAX)
        self.requests = Counter(per_hour)

    def __call__(self, request: Request, _bearer: Bearer = None, _key: ApiKey = None) -> Caller:
        """Give the caller of a route; the parameters are there for OpenAPI."""
        return self.caller(request)

    def caller(self, request: Request) -> Caller:
        """Give the caller: a bearer token, an API key, or a user's name and password.

        Asked again of one request, it gives the same and counts nothing. Raises: Unauthenticated,
        and HTTPException 429 for who asked too often.
        """
        known: Caller | None = getattr(request.state, "caller", None)
        if known is not None:
            return known
        authorization = request.headers.get("authorization", "")
        x_api_key = request.headers.get("x-api-key", "")
        now_s = self._operations.now()
        place = request.client.host if request.client else ""
        network = network_of(place)
        kind, _, rest = authorization.partition(" ")
        caller: Caller | None = None
        if not self.may_try(network, now_s):
            raise HTTPException(429, "too many wrong tokens or passwords: try again in an hour")
        if kind.lower() == "basic":
            caller = self._by_password(rest, place)
        else:
            secret = rest.strip() if kind.lower() == "bearer" else x_api_key
            token = self._operations.accounts.check_token(secret, now_s) if secret else None
            if token is not None:
                caller = Caller(f"token {token.name}", place, token.scopes)
        if caller is None:
            if authorization or x_api_key:
                self.failures.add(network, now_s)
            raise Unauthenticated(
                "Authentication failed", remedy="send a token made by `quada token add`"
            )
        left = self.requests.add(caller.who, now_s)
        request.state.left = max(left, 0)
        if left < 0:
            raise HTTPException(429, "quota exceeded")
        request.state.caller = caller
        return caller

    def may_try(self, network: str, now_s: int) -> bool:
        """Tell whether a network may try another secret."""
        return self.failures.left(network, now_s) > 0

    def _by_password(self, encoded: str, place: str) -> Caller | None:
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if name == _TOKEN:  # clients that know no header but have a URL to put it in
            token = self._operations.accounts.check_token(password, self._operations.now())
            if token is not None:
                return Caller(f"token {token.name}", place, token.scopes)
        user = self._operations.accounts.check_password(name, password)
        return None if user is None else Caller(f"user {user.name}", place, user.scopes)


def make_app(operations: Operations, state_dir: Path, *, requests_per_hour: int) -> FastAPI:
    """Make the application with every form of the API. Takes where its own files are."""
    app = FastAPI(
        title="quada",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/quada/v1/openapi.json",
        description="Zones and records as DNSimple v2, as PowerDNS v1, and in quada's own form.",
    )
    gate = Gate(operations, requests_per_hour)
    app.state.gate = gate
    app.state.runs = Runs(operations, state_dir / "runs")
    app.state.keys = dnssec.ZoneKeys(operations, state_dir)
    app.state.answers = Answers.open(state_dir / FILE)
    for make in (dnsimple.make_router, powerdns.make_router, externaldns.make_router):
        app.include_router(make(operations, gate), responses=problem.OTHERS_RESPONSES)
    app.include_router(
        own.make_router(operations, gate, app.state.runs), responses=problem.RESPONSES
    )
    app.include_router(dnssec.make_router(operations, gate, app.state.keys))
    app.state.desk = agents.Desk()
    app.include_router(agents.make_router(gate, app.state.desk), responses=problem.RESPONSES)
    app.include_router(problem.make_router())
    for kind in (Fault, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, problem.show)

    app.add_middleware(
        Repeats,
        answers=app.state.answers,
        caller_of=gate.caller,
        now=operations.now,
        show=problem.show,
    )

    @app.get("/healthz", tags=["quada"], include_in_schema=False)
    @app.get("/health", tags=["quada"])
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.middleware("http")
    async def limits(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await go_on(request)
        # dnsimple-python reads these three from every success.
        left = getattr(request.state, "left", requests_per_hour)
        hour_end = (operations.now() // _HOUR_S + 1) * _HOUR_S
        response.headers["X-RateLimit-Limit"] = str(requests_per_hour)
        response.headers["X-RateLimit-Remaining"] = str(left)
        response.headers["X-RateLimit-Reset"] = str(hour_end)
        return response

    app.add_middleware(BodyLimit)
    make_document = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            describe(make_document())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    return app


class BodyLimit:
    """Ends a request whose body is larger than any of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        octets = 0

        async def counted() -> Message:
            nonlocal octets
            message = await receive()
            octets += len(message.get("body", b""))
            if octets > _BODY_OCTETS_MAX:
                raise HTTPException(413, "the body is too large")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


def network_of(address: str) -> str:
    """Give the network whose tries are counted together: a /64, or an IPv4 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64 if ip.version == 6 else 32), strict=False))
