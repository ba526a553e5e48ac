"""`python -m bench`: one run beside the installed peers, written down."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import authority

_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run, print, and write to bench/results/."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="a shape and server")
    options.add_argument(
        "--records", type=int, default=1_000_000, help="of the large zone; 0: none"
    )
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as name:
        place = Path(name)
        place.chmod(0o777)
        results = authority.run(place, wanted.seconds)
        if wanted.records:
            results["large"] = authority.run_load(place, wanted.records)
    text = _text(results, wanted.records)
    print(text)
    _RESULTS.mkdir(exist_ok=True)
    stem = _RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-authority"
    stem.with_suffix(".md").write_text(text)
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


def _text(results: dict[str, Any], records: int) -> str:
    head = [
        f"# Authoritative server, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{_machine()}. Server pinned to one core with one worker or thread, dnsperf to",
        "another, over ::1, 10,000 names; CPU is user and system time of the server's process",
        "tree. quada's event log, cookies and rate limiting are on, the peers' query logs off.",
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
    return f"{os.cpu_count()} cores of {model}, Linux {kernel}, {version}"


main()
