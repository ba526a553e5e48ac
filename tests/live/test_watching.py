"""Alerts: kept once an incident, delivered signed, tried again, silenced; the watch process."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from quada.config.settings import ReceiverSection
from quada.server.watching import Watcher
from quada.store.alerts import AlertStore
from quada.telemetry.event import Event, Role
from quada.telemetry.signals import Signal, State

OPEN = Signal(
    "aaaa-servfail",
    "recursive/example.com.",
    State.OPEN,
    1000,
    "AAAA of example.com. fails",
    cause="validation",
)


class Receiver:
    """An HTTP server that keeps what it is sent; it may refuse, or hang."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict, bytes]] = []
        self.status = 200
        self.hang_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(outer.hang_s)
                outer.got.append((self.path, dict(self.headers), body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            import socket

            address_family = socket.AF_INET6
            daemon_threads = True

        self.server = Server(("::1", 0), Handler)
        self.url = f"http://[::1]:{self.server.server_address[1]}/hook"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self) -> list[dict]:
        return [json.loads(body) for _, _, body in self.got]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def watcher(place: Path, *receivers: ReceiverSection) -> Watcher:
    return Watcher(place / "alerts.db", receivers)


def test_an_incident_is_one_alert_told_when_it_opens_changes_and_closes(tmp_path, receiver) -> None:
    watch = watcher(tmp_path, ReceiverSection(name="hook", url=receiver.url, secret="s3"))
    for one in (
        OPEN,
        OPEN._replace(cause="reachability"),
        OPEN._replace(state=State.CLOSED),
        OPEN._replace(state=State.CLOSED),
    ):
        watch.note(one, 2000)
    asyncio.run(watch.deliver())
    assert [(body["what"], body["number"]) for body in receiver.bodies()] == [
        ("opened", 1),
        ("updated", 1),
        ("closed", 1),
    ]
    _, headers, body = receiver.got[0]
    assert (
        headers["X-Quada-Signature"]
        == "sha256=" + hmac.new(b"s3", body, hashlib.sha256).hexdigest()
    )


def test_what_a_receiver_refuses_is_kept_and_tried_again(tmp_path, receiver) -> None:
    receiver.status = 503
    watch = watcher(tmp_path, ReceiverSection(name="hook", url=receiver.url))
    watch.note(OPEN, 2000)
    asyncio.run(watch.deliver())
    store = AlertStore.open(tmp_path / "alerts.db")
    assert store.due(int(time.time())) == []
    (waiting,) = store.due(int(time.time()) + 60)
    assert waiting.tries == 1
    store.put_off(waiting.number, 0)
    receiver.status = 200
    asyncio.run(watch.deliver())
    assert store.due(1 << 40) == []
    assert len(receiver.got) == 2
    store.close()


def test_a_receiver_that_hangs_keeps_no_other_waiting(tmp_path, receiver) -> None:
    slow = Receiver()
    slow.hang_s = 8.0
    try:
        watch = watcher(
            tmp_path,
            ReceiverSection(name="slow", url=slow.url),
            ReceiverSection(name="hook", url=receiver.url),
        )
        watch.note(OPEN, 2000)
        asyncio.run(watch.deliver())
        assert len(receiver.got) == 1
        store = AlertStore.open(tmp_path / "alerts.db")
        assert [one.receiver for one in store.due(1 << 40)] == ["slow"]
        store.close()
    finally:
        slow.close()


def test_a_silence_keeps_deliveries_back_and_the_alert_stays(tmp_path, receiver) -> None:
    store = AlertStore.open(tmp_path / "alerts.db")
    store.silence("example.com", 1 << 40, "me", "maintenance")
    watch = watcher(tmp_path, ReceiverSection(name="hook", url=receiver.url))
    watch.note(OPEN, 2000)
    asyncio.run(watch.deliver())
    assert receiver.got == []
    assert len(store.alerts(is_open=True)) == 1
    store.acknowledge(1, "me")
    assert store.alert(1).acked_by == "me"
    store.close()


def test_alertmanager_gets_its_own_form(tmp_path, receiver) -> None:
    base = receiver.url.removesuffix("/hook")
    watch = watcher(tmp_path, ReceiverSection(name="am", kind="alertmanager", url=base))
    watch.note(OPEN, 2000)
    watch.note(OPEN._replace(state=State.CLOSED), 3000)
    asyncio.run(watch.deliver())
    assert receiver.got[0][0] == "/api/v2/alerts"
    opened, closed = (json.loads(body)[0] for _, _, body in receiver.got)
    assert opened["labels"]["alertname"] == "aaaa-servfail"
    assert "endsAt" not in opened
    assert closed["endsAt"] == "1970-01-01T00:50:00Z"


def test_the_watch_runs_beside_the_collector_and_comes_back(serve, tmp_path, until) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[signals]\non = true\n[[zone]]\nname = "example.com"\nfile = "{tmp_path}/zone"\n'
    )
    (tmp_path / "zone").write_text("@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n")
    served = serve("--role", "authority", "--config", str(config))

    def watching() -> int:
        for pid in served.children():
            with contextlib.suppress(OSError):
                if any(
                    "alerts.db" in str(link.readlink())
                    for link in Path(f"/proc/{pid}/fd").iterdir()
                ):
                    return pid
        return 0

    first = until(watching, what="the watch")
    os.kill(first, signal.SIGKILL)
    until(lambda: watching() not in (0, first), what="another watch")
    assert served.udp("example.com.", "SOA").answer


def test_lost_events_make_the_watch_blind_and_that_is_an_alert(tmp_path) -> None:
    lost = [0]
    watch = Watcher(tmp_path / "alerts.db", (), lambda: lost[0])
    query = Event(
        at_ns=600 * 1_000_000_000,
        role=Role.RECURSIVE,
        client="2001:db8::1",
        qname="a.",
        qtype=28,
        rcode=0,
    )
    watch.feed([query])
    watch.judge(601)
    lost[0] = 500
    watch.judge(650)
    watch.judge(700)
    store = AlertStore.open(tmp_path / "alerts.db")
    assert [alert.kind for alert in store.alerts(is_open=True)] == ["blind"]
    store.close()


def test_the_watch_tells_of_a_pool_without_a_healthy_member(
    serve, tmp_path, until, free_port
) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        "version = 1\n[signals]\non = true\n"
        f'[[pool]]\nname = "www"\nprobe = "tcp"\nport = {free_port()}\ninterval_s = 0.2\nfall = 1\n'
        'member = [{ address = "::1" }]\n'
    )
    served = serve("--role", "authority", "--config", str(config))

    def kinds() -> list[str]:
        store = AlertStore.open(served.state_dir / "alerts.db")
        try:
            return [alert.key for alert in store.alerts(is_open=True)]
        finally:
            store.close()

    until(lambda: kinds() == ["pool-down/www/ipv6"], within_s=20, what="the alert")


def test_what_is_usual_is_kept_over_a_restart_and_rubbish_in_its_place_harms_nothing(
    tmp_path,
) -> None:
    query = Event(
        at_ns=time.time_ns() - 120 * 10**9,
        role=Role.RECURSIVE,
        client="2001:db8::1",
        qname="a.",
        qtype=28,
        rcode=0,
    )
    first = watcher(tmp_path)
    first.feed([query])
    first.judge(int(time.time()))
    first.remember()
    kept = json.loads((tmp_path / "usual.json").read_text())["usual"]
    assert sum(kept["RECURSIVE"]["volume"]) == 1
    second = watcher(tmp_path)
    second.remember()
    assert json.loads((tmp_path / "usual.json").read_text())["usual"] == kept
    for rubbish in (
        "",
        "{",
        "[]",
        '{"at": 1e999}',
        json.dumps({"at": time.time() - 1, "usual": {"X": 1}}),
    ):
        (tmp_path / "usual.json").write_text(rubbish)
        watcher(tmp_path).judge(int(time.time()))
