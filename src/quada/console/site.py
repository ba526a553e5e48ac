"""The console: all its pages, added to an application that has the API."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI

from quada.api.operations import Operations
from quada.console.entering import add_login
from quada.console.pages import Pages, shown_route
from quada.console.people import add_people
from quada.console.session import Sessions
from quada.console.watching import add_looking, add_watching
from quada.console.zoning import add_editor, add_zones

if TYPE_CHECKING:
    from quada.console.oidc import Provider


def add_console(app: FastAPI, operations: Operations, provider: "Provider | None" = None) -> None:
    """Add the console; logins through a provider of identities where there is one."""
    pages = Pages()
    sessions = Sessions(operations, app.state.gate)
    router = APIRouter(include_in_schema=False, route_class=shown_route(pages))
    add_login(router, pages, sessions, provider)
    add_zones(router, pages, sessions, operations, app)
    add_editor(router, pages, sessions, operations)
    add_watching(router, pages, sessions, operations)
    add_looking(router, pages, sessions, app)
    add_people(router, pages, sessions, operations)
    app.include_router(router)
