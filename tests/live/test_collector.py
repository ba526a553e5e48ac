"""The collector: no line lost and none doubled, whatever ends it; nobody waits for it."""

import asyncio
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bench.logs import tap_frame

from quada.server.collector import Collector, write_sources
from quada.server.plan import LogSource
from quada.server.sources import _unpack
from quada.store.events import EventStore, ask
from quada.telemetry.ingest.dnstap import CONTENT_TYPE, control, frame
from quada.wire.faults import ConfigFault

COLLECT = """
import asyncio, pathlib, signal, sys
import quada.server.collector as c
from quada.server.plan import LogSource
c._COMMIT_S = 0.05
async def main():
    until = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
    place = pathlib.Path(sys.argv[1])
    source = LogSource("ns1", sys.argv[2], sys.argv[3], "recursive")
    await c.Collector(place / "events", place / "history", [source]).run(until)
asyncio.run(main())
"""


def _query(number: int) -> str:
    at = f"20-Nov-2026 21:{number // 60000 % 60:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}"
    return (
        f"{at} queries: info: client @0x7fa0 2001:db8:1::9#{1024 + number % 60000} (h{number}.example.test):"
        f" query: h{number}.example.test IN AAAA +E(0)K (2001:db8::53)\n"
    )


def _failed(number: int) -> str:
    return _query(number).partition("query: ")[0].replace("queries:", "query-errors:") + (
        f"query failed (SERVFAIL) for h{number}.example.test/IN/AAAA at query.c:7916\n"
    )


def _start(place: Path, log: Path, format_name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", COLLECT, str(place), str(log), format_name])


BEGINNING = {"bind": b"", "dnstap": control(2, CONTENT_TYPE)}


def _asked(format_name: str, number: int) -> bytes:
    if format_name == "dnstap":
        return frame(tap_frame(2 * number, is_response=False))
    return _query(number).encode()


def _ended(format_name: str, number: int) -> bytes:
    if format_name == "dnstap":
        return frame(tap_frame(2 * number, is_response=True))
    return _failed(number).encode()


def _wait_for(place: Path, count: int) -> None:
    for _ in range(200):
        if (place / "history" / "manifest.json").exists() and ask(
            place / "history", "SELECT count(*) FROM events"
        )[1][0][0] >= count:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("format_name", ["bind", "dnstap"])
def test_kill_9_among_rotations_loses_no_line_and_doubles_none_and_keeps_joins(
    tmp_path: Path, format_name: str
) -> None:
    log = tmp_path / "queries.log"
    log.write_bytes(BEGINNING[format_name])
    chance = random.Random(9)
    number = rotated = 0
    collector = _start(tmp_path, log, format_name)
    for _ in range(200):
        if (tmp_path / "history/manifest.json").exists():
            break
        time.sleep(0.05)
    for round_ in range(8):
        open_queries = []
        for _ in range(6):
            with log.open("ab", buffering=1000) as file:  # so that it ends inside a line or frame
                for _ in range(50):
                    file.write(_asked(format_name, number))
                    open_queries.append(number)
                    number += 1
            time.sleep(chance.random() * 0.1)
            if chance.random() < 0.3:
                for at in range(rotated, 0, -1):
                    (tmp_path / f"queries.log.{at}").rename(tmp_path / f"queries.log.{at + 1}")
                log.rename(tmp_path / "queries.log.1")
                rotated += 1
                log.write_bytes(BEGINNING[format_name])
        if round_ % 2:
            _wait_for(tmp_path, 1)
        time.sleep(chance.random())
        collector.kill()
        collector.wait()
        collector = _start(tmp_path, log, format_name)
        # How they ended is told to the successor of the one that read the questions.
        with log.open("ab") as file:
            file.writelines(_ended(format_name, one) for one in open_queries)
    _wait_for(tmp_path, number)
    collector.send_signal(signal.SIGTERM)
    assert collector.wait(10) == 0
    _, rows = ask(
        tmp_path / "history",
        "SELECT count(*), count(DISTINCT qname), count(*) FILTER (rcode IS NOT NULL) FROM events",
    )
    assert rows == [(number, number, number)]


def _run(collector: Collector, during) -> None:
    async def run() -> None:
        until = asyncio.Event()
        task = asyncio.create_task(collector.run(until))
        await asyncio.to_thread(during)
        until.set()
        await task

    asyncio.run(run())


def _frames() -> bytes:
    question = b"\x03www\x07example\x04test\x00\x00\x1c\x00\x01"
    out = b""
    for kind, flags, at in ((5, b"\x01\x00", 8), (6, b"\x81\x82", 12)):
        wire = b"\x00\x07" + flags + b"\x00\x01" + bytes(6) + question
        message = (
            bytes((0x08, kind, 0x10, 2, 0x18, 7, 0x22, 16)) + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
            + b"\x30\x91\x4e" + bytes((at << 3,)) + b"\xe5\xa8\xd0\xd7\x06"
            + bytes(((at + 1) << 3 | 5,)) + bytes(4)
            + bytes(((10 if at == 8 else 14) << 3 | 2, len(wire))) + wire
        )  # fmt: skip
        body = (
            bytes((14 << 3 | 2,)) + bytes((len(message) & 0x7F | 0x80, len(message) >> 7)) + message
        )
        out += struct.pack("!I", len(body)) + body
    return out


def _connected(family: int, to: object) -> socket.socket:
    for _ in range(100):
        client = socket.socket(family)
        try:
            client.connect(to)
            return client
        except OSError:
            client.close()
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_dnstap_comes_over_unix_and_tcp_with_both_handshakes_and_garbage_ends_only_itself(
    tmp_path: Path,
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    sources = [
        LogSource("u", f"unix:{tmp_path}/tap.sock", "dnstap"),
        LogSource("t", f"tcp://[::1]:{port}", "dnstap"),
    ]

    def send() -> None:
        with _connected(socket.AF_UNIX, f"{tmp_path}/tap.sock") as client:
            client.sendall(control(4, CONTENT_TYPE))
            assert client.recv(100) == control(1, CONTENT_TYPE)
            client.sendall(control(2, CONTENT_TYPE) + _frames() + control(3))
            assert client.recv(100) == control(5)
        with _connected(socket.AF_INET6, ("::1", port)) as client:
            client.sendall(os.urandom(5000))
        with _connected(socket.AF_INET6, ("::1", port)) as client:
            client.sendall(control(2, CONTENT_TYPE) + _frames() + control(3))
            assert client.recv(100) == control(5)

    _run(Collector(tmp_path / "events", tmp_path / "history", sources), send)
    _, rows = ask(
        tmp_path / "history",
        "SELECT source, client, qname, qtype, rcode, transport, role FROM events ORDER BY 1 DESC",
    )
    assert rows == [
        (name, "2001:db8::9", "www.example.test.", "AAAA", "SERVFAIL", "doq", "recursive")
        for name in "ut"
    ]


def test_sources_come_and_go_while_it_runs_and_a_failing_subscriber_stops_nothing(
    tmp_path: Path,
) -> None:
    log = tmp_path / "q.log"
    history = tmp_path / "history"
    seen: list[str | None] = []

    def fails(batch) -> None:
        raise RuntimeError

    def edit() -> None:
        write_sources(history, [LogSource("ns1", str(log))])
        time.sleep(0.3)
        log.write_text(
            _query(1)
            + _failed(1)
            + "20-Nov-2026 21:00:00.000 queries: info: client nonsense query: \x1b[2J\n"
        )
        time.sleep(0.6)
        write_sources(history, [])
        time.sleep(0.4)
        with log.open("a") as file:
            file.write(_query(2) + _failed(2))
        time.sleep(0.3)

    _run(
        Collector(
            tmp_path / "events",
            history,
            subscribers=[fails, lambda batch: seen.extend(e.qname for e in batch)],
        ),
        edit,
    )
    assert seen == ["h1.example.test."]
    assert ask(history, "SELECT qname, rcode FROM events")[1] == [("h1.example.test.", "SERVFAIL")]
    account = EventStore(history).positions()["ns1"]
    assert (account["lines"], account["events"], account["unknown"]) == (3, 1, 1)
    shown = subprocess.run(
        [sys.executable, "-m", "quada", "logs", "list", "--json", "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout)["ns1"]["unknown"] == 1


def test_a_full_disk_stops_nothing_and_what_waited_is_stored_when_there_is_room(
    tmp_path: Path,
) -> None:
    script = f"""
set -e
mount -t tmpfs -o size=400k none {tmp_path}
head -c 390k /dev/zero > {tmp_path}/ballast
exec {sys.executable} - {tmp_path} <<'END'
import asyncio, pathlib, sys
import quada.server.collector as c
from quada.server.plan import LogSource
from quada.store.events import ask
c._COMMIT_S = 0.1
place = pathlib.Path(sys.argv[1])
log = pathlib.Path("{tmp_path}.log")
async def main():
    until = asyncio.Event()
    made = c.Collector(place / "events", place / "history", [LogSource("ns1", str(log), "coredns")])
    task = asyncio.create_task(made.run(until))
    await asyncio.sleep(1)
    assert not task.done()
    assert made._said, "the disk was not full"
    (place / "ballast").unlink()
    await asyncio.sleep(0.5)
    until.set()
    await task
    print(ask(place / "history", "SELECT count(*), count(DISTINCT qname) FROM events")[1])
asyncio.run(main())
END
"""
    log = Path(f"{tmp_path}.log")
    log.write_text(
        "".join(
            f'[INFO] [2001:db8::9]:50759 - 2 "AAAA IN h{n}.example.test. udp 41 false 1232" NOERROR qr,aa,rd 68 0.0009s\n'
            for n in range(2000)
        )
    )
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    log.unlink()
    assert ran.stdout.splitlines()[-1:] == ["[(2000, 2000)]"], ran.stderr[-2000:]


def test_a_slow_disk_makes_events_wait_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, put = tmp_path / "log", EventStore.put
    log.write_text("")

    def slowly(*arguments: Any) -> None:
        time.sleep(0.4)  # as an overloaded disk takes for its fsync
        put(*arguments)

    monkeypatch.setattr("quada.server.collector._COMMIT_S", 0.05)
    monkeypatch.setattr(EventStore, "put", slowly)

    def write() -> None:
        for number in range(20):
            with log.open("a") as file:
                file.writelines(
                    _query(20 * number + n) + _failed(20 * number + n) for n in range(20)
                )
            time.sleep(0.05)
        time.sleep(1)

    _run(Collector(tmp_path / "events", tmp_path / "history", [LogSource("ns1", str(log))]), write)
    _, rows = ask(tmp_path / "history", "SELECT count(*), count(DISTINCT qname) FROM events")
    assert rows == [(400, 400)]


def test_a_position_that_was_tampered_with_runs_nothing(tmp_path: Path) -> None:
    import base64
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(pickle.UnpicklingError):
        _unpack(base64.b64encode(pickle.dumps({"a": Evil()})).decode())
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "source",
    [
        LogSource("", "/x"),
        LogSource("a", "unix:/x", "bind"),
        LogSource("a", "unix:/x"),
        LogSource("a", "/x", "nope"),
        LogSource("a", "/x", "bind", "both"),
        LogSource("ring:a", "/x"),
        LogSource("a", "tcp://nowhere", "dnstap"),
    ],
)
def test_a_source_that_cannot_be_is_refused_when_it_is_added(
    tmp_path: Path, source: LogSource
) -> None:
    with pytest.raises(ConfigFault):
        write_sources(tmp_path, [source])
