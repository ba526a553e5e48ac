"""A service manager is told when queries are answered; `quada health` says whether they are."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::53\n"


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_readiness_is_told_when_queries_are_answered_and_the_end_when_it_begins(
    serve, manager: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "zone").write_text(TEXT)
    served = serve("--role", "authority", "--zone", f"example.com={tmp_path / 'zone'}")
    said = manager.recv(4096).decode().splitlines()
    assert said[:2] == ["READY=1", "STATUS=1 zones"]
    assert said[2] == f"MAINPID={served.process.pid}"
    assert served.udp("ns1.example.com.", "AAAA").answer
    served.process.send_signal(signal.SIGTERM)
    assert manager.recv(4096) == b"STOPPING=1"
    assert served.process.wait(15) == 0


def test_a_manager_that_is_gone_stops_nothing(serve, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    (tmp_path / "zone").write_text(TEXT)
    served = serve("--role", "authority", "--zone", f"example.com={tmp_path / 'zone'}")
    assert served.udp("ns1.example.com.", "AAAA").answer


def health(state_dir: Path) -> tuple[int, list[dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "quada", "health", "--json", "--timeout", "1", "--state-dir", str(state_dir)],
        capture_output=True, text=True, timeout=60, env=os.environ,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_health_asks_every_listener_and_the_api(serve_web) -> None:
    web = serve_web(TEXT)
    code, rows = health(web.served.state_dir)
    assert code == 0
    assert [row["transport"] for row in rows] == ["UDP", "TCP", "API"]
    for pid in web.served.workers():
        os.kill(pid, signal.SIGSTOP)
    code, rows = health(web.served.state_dir)
    for pid in web.served.workers():
        os.kill(pid, signal.SIGCONT)
    assert code == 1
    assert [bool(row["fault"]) for row in rows] == [True, True, False]


def test_a_server_without_ipv6_is_not_well(serve, tmp_path: Path) -> None:
    (tmp_path / "zone").write_text(TEXT)
    zone = f"example.com={tmp_path / 'zone'}"
    served = serve("--role", "authority", "--zone", zone, listen="127.0.0.1:0")
    code, rows = health(served.state_dir)
    assert code == 1
    assert rows[-1] == {"address": "IPv6", "transport": "", "fault": "nothing listens on it"}
