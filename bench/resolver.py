"""Recursive shapes in a simulated internet: a network namespace with root, a TLD and leaf zones.

Each level has an nsd of its own on the client's core; resolvers are pinned to their own core, one
after the other, with one worker or thread each, without validation (the zones are unsigned).
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

from bench.measure import CLIENT_CORE, SERVER_CORE, Cost, query, resident_mib, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAVES: Final = 1000
_PORT: Final = 5300  # inside the namespace, where nobody else is
_SPACE: Final = f"quada-bench-{os.getpid()}"
_ROOT: Final = "2001:db8:0::53"
_TLD: Final = "2001:db8:1::53"
_LEAF: Final = "2001:db8:2::53"


def run(place: Path, seconds: float) -> dict[str, Any]:
    """Measure every installed resolver: hits, and misses with the delegation warm."""
    results: dict[str, Any] = {"costs": {}, "versions": {}, "mib_after": {}}
    with _internet(place) as inside:
        hits, misses = place / "hits", place / "misses"
        chance = random.Random(20_261_120)
        hits.write_text(
            "".join(f"h{n % 10}.z{chance.randrange(_LEAVES)}.test AAAA\n" for n in range(20_000))
        )
        for name, command in _resolvers(place).items():
            if shutil.which(command[0]) is None:
                continue
            log = place / f"{name}.log"
            with log.open("w") as output:
                process = subprocess.Popen(
                    [*inside, "taskset", "-c", str(SERVER_CORE), *command],
                    stdout=output, stderr=output,
                )  # fmt: skip
            try:
                _wait(inside, log)
                misses.write_text(
                    "".join(
                        f"{chance.getrandbits(48):012x}.z{chance.randrange(_LEAVES)}.test AAAA\n"
                        for _ in range(300_000)
                    )
                )
                pid = process.pid
                query(pid, _PORT, hits, 4, inside=inside)  # fills the cache, warms delegations
                for title, questions in (("hit", hits), ("miss", misses)):
                    cost = query(pid, _PORT, questions, seconds, "-q", "200", inside=inside)
                    results["costs"].setdefault(title, {})[name] = cost
                results["mib_after"][name] = resident_mib(pid)
                results["versions"][name] = Path(command[0]).name
            finally:
                for one in tree(process.pid)[::-1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one, 15)
                process.wait(20)
    return results


def table(results: dict[str, Any]) -> list[str]:
    """Write costs as a Markdown table."""
    names = list(results["versions"])
    lines = ["| shape (CPU µs a query) | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for title, costs in results["costs"].items():
        own: Cost = costs["quada"]
        cells = []
        for name in names:
            ratio = "" if name == "quada" else f" ({own.cpu_us / costs[name].cpu_us:.2f}×)"
            cells.append(f"{costs[name].cpu_us:.1f}{ratio}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append(
            f"| {title}: mean latency, ms | "
            + " | ".join(f"{costs[name].latency_ms:.2f}" for name in names)
            + " |"
        )
    memory = " | ".join(f"{results['mib_after'][name]:.0f}" for name in names)
    lines.append(f"| memory after the run, MiB (PSS) | {memory} |")
    return lines


def _resolvers(place: Path) -> dict[str, list[str]]:
    hints = place / "hints"
    hints.write_text(f". 3600 NS ns.root.\nns.root. 3600 AAAA {_ROOT}\n")
    unbound = place / "unbound.conf"
    unbound.write_text(
        f"server:\n  interface: ::1@{_PORT}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n"
        f"  directory: {place}\n  pidfile: {place}/unbound.pid\n  use-syslog: no\n"
        f"  module-config: \"iterator\"\n  root-hints: {hints}\n  access-control: ::1 allow\n"
        "  num-threads: 1\n  local-zone: \"test.\" nodefault\n"
        "  outgoing-range: 4096\n  num-queries-per-thread: 2048\n"
        "  do-ip4: no\nremote-control:\n  control-enable: no\n"
    )  # fmt: skip
    named = place / "resolver.conf"
    named.write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }}; dnssec-validation no;'
        f" listen-on-v6 port {_PORT} {{ ::1; }}; recursion yes; empty-zones-enable no;"
        f' pid-file "{place}/named.pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        f'zone "." {{ type hint; file "{hints}"; }};\n'
    )
    return {
        "quada": [
            sys.executable, "-m", "quada", "serve", "--role", "resolver", "--workers", "1",
            "--listen", f"[::1]:{_PORT}", "--root-hints", str(hints), "--dnssec", "off",
            "--state-dir", str(place / "resolver-state"),
        ],
        "unbound": ["unbound", "-d", "-c", str(unbound)],
        "bind": ["named", "-g", "-n", "1", "-c", str(named)],
        "powerdns-recursor": [
            "pdns_recursor", "--config-dir=/nonexistent", "--local-address=::1",
            f"--local-port={_PORT}", f"--hint-file={hints}", f"--socket-dir={place}",
            "--threads=1", "--daemon=no", "--dnssec=off", "--query-local-address=::",
            "--dont-query=", "--disable-syslog", "--security-poll-suffix=",
        ],
    }  # fmt: skip


@contextlib.contextmanager
def _internet(place: Path) -> Iterator[list[str]]:
    """Make the namespace and its servers; gives the command prefix to run inside."""
    inside = ["ip", "netns", "exec", _SPACE]
    _sh("ip", "netns", "add", _SPACE)
    try:
        _sh(*inside, "ip", "link", "set", "lo", "up")
        for address in (_ROOT, _TLD, _LEAF):
            _sh(*inside, "ip", "addr", "add", f"{address}/128", "dev", "lo")
        soa = "@ 3600 SOA ns.test. h.test. 1 3600 600 86400 60\n"
        cuts = "".join(f"z{n} 3600 NS ns.z{n}\nns.z{n} 3600 AAAA {_LEAF}\n" for n in range(_LEAVES))
        zones = {
            _ROOT: {
                ".": f"$ORIGIN .\n{soa}. 3600 NS ns.root.\nns.root. 3600 AAAA {_ROOT}\n"
                f"test. 3600 NS ns.test.\nns.test. 3600 AAAA {_TLD}\n"
            },
            _TLD: {"test.": f"$ORIGIN test.\n{soa}@ 3600 NS ns\nns 3600 AAAA {_TLD}\n{cuts}"},
            _LEAF: {
                f"z{n}.test.": f"$ORIGIN z{n}.test.\n{soa}@ 3600 NS ns\n"
                f"ns 3600 AAAA {_LEAF}\n* 3600 AAAA 2001:db8::1\n"
                for n in range(_LEAVES)
            },
        }
        servers = [_start(inside, place, address, texts) for address, texts in zones.items()]
        try:
            yield inside
        finally:
            for server in servers:
                server.terminate()
                server.wait(20)
    finally:
        _sh("ip", "netns", "del", _SPACE)


def _start(
    inside: list[str], place: Path, address: str, texts: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start an nsd on one address for some zones, on the client's core."""
    own = place / address.replace(":", "-")
    own.mkdir()
    lines = []
    for zone, text in texts.items():
        file = own / f"zone-{zone}"
        file.write_text(text)
        lines.append(f"zone:\n  name: {zone}\n  zonefile: {file}\n")
    config = own / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: {address}\n  username: ""\n  database: ""\n  do-ip4: no\n'
        f'  pidfile: "{own}/pid"\n  xfrdfile: "{own}/xfrd"\n  zonelistfile: "{own}/list"\n'
        f'  zonesdir: "{own}"\n  server-count: 1\nremote-control:\n  control-enable: no\n'
        + "".join(lines)
    )
    with (own / "log").open("w") as output:
        return subprocess.Popen(
            [*inside, "taskset", "-c", str(CLIENT_CORE), "nsd", "-d", "-c", str(config)],
            stdout=output, stderr=output,
        )  # fmt: skip


def _wait(inside: list[str], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ran = subprocess.run(
            [*inside, "dig", "@::1", "-p", str(_PORT), "h1.z1.test", "AAAA", "+time=1", "+tries=1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "2001:db8::1" in ran.stdout:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the resolver does not answer: {log.read_text()[-2000:]}")


def _sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
