"""The console: all its pages, added to an application that has the API."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

import quada.api.problem as problem
from quada.api.operations import NotFound, Operations
from quada.console.entering import add_login
from quada.console.pages import Pages, shown_route
from quada.console.people import add_people
from quada.console.serving import add_server
from quada.console.session import Sessions
from quada.console.watching import add_looking, add_watching
from quada.console.zoning import add_editor, add_zones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quada.console.oidc import Provider
    from quada.console.serving import Setting


def add_console(
    app: FastAPI,
    operations: Operations,
    provider: "Provider | None" = None,
    settings: "Sequence[Setting]" = (),
) -> None:
    """Add the console; logins through a provider of identities where there is one.

    Takes the settings in effect, to show them to administrators.
    """
    pages = Pages()
    sessions = Sessions(operations, app.state.gate)
    router = APIRouter(include_in_schema=False, route_class=shown_route(pages))
    add_login(router, pages, sessions, provider)
    add_zones(router, pages, sessions, operations, app)
    add_editor(router, pages, sessions, operations)
    add_watching(router, pages, sessions, operations)
    add_server(router, pages, sessions, operations, app, settings)
    add_looking(router, pages, sessions, app)
    add_people(router, pages, sessions, operations)
    app.include_router(router)

    def show(request: Request, fault: Exception) -> Response:
        """Say to a browser on a page what is wrong, to a program as the API does."""
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and isinstance(fault, HTTPException) and fault.status_code == 404:
            missing = NotFound("there is no such page", place=request.url.path)
            return pages.show("fault.html", code=404, fault=missing)
        return problem.show(request, fault)

    app.add_exception_handler(HTTPException, show)
