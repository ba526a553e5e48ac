"""The page of who may do what: password, tokens, users, audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from quada.api.access import Denied, check_scopes
from quada.api.operations import Operations
from quada.console.pages import Pages
from quada.console.session import VOUCHED, Login, Sessions


def add_people(router: APIRouter, pages: Pages, sessions: Sessions, operations: Operations) -> None:
    """Add the page of who may do what."""
    Seen = Annotated[Login, Depends(sessions.login)]
    Posted = Annotated[Login, Depends(sessions.posted)]
    accounts = operations.accounts

    @router.get("/people")
    def people(login: Seen) -> Response:
        return _people(login)

    @router.post("/people/password")
    def password(request: Request, login: Posted, new: Annotated[str, Form()] = "") -> Response:
        name = login.caller.who.removeprefix("user ")
        if name.startswith(VOUCHED):
            raise Denied("who comes in by OpenID Connect has no password here")
        accounts.set_password(name, new)
        operations.audit(login.caller, "password set", name)
        return RedirectResponse("/login", 303)

    @router.post("/people/tokens")
    def add_token(
        login: Posted,
        name: Annotated[str, Form()],
        scopes: Annotated[str, Form()],
        days: Annotated[int, Form(ge=0)] = 0,
    ) -> Response:
        login.caller.need_admin()
        now_s = operations.now()
        wanted = check_scopes(tuple(scopes.split()))
        secret = accounts.add_token(name, wanted, now_s, now_s + days * 86_400 if days else None)
        operations.audit(login.caller, "token added", f"{name}: {' '.join(wanted)}")
        return _people(login, secret)

    @router.post("/people/tokens/remove")
    def remove_token(login: Posted, name: Annotated[str, Form()]) -> Response:
        login.caller.need_admin()
        accounts.remove_token(name)
        operations.audit(login.caller, "token removed", name)
        return RedirectResponse("/people", 303)

    def _people(login: Login, secret: str = "") -> Response:
        is_admin = login.caller.is_admin
        return pages.show(
            "people.html", login, secret=secret, is_admin=is_admin,
            tokens=accounts.tokens() if is_admin else [],
            users=accounts.users() if is_admin else [],
            audit=accounts.audited() if is_admin else [],
        )  # fmt: skip
