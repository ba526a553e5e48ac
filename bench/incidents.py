"""How good the signals are: run over labelled traffic, beside other methods.

`python -m bench.incidents` runs seeds that were not used while the signals were tuned, and prints
what was found, missed and raised in vain. Everything follows from the seed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.baselines import Baseline, Rates, Static, ZTest
from bench.traffic import HELD_OUT, START_S, Incident, schedule, traffic
from quada.telemetry.signals import Signal, State, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.render import Through

_METHODS: Final[dict[str, Callable[[], Watch | Baseline]]] = {
    "quada": Watch, "static thresholds": Static, "z-test": ZTest, "rates": Rates,
}  # fmt: skip
_KEYS: Final = (
    "recall", "p50 minutes", "p95 minutes", "false a day", "alerts an incident", "cause right",
    "place right",
)  # fmt: skip


class Score(NamedTuple):
    """How one run went: for each incident the minutes to its signal, or None; alarms in vain."""

    found: list[tuple[Incident, float | None, Signal | None]]
    false: list[Signal]
    minutes: int
    alerts: float


def score(
    seed: int, per_minute: int, effect: float, method: str = "quada", through: Through | None = None
) -> Score:
    """Run one seed and compare what was said with what happened.

    `through` is whose log the traffic is written to and read back from; None has events as made.
    """
    incidents = schedule(seed, effect)
    watch = _METHODS[method]()
    said: list[tuple[int, Signal]] = []
    minute = 0
    for minute, events in enumerate(traffic(seed, per_minute, incidents)):
        watch.feed(events if through is None else through.read(events))
        now_s = START_S + (minute + 1) * 60 + 31
        said += [(minute, one) for one in watch.judge(now_s) if one.state is not State.CLOSED]
    found = []
    alerts = []
    used: set[int] = set()
    for incident in incidents:
        hits = [
            (at, signal)
            for at, signal in said
            if signal.kind == incident.expects and incident.start <= at <= incident.end + 10
        ]
        used |= {id(signal) for _, signal in hits}
        first = hits[0] if hits else None
        if hits:
            alerts.append(len({signal.key for _, signal in hits}))
        found.append(
            (
                incident,
                first[0] + 1.5 - incident.start if first else None,
                hits[-1][1] if hits else None,
            )
        )
    false = [s for _, s in said if id(s) not in used and s.state is not State.BLIND]
    return Score(found, false, minute, statistics.mean(alerts) if alerts else 0.0)


def summary(scores: Iterable[Score]) -> dict[str, float]:
    """Put scores together: recall, minutes to detect, false alarms a day, causes, places."""
    scores = list(scores)
    wanted = [one for s in scores for one in s.found if one[0].expects]
    times = [took for _, took, _ in wanted if took is not None]
    causes = [
        signal.cause == incident.cause
        for incident, _, signal in wanted
        if signal is not None and incident.cause
    ]
    places = [
        incident.place in signal.where
        for incident, _, signal in wanted
        if signal is not None and incident.place
    ]
    return {
        "recall": len(times) / len(wanted),
        "p50 minutes": statistics.median(times) if times else math.inf,
        "p95 minutes": sorted(times)[int(len(times) * 0.95)] if times else math.inf,
        "false a day": sum(len(s.false) for s in scores) / (sum(s.minutes for s in scores) / 1440),
        "alerts an incident": statistics.mean([s.alerts for s in scores if s.alerts] or [0.0]),
        "cause right": sum(causes) / len(causes) if causes else 0.0,
        "place right": sum(places) / len(places) if places else 0.0,
    }


def _one(work: tuple[int, int, float, str]) -> Score:
    return score(*work)


def main() -> None:
    """Run the held-out seeds at several volumes and effects, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=list(HELD_OUT))
    options.add_argument("--volumes", type=int, nargs="+", default=[60, 200, 600])
    options.add_argument("--effects", type=float, nargs="+", default=[0.25, 0.4, 0.8])
    options.add_argument("--methods", nargs="+", default=list(_METHODS))
    wanted = options.parse_args()
    print("| attempts a minute | effect | method | " + " | ".join(_KEYS) + " |")
    print("|---" * (len(_KEYS) + 3) + "|")
    missed: dict[str, int] = defaultdict(int)
    vain: Counter[str] = Counter()
    with multiprocessing.Pool() as pool:
        for volume in wanted.volumes:
            for effect in wanted.effects:
                for method in wanted.methods:
                    works = [(seed, volume, effect, method) for seed in wanted.seeds]
                    scores = pool.map(_one, works, 1)
                    found = summary(scores)
                    shown = " | ".join(f"{found[key]:.2f}" for key in _KEYS)
                    print(f"| {volume} | {effect:.0%} | {method} | {shown} |", flush=True)
                    if method != "quada":
                        continue
                    for one in (one for s in scores for one in s.found if one[0].expects):
                        missed[f"{one[0].name} at {effect:.0%}, {volume}"] += one[1] is None
                    for false in (false for s in scores for false in s.false):
                        vain[f"{false.key} at {effect:.0%}, {volume}"] += 1
    for title, counts in (("Missed", missed), ("Raised in vain", vain)):
        print(f"\n{title}, of {len(wanted.seeds)} runs each:")
        for name, count in sorted(counts.items()):
            if count:
                print(f"- {name}: {count}")


if __name__ == "__main__":
    main()
