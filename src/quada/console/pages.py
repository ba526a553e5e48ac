"""The pages. Each shows what an operation gives, and says which command does the same."""

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import jinja2
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

import quada.wire.names as names
from quada.api.operations import Operations
from quada.api.problem import status_of
from quada.console.session import Login
from quada.wire.faults import Fault, ReachFault
from quada.zones import write_record
from quada.zones.rdata import type_name, write_rdata

_HERE: Final = Path(__file__).parent
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


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
        return HTMLResponse(text, code, HEADERS)


def shown_route(pages: Pages) -> type[APIRoute]:
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


def _time(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "never"


def status_of_server(operations: Operations) -> dict[str, Any]:
    """Give the server's status; empty where it does not answer."""
    try:
        found: dict[str, Any] = operations.server.command("status")
    except ReachFault:
        return {}
    return found
