"""Pages of the server itself: what runs, which agents call in, and the settings in effect."""

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, FastAPI, Response

from quada.api.agents import Desk
from quada.api.operations import Operations
from quada.console.pages import Pages, status_of_server
from quada.console.session import Login, Sessions


class Setting(Protocol):
    """A setting in effect: path, value as text (no secret), whether it was set, what it does."""

    @property
    def path(self) -> str:
        """Table and key."""

    @property
    def value(self) -> str:
        """As text."""

    @property
    def is_set(self) -> bool:
        """Whether the configuration file or an option set it."""

    @property
    def doc(self) -> str:
        """What it does."""


def add_server(
    router: APIRouter,
    pages: Pages,
    sessions: Sessions,
    operations: Operations,
    app: FastAPI,
    settings: Sequence[Setting],
) -> None:
    """Add the pages of the server."""
    Seen = Annotated[Login, Depends(sessions.login)]
    desk: Desk = app.state.desk

    @router.get("/servers")
    def servers(login: Seen) -> Response:
        login.caller.need_read()
        status = status_of_server(operations)
        return pages.show("servers.html", login, status=status, agents=desk.agents())

    @router.get("/settings")
    def shown(login: Seen, all: bool = False) -> Response:  # noqa: A002
        login.caller.need_admin()
        found = [one for one in settings if all or one.is_set]
        return pages.show("settings.html", login, settings=found, is_all=all)
