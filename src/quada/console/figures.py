"""What the dashboard shows, counted from events, and its charts as SVG."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.telemetry.event import Cause, Event, Kind, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BUCKETS: Final = 40
_TOP: Final = 8
CLASSES: Final = ("AAAA", "A", "HTTPS", "PTR", "other")


class Mix(NamedTuple):
    """Queries over time by type: for each bucket a count for each of CLASSES."""

    start_ns: int
    bucket_ns: int
    counts: list[list[int]]


class Figures(NamedTuple):
    """What the dashboard shows of one stream."""

    query_count: int
    mix: Mix
    rcodes: list[tuple[str, int]]
    families: list[tuple[str, int]]
    transports: list[tuple[str, int]]
    sources: list[tuple[str, int]]
    failures: list[tuple[str, int]]
    provenance: list[tuple[str, int]]
    names: list[tuple[str, int]]
    slow_us: list[tuple[str, int]]
    upstream: list[tuple[str, int]]


def figure(events: Iterable[Event], role: Role) -> Figures:
    """Count the events of one role."""
    own = [event for event in events if event.role is role]
    queries = [event for event in own if event.kind is Kind.QUERY]
    data = [(event, event.to_json()) for event in queries]
    durations = sorted(event.duration_us for event in queries if event.duration_us)
    return Figures(
        len(queries),
        mix(queries),
        _top(_outcome(event, shown) for event, shown in data),
        _top(f"IPv{event.family}" for event in queries if event.family),
        _top(str(shown.get("transport", "")).upper() for _, shown in data),
        _top(prefix(event.client) for event in queries if event.client),
        _top(
            f"{shown.get('qtype')} {Cause(event.cause or Cause.UNKNOWN).name.lower()}"
            for event, shown in data
            if shown.get("rcode") == "SERVFAIL"
        ),
        _top(name for _, shown in data for name in shown.get("provenance", ())),
        _top(event.qname for event in queries if event.qname),
        [(f"p{part}", durations[len(durations) * part // 100]) for part in (50, 90, 99)]
        if durations
        else [],
        _top(
            f"IPv{event.upstream_family or event.family} "
            f"{'no answer' if event.rcode is None else 'answered'}"
            for event in own
            if event.kind is Kind.UPSTREAM
        ),
    )


def mix(queries: Sequence[Event]) -> Mix:
    """Count queries by time and type."""
    counts = [[0] * len(CLASSES) for _ in range(_BUCKETS)]
    if not queries:
        return Mix(0, 1, counts)
    start = min(event.at_ns for event in queries)
    end = max(event.at_ns for event in queries)
    bucket = max(1, (end - start) // _BUCKETS + 1)
    kinds = {28: 0, 1: 1, 65: 2, 12: 3}
    for event in queries:
        counts[(event.at_ns - start) // bucket][kinds.get(event.qtype or 0, 4)] += 1
    return Mix(start, bucket, counts)


def prefix(client: str) -> str:
    """Give the network a client is counted under: its /48, or its /24."""
    address = ipaddress.ip_address(client.partition("%")[0])
    size = 48 if address.version == 6 else 24
    return str(ipaddress.ip_network((address, size), strict=False))


def stacks(shown: Mix, width: int = 720, height: int = 160) -> list[dict[str, Any]]:
    """Lay the bars of a mix out: x, y, width, height and class of each rectangle."""
    highest = max((sum(bucket) for bucket in shown.counts), default=0) or 1
    step = width / len(shown.counts)
    bars = []
    for at, bucket in enumerate(shown.counts):
        y = float(height)
        for kind, count in enumerate(bucket):
            if not count:
                continue
            tall = count / highest * (height - 4)
            y -= tall
            bars.append(
                {
                    "x": round(at * step + 1, 1), "y": round(y, 1), "width": round(step - 2, 1),
                    "height": round(tall, 1), "kind": kind, "title": f"{CLASSES[kind]}: {count}",
                }
            )  # fmt: skip
    return bars


def _outcome(event: Event, shown: dict[str, Any]) -> str:
    if event.is_nodata:
        return "NODATA"
    return "no answer" if event.rcode is None else str(shown.get("rcode"))


def _top(words: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(words).most_common(_TOP)
