"""What all tests share: a quada process to talk to."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import httpx
import pytest

from quada.build import stale
from quada.server.control import command
from quada.store.accounts import FILE, Accounts
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import read_zone

pytest_plugins = ["signed_world"]


def pytest_configure(config: pytest.Config) -> None:
    if stale() and "interpreted" not in sys.modules:
        raise pytest.UsageError("compiled from other sources: make compile, or make interpreted")


_OUTSIDE = tuple(Path(__file__).parent / room for room in ("lab", "live", "peers"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what waits for other processes a second time where it fails, and say so (R, "rerun").

    A machine that is busy with something else may be slower than any bound a test can set. What
    fails twice fails; what fails once is printed, and is to be mended all the same.
    """
    for item in items:
        if any(map(item.path.is_relative_to, _OUTSIDE)):
            item.add_marker(pytest.mark.flaky(reruns=1))


@dataclass
class Served:
    """A running `quada serve`: its port on ::1, its state directory, its process."""

    process: subprocess.Popen[str]
    port: int
    state_dir: Path
    log: Path
    listening: list[str] = field(default_factory=list)

    def udp(self, qname: str, rdtype: str, **options: object) -> dns.message.Message:
        query = dns.message.make_query(qname, rdtype, **options)
        return dns.query.udp(query, "::1", port=self.port, timeout=5)

    def tcp(self, qname: str, rdtype: str, **options: object) -> dns.message.Message:
        query = dns.message.make_query(qname, rdtype, **options)
        return dns.query.tcp(query, "::1", port=self.port, timeout=5)

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def workers(self) -> list[int]:
        found = command(self.state_dir / "control.sock", "status")
        return [worker["pid"] for worker in found["workers"]]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def until(condition: Callable[[], object], *, within_s: float = 10.0, what: str = "") -> object:
    """Wait for a condition, boundedly."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, dns.exception.DNSException):
            found = condition()
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"did not come to be within {within_s} s: {what or condition}")


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., object]:
    return until


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start `quada serve --json ARGUMENTS` and wait until it is ready; ended after the test."""
    yield from _serving(tmp_path)


def _serving(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(*arguments: str, listen: str = "[::1]:0", workers: int = 1) -> Served:
        number = len(running)
        state_dir = tmp_path / f"state{number}"
        log = tmp_path / f"log{number}"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "quada",
                    "serve",
                    "--json",
                    "--workers",
                    str(workers),
                    "--state-dir",
                    str(state_dir),
                    *(["--listen", listen] if listen else []),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(10)
            raise AssertionError(f"quada did not start: {log.read_text()}")
        listening = json.loads(line)["listening"]
        port = int(listening[0].split()[0].rpartition(":")[2])
        served = Served(process, port, state_dir, log, listening)
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()
        assert served.process.stdout is not None
        served.process.stdout.close()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Give a port on ::1 that nobody listens at, for servers that cannot take port 0."""

    def give() -> int:
        with socket.socket(socket.AF_INET6) as tcp:
            tcp.bind(("::1", 0))
            return int(tcp.getsockname()[1])

    return give


@dataclass
class Web:
    """A running server's API: where it is, and a token that may do all."""

    served: Served
    url: str
    token: str


@pytest.fixture
def serve_web(
    serve: Callable[..., Served], free_port: Callable[[], int], tmp_path: Path
) -> Callable[..., Web]:
    """Start a server with an API and one stored zone, example.com, of this text.

    Takes more lines of its configuration too, the first in `[api]`.
    """
    return _web_starter(serve, free_port, tmp_path)


@pytest.fixture(scope="module")
def start_web(
    free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Web]]:
    """Do what `serve_web` does, for servers that a module's tests share."""
    place = tmp_path_factory.mktemp("shared")
    for serve in _serving(place):
        yield _web_starter(serve, free_port, place)


def _web_starter(
    serve: Callable[..., Served], free_port: Callable[[], int], tmp_path: Path
) -> Callable[..., Web]:
    def start(text: str, more: str = "") -> Web:
        port = free_port()
        config = tmp_path / "quada.toml"
        config.write_text(f'version = 1\n[api]\nlisten = ["[::1]:{port}"]\n{more}')
        scheme = "https" if "tls = true" in more else "http"
        served = serve("--role", "authority", "--config", str(config))
        store = ZoneStore.open(served.state_dir / "zones.db")
        store.create(read_zone(text, b"\x07example\x03com\x00"), Author("test"), 1)
        store.close()
        accounts = Accounts.open(served.state_dir / FILE)
        token = accounts.add_token("all", ("admin",), 1)
        accounts.close()
        url = f"{scheme}://[::1]:{port}"

        def is_there() -> bool:
            try:
                found = httpx.get(f"{url}/health", trust_env=False, verify=False)
                return found.status_code == 200
            except httpx.HTTPError:
                return False

        until(is_there, within_s=40, what="the API")
        return Web(served, url, token)

    return start
