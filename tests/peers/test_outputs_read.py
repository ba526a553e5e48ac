"""What we hand on, taken by other people's programs: fstrm_capture, dnstap-read, OpenTelemetry's Collector."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from quada.config.settings import OutputSection
from quada.server.outputs import Output, make_output
from quada.telemetry.event import Event, Role
from quada.wire.ask import Transport

pytestmark = [pytest.mark.peers, pytest.mark.timeout(120)]
COLLECTOR = Path.home() / ".cache/quada-peers/bin/otel-collector"
HOSTILE = "\\027]0\\;x\\007.example."


def events() -> list[Event]:
    return [
        Event(at_ns=10**9 * (1_795_200_000 + n), role=Role.RECURSIVE if n % 2 else Role.AUTHORITATIVE,
              client=f"2001:db8::{n + 1:x}" if n % 3 else f"192.0.2.{n + 1}", client_port=5300 + n,
              qname=HOSTILE if n == 7 else f"h{n}.example.", qtype=28 if n % 2 else 1,
              rcode=(0, 2, 3)[n % 3], transport=transport, duration_us=1500)
        for n, transport in enumerate((Transport.UDP, Transport.TCP, Transport.DOT, Transport.DOH) * 5)
    ]  # fmt: skip


async def send(made: Output) -> None:
    """Have an output send all events."""
    until = asyncio.Event()
    sending = asyncio.create_task(made.run(until))
    made.feed(events())
    deadline = time.monotonic() + 30
    while made.sent_count < len(events()):
        assert time.monotonic() < deadline, made.trouble
        await asyncio.sleep(0.05)
    until.set()
    await sending


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("to", ["unix", "tcp"])
def test_other_programs_read_the_dnstap_that_we_send(tmp_path: Path, to: str, free_port) -> None:
    captured, port = tmp_path / "captured.fstrm", free_port()
    # fstrm_capture binds IPv4 or IPv6 as it is told; its TCP address has no brackets.
    listen = ["-u", str(tmp_path / "s")] if to == "unix" else ["-a", "::1", "-p", str(port)]
    made = make_output(
        OutputSection(
            name="tap", kind="dnstap",
            to=f"unix:{tmp_path}/s" if to == "unix" else f"tcp://[::1]:{port}",
        ),
        "whole", tmp_path / "key",
    )  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        capture = subprocess.Popen(
            ["fstrm_capture", "-dddd", "-t", "protobuf:dnstap.Dnstap", "-w", str(captured), *listen],
            stdout=log, stderr=log,
        )  # fmt: skip

    try:
        asyncio.run(send(made))
        wait_for(tmp_path / "log", "closing (read 20 frames")
    finally:
        capture.terminate()
        capture.wait(15)
    read = subprocess.run(
        ["dnstap-read", "-y", str(captured)], capture_output=True, text=True, check=True
    )
    assert "error" not in (tmp_path / "log").read_text()
    documents = read.stdout.split("\n---\n")
    wanted = events()
    assert made.lost_count == 0
    assert len([one for one in documents if "type: MESSAGE" in one]) == len(wanted)
    for event, told in zip(wanted, documents, strict=False):
        kind = "CLIENT_RESPONSE" if event.role is Role.RECURSIVE else "AUTH_RESPONSE"
        assert f"type: {kind}" in told, told
        assert f'query_address: "{event.client}"' in told, told
        assert f"query_port: {event.client_port}" in told, told
        assert f"socket_family: INET{'6' if event.family == 6 else ''}" in told, told
        rcode = ("NOERROR", "", "SERVFAIL", "NXDOMAIN")[event.rcode or 0]
        assert f"status: {rcode}" in told, told
        assert event.qname in told, told


def test_the_opentelemetry_collector_takes_what_we_send(tmp_path: Path, free_port) -> None:
    if not COLLECTOR.exists():
        pytest.skip("otel-collector is missing: it is built where there is a Go that can")
    port, log = free_port(), tmp_path / "log"
    config = tmp_path / "config.yaml"
    config.write_text(
        f'receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: "[::1]:{port}"\n'
        "exporters:\n  debug:\n    verbosity: detailed\nservice:\n  telemetry:\n    metrics:\n      level: none\n"
        "  pipelines:\n    logs:\n      receivers: [otlp]\n      exporters: [debug]\n"
    )
    made = make_output(
        OutputSection(name="otel", kind="otlp", to=f"http://[::1]:{port}/v1/logs"),
        "whole",
        tmp_path / "key",
    )
    with log.open("wb") as output:
        collector = subprocess.Popen(
            [str(COLLECTOR), "--config", str(config)], stdout=output, stderr=output
        )
    try:
        asyncio.run(send(made))
        wait_for(log, "h19.example. AAAA SERVFAIL")
    finally:
        collector.terminate()
        collector.wait(15)
    told = log.read_text()
    assert made.lost_count == 0
    assert told.count("LogRecord #") == len(events())
    for event in events():
        assert f"client.address: Str({event.client})" in told, told[:4000]
    assert "Body: Str(h0.example. A NOERROR)" in told
