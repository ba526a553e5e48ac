"""ALIAS: what a warm one costs beside a static record, and many names on few targets.

`python -m bench.alias` runs both and writes bench/results/alias.md. The first asks a server over
::1 with dnsperf, ALIAS and static names in turns. The second asks every name of both families of an
authority whose targets are answered at once, as a resolver with a warm cache would; no sockets.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from bench.measure import Cost, free_port, latencies, query, running
from quada.authority import Authority, Keeper
from quada.authority.alias import AliasSettings, View
from quada.authority.work import AuthoritySettings, Lookup
from quada.build import build
from quada.wire.ask import Ask, Endpoint, Reply, Transport
from quada.wire.respond import Deferred
from quada.zones import read_zone

if TYPE_CHECKING:
    from quada.authority.keeper import Turn

_ORIGIN = names.from_text("example.com.")
_PEER = b"\x0a\x00\x12\x34" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(16)
_RESULTS: Final = Path(__file__).parent / "results"
_TURNS: Final = 5
_STEADY_PER_S: Final = 5_000
_NAMES: Final = 10_000
_TARGETS: Final = 100
_ADDRESSES = {codes.AAAA: bytes.fromhex("20010db8") + bytes(12), codes.A: b"\xc0\x00\x02\x01"}


class Told(NamedTuple):
    """What a round over every name took. `waited` are questions that had to wait for a lookup."""

    waited: int
    lookups: int
    messages: int
    spent_s: float


class Crowd:
    """An authority with ALIAS names and a resolver that answers at once, or not at all."""

    def __init__(self, name_count: int, target_count: int) -> None:
        text = "@ 300 SOA a b 1 2 3 4 5\n@ 300 NS a.example.net.\n" + "".join(
            f"n{n} 300 ALIAS t{n % target_count}.example.net.\n" for n in range(name_count)
        )
        self.zone = read_zone(text, _ORIGIN)
        self.settings = AliasSettings(upstreams=(Endpoint("2001:db8::53"),))
        self.is_silent = False
        self.now = 1_800_000_000.0
        self._names = [names.from_text(f"n{n}.example.com.") for n in range(name_count)]
        self.restart()

    def restart(self) -> None:
        """Forget all that was looked up."""
        self.view, self.keeper = View(self.settings), Keeper(self.settings)
        self.authority = Authority(AuthoritySettings(), aliases=self.view)
        self.authority.put(self.zone)

    def ask_all(self) -> Told:
        """Ask both families of every name, all before the first lookup ends."""
        counters = self.keeper.counters
        before = counters.lookups, counters.attempts
        self.authority.begin(int(self.now * 1e9))
        started = time.process_time()
        waiting, turns = [], []
        for name in self._names:
            for rdtype in (codes.AAAA, codes.A):
                packet = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + name
                packet += rdtype.to_bytes(2, "big") + b"\x00\x01"
                made = self.authority.answer(packet, _PEER, Transport.UDP)
                if isinstance(made, Deferred) and isinstance(made.work, Lookup):
                    waiting.append(made)
                    targets = made.work.wanted.targets
                    turns += [self.keeper.want(target, self.now) for target in targets]
        for turn in turns:
            self._follow(turn)
        for deferred in waiting:
            answered = self.authority.settle(deferred, is_last=True)
            if isinstance(answered, Deferred):
                raise TypeError("a client that may wait no longer was made to wait")
        spent_s = time.process_time() - started
        return Told(
            len(waiting), counters.lookups - before[0], counters.attempts - before[1], spent_s
        )

    def _follow(self, turn: Turn) -> None:
        for news in turn.news:
            self.view.put(news)
        if not self.is_silent:
            for ask in turn.asks:
                self._follow(self.keeper.take(_reply(ask), self.now))


def _reply(ask: Ask) -> Reply:
    """Answer a query as a resolver does, with one address of its family and 60 seconds."""
    query = ask.query
    end = query.index(b"\x00", 12) + 5
    rdata = _ADDRESSES[query[end - 4] << 8 | query[end - 3]]
    record = b"\xc0\x0c" + query[end - 4 : end] + (60).to_bytes(4, "big")
    record += len(rdata).to_bytes(2, "big") + rdata
    head = query[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    return Reply(ask, head + query[12:end] + record, 0.001)


def warm(place: Path, seconds: float) -> list[str]:
    """Measure ALIAS and static names of one server in turns; gives rows of a table."""
    port, upstream = free_port(), free_port()
    soa = "@ 300 SOA ns h 1 3600 600 86400 60\n@ 300 NS ns\nns 300 AAAA 2001:db8::53\n"
    targets = place / "example.net.zone"
    targets.write_text(soa + "".join(f"t{n} 300 AAAA 2001:db8::{n:x}\n" for n in range(_TARGETS)))
    zone = place / "example.com.zone"
    zone.write_text(
        soa + "@ 300 ALIAS t0.example.net.\n"
        + "".join(f"a{n} 300 ALIAS t{n % _TARGETS}.example.net.\n" for n in range(_NAMES))
        + "".join(f"s{n} 300 AAAA 2001:db8::{n % _TARGETS:x}\n" for n in range(_NAMES))
    )  # fmt: skip
    config = place / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[::1]:{port}"]\n'
        f'[alias]\nupstream = ["[::1]:{upstream}"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
    )
    serve = [sys.executable, "-m", "quada", "serve", "--role", "authority", "--workers", "1"]
    behind = [
        *serve, "--zone", f"example.net={targets}", "--listen", f"[::1]:{upstream}",
        "--state-dir", str(place / "upstream"),
    ]  # fmt: skip
    server = [*serve, "--config", str(config), "--state-dir", str(place / "state")]
    questions = {}
    for kind, title in (("s", "static AAAA"), ("a", "ALIAS")):
        questions[title] = place / kind
        questions[title].write_text("".join(f"{kind}{n}.example.com AAAA\n" for n in range(_NAMES)))
    costs: dict[str, list[Cost]] = {title: [] for title in questions}
    delays: dict[str, list[tuple[float, float]]] = {title: [] for title in questions}
    with (
        running(behind, upstream, place / "upstream.log", origin="example.net"),
        running(server, port, place / "log") as pid,
    ):
        for file in questions.values():
            query(pid, port, file, 1.0, "-t", "1")
        for _ in range(_TURNS):
            for title, file in questions.items():
                costs[title].append(query(pid, port, file, seconds, "-t", "1"))
                delays[title].append(latencies(port, file, seconds, _STEADY_PER_S))
    rows = []
    for title, found in costs.items():
        cpu_us = statistics.median(one.cpu_us for one in found)
        p50, p99 = (statistics.median(one[which] for one in delays[title]) for which in (0, 1))
        rows.append(f"| {title} | {cpu_us:.2f} | {p50:.3f} | {p99:.3f} |")
    return rows


def crowd(name_count: int, target_count: int) -> list[str]:
    """Ask many names on few targets; gives rows of a table and what memory they took."""
    before = _peak_mib()
    made = Crowd(name_count, target_count)
    loaded = _peak_mib()
    rows = []
    for what in ("cold", "warm", "restarted"):
        if what == "restarted":
            made.restart()
        told = made.ask_all()
        rows.append(
            f"| {what} | {2 * name_count} | {told.waited} | {told.lookups} | {told.messages} |"
            f" {told.spent_s / name_count / 2 * 1e6:.1f} |"
        )
    mib = _peak_mib() - loaded
    return [*rows, "", f"Zone {loaded - before:.0f} MiB, answers and targets {mib:.0f} MiB."]


def main() -> None:
    """Measure, print, and write to bench/results/."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--names", type=int, default=_NAMES)
    options.add_argument("--targets", type=int, default=_TARGETS)
    options.add_argument("--seconds", type=float, default=2.0, help="a turn")
    wanted = options.parse_args()
    many = crowd(wanted.names, wanted.targets)
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as name:
        rows = warm(Path(name), wanted.seconds)
    text = "\n".join([
        f"# ALIAS, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "",
        f"quada {build()}, Linux {platform.release().partition('-')[0]}, one server core. "
        f"{_NAMES:,} names of each kind in one zone, asked over ::1 in",
        f"{_TURNS} turns of {wanted.seconds:g} s each: median of CPU at full speed, and of "
        f"latency at {_STEADY_PER_S:,} a second.",
        "",
        "| | CPU µs a query | p50 ms | p99 ms |",
        "|---|---|---|---|",
        *rows,
        "",
        f"## {wanted.names:,} ALIAS names on {wanted.targets:,} targets, in memory",
        "",
        "| | questions | that waited | lookups | messages | CPU µs a question |",
        "|---|---|---|---|---|---|",
        *many,
    ]) + "\n"  # fmt: skip
    print(text)
    (_RESULTS / "alias.md").write_text(text)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
