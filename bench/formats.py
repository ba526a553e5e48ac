"""What each format's log lets the signals find: the labelled traffic written and read back.

`python -m bench.formats` renders held-out seeds as every server would log them, and prints recall,
alarms in vain and lines not understood; then which class of incident is found in which format.
"""

from __future__ import annotations

import argparse
import multiprocessing
from typing import NamedTuple

from bench.incidents import Score, score, summary
from bench.render import NAMES, Through
from bench.traffic import HELD_OUT

_SEEDS = 4


class _Read(NamedTuple):
    name: str
    score: Score
    lines: int
    unknown: int


def _one(work: tuple[str, int, int]) -> _Read:
    through = Through(work[0])
    made = score(work[1], work[2], 0.4, through=through)
    return _Read(work[0], made, *through.counts)


def main() -> None:
    """Run every format and print two tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=list(HELD_OUT)[:_SEEDS])
    options.add_argument("--volume", type=int, default=60)
    options.add_argument("--formats", nargs="+", default=list(NAMES))
    wanted = options.parse_args()
    works = [(name, seed, wanted.volume) for name in wanted.formats for seed in wanted.seeds]
    with multiprocessing.Pool() as pool:
        read = pool.map(_one, works, 1)
    print("| format | recall | p95 minutes | false a day | cause right | lines | understood |")
    print("|---" * 7 + "|")
    found: dict[str, dict[str, int]] = {}
    for name in wanted.formats:
        mine = [one for one in read if one.name == name]
        told = summary(one.score for one in mine)
        lines = sum(one.lines for one in mine)
        known = 1 - sum(one.unknown for one in mine) / lines if lines else 1.0
        print(
            f"| {name} | {told['recall']:.2f} | {told['p95 minutes']:.1f} |"
            f" {told['false a day']:.2f} | {told['cause right']:.2f} | {lines} | {known:.4%} |"
        )
        for incident, took, _ in (one for r in mine for one in r.score.found):
            if incident.expects:
                row = found.setdefault(incident.name, {})
                row[name] = row.get(name, 0) + (took is not None)
    print("\n| incident | " + " | ".join(wanted.formats) + " |")
    print("|---" * (len(wanted.formats) + 1) + "|")
    for incident_name, row in sorted(found.items()):
        shown = " | ".join(str(row.get(name, 0)) for name in wanted.formats)
        print(f"| {incident_name} | {shown} |")


if __name__ == "__main__":
    main()
