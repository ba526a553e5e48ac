"""`python -m bench.soak`: a resolver in the small internet, faults switched at random for minutes.

Every answer is held against what the zones say: right, or SERVFAIL while something is broken, and
never anything else. Memory is sampled; at the end, all faults gone, everything must be right again.
Needs root, for network namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import dns.message
import dns.rcode
import dns.rdatatype

_INTERNET: Final = Path(__file__).parent.parent / "tests" / "lab" / "internet.py"
_PORT: Final = 5353
_WAIT_S: Final = 12.0  # a client's patience: longer is a stuck query
_HEAL_S: Final = 40.0
_KNOWN: Final = {
    ("www.example.com", "AAAA"): ["2001:db8:ff::80"], ("www.example.com", "A"): ["192.0.2.80"],
    ("v4only.example.com", "AAAA"): [], ("v4only.example.com", "A"): ["192.0.2.81"],
    ("alias.example.com", "AAAA"): ["2001:db8:ff::82", "www.example.net."],
    ("www.example.net", "AAAA"): ["2001:db8:ff::82"],
    ("www.glueless.net", "AAAA"): ["2001:db8:ff::83"],
    ("{r}.wild.example.com", "AAAA"): ["2001:db8:ff::99"],
    ("{r}.example.com", "AAAA"): None, ("{r}.example.net", "AAAA"): None,
    ("www.broken.com", "A"): ["192.0.2.80"],
    ("www.broken.com", "AAAA"): "bogus",
}  # fmt: skip
_FAULTS: Final = (
    "meta nfproto ipv6 udp dport 53", "meta nfproto ipv6 tcp dport 53",
    "meta nfproto ipv4 udp dport 53", "ip6 daddr 2001:db8:3::53", "ip6 daddr 2001:db8:4::53",
    "ip daddr 192.0.2.4", "ip6 daddr 2001:db8:1::53", "ip6 daddr 2001:db8::53",
    "udp sport 53 meta length > 512", "numgen random mod 100 < 30 udp dport 53",
    "meta l4proto udp udp dport 53",
)  # fmt: skip


def main() -> None:
    """Run, print, and write to bench/results/soak.md."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--per-second", type=float, default=150.0)
    options.add_argument("--ask", default="", help=argparse.SUPPRESS)
    wish = options.parse_args()
    if wish.ask:
        told = asyncio.run(_ask(wish.seconds, wish.per_second))
        Path(wish.ask).write_text(json.dumps(told))
        return
    with tempfile.TemporaryDirectory(prefix="quada-soak-") as name:
        found = _soak(Path(name), wish.seconds, wish.seed, wish.per_second)
    text = _text(found, wish.seconds, wish.seed)
    print(text)
    (Path(__file__).parent / "results" / "soak.md").write_text(text)
    if found["wrong"] or found["stuck"] or found["unhealed"]:
        sys.exit(1)


def _soak(place: Path, seconds: float, seed: int, per_second: float) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("internet", _INTERNET)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chance = random.Random(seed)
    place.chmod(0o777)
    with module.Internet(place) as internet:
        served = internet.popen(
            [sys.executable, "-m", "quada", "serve", "--role", "resolver", "--workers", "1",
             "--listen", f"[::1]:{_PORT}", "--root-hints", str(internet.hints), "--trust-anchor",
             str(internet.anchor), "--state-dir", str(place / "state")], "resolver.log",
        )  # fmt: skip
        internet.wait_for("localhost", "::1", _PORT)
        told = place / "told.json"
        asker = internet.popen(
            [sys.executable, "-m", "bench.soak", "--ask", str(told), "--seconds", str(seconds),
             "--per-second", str(per_second)], "asker.log",
        )  # fmt: skip
        began = time.monotonic()
        memory: list[tuple[float, float]] = []
        switched = 0
        while time.monotonic() - began < seconds - _HEAL_S:
            for fault in chance.sample(_FAULTS, chance.randint(1, 2)):
                _lose(internet, fault)
                switched += 1
            time.sleep(chance.uniform(2, 8))
            internet.restore()
            time.sleep(chance.uniform(0, 5))
            memory.append((time.monotonic() - began, _tree_mib(served.pid)))
        internet.restore()
        asker.wait(seconds + 120)
        memory.append((time.monotonic() - began, _tree_mib(served.pid)))
        found: dict[str, Any] = json.loads(told.read_text())
    return {**found, "memory": memory, "switched": switched}


def _lose(internet: Any, what: str) -> None:
    """Lose packets on arrival: who sent them is told nothing, as on a real path."""
    for command in (
        ("add", "table", "inet", "faults"),
        ("add", "chain", "inet", "faults", "in", "{ type filter hook input priority 0; }"),
        ("add", "rule", "inet", "faults", "in", *what.split(), "drop"),
    ):
        said = internet.run("nft", *command)
        assert not said, said


async def _ask(seconds: float, per_second: float) -> dict[str, Any]:
    """Ask for a while; the answers of the last seconds, all faults gone, must all be right."""
    counts = {"asked": 0, "right": 0, "servfail": 0, "stuck": 0, "wrong": 0, "unhealed": 0}
    examples: list[str] = []
    took: list[float] = []
    began = time.monotonic()
    tasks: set[asyncio.Task[None]] = set()

    async def one(name: str, rdtype: str, expected: list[str] | str | None) -> None:
        started = time.monotonic()
        outcome = await _question(name, rdtype, expected)
        took.append(time.monotonic() - started)
        counts["asked"] += 1
        is_late = started - began > seconds - 10
        if outcome in ("right", "servfail", "stuck"):
            counts[outcome] += 1
        else:
            counts["wrong"] += 1
        if outcome != "right":
            counts["unhealed"] += is_late
            if outcome not in ("servfail", "right") and len(examples) < 10:
                examples.append(f"{name} {rdtype}: {outcome}")

    while time.monotonic() - began < seconds:
        name, rdtype = random.choice(list(_KNOWN))
        task = asyncio.create_task(
            one(name.format(r=secrets.token_hex(4)), rdtype, _KNOWN[name, rdtype])
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(1 / per_second)
    await asyncio.gather(*tasks)
    took.sort()
    quantiles = {str(q): took[int(q * (len(took) - 1))] for q in (0.5, 0.9, 0.99, 1.0)}
    return {**counts, "examples": examples, "took_s": quantiles}


class _Client(asyncio.DatagramProtocol):
    def __init__(self, done: asyncio.Future[bytes]) -> None:
        self._done = done

    def datagram_received(self, data: bytes, _: Any) -> None:
        if not self._done.done():
            self._done.set_result(data)


async def _question(name: str, rdtype: str, expected: list[str] | str | None) -> str:
    loop = asyncio.get_running_loop()
    query = dns.message.make_query(name, rdtype, use_edns=0)
    done: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Client(done), remote_addr=("::1", _PORT)
    )
    try:
        transport.sendto(query.to_wire())
        response = dns.message.from_wire(await asyncio.wait_for(done, _WAIT_S))
    except TimeoutError:
        return "stuck"
    finally:
        transport.close()
    rcode = response.rcode()
    word = dns.rcode.to_text(rcode)
    if expected == "bogus":
        return (
            "right"
            if rcode == dns.rcode.SERVFAIL
            else f"{dns.rcode.to_text(rcode)} for a bogus name"
        )
    if rcode == dns.rcode.SERVFAIL:
        return "servfail"
    if expected is None:
        return "right" if rcode == dns.rcode.NXDOMAIN else f"{word}, not NXDOMAIN"
    data = sorted(
        item.to_text()
        for rrset in response.answer
        if rrset.rdtype != dns.rdatatype.RRSIG
        for item in rrset
    )
    return "right" if rcode == 0 and data == sorted(expected) else f"{data}, not {expected}"


def _tree_mib(pid: int) -> float:
    """The PSS of a process and all below it."""
    total = 0.0
    todo = [pid]
    while todo:
        one = todo.pop()
        with contextlib.suppress(OSError, ValueError):
            place = Path(f"/proc/{one}")
            for line in (place / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
            for task in (place / "task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return round(total, 1)


def _text(found: dict[str, Any], seconds: float, seed: int) -> str:
    memory = found["memory"]
    middle = [mib for at, mib in memory if seconds / 3 < at < seconds * 2 / 3]
    last = [mib for at, mib in memory if at >= seconds * 2 / 3]
    lines = [
        f"# Soak of the resolver, {seconds:.0f} s, seed {seed}", "",
        f"{found['asked']} questions while {found['switched']} faults came and went, one or two at"
        " a time: families, servers, transports, large answers, a third of all packets.", "",
        "| outcome | count |", "|---|---|",
        f"| right | {found['right']} |",
        f"| SERVFAIL while something was broken | {found['servfail']} |",
        f"| wrong | {found['wrong']} |",
        f"| no answer within {_WAIT_S:.0f} s | {found['stuck']} |",
        "| not right in the last ten seconds, thirty after the last fault |"
        f" {found['unhealed']} |", "",
        "Seconds to an answer: " + ", ".join(
            f"{float(q):.0%} {took:.3f}" for q, took in found["took_s"].items()
        ) + ".", "",
        f"Memory of the process tree (PSS, MiB): first {memory[0][1]}, mean of the second third"
        f" {sum(middle) / max(1, len(middle)):.1f},"
        f" of the last {sum(last) / max(1, len(last)):.1f}.",
    ]  # fmt: skip
    lines += [f"- {one}" for one in found["examples"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
