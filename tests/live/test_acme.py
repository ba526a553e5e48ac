"""`quada acme check` against real servers on ::1 and 127.0.0.1."""

import json
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Other(BaseHTTPRequestHandler):
    server_version = "another"

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Bomb(BaseHTTPRequestHandler):
    """A body without end, in small pieces, and a header of a megabyte."""

    def do_GET(self) -> None:
        self.send_response(200)
        if "header" in self.server.server_name_:  # type: ignore[attr-defined]
            self.send_header("X", "y" * 1_000_000)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 1000)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listen():
    running = []

    def start(handler, host: str, port: int = 0, name: str = "") -> int:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            server_name_ = name

        server = Server((host, port), handler)
        running.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def check(
    port: int, *options: str, hosts: tuple[str, ...] = ("::1", "127.0.0.1")
) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "quada", "acme", "check", "www.example.com", "--lab", "--json", f"--http-port={port}",
         *(f"--resolve=www.example.com={host}" for host in hosts), *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def codes(told: dict) -> set[str]:
    return {one["code"] for one in told["findings"]}


def test_a_token_in_the_webroot_is_found_over_ipv6(tmp_path: Path, listen) -> None:
    def files(*arguments):
        return Files(*arguments, directory=str(tmp_path))

    port = listen(files, "::1")
    listen(files, "127.0.0.1", port)
    exit_code, told = check(port, "--webroot", str(tmp_path))
    assert (exit_code, codes(told)) == (0, {"validates"})
    assert told["modes"]["replay"]["hops"][0]["address"] == "::1"
    assert not list((tmp_path / ".well-known" / "acme-challenge").iterdir())


def test_another_server_at_the_aaaa_is_the_pitfall_that_is_named(tmp_path: Path, listen) -> None:
    port = listen(Other, "::1")
    listen(lambda *a: Files(*a, directory=str(tmp_path)), "127.0.0.1", port)
    exit_code, told = check(port, "--webroot", str(tmp_path))
    assert (exit_code, codes(told)) == (1, {"aaaa-elsewhere", "fails"})


def test_nobody_at_the_aaaa_is_saved_by_ipv4(tmp_path: Path, listen) -> None:
    port = listen(lambda *a: Files(*a, directory=str(tmp_path)), "127.0.0.1")
    exit_code, told = check(port, "--webroot", str(tmp_path))
    assert (exit_code, codes(told)) == (0, {"aaaa-dead", "validates"})


@pytest.mark.parametrize("kind", ["body", "header"])
def test_a_server_without_end_cannot_hold_the_check(listen, kind: str) -> None:
    port = listen(Bomb, "::1", name=kind)
    exit_code, told = check(port, hosts=("::1",))
    expected = {"body": (0, {"answers-anything"}), "header": (1, {"fails"})}[kind]
    assert (exit_code, codes(told)) == expected
