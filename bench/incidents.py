"""Labelled traffic: clients and their retries, with incidents and benign events.

`python -m bench.incidents` runs the signals over seeds that were not used while they were tuned,
and prints what was found, missed and raised in vain. Everything follows from the seed.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
from quada.telemetry.event import Cause, Event, Kind, Role, Validation
from quada.telemetry.signals import Signal, State, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START_S: Final = 1_795_200_000  # a minute
HELD_OUT: Final = range(101, 109)
_ZONES: Final = ("example.com.", "example.net.", "example.org.")
_SITES: Final = 12
_NAMES: Final = 400
_LENGTH: Final = 30
_GAP: Final = 75
_HISTORY: Final = 180


class Incident(NamedTuple):
    """What happens, from which minute to which, and what should be said of it.

    `expects` is the kind of signal, empty for what is benign; `cause` and `place` are what it
    should name.
    """

    name: str
    start: int
    end: int
    effect: float
    expects: str
    cause: str = ""
    place: str = ""


_CLASSES: Final = (
    ("AAAA bogus in one zone", "aaaa-servfail", "validation", "everywhere"),
    ("AAAA times out in one zone", "aaaa-servfail", "reachability", "everywhere"),
    ("AAAA fails at one site", "aaaa-servfail", "reachability", "2001:db8:3:"),
    ("clients stop asking AAAA", "aaaa-share", "", ""),
    ("IPv6 of a server is dead", "ipv6-fallback", "reachability", ""),
    ("benign: zone dead over both families", "", "", ""),
    ("benign: storm of A retries", "", "", ""),
    ("benign: three times the traffic", "", "", ""),
    ("benign: one broken name", "", "", ""),
    ("benign: the collector stops", "", "", ""),
)


def schedule(seed: int, effect: float) -> list[Incident]:
    """Lay the classes out in an order that the seed gives, well apart."""
    chance = random.Random(seed)
    classes = list(_CLASSES)
    chance.shuffle(classes)
    out = []
    at = _HISTORY
    for name, expects, cause, place in classes:
        start = at + chance.randrange(10)
        out.append(Incident(name, start, start + _LENGTH, effect, expects, cause, place))
        at += _GAP
    return out


def traffic(seed: int, per_minute: int, incidents: list[Incident]) -> Iterator[list[Event]]:
    """Give events minute by minute; `per_minute` is attempts, A and AAAA together."""
    chance = random.Random(seed)
    end = max(incident.end for incident in incidents) + 20
    for minute in range(end):
        now = {one.name: one for one in incidents if one.start <= minute < one.end}
        if "benign: the collector stops" in now:
            yield []
            continue
        day = 1 + 0.3 * math.sin(minute / 1440 * 2 * math.pi)
        volume = per_minute * day * (3 if "benign: three times the traffic" in now else 1)
        events: list[Event] = []
        for _ in range(_poisson(chance, volume / 1.55)):
            events += _lookup(chance, minute, now)
        events += _upstream(chance, minute, now, per_minute)
        if "benign: one broken name" in now:
            events += [
                _event(chance, minute, _client(chance, 1), "canary.example.com.", codes.AAAA, 2)
                for _ in range(40)
            ]
        yield events


def _lookup(chance: random.Random, minute: int, now: dict[str, Incident]) -> list[Event]:
    """One client's look at a name: what it asks by its kind, and its retries."""
    site = min(int(chance.paretovariate(1.1)), _SITES) - 1
    client = _client(chance, site)
    zone = chance.choice(_ZONES)
    name = f"host{min(int(chance.paretovariate(0.6)), _NAMES)}.{zone}"
    kind = chance.random()
    asks = [codes.A] if kind < 0.3 else [codes.A, codes.AAAA]
    if kind > 0.75:
        asks.append(codes.HTTPS)
    silent = now.get("clients stop asking AAAA")
    if silent is not None and codes.AAAA in asks and chance.random() < silent.effect:
        asks.remove(codes.AAAA)
    out = []
    for qtype in asks:
        rcode, cause = _fate(chance, site, zone, qtype, now)
        retries = 1 + (chance.random() < 0.1) + (2 if rcode == codes.SERVFAIL else 0)
        if "benign: storm of A retries" in now and qtype == codes.A:
            retries += 8
        out += [_event(chance, minute, client, name, qtype, rcode, cause) for _ in range(retries)]
    return out


def _fate(
    chance: random.Random, site: int, zone: str, qtype: int, now: dict[str, Incident]
) -> tuple[int, Cause]:
    """How a question ends."""
    dead = now.get("benign: zone dead over both families")
    if dead is not None and zone == "example.org." and chance.random() < dead.effect:
        return codes.SERVFAIL, Cause.REACHABILITY
    if qtype == codes.AAAA:
        bogus = now.get("AAAA bogus in one zone")
        if bogus is not None and zone == "example.com." and chance.random() < bogus.effect:
            return codes.SERVFAIL, Cause.VALIDATION
        slow = now.get("AAAA times out in one zone")
        if slow is not None and zone == "example.net." and chance.random() < slow.effect:
            return codes.SERVFAIL, Cause.REACHABILITY
        if "AAAA fails at one site" in now and site == 3 and chance.random() < 0.95:
            return codes.SERVFAIL, Cause.REACHABILITY
    if chance.random() < 0.002:
        return codes.SERVFAIL, Cause.UNKNOWN
    return codes.NOERROR, Cause.NONE


def _upstream(
    chance: random.Random, minute: int, now: dict[str, Incident], per_minute: int
) -> list[Event]:
    out = []
    for _ in range(per_minute // 2):
        zone = chance.choice(_ZONES)
        number = _ZONES.index(zone)
        address = f"2001:db8:53:{number}::53" if chance.random() < 0.6 else f"192.0.2.{number + 1}"
        is_good = chance.random() > 0.01
        dead = now.get("IPv6 of a server is dead")
        if dead is not None and number == 1 and ":" in address:
            is_good = chance.random() > max(dead.effect, 0.4)
        out.append(
            Event(
                at_ns=_at(chance, minute), kind=Kind.UPSTREAM, role=Role.RECURSIVE, client=address,
                qname=f"www.{zone}", qtype=codes.AAAA, rcode=0 if is_good else None, zone=zone,
                cause=Cause.NONE if is_good else Cause.REACHABILITY,
                upstream_family=6 if ":" in address else 4,
            )
        )  # fmt: skip
    return out


def _event(
    chance: random.Random, minute: int, client: str, name: str, qtype: int, rcode: int,
    cause: Cause = Cause.NONE,
) -> Event:  # fmt: skip
    is_bogus = cause is Cause.VALIDATION
    return Event(
        at_ns=_at(chance, minute), role=Role.RECURSIVE, client=client, qname=name, qtype=qtype,
        rcode=rcode, cause=cause, ede=6 if is_bogus else None,
        validation=Validation.BOGUS if is_bogus else Validation.UNTRIED,
    )  # fmt: skip


def _at(chance: random.Random, minute: int) -> int:
    return (START_S + minute * 60) * 1_000_000_000 + chance.randrange(60_000_000_000)


def _client(chance: random.Random, site: int) -> str:
    if chance.random() < 0.15:
        return f"198.51.{site}.{chance.randrange(1, 250)}"
    return f"2001:db8:{site:x}:{chance.randrange(24):x}::{chance.randrange(1, 40):x}"


def _poisson(chance: random.Random, mean: float) -> int:
    return max(0, round(chance.gauss(mean, math.sqrt(mean))))


class Score(NamedTuple):
    """How one run went: for each incident the minutes to its signal, or None; alarms in vain."""

    found: list[tuple[Incident, float | None, Signal | None]]
    false: list[Signal]
    minutes: int


def score(seed: int, per_minute: int, effect: float) -> Score:
    """Run one seed and compare what was said with what happened."""
    incidents = schedule(seed, effect)
    watch = Watch()
    said: list[tuple[int, Signal]] = []
    minute = 0
    for minute, events in enumerate(traffic(seed, per_minute, incidents)):
        watch.feed(events)
        now_s = START_S + (minute + 1) * 60 + 31
        said += [(minute, one) for one in watch.judge(now_s) if one.state is not State.CLOSED]
    found = []
    used: set[int] = set()
    for incident in incidents:
        hits = [
            (at, signal)
            for at, signal in said
            if signal.kind == incident.expects and incident.start <= at <= incident.end + 10
        ]
        used |= {id(signal) for _, signal in hits}
        first = hits[0] if hits else None
        found.append(
            (
                incident,
                first[0] + 1.5 - incident.start if first else None,
                hits[-1][1] if hits else None,
            )
        )
    return Score(
        found, [s for _, s in said if id(s) not in used and s.state is not State.BLIND], minute
    )


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
        "cause right": sum(causes) / len(causes) if causes else 0.0,
        "place right": sum(places) / len(places) if places else 0.0,
    }


def main() -> None:
    """Run the held-out seeds at several volumes and effects, and print a table."""
    keys = ("recall", "p50 minutes", "p95 minutes", "false a day", "cause right", "place right")
    print("| attempts a minute | effect | " + " | ".join(keys) + " |")
    print("|---" * (len(keys) + 2) + "|")
    missed: dict[str, int] = defaultdict(int)
    for per_minute in (60, 200, 600):
        for effect in (0.25, 0.4, 0.8):
            scores = [score(seed, per_minute, effect) for seed in HELD_OUT]
            found = summary(scores)
            print(
                f"| {per_minute} | {effect:.0%} | "
                + " | ".join(f"{found[key]:.2f}" for key in keys) + " |"
            )  # fmt: skip
            for one in (one for s in scores for one in s.found if one[0].expects):
                missed[f"{one[0].name} at {effect:.0%}, {per_minute}"] += one[1] is None
            for false in (false for s in scores for false in s.false):
                missed[f"in vain: {false.kind} at {effect:.0%}, {per_minute}"] += 1
    print("\nMissed, or raised in vain:")
    for name, count in sorted(missed.items()):
        if count:
            print(f"- {name}: {count} of {len(HELD_OUT)}")


if __name__ == "__main__":
    main()
