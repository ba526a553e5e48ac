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
from quada.console.session import COOKIE
from quada.console.site import add_console
from quada.store.accounts import Accounts
from quada.store.alerts import AlertStore
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.wire import codes
from quada.zones import Change, Record, read_zone

_RECORDS = 100_000
_RUNS = 9
_ORIGIN = b"\x07example\x03com\x00"
_OWNER = b"\x03new" + _ORIGIN
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

    def span(self, start_s: int, slice_s: int, slice_count: int) -> Any:
        raise NotImplementedError

    def recent(self, count: int) -> list[Any]:
        return []

    def following(self, since_ns: int | None = None) -> Any:
        return list


async def measure(place: Path, *, is_warm: bool) -> dict[str, list[float]]:
    """Give milliseconds of each path: the first request of each by itself, then the others.

    Takes whether the zone was made ready before, as the web process does at its start and beside
    its requests. Its changes are made by another process's store: nothing is at hand by chance.
    """
    accounts = Accounts.open(place / "accounts.db")
    alerts = AlertStore.open(place / "alerts.db")
    store, other = ZoneStore.open(place / "zones.db"), ZoneStore.open(place / "zones.db")
    operations = Operations(store, accounts, alerts, _Nobody(), lambda: int(time.time()))
    app = make_app(operations, place, requests_per_hour=100_000)
    add_console(app, operations)
    headers = {"Authorization": f"Bearer {accounts.add_token(f'bench {is_warm}', ('admin',), 1)}"}
    cookies = {COOKIE: accounts.begin_session("bench", int(time.time()))}
    transport = httpx.ASGITransport(app)
    out: dict[str, list[float]] = {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://[::1]", headers=headers, cookies=cookies
    ) as client:

        async def take(title: str, path: str) -> None:
            started = time.perf_counter()
            (await client.get(path)).raise_for_status()
            out.setdefault(title, []).append((time.perf_counter() - started) * 1000)

        if is_warm:
            started = time.perf_counter()
            operations.warm()
            out["making ready"] = [(time.perf_counter() - started) * 1000]
        for title, path in _PATHS.items():
            await take(f"{title}: the first", path)
            for _ in range(_RUNS):
                await take(title, path)
        for title in ("first page", "search"):
            for number in range(_RUNS):
                octets = (
                    bytes(8)
                    + title.encode()[:4].ljust(4)
                    + number.to_bytes(3, "big")
                    + bytes((is_warm,))
                )
                record = Record(_OWNER, codes.AAAA, 300, octets)
                other.apply(_ORIGIN, Change((), (record,)), Author("another"), 1)
                await take(f"{title}, right after another's change", _PATHS[title])
    for one in (store, other):
        one.close()
    return out


def make_zone(place: Path) -> None:
    """Store the zone."""
    lines = ["$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::53\n"]
    lines += [f"host{n} AAAA 2001:db8::{n >> 16:x}:{n & 0xFFFF:x}\n" for n in range(_RECORDS)]
    store = ZoneStore.open(place / "zones.db")
    store.create(read_zone("".join(lines), _ORIGIN), Author("bench"), 1)
    store.close()
    accounts = Accounts.open(place / "accounts.db")
    accounts.add_user("bench", ("admin",), 1)


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as place:
        make_zone(Path(place))
        for is_warm in (False, True):
            print("made ready, as at a start" if is_warm else "at once, nothing made ready")
            found = asyncio.run(measure(Path(place), is_warm=is_warm))
            for title, values in found.items():
                middle = statistics.median(values)
                print(f"  {title}: median {middle:.0f} ms, most {max(values):.0f} ms")


if __name__ == "__main__":
    main()
