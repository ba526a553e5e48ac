"""Lines and frames of other servers' logs a second, on one core, in this process alone.

Beside it `wc -l` over BIND's lines and, where it was built, the dnstap project's own reader.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from quada.server.collector import GC_THRESHOLDS
from quada.telemetry.ingest import make_parser
from quada.telemetry.ingest.dnstap import CONTENT_TYPE, DnstapParser, control, frame

_COUNT = 200_000
_READER = Path.home() / ".cache/quada-peers/bin/dnstap"  # tests/peers/install.sh builds it
_LINES = {
    "bind": "20-Nov-2026 21:18:58.277 queries: info: client @0x7fa0 2001:db8:1::{n}#40209"
    " (host{n}.example.test): query: host{n}.example.test IN AAAA +E(0)K (2001:db8::53)",
    "coredns": '[INFO] [2001:db8:1::{n}]:50759 - 29008 "AAAA IN host{n}.example.test. udp 41 false'
    ' 1232" NOERROR qr,aa,rd 68 0.000990251s',
    "unbound": "[1795209695] unbound[9:0] reply: 2001:db8:1::{n} host{n}.example.test. AAAA IN"
    " NOERROR 0.001594 0 127",
    # As 4.8 writes it; before each stands the question, which is left out here: it is passed over.
    "pdns-recursor": 'msg="Answer" subsystem="syncres" level="0" prio="Info" tid="2"'
    ' ts="1795242149.519" additional="1" answers="1" dotout="0" ecs="" mtid="1" netms="1.104000"'
    ' outqueries="0" proto="udp" qname="host{n}.example.test" qtype="AAAA" rcode="0" rd="1"'
    ' remote="[2001:db8:1::{n}]:41090" tcpout="0" throttled="0" timeouts="0" totms="1.293000"'
    ' validationState="Secure"',
    "dnsmasq": "dnsmasq[7]: {n} 2001:db8:1::{n}/39522 query[AAAA] host{n}.example.test from ::1",
}


def main() -> None:
    """Measure and print, as the collector has it set up."""
    gc.set_threshold(*GC_THRESHOLDS)
    _count_lines()
    for name, form in _LINES.items():
        lines = [form.format(n=n % 5000) for n in range(_COUNT)]
        parser = make_parser(name, "bench", None)
        started = time.process_time()
        events = 0
        for at in range(0, _COUNT, 5000):
            events += len(parser.feed(lines[at : at + 5000], 0))
        events += len(parser.flush())
        spent = time.process_time() - started
        print(f"{name}: {_COUNT / spent:,.0f} lines a second, {events} events")
    frames = [tap_frame(n % 5000, is_response=bool(n % 2)) for n in range(_COUNT)]
    tap = DnstapParser("bench")
    started = time.process_time()
    events = len(tap.feed(frames, 0)) + len(tap.flush())
    spent = time.process_time() - started
    print(f"dnstap: {_COUNT / spent:,.0f} frames a second, {events} events")
    _read_elsewhere(frames)


def _read_elsewhere(frames: list[bytes]) -> None:
    """Measure the CPU that the dnstap project's reader takes for the same frames, as two texts."""
    if not _READER.exists():
        print(f"no other reader of dnstap was measured: there is no {_READER}")
        return
    with tempfile.TemporaryDirectory() as place:
        tap = Path(place) / "tap"
        tap.write_bytes(control(2, CONTENT_TYPE) + b"".join(map(frame, frames)) + control(3))
        for option, what in (("-q", "a short line each"), ("-j", "JSON")):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [str(_READER), "-r", str(tap), option, "-w", f"{place}/out"]
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"golang-dnstap, {what}: {_COUNT / spent:,.0f} frames a second of CPU")


def _count_lines() -> None:
    """Measure `wc -l` over the same lines: what reading alone takes."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(_LINES["bind"].format(n=n % 5000) + "\n" for n in range(_COUNT * 5))
        file.flush()
        started = time.perf_counter()
        subprocess.run(["wc", "-l", file.name], check=True, capture_output=True)
        print(f"wc -l: {_COUNT * 5 / (time.perf_counter() - started):,.0f} lines a second")


def tap_frame(number: int, *, is_response: bool) -> bytes:
    """Compose a dnstap frame of an authoritative query or its response."""
    name = f"host{number // 2}".encode()
    question = bytes((len(name),)) + name + b"\x07example\x04test\x00\x00\x1c\x00\x01"
    flags = b"\x84\x00" if is_response else b"\x00\x00"
    wire = (number // 2).to_bytes(2, "big") + flags + b"\x00\x01" + bytes(6) + question
    address = bytes.fromhex("20010db8000100000000000000000000")
    seconds = b"\xe5\xa8\xd0\xd7\x06"
    at = 12 if is_response else 8
    message = (
        bytes((0x08, 2 if is_response else 1, 0x10, 2, 0x18, 1, 0x22, 16))
        + address
        + b"\x30\x91\x4e"
        + bytes((at << 3,)) + seconds
        + bytes(((at + 1) << 3 | 5,)) + bytes(4)
        + bytes((14 << 3 | 2 if is_response else 10 << 3 | 2, len(wire)))
        + wire
    )  # fmt: skip
    return bytes((14 << 3 | 2,)) + bytes((len(message),)) + message + b"\x78\x01"


if __name__ == "__main__":
    main()
