"""How long an edit of a zone of 10,000 names takes until it is on the wire."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import dns.message
import dns.query
import httpx

from bench.authority import write_zone
from bench.measure import free_port
from quada.store.accounts import FILE, Accounts
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import read_zone

_EDITS: Final = 50
_PAUSE_S: Final = 0.05  # between edits, so that each meets a server at rest
_START_S: Final = 30.0
_ORIGIN: Final = b"\x07example\x03com\x00"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as name:
        place = Path(name)
        write_zone(place / "zone")
        store = ZoneStore.open(place / "zones.db")
        store.create(read_zone((place / "zone").read_text(), _ORIGIN), Author("bench"), 1)
        store.close()
        port, api = free_port(), free_port()
        config = place / "quada.toml"
        config.write_text(
            f'version = 1\n[server]\nstate_dir = "{place}"\n'
            f'[authority]\nlisten = ["[::1]:{port}"]\n[api]\nlisten = ["[::1]:{api}"]\n'
        )
        command = [sys.executable, "-m", "quada", "serve", "--role", "authority"]
        with (place / "log").open("w") as log:
            server = subprocess.Popen([*command, "--config", str(config)], stdout=log, stderr=log)
        try:
            answered, served = _edit(place, port, api)
        finally:
            server.terminate()
            server.wait(20)
    print(f"{_EDITS} edits of a zone of 10,000 names: median and 95th percentile, ms")
    for what, found in (("answered", answered), ("on the wire", served)):
        most = sorted(found)[_EDITS * 95 // 100]
        print(f"{what}: {statistics.median(found) * 1000:.0f} {most * 1000:.0f}")


def _edit(place: Path, port: int, api: int) -> tuple[list[float], list[float]]:
    accounts = Accounts.open(place / FILE)
    token = accounts.add_token("bench", ("admin",), 1)
    accounts.close()
    answered, served = [], []
    with httpx.Client(
        base_url=f"http://[::1]:{api}",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=10,
    ) as client:
        _wait(client)
        account = client.get("/v2/whoami").json()["data"]["account"]["id"]
        for number in range(_EDITS):
            draft = {"name": f"new{number}", "type": "AAAA", "content": f"2001:db8::{number + 1:x}"}
            started = time.perf_counter()
            client.post(f"/v2/{account}/zones/example.com/records", json=draft).raise_for_status()
            answered.append(time.perf_counter() - started)
            query = dns.message.make_query(f"new{number}.example.com.", "AAAA")
            while not dns.query.udp(query, "::1", port=port, timeout=5).answer:
                pass
            served.append(time.perf_counter() - started)
            time.sleep(_PAUSE_S)
    return answered, served


def _wait(client: httpx.Client) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if client.get("/health").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError("the API does not answer")


if __name__ == "__main__":
    main()
