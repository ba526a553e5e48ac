"""What a page of a zone of 100,000 records costs the web process, without the network."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from quada.api.http import make_app
from quada.api.operations import Operations
from quada.console.pages import add_console
from quada.console.session import COOKIE
from quada.store.accounts import Accounts
from quada.store.alerts import AlertStore
from quada.store.zones import Author, ZoneStore
from quada.zones import read_zone

_RECORDS = 100_000
_RUNS = 9
_PATHS = {
    "first page": "/zones/example.com.",
    "page 500": "/zones/example.com.?page=500",
    "search": "/zones/example.com.?text=host99",
    "API, page of 100": "/v2/1/zones/example.com/records?per_page=100&page=500",
    "API, by name": "/v2/1/zones/example.com/records?name=host77777",
}


class _Nobody:
    ignores: frozenset[str] = frozenset()

    def look(self, name: str) -> Any:
        raise NotImplementedError

    def logged(self, name: str, minutes: int) -> Any:
        raise NotImplementedError

    def command(self, wanted: str, /, **arguments: Any) -> Any:
        return {}

    def recent(self, count: int) -> list[Any]:
        return []

    def following(self, since_ns: int | None = None) -> Any:
        return list


async def measure(place: Path) -> dict[str, list[float]]:
    """Give milliseconds of each path, the first request of all apart."""
    lines = ["$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::53\n"]
    lines += [f"host{n} AAAA 2001:db8::{n >> 16:x}:{n & 0xFFFF:x}\n" for n in range(_RECORDS)]
    store, accounts = ZoneStore.open(place / "zones.db"), Accounts.open(place / "accounts.db")
    store.create(read_zone("".join(lines), b"\x07example\x03com\x00"), Author("bench"), 1)
    accounts.add_user("bench", ("admin",), 1)
    alerts = AlertStore.open(place / "alerts.db")
    operations = Operations(store, accounts, alerts, _Nobody(), lambda: int(time.time()))
    app = make_app(operations, place, requests_per_hour=100_000)
    add_console(app, operations)
    headers = {"Authorization": f"Bearer {accounts.add_token('bench', ('admin',), 1)}"}
    cookies = {COOKIE: accounts.begin_session("bench", int(time.time()))}
    transport = httpx.ASGITransport(app)
    out: dict[str, list[float]] = {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://[::1]", headers=headers, cookies=cookies
    ) as client:
        for title, path in {"first of all": "/zones/example.com.", **_PATHS}.items():
            for _ in range(1 if title == "first of all" else _RUNS):
                started = time.perf_counter()
                (await client.get(path)).raise_for_status()
                out.setdefault(title, []).append((time.perf_counter() - started) * 1000)
    return out


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as place:
        found = asyncio.run(measure(Path(place)))
    for title, values in found.items():
        print(f"{title}: median {statistics.median(values):.0f} ms, most {max(values):.0f} ms")


if __name__ == "__main__":
    main()
