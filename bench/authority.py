"""Authoritative shapes: what PERFORMANCE shapes cost each server, in one run."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from bench.measure import Cost, free_port, query, resident_mib, running
from bench.peers import AUTHORITIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMES: Final = 10_000
_QUESTIONS: Final = 200_000
_SEED: Final = 20_261_120
_TURNS: Final = 5


def write_zone(path: Path, names: int = _NAMES) -> None:
    """Write the zone that is asked: hosts, aliases, a wildcard."""
    with path.open("w") as file:
        file.write(
            "example.com. 300 SOA ns1.example.com. host.example.com. 1 3600 600 86400 60\n"
            "example.com. 300 NS ns1.example.com.\nns1.example.com. 300 AAAA 2001:db8::1\n"
            "*.wild.example.com. 300 AAAA 2001:db8::2\n"
        )
        for number in range(names):
            file.write(f"host{number}.example.com. 300 AAAA 2001:db8::{number >> 16:x}:"
                       f"{number & 0xFFFF:x}\n")  # fmt: skip
        for number in range(100):
            file.write(f"alias{number}.example.com. 300 CNAME host{number}.example.com.\n")


def sign_zone(path: Path, place: Path) -> Path | None:
    """Sign the zone with BIND's tools, so that all servers serve the same signatures."""
    if shutil.which("dnssec-signzone") is None:
        return None
    made = subprocess.run(
        ["dnssec-keygen", "-K", str(place), "-a", "13", "-f", "KSK", "example.com"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = place / f"{made.stdout.strip()}.key"
    unsigned = place / "unsigned"
    unsigned.write_text(path.read_text() + key.read_text())
    signed = place / "signed.zone"
    subprocess.run(
        ["dnssec-signzone", "-z", "-P", "-K", str(place), "-o", "example.com", "-f", str(signed),
         str(unsigned)],
        cwd=place, capture_output=True, check=True,
    )  # fmt: skip
    return signed


def _name(chance: random.Random) -> str:
    return f"{chance.getrandbits(48):012x}"


_SHAPES: Final[dict[str, Callable[[random.Random], str]]] = {
    "exact": lambda c: f"host{c.randrange(_NAMES)}.example.com AAAA",
    "nxdomain": lambda c: f"{_name(c)}.example.com A",
    "nodata": lambda c: f"host{c.randrange(_NAMES)}.example.com A",
    "wildcard": lambda c: f"{_name(c)}.wild.example.com AAAA",
    "cname": lambda c: f"alias{c.randrange(100)}.example.com AAAA",
}
_MIX: Final = ["exact"] * 5 + ["nxdomain"] * 2 + ["nodata", "wildcard", "cname"]


def _mixed(chance: random.Random) -> str:
    return _SHAPES[chance.choice(_MIX)](chance)


def write_questions(path: Path, make: Callable[[random.Random], str]) -> None:
    """Write a file of questions for dnsperf, the same every time."""
    chance = random.Random(_SEED)
    path.write_text("\n".join(make(chance) for _ in range(_QUESTIONS)) + "\n")


def run(place: Path, seconds: float) -> dict[str, Any]:
    """Measure every installed server in every shape."""
    zone = place / "example.com.zone"
    write_zone(zone)
    signed = sign_zone(zone, place)
    shapes: list[tuple[str, Callable[[random.Random], str], bool, tuple[str, ...]]] = [
        ("exact AAAA", _SHAPES["exact"], False, ()),
        ("mixed", _mixed, False, ()),
        ("random NXDOMAIN", _SHAPES["nxdomain"], False, ()),
        ("exact AAAA over TCP", _SHAPES["exact"], False,
         ("-m", "tcp", "-c", "10")),
    ]  # fmt: skip
    if signed is not None:
        shapes += [
            ("signed, DO=1, exact", _SHAPES["exact"], True, ("-e", "-D")),
            ("signed, DO=1, random NXDOMAIN", _SHAPES["nxdomain"], True, ("-e", "-D")),
        ]
    results: dict[str, Any] = {"costs": {}, "versions": {}, "resting_mib": {}, "load_s": {}}
    peers = [peer for peer in AUTHORITIES if peer.is_installed]
    results["versions"] = {peer.name: peer.version() for peer in peers}
    for is_signed in (False, True):
        file = signed if is_signed else zone
        if file is None:
            continue
        with contextlib.ExitStack() as stack:
            pids: dict[str, tuple[int, int]] = {}
            for peer in peers:
                port = free_port()
                own = place / f"{peer.name}-{is_signed}"
                own.mkdir(mode=0o777)
                started = time.monotonic()
                run_one = running(peer.command(file, port, own), port, own / "log")
                pids[peer.name] = stack.enter_context(run_one), port
                if not is_signed:
                    results["load_s"][peer.name] = time.monotonic() - started
                    results["resting_mib"][peer.name] = resident_mib(pids[peer.name][0])
            for title, make, wants_signed, options in shapes:
                if wants_signed == is_signed:
                    questions = place / f"{title.replace(' ', '-')}.txt"
                    write_questions(questions, make)
                    results["costs"][title] = _in_turns(pids, questions, seconds, options)
    return results


def _in_turns(
    servers: dict[str, tuple[int, int]], questions: Path, seconds: float, options: tuple[str, ...]
) -> dict[str, Cost]:
    """Measure servers that all stand ready, in turns, and give the median turn of each.

    What the machine does beside changes by the minute; in turns it meets all servers alike.
    """
    options = ("-t", "1", *options)  # what was lost is waited for, and servers cost idle too
    for pid, port in servers.values():
        query(pid, port, questions, 1.0, *options)  # warm
    turns: dict[str, list[Cost]] = {name: [] for name in servers}
    for _ in range(_TURNS):
        for name, (pid, port) in servers.items():
            turns[name].append(query(pid, port, questions, seconds / _TURNS, *options))
    return {
        name: sorted(found, key=lambda one: one.cpu_us)[_TURNS // 2]
        for name, found in turns.items()
    }


def run_load(place: Path, names: int) -> dict[str, dict[str, float]]:
    """Measure loading one large zone: seconds until it answers, MiB at rest."""
    zone = place / "large.zone"
    write_zone(zone, names)
    out = {}
    for peer in (peer for peer in AUTHORITIES if peer.is_installed):
        port = free_port()
        own = place / f"{peer.name}-large"
        own.mkdir(mode=0o777)
        started = time.monotonic()
        with running(peer.command(zone, port, own), port, own / "log", 300) as pid:
            out[peer.name] = {
                "seconds": time.monotonic() - started,
                "mib": resident_mib(pid),
            }
    return out


def table(results: dict[str, Any]) -> list[str]:
    """Write costs as a Markdown table: microseconds, and quada's ratio to each peer."""
    names = list(results["versions"])
    lines = [
        "| shape (CPU µs a query) | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for title, costs in results["costs"].items():
        own: Cost = costs["quada"]
        cells = []
        for name in names:
            cost = costs[name]
            ratio = "" if name == "quada" else f" ({own.cpu_us / cost.cpu_us:.2f}×)"
            cells.append(f"{cost.cpu_us:.2f}{ratio}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    rest = " | ".join(f"{results['resting_mib'][name]:.0f}" for name in names)
    lines.append(f"| memory at rest, process tree, MiB (PSS) | {rest} |")
    return lines
