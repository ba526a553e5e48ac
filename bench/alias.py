"""Many ALIAS names on few targets: lookups, messages, memory, and what a restart costs.

`python -m bench.alias` asks every name of both families of an authority whose targets are answered
at once, as a resolver with a warm cache would; no sockets.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority import Authority, Keeper
from quada.authority.alias import AliasSettings, Turn, View
from quada.authority.work import AuthoritySettings, Lookup
from quada.wire.ask import Ask, Endpoint, Reply, Transport
from quada.wire.respond import Deferred
from quada.zones import read_zone

_ORIGIN = names.from_text("example.com.")
_PEER = b"\x0a\x00\x12\x34" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(16)
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


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--names", type=int, default=10_000)
    options.add_argument("--targets", type=int, default=100)
    wanted = options.parse_args()
    before = _peak_mib()
    crowd = Crowd(wanted.names, wanted.targets)
    loaded = _peak_mib()
    for what in ("cold", "warm", "restarted"):
        if what == "restarted":
            crowd.restart()
        told = crowd.ask_all()
        print(
            f"{what}: {2 * wanted.names} questions, {told.waited} waited, {told.lookups} lookups,"
            f" {told.messages} messages, {told.spent_s / wanted.names / 2 * 1e6:.1f} µs a question"
        )
    print(f"zone {loaded - before:.0f} MiB, answers and targets {_peak_mib() - loaded:.0f} MiB")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
