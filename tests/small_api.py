"""The API without sockets: an application over a state directory, and a client that calls it."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from quada.api.http import make_app
from quada.api.operations import Operations
from quada.store.accounts import Accounts
from quada.store.alerts import AlertStore
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.telemetry.event import Event
from quada.wire.faults import ReachFault
from quada.zones import read_zone

ORIGIN = b"\x07example\x03com\x00"
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ MX 10 mail
ns1 AAAA 2001:db8::53
mail AAAA 2001:db8::25
www AAAA 2001:db8::80
"""


class Nobody:
    """A server that does not run, or that gives the results it is told to."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.seen: list[Any] = []

    def command(self, wanted: str, /, **arguments: Any) -> Any:
        if wanted not in self.told:
            raise ReachFault("no server answers")
        return self.told[wanted]

    ignores = frozenset(("documentation", "loopback"))

    async def look(self, name: str) -> Any:
        for told in self.seen:
            if isinstance(told, Exception):
                raise told
            yield told

    def logged(self, name: str, minutes: int) -> Any:
        raise ReachFault("no events are kept here")

    def span(self, start_s: int, slice_s: int, slice_count: int) -> Any:
        raise ReachFault("no events are kept here")

    def recent(self, count: int) -> list[Event]:
        return []

    def following(self, since_ns: int | None = None) -> Callable[[], list[Event]]:
        return lambda: []


class Http:
    """A client of an application, without sockets."""

    raises = True

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._headers = {"Authorization": f"Bearer {token}"}

    def request(
        self, method: str, path: str, headers: dict | None = None, **options: Any
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(
                self._app, raise_app_exceptions=self.raises, client=("2001:db8::c", 1)
            )
            async with httpx.AsyncClient(transport=transport, base_url="http://[::1]") as client:
                return await client.request(
                    method, path, headers={**self._headers, **(headers or {})}, **options
                )

        return asyncio.run(ask())

    def __getattr__(self, method: str) -> Callable[..., httpx.Response]:
        return functools.partial(self.request, method.upper())


class Api:
    """The application, called with a token."""

    def __init__(self, place: Path, requests_per_hour: int = 1000) -> None:
        self.place = place
        self.accounts = Accounts.open(place / "accounts.db")
        self.store = ZoneStore.open(place / "zones.db")
        self.store.create(read_zone(TEXT, ORIGIN), Author("test"), 1)
        self.alerts = AlertStore.open(place / "alerts.db")
        self.server = Nobody()
        self.now_s = 1_700_000_000
        operations = self.operations = Operations(
            self.store, self.accounts, self.alerts, self.server, lambda: self.now_s
        )
        self.app = make_app(operations, place, requests_per_hour=requests_per_hour)
        self.token = self.accounts.add_token("all", ("admin",), 1)
        self.http = self.client(self.token)

    def client(self, token: str) -> Http:
        return Http(self.app, token)

    def records(self, **query: Any) -> list[dict[str, Any]]:
        return self.http.get("/v2/1/zones/example.com/records", params=query).json()["data"]

    def close(self) -> None:
        self.app.state.answers.close()
        self.accounts.close()
        self.alerts.close()
        self.store.close()
