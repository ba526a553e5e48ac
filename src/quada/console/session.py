"""Logins: a cookie that scripts cannot read, and a secret that every form must carry."""

from typing import Annotated, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from fastapi import Cookie, Form, Request
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from quada.api.access import Caller, Denied
from quada.api.http import Gate, network_of
from quada.api.operations import Operations
from quada.store.accounts import SESSION_S, is_same

COOKIE: Final = "quada_session"
VOUCHED: Final = "oidc:"
"""Before the names of users whom a provider vouches for; they have no password here."""


class Login(NamedTuple):
    """Who is logged in; `csrf` is what their forms carry."""

    caller: Caller
    csrf: str
    has_password: bool
    is_vouched: bool = False


class Person(NamedTuple):
    """Whom a provider of identities vouches for, and what that allows here."""

    name: str
    scopes: tuple[str, ...]


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
            raise HTTPException(303, headers={"Location": _login_page(request)})
        caller = Caller(f"user {user.name}", _place(request), user.scopes)
        is_vouched = user.name.startswith(VOUCHED)
        return Login(caller, session.csrf, user.has_password or is_vouched, is_vouched)

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

    def by_link(self, request: Request, secret: str, then: str = "") -> RedirectResponse | None:
        """Let in who has a one-time link, and send them to a page of ours."""
        self.may_try(request)
        user = self._operations.accounts.use_link(secret, self._operations.now())
        return self._enter(request, user, "login by link", then)

    def by_password(
        self, request: Request, name: str, password: str, then: str = ""
    ) -> RedirectResponse | None:
        """Let in who knows a user's password, and send them to a page of ours."""
        self.may_try(request)
        user = self._operations.accounts.check_password(name, password)
        return self._enter(request, user.name if user else None, "login", then)

    def now(self) -> int:
        """Give the time, in seconds of the Unix epoch."""
        return self._operations.now()

    def may_try(self, request: Request) -> None:
        """Refuse who failed too often. Raises: HTTPException 429."""
        network = network_of(_place(request))
        if not self._gate.may_try(network, self._operations.now()):
            raise HTTPException(429, "too many wrong passwords: try again in an hour")

    def by_word(self, request: Request, person: Person) -> RedirectResponse | None:
        """Let in whom a provider vouches for, with the scopes its word is worth today.

        Who is granted nothing (any more) is let out, and refused.
        """
        accounts = self._operations.accounts
        if not person.scopes:
            if accounts.user(person.name) is not None:
                accounts.remove_user(person.name)
            self.refuse_word(request, f"{person.name}: nothing is granted")
            return None
        accounts.put_user(person.name, person.scopes, self._operations.now())
        return self._enter(request, person.name, "login by OpenID Connect")

    def refuse_word(self, request: Request, why: str) -> None:
        """Note a login that a provider's word did not lead to."""
        now_s, place = self._operations.now(), _place(request)
        self._gate.failures.add(network_of(place), now_s)
        self._operations.accounts.audit(now_s, "", place, "login by OpenID Connect refused", why)

    def leave(self, cookie: str) -> RedirectResponse:
        """End a login."""
        self._operations.accounts.end_session(cookie)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    def _enter(
        self, request: Request, user: str | None, what: str, then: str = ""
    ) -> RedirectResponse | None:
        now_s = self._operations.now()
        accounts = self._operations.accounts
        if user is None:
            self._gate.failures.add(network_of(_place(request)), now_s)
            accounts.audit(now_s, "", _place(request), f"{what} refused")
            return None
        accounts.audit(now_s, f"user {user}", _place(request), what)
        response = RedirectResponse(then if _is_ours(then) else "/", 303)
        response.set_cookie(
            COOKIE, accounts.begin_session(user, now_s), max_age=SESSION_S, httponly=True,
            samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return response


def _login_page(request: Request) -> str:
    """Give where to log in, and how to come back from there to where one was."""
    if request.method == "GET":
        was = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return "/login" if was == "/" else f"/login?{urlencode({'then': was})}"
    page = urlsplit(request.headers.get("referer", ""))
    was = page.path + (f"?{page.query}" if page.query else "")
    return f"/login?{urlencode({'then': was or '/', 'ended': 'true'})}"


def _is_ours(then: str) -> bool:
    """Tell whether a place to go to is a page here, and not one that only looks so."""
    return then.startswith("/") and then[1:2] not in ("/", "\\") and then.isprintable()


def _place(request: Request) -> str:
    return request.client.host if request.client else ""
