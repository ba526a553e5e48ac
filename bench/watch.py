"""What the watch takes where thousands of clients a second ask thousands of names.

`python -m bench.watch` feeds minutes of questions, nearly all of them of another client and name,
and prints the memory that was added, the time an event takes, and the longest judgement.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from typing import TYPE_CHECKING

import quada.wire.codes as codes
from bench.traffic import START_S
from quada.server.collector import GC_THRESHOLDS
from quada.telemetry.event import Event, Provenance, Role
from quada.telemetry.signals import Watch
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator


def crowd(minute: int, per_second: int) -> Iterator[Event]:
    """Give a minute of questions of a great crowd, from a seed that is the minute."""
    chance = random.Random(minute)
    for number in range(per_second * 60):
        client = f"2001:db8:{chance.getrandbits(16):x}:{chance.getrandbits(16):x}::{number:x}"
        if chance.random() < 0.2:
            client = f"10.{chance.getrandbits(8)}.{chance.getrandbits(8)}.{chance.getrandbits(8)}"
        yield Event(
            at_ns=(START_S + minute * 60) * 10**9 + number * 60 * 10**9 // (per_second * 60),
            role=Role.RECURSIVE, client=client, transport=Transport.UDP, rcode=0,
            qname=f"h{chance.getrandbits(20)}.z{chance.getrandbits(12)}.example.",
            qtype=codes.AAAA if chance.random() < 0.5 else codes.A,
            provenance=Provenance.DNS64 if chance.random() < 0.1 else Provenance.NATIVE,
        )  # fmt: skip


def main() -> None:
    """Measure and print, as the collector has it set up."""
    gc.set_threshold(*GC_THRESHOLDS)
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--per-second", type=int, default=2_000)
    options.add_argument("--minutes", type=int, default=15)
    wanted = options.parse_args()
    watch = Watch()
    fed_s = longest_s = 0.0
    list(crowd(0, wanted.per_second))  # what making them takes is none of the watch's
    before = _peak_mib()
    for minute in range(wanted.minutes):
        events = list(crowd(minute, wanted.per_second))
        started = time.process_time()
        watch.feed(events)
        fed_s += time.process_time() - started
        del events
        started = time.process_time()
        watch.judge(START_S + (minute + 1) * 60 + 31)
        longest_s = max(longest_s, time.process_time() - started)
    count = wanted.minutes * wanted.per_second * 60
    print(
        f"{wanted.per_second} events a second, {wanted.minutes} minutes:"
        f" {_peak_mib() - before:.0f} MiB more, {fed_s / count * 1e6:.1f} µs an event,"
        f" longest judgement {longest_s:.2f} s"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
