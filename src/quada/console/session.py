"""Logins: a cookie that scripts cannot read, and a secret that every form must carry."""

from typing import Annotated, Final, NamedTuple

from fastapi import Cookie, Form, Request
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from quada.api.access import Caller, Denied
from quada.api.http import Gate, network_of
from quada.api.operations import Operations
from quada.store.accounts import SESSION_S, is_same

COOKIE: Final = "quada_session"


class Login(NamedTuple):
    """Who is logged in; `csrf` is what their forms carry."""

    caller: Caller
    csrf: str
    has_password: bool


class Sessions:
    """Begins, finds and ends logins."""

    def __init__(self, operations: Operations, gate: Gate) -> None:
        self._operations = operations
        self._gate = gate

    def login(self, request: Request, cookie: Annotated[str, Cookie(alias=COOKIE)] = "") -> Login:
        """Give the login of a request, or send its browser to the login page."""
        accounts = self._operations.accounts
        session = accounts.session(cookie, self._operations.now()) if cookie else None
        user = accounts.user(session.user) if session else None
        if session is None or user is None:
            raise HTTPException(303, headers={"Location": "/login"})
        caller = Caller(f"user {user.name}", _place(request), user.scopes)
        return Login(caller, session.csrf, user.has_password)

    def posted(
        self,
        request: Request,
        cookie: Annotated[str, Cookie(alias=COOKIE)] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Login:
        """Give the login of a form. Raises: Denied where the form is not one of ours."""
        login = self.login(request, cookie)
        if not is_same(csrf, login.csrf):
            raise Denied("this form is not from your session", remedy="load the page again")
        return login

    def by_link(self, request: Request, secret: str) -> RedirectResponse | None:
        """Let in who has a one-time link."""
        self._may_try(request)
        user = self._operations.accounts.use_link(secret, self._operations.now())
        return self._enter(request, user, "login by link")

    def by_password(self, request: Request, name: str, password: str) -> RedirectResponse | None:
        """Let in who knows a user's password."""
        self._may_try(request)
        user = self._operations.accounts.check_password(name, password)
        return self._enter(request, user.name if user else None, "login")

    def leave(self, cookie: str) -> RedirectResponse:
        """End a login."""
        self._operations.accounts.end_session(cookie)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    def _may_try(self, request: Request) -> None:
        network = network_of(_place(request))
        if not self._gate.may_try(network, self._operations.now()):
            raise HTTPException(429, "too many wrong passwords: try again in an hour")

    def _enter(self, request: Request, user: str | None, what: str) -> RedirectResponse | None:
        now_s = self._operations.now()
        accounts = self._operations.accounts
        if user is None:
            self._gate.failures.add(network_of(_place(request)), now_s)
            accounts.audit(now_s, "", _place(request), f"{what} refused")
            return None
        accounts.audit(now_s, f"user {user}", _place(request), what)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE, accounts.begin_session(user, now_s), max_age=SESSION_S, httponly=True,
            samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return response


def _place(request: Request) -> str:
    return request.client.host if request.client else ""
