"""Idempotency keys: a changing request that comes again gets its first answer, changing nothing.

After draft-ietf-httpapi-idempotency-key-header-06. Keys belong to their caller and what the caller
may do; the request is its method, path, query, If-Match and body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from quada.store.answers import KEY_OCTETS_MAX, Answer, digest
from quada.wire.faults import DataFault, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from quada.api.access import Caller
    from quada.store.answers import Answers

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"  # Stripe's name for it
CHANGING: Final = ("POST", "PUT", "PATCH", "DELETE")
PATHS: Final = ("/quada/v1/", "/v2/", "/api/v1/")
_KEY: Final = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]+)\1')  # a string (RFC 9651), or bare
PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A repeat of the same request with the same key gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_OCTETS_MAX},
}
"""The header, for OpenAPI."""
_NOT_RUN: Final = (401, 413, 429)  # the request was turned away before anything happened


class Repeats:
    """Runs a keyed request once; everything else passes by.

    Takes the application, the kept answers, what finds a request's caller, the clock, and what
    makes an answer of a fault.
    """

    def __init__(
        self,
        app: ASGIApp,
        answers: Answers,
        caller_of: Callable[[Request], Caller],
        now: Callable[[], int],
        show: Callable[[Request, Exception], Response],
    ) -> None:
        self._app = app
        self._answers = answers
        self._caller_of = caller_of
        self._now = now
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in CHANGING:
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get(HEADER)
        if given is None or not scope["path"].startswith(PATHS):
            return await self._app(scope, receive, send)
        request = Request(scope, receive)
        try:
            key = read_key(given)
            caller = await run_in_threadpool(self._caller_of, request)
            body = await request.body()
            who = digest(caller.who.encode(), *sorted(one.encode() for one in caller.scopes))
            asked = digest(
                scope["method"].encode(), scope["path"].encode(), scope["query_string"],
                request.headers.get("if-match", "").encode(), body,
            )  # fmt: skip
            known = await run_in_threadpool(self._answers.take, who, key, asked, self._now())
        except (Fault, HTTPException) as fault:
            return await self._show(request, fault)(scope, receive, send)
        if known is not None:
            return await _replay(known)(scope, receive, send)
        return await self._run(scope, _once(body), send, who, key)

    async def _run(self, scope: Scope, receive: Receive, send: Send, who: bytes, key: str) -> None:
        """Run a request that has the key, and keep its answer before the client gets it."""
        messages: list[Message] = []

        async def hold(message: Message) -> None:
            messages.append(message)

        try:
            await self._app(scope, receive, hold)
        except BaseException:
            self._answers.lose(who, key)
            raise
        answer = _answer(messages)
        if answer.status in _NOT_RUN:
            await run_in_threadpool(self._answers.release, who, key)
        else:
            await run_in_threadpool(self._answers.keep, who, key, answer)
        for message in messages:
            await send(message)


def read_key(given: str) -> str:
    """Read the header's key. Raises: DataFault."""
    found = _KEY.fullmatch(given.strip())
    if found is None or len(found[2]) > KEY_OCTETS_MAX:
        raise DataFault(
            f"a key is 1 to {KEY_OCTETS_MAX} visible ASCII characters", place=HEADER,
            remedy='for instance a UUID, "8e03978e-40d5-43dd-bc93-6894a57f9324"',
        )  # fmt: skip
    return found[2]


def _answer(messages: list[Message]) -> Answer:
    start: dict[str, Any] = dict(messages[0])
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]
    )
    return Answer(start["status"], headers, b"".join(m.get("body", b"") for m in messages[1:]))


def _replay(known: Answer) -> Response:
    """Give a kept answer again."""
    response = Response(known.body or b"", known.status)
    kept = [(name, value) for name, value in known.headers if name != "content-length"]
    response.raw_headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in kept]
    if known.body is not None and known.status != 204:
        response.headers["Content-Length"] = str(len(known.body))
    response.headers[REPLAYED] = "true" if known.body is not None else "without-body"
    if known.body is None and known.status != 204:
        response.headers["Content-Length"] = "0"
    return response


def _once(body: bytes) -> Receive:
    """Give a body that was read already to the application."""
    is_given = False

    async def receive() -> Message:
        nonlocal is_given
        if is_given:
            return {"type": "http.disconnect"}
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def describe(document: dict[str, Any]) -> None:
    """Add the header to the changing operations of an OpenAPI document."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method.upper() in CHANGING and path.startswith(PATHS):
                operation.setdefault("parameters", []).append(PARAMETER)
