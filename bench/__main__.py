"""`python -m bench`: one run beside the installed peers, written down."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import authority, resolver
from quada.build import build

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run, print, and write to bench/results/."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="a shape and server")
    options.add_argument("--only", choices=("authority", "resolver"), default="")
    options.add_argument("--servers", default="", help="of the resolvers, these alone: a,b")
    options.add_argument(
        "--records", type=int, default=1_000_000, help="of the large zone; 0: none"
    )
    wanted = options.parse_args()
    if wanted.only != "resolver":
        with _place() as place:
            results = authority.run(place, wanted.seconds)
            if wanted.records:
                results["large"] = authority.run_load(place, wanted.records)
        _write("authority", _text(results, wanted.records), results)
    if wanted.only != "authority":
        if os.geteuid():
            print("the resolver is measured in a network namespace, which needs root: left out")
            return
        with _place() as place:
            results = resolver.run(
                place, wanted.seconds, frozenset(filter(None, wanted.servers.split(",")))
            )
        _write("resolver", _resolver_text(results), results)


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def _write(what: str, text: str, results: dict[str, Any]) -> None:
    print(text)
    _RESULTS.mkdir(exist_ok=True)
    stem = _RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{what}"
    stem.with_suffix(".md").write_text(text)
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


def _resolver_text(results: dict[str, Any]) -> str:
    lines = [
        f"# Resolver, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{_machine()}. A namespace with a root, a TLD and 1,000",
        "leaf zones, an nsd for each level; the resolver on one core with one worker or thread,",
        "nsd and dnsperf on the other; over IPv6. A hit is one of 10,000 names in the cache; a",
        "miss a new name below a known delegation; cold the first below one, with its referral,",
        "and with validation its DS and DNSKEY. quada's events are on, one for each query and one",
        "for each message upstream. In brackets: quada's cost as a multiple of that server's.",
        *resolver.table(results),
    ]
    return "\n".join(lines) + "\n"


def _text(results: dict[str, Any], records: int) -> str:
    head = [
        f"# Authoritative server, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{_machine()}. Server pinned to one core with one worker or thread, dnsperf to",
        "another, over ::1, 10,000 names; CPU is user and system time of the server's process",
        "tree. quada's event log, cookies and rate limiting are on, the peers' query logs off.",
        "All stand ready and are measured in turns, five each; the median turn is given.",
        "In brackets: quada's cost as a multiple of that server's.",
        "",
    ]
    lines = head + authority.table(results)
    if "large" in results:
        lines += [
            "",
            f"## {records:,} names in one zone",
            "",
            "| | seconds until it answers | MiB |",
        ]
        lines += ["|---|---|---|"]
        for name, found in results["large"].items():
            lines.append(f"| {name} | {found['seconds']:.1f} | {found['mib']:.0f} |")
    lines += ["", "## Versions", ""]
    lines += [f"- {name}: {version}" for name, version in results["versions"].items()]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    kernel = platform.release().partition("-")[0]
    perf = subprocess.run(["dnsperf", "-h"], capture_output=True, text=True, check=False)
    version = next((w for w in perf.stdout.splitlines() if "ersion" in w), "dnsperf").strip()
    return f"quada {build()}, {os.cpu_count()} cores of {model}, Linux {kernel}, {version}"


main()
