"""Recursive shapes in a simulated internet, without validation and with it.

Resolvers are pinned to one core, one after the other, with one worker or thread each. A hit is one
of 10,000 names in the cache; a miss is another below a delegation that is known; a cold question
is the first below its delegation: the referral, and with validation its DS and DNSKEY, come too.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.internet import LEAVES, NAMES, TLD_NAME, internet
from bench.measure import SERVER_CORE, Cost, latencies, query, resident_mib, tree

if TYPE_CHECKING:
    from bench.internet import Internet

_PORT: Final = 5300  # inside the namespace, where nobody else is
_STEADY_PER_S: Final = 1000  # at which latencies are measured: no resolver is busy
_SETTLE_S: Final = 2.0  # what a start leaves to be done is no part of any question


def run(place: Path, seconds: float, only: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Measure every installed resolver in both internets."""
    results: dict[str, Any] = {}
    for mode in ("plain", "validated"):
        found: dict[str, Any] = {"costs": {}, "mib": {}, "latency_ms": {}, "versions": {}}
        with internet(place / mode, is_signed=mode == "validated") as net:
            chance = random.Random(20_261_120)
            for name, command in _resolvers(net, place / mode, mode == "validated").items():
                if shutil.which(command[0]) is None or (only and name not in only):
                    continue
                _measure(found, net, place / mode / name, command, seconds, chance)
        results[mode] = found
    return results


def _measure(
    found: dict[str, Any],
    net: Internet,
    place: Path,
    command: list[str],
    seconds: float,
    chance: random.Random,
) -> None:
    name = place.name
    place.mkdir(exist_ok=True)
    cold, hits, misses = place / "cold", place / "hits", place / "misses"
    _write(cold, [f"n0.z{n}.{TLD_NAME}" for n in range(1, LEAVES)])
    _write(hits, [f"n{n % 10}.z{chance.randrange(LEAVES)}.{TLD_NAME}" for n in range(20_000)])
    others = [f"n{n}.z{z}.{TLD_NAME}" for n in range(10, NAMES) for z in range(LEAVES)]
    chance.shuffle(others)
    steady_count = int(_STEADY_PER_S * seconds)
    _write(misses, others[steady_count:])
    log = place / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*net.inside, "taskset", "-c", str(SERVER_CORE), *command],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _wait(net, log)
        time.sleep(_SETTLE_S)
        pid = process.pid
        costs: dict[str, Cost] = {}
        costs["cold"] = query(pid, _PORT, cold, 30, "-q", "50", "-n", "1", inside=net.inside)
        before = resident_mib(pid)
        query(pid, _PORT, hits, 60, "-q", "200", "-n", "1", inside=net.inside)
        found["mib"][name] = (before, resident_mib(pid))
        for title, questions in (("hit", hits), ("miss", misses)):
            costs[title] = query(pid, _PORT, questions, seconds, "-q", "200", inside=net.inside)
        for title, cost in costs.items():
            found["costs"].setdefault(title, {})[name] = cost
        steady = place / "steady"
        _write(steady, others[:steady_count])
        found["latency_ms"][name] = latencies(
            _PORT, steady, seconds, _STEADY_PER_S, inside=net.inside
        )
        found["versions"][name] = Path(command[0]).name
    finally:
        for one in tree(process.pid)[::-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, 15)
        process.wait(20)


def _write(file: Path, qnames: list[str]) -> None:
    file.write_text("".join(f"{qname} AAAA\n" for qname in qnames))


def table(results: dict[str, Any]) -> list[str]:
    """Write costs as Markdown tables, one a mode."""
    lines: list[str] = []
    for mode, found in results.items():
        names = list(found["versions"])
        title = "Without validation" if mode == "plain" else "With validation (algorithm 13)"
        lines += ["", f"## {title}", "", "| CPU µs a query | " + " | ".join(names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for shape, costs in found["costs"].items():
            own = costs.get("quada")
            cells = []
            for name in names:
                cost = costs[name].cpu_us
                ratio = f" ({own.cpu_us / cost:.2f}×)" if own and name != "quada" else ""
                cells.append(f"{cost:.1f}{ratio}")
            lines.append(f"| {shape} | " + " | ".join(cells) + " |")
        for title, which in (("p50", 0), ("p99", 1)):
            cells = [f"{found['latency_ms'][name][which]:.2f}" for name in names]
            lines.append(
                f"| miss at {_STEADY_PER_S} a second: {title}, ms | " + " | ".join(cells) + " |"
            )
        cells = [f"{after:.0f}" for _, after in (found["mib"][name] for name in names)]
        lines.append("| memory with 10,000 more answers, MiB (PSS) | " + " | ".join(cells) + " |")
        cells = [
            f"{max(0.0, after - before) * 1024 / 10_000:.2f}"
            for before, after in (found["mib"][name] for name in names)
        ]
        lines.append("| of it for one of them, KiB | " + " | ".join(cells) + " |")
    return lines


def _resolvers(net: Internet, place: Path, is_validating: bool) -> dict[str, list[str]]:
    unbound = place / "unbound.conf"
    modules = "validator iterator" if is_validating else "iterator"
    anchor = f"  trust-anchor-file: {net.anchor_file}\n" if is_validating else ""
    unbound.write_text(
        f"server:\n  interface: ::1@{_PORT}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n"
        f"  directory: {place}\n  pidfile: {place}/unbound.pid\n  use-syslog: no\n"
        f"  module-config: \"{modules}\"\n  root-hints: {net.hints}\n  access-control: ::1 allow\n"
        f"  num-threads: 1\n  outgoing-range: 4096\n  num-queries-per-thread: 2048\n{anchor}"
        "  msg-cache-size: 64m\n  rrset-cache-size: 128m\n  key-cache-size: 16m\n"
        "  do-ip4: no\nremote-control:\n  control-enable: no\n"
    )  # fmt: skip
    tag, algorithm, kind, digest = net.anchor.split()
    named = place / "resolver.conf"
    anchors = f'trust-anchors {{ . static-ds {tag} {algorithm} {kind} "{digest}"; }};\n'
    named.write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }};'
        f" dnssec-validation {'yes' if is_validating else 'no'};"
        f" listen-on-v6 port {_PORT} {{ ::1; }}; recursion yes; empty-zones-enable no;"
        f' pid-file "{place}/named.pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        f'zone "." {{ type hint; file "{net.hints}"; }};\n{anchors if is_validating else ""}'
    )
    lua = place / "anchor.lua"
    lua.write_text(f"clearTA()\naddTA('.', \"{net.anchor}\")\n")
    kresd = place / "kresd.conf"
    trust = (
        f"trust_anchors.remove('.')\ntrust_anchors.add('. IN DS {net.anchor}')\n"
        if is_validating
        else "trust_anchors.remove('.')\n"
    )
    kresd.write_text(
        f"net.ipv4 = false\nnet.listen('::1', {_PORT}, {{ kind = 'dns' }})\n"
        f"modules = {{ 'hints > iterate' }}\nhints.root_file('{net.hints}')\n"
        f"{trust}cache.size = 200 * MB\n"
    )
    return {
        "quada": [
            sys.executable, "-m", "quada", "serve", "--role", "resolver", "--workers", "1",
            "--listen", f"[::1]:{_PORT}", "--root-hints", str(net.hints),
            *(("--trust-anchor", str(net.anchor_file)) if is_validating else ("--dnssec", "off")),
            "--state-dir", str(place / "state"),
        ],
        "unbound": ["unbound", "-d", "-c", str(unbound)],
        "bind": ["named", "-g", "-n", "1", "-c", str(named)],
        "knot-resolver": ["kresd", "-n", "-q", "-c", str(kresd), str(place)],
        "powerdns-recursor": [
            "pdns_recursor", "--config-dir=/nonexistent", "--local-address=::1",
            f"--local-port={_PORT}", f"--hint-file={net.hints}", f"--socket-dir={place}",
            "--threads=1", "--daemon=no", f"--dnssec={'validate' if is_validating else 'off'}",
            f"--lua-config-file={lua}", "--query-local-address=::",
            "--dont-query=", "--disable-syslog", "--security-poll-suffix=",
        ],
    }  # fmt: skip


def _wait(net: Internet, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ran = subprocess.run(
            [*net.inside, "dig", "@::1", "-p", str(_PORT), f"n0.z0.{TLD_NAME}", "AAAA",
             "+time=1", "+tries=1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "2001:db8::1" in ran.stdout:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the resolver does not answer: {log.read_text()[-2000:]}")
