"""Measure a running server: CPU of its process tree from /proc, queries by dnsperf."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.question import compose_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, CLIENT_CORE = 0, 1
_OUTSTANDING = 100  # dnsperf's own; a first burst of 500 overruns its socket, and every server's


class Cost(NamedTuple):
    """What a run of queries cost: CPU microseconds a query, queries answered, per second, lost."""

    cpu_us: float
    completed: int
    per_second: float
    lost_percent: float
    latency_ms: float = 0.0


def tree(pid: int) -> list[int]:
    """Give a process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def cpu_s(pid: int) -> float:
    """Give the CPU seconds (user and system) of a process tree so far."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_mib(pid: int) -> float:
    """Give the proportional memory (PSS) of a process tree in MiB: shared pages count once."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)
            total += int(found.group(1)) if found else 0
    return total / 1024


@contextlib.contextmanager
def running(
    command: list[str], port: int, log: Path, within_s: float = 120, origin: str = "example.com"
) -> Iterator[int]:
    """Run a server on its core until the block ends; gives its pid once it answers over TCP.

    Takes the zone whose SOA it is asked for.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + within_s
        while not _answers(port, origin):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def query(
    pid: int,
    port: int,
    questions: Path,
    seconds: float,
    *options: str,
    inside: Sequence[str] = (),
) -> Cost:
    """Send questions for a while and measure what they cost the server.

    Takes `inside`, a command prefix that enters a network namespace.
    """
    before = cpu_s(pid)
    ran = subprocess.run(
        [
            *inside, "taskset", "-c", str(CLIENT_CORE), "dnsperf", "-s", "::1", "-p", str(port),
            "-d", str(questions), "-l", str(seconds), "-q", str(_OUTSTANDING), *options,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spent = cpu_s(pid) - before

    def number(pattern: str) -> float:
        found = re.search(pattern, ran.stdout)
        return float(found.group(1)) if found else 0.0

    completed = number(r"Queries completed:\s+(\d+)")
    return Cost(
        spent / max(completed, 1) * 1e6,
        int(completed),
        number(r"Queries per second:\s+([\d.]+)"),
        number(r"Queries lost:\s+\d+ \(([\d.]+)%\)"),
        number(r"Average Latency \(s\):\s+([\d.]+)") * 1000,
    )


def latencies(
    port: int, questions: Path, seconds: float, per_second: int, inside: Sequence[str] = ()
) -> tuple[float, float]:
    """Ask at a steady rate; give the median and the 99th percentile in ms."""
    ran = subprocess.run(
        [
            *inside, "taskset", "-c", str(CLIENT_CORE), "dnsperf", "-s", "::1", "-p", str(port),
            "-d", str(questions), "-l", str(seconds), "-Q", str(per_second), "-v",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    took = sorted(float(t) for t in re.findall(r"^> NOERROR .* ([\d.]+)$", ran.stdout, re.M))
    if not took:
        return 0.0, 0.0
    return took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000


def free_port() -> int:
    """Give a port on ::1 that nobody listens at."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int, origin: str) -> bool:
    """Ask for the apex's SOA over TCP: loaded is when that is NOERROR."""
    message = compose_query(1, names.from_text(f"{origin}."), codes.SOA)
    try:
        with socket.create_connection(("::1", port), timeout=2) as sock:
            sock.sendall(len(message).to_bytes(2, "big") + message)
            answer = sock.recv(4096)
    except OSError:
        return False
    return len(answer) > 6 and answer[5] & 0xF == 0 and answer[8:10] != b"\x00\x00"
