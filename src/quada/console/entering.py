"""Coming in and going out: links, passwords, and what all pages load."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Cookie, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from quada.console.pages import Pages
from quada.console.session import COOKIE, Login, Sessions
from quada.wire.faults import Fault, PeerFault, ReachFault

if TYPE_CHECKING:
    from quada.console.oidc import Provider

_HERE: Final = Path(__file__).parent
_BEGUN: Final = "quada_oidc"
_STATIC: Final = {
    "console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml",
}  # fmt: skip

_ENDED: Final = (
    "Your session had ended, and what you sent was not done. Log in, then go back in your browser"
    " to what you typed, or begin anew."
)


def add_login(
    router: APIRouter, pages: Pages, sessions: Sessions, provider: "Provider | None"
) -> None:
    """Add login, logout, and what all pages load."""

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        kind = _STATIC.get(name)
        if kind is None:
            return Response(status_code=404)
        headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
        return Response((_HERE / "static" / name).read_bytes(), 200, headers, kind)

    def shown(once: str = "", fault: str = "", code: int = 200, then: str = "") -> Response:
        title = provider.title if provider is not None else ""
        return pages.show(
            "login.html", code=code, once=once, fault=fault, provider=title, then=then
        )

    @router.get("/login")
    def login_page(once: str = "", then: str = "", ended: bool = False) -> Response:
        # A link is used by a click, not by being fetched: mail scanners and previews fetch.
        fault = _ENDED if ended else ""
        return shown(once=once, then=then, fault=fault)

    @router.post("/login")
    def log_in(
        request: Request,
        once: Annotated[str, Form()] = "",
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        then: Annotated[str, Form()] = "",
    ) -> Response:
        entered = (
            sessions.by_link(request, once, then)
            if once
            else sessions.by_password(request, name, password, then)
        )
        wrong = "That link or password is not good, or no longer."
        return entered or shown(code=403, fault=wrong, then=then)

    @router.post("/logout")
    def log_out(
        login: Annotated[Login, Depends(sessions.posted)],
        cookie: Annotated[str, Cookie(alias=COOKIE)] = "",
    ) -> Response:
        left = sessions.leave(cookie)
        if provider is None or not login.is_vouched:
            return left
        try:
            url = provider.leaving(sessions.now())
        except Fault:  # the session here has ended all the same
            return left
        if not url:
            return left
        # Not a redirect: our policy lets forms lead nowhere else.
        page = pages.show("left.html", url=url, provider=provider.title)
        page.headers["set-cookie"] = left.headers["set-cookie"]
        return page

    if provider is not None:
        _add_provider(router, pages, sessions, provider, shown)


def _add_provider(
    router: APIRouter,
    pages: Pages,
    sessions: Sessions,
    provider: "Provider",
    shown: Callable[..., Response],
) -> None:
    @router.get("/login/oidc")
    def begin(request: Request) -> Response:
        sessions.may_try(request)
        cookie = secrets.token_urlsafe(24)
        try:
            response = RedirectResponse(provider.begin(cookie, sessions.now()), 303)
        except Fault as fault:
            return shown(code=502, fault=str(fault))
        # Lax, because the browser comes back by a link of the provider's.
        response.set_cookie(
            _BEGUN, cookie, max_age=600, path="/login/oidc", httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    @router.get("/login/oidc/back")
    def back(request: Request, cookie: Annotated[str, Cookie(alias=_BEGUN)] = "") -> Response:
        sessions.may_try(request)
        try:
            person = provider.end(cookie, dict(request.query_params), sessions.now())
        except ReachFault as fault:
            return shown(code=502, fault=str(fault))
        except PeerFault as fault:
            sessions.refuse_word(request, fault.message)
            return shown(
                code=403, fault="The provider's word was not taken: the audit log says why."
            )
        entered = sessions.by_word(request, person)
        if entered is None:
            return shown(code=403, fault="You are known, but nothing here is granted to you.")
        # A redirect would still be the provider's navigation, which carries no strict cookie.
        page = pages.show("entered.html")
        page.headers["set-cookie"] = entered.headers["set-cookie"]
        return page
