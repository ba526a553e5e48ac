"""Events handed on: to files that are rotated, over streams, as dnstap, as OTLP; and receivers that fail."""

import asyncio
import gzip
import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

import quada.server.outputs as outputs
from quada.config.settings import OutputSection
from quada.server.collector import Collector
from quada.server.outputs import Output, make_output
from quada.server.plan import LogSource, check_outputs
from quada.store.events import ask
from quada.telemetry.event import Event, Role
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault


def events(count: int, first: int = 0) -> list[Event]:
    return [
        Event(at_ns=10**9 * (1_795_200_000 + n), role=Role.RECURSIVE, client="2001:db8:1:2::9",
              qname=f"h{n}.example.", qtype=28 if n % 2 else 1, rcode=0, transport=Transport.UDP)
        for n in range(first, first + count)
    ]  # fmt: skip


def output(tmp_path: Path, to: str, kind: str = "json", words: str = "", clients: str = "whole"):
    section = OutputSection(name="o", kind=kind, to=to, filter=words)
    return make_output(section, clients, tmp_path / "address.key")


def run(made: Output, during) -> None:
    async def go() -> None:
        until = asyncio.Event()
        task = asyncio.create_task(made.run(until))
        await asyncio.to_thread(during)
        until.set()
        await task

    asyncio.run(go())


def wait(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "did not come to be"
        time.sleep(0.02)


def test_lines_go_to_a_file_filtered_and_truncated_and_follow_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    made = output(tmp_path, str(path), words="aaaa", clients="truncated")

    def during() -> None:
        made.feed(events(4))
        wait(lambda: made.sent_count == 2)
        path.rename(tmp_path / "out.json.1")
        made.feed(events(2, 4))
        wait(lambda: made.sent_count == 3)

    run(made, during)
    old, new = ((tmp_path / name).read_text().splitlines() for name in ("out.json.1", "out.json"))
    assert [json.loads(line)["qname"] for line in old] == ["h1.example.", "h3.example."]
    assert json.loads(new[0])["client"] == "2001:db8:1:2::"


def test_lines_go_over_tcp_and_on_after_the_receiver_was_away(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(outputs, "_BACKOFF_S", 0.05)
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    made = output(tmp_path, f"tcp://[::1]:{server.getsockname()[1]}")
    got: list[bytes] = []

    def during() -> None:
        made.feed(events(10))
        first, _ = server.accept()
        got.append(first.recv(1 << 16))
        first.close()
        time.sleep(0.2)
        made.feed(events(10, 10))
        second, _ = server.accept()
        second.settimeout(5)
        while b"h19." not in got[-1]:
            got.append(second.recv(1 << 16))
        second.close()

    with server:
        run(made, during)
    names = {json.loads(line)["qname"] for line in b"".join(got).splitlines()}
    assert names == {f"h{n}.example." for n in range(20)}


def test_a_receiver_that_takes_nothing_costs_the_oldest_events_and_no_memory(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(outputs, "_QUEUE_MAX", 100)
    monkeypatch.setattr(outputs, "_SEND_S", 0.3)
    monkeypatch.setattr(outputs, "_END_S", 0.3)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as deaf:
        made = output(tmp_path, f"tcp://[::1]:{deaf.getsockname()[1]}", "dnstap")

        def during() -> None:
            made.feed(events(1000))
            wait(lambda: made.trouble)

        run(made, during)
    assert made.lost_count == 1000
    assert made.sent_count == 0


def test_what_is_lost_while_a_batch_is_under_way_is_counted_once(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(outputs, "_QUEUE_MAX", 10)
    made = output(tmp_path, str(tmp_path / "x"))
    sent: list[Event] = []

    async def slow(batch: list[Event]) -> None:
        if not sent:
            made.feed(events(7, 100))  # five of the ten that are under way must give room
        sent.extend(batch)

    monkeypatch.setattr(made, "send", slow)
    made.feed(events(10))
    run(made, lambda: wait(lambda: len(sent) >= 17))
    assert [one.qname for one in sent] == [f"h{n}.example." for n in (*range(10), *range(100, 107))]
    assert (made.sent_count, made.lost_count) == (17, 0)


def test_dnstap_that_we_send_our_own_collector_stores(tmp_path: Path) -> None:
    """The other end is the collector's dnstap listener, which does the two-way handshake."""
    made = output(tmp_path, f"unix:{tmp_path}/tap.sock", "dnstap")
    collector = Collector(
        tmp_path / "events",
        tmp_path / "history",
        [LogSource("far", f"unix:{tmp_path}/tap.sock", "dnstap")],
    )

    async def go() -> None:
        until = asyncio.Event()
        running = asyncio.create_task(collector.run(until))
        for _ in range(100):
            if (tmp_path / "tap.sock").exists():
                break
            await asyncio.sleep(0.05)
        sending = asyncio.create_task(made.run(until))
        made.feed(events(50))
        for _ in range(100):
            if made.sent_count == 50:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        until.set()
        await asyncio.gather(running, sending)

    asyncio.run(go())
    sql = "SELECT count(*), count(DISTINCT qname), min(client), min(rcode), min(role) FROM events"
    assert ask(tmp_path / "history", sql)[1] == [
        (50, 50, "2001:db8:1:2::9", "NOERROR", "recursive")
    ]


@pytest.fixture
def receiver():
    got: list[ExportLogsServiceRequest] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            status = statuses.pop(0) if statuses else 200
            if status == 200:
                got.append(json_format.Parse(body, ExportLogsServiceRequest()))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        daemon_threads = True

    server = Server(("::1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://[::1]:{server.server_address[1]}/v1/logs", got, statuses
    server.shutdown()
    server.server_close()


def test_otlp_waits_where_the_receiver_is_busy_and_loses_what_it_calls_wrong(
    tmp_path: Path, monkeypatch, receiver
) -> None:
    monkeypatch.setattr(outputs, "_BACKOFF_S", 0.05)
    url, got, statuses = receiver
    statuses += [503, 429]
    made = output(tmp_path, url, "otlp")

    def during() -> None:
        made.feed(events(5))
        wait(lambda: made.sent_count == 5)
        statuses.append(400)
        made.feed(events(3, 5))
        wait(lambda: made.lost_count == 3)

    run(made, during)
    (request,) = got
    records = request.resource_logs[0].scope_logs[0].log_records
    assert [one.body.string_value for one in records][:2] == [
        "h0.example. A NOERROR",
        "h1.example. AAAA NOERROR",
    ]
    assert (made.sent_count, made.lost_count) == (5, 3)


def test_a_server_hands_its_events_on(serve, tmp_path: Path, until) -> None:
    zone, out = tmp_path / "zone", tmp_path / "out.json"
    zone.write_text("@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n@ 60 AAAA 2001:db8::1\n")
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[[event_output]]\nname = "lines"\nto = "{out}"\nfilter = "aaaa noerror"\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    served.udp("example.com.", "AAAA")
    served.udp("example.com.", "A")
    until(lambda: out.read_text().count("\n") == 1, what="one line")
    served.udp("example.com.", "AAAA")
    assert served.stop() == 0
    assert [json.loads(line)["qtype"] for line in out.read_text().splitlines()] == ["AAAA"] * 2


@pytest.mark.parametrize(
    "section",
    [
        OutputSection(to="/x"),
        OutputSection(name="a"),
        OutputSection(name="a", kind="otlp", to="/x"),
        OutputSection(name="a", kind="dnstap", to="/x.fstrm"),
        OutputSection(name="a", to="http://[::1]/"),
        OutputSection(name="a", to="tcp://nowhere"),
        OutputSection(name="a", to="/x", filter="no-such-word"),
    ],
)
def test_an_output_that_cannot_be_is_refused_at_start(section: OutputSection) -> None:
    with pytest.raises(ConfigFault):
        check_outputs([section])
