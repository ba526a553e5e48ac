"""What the dashboard shows, counted from events or from stored counts, and its charts as SVG."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.telemetry.event import Cause, Event, Kind, Role
from quada.telemetry.fallback import Fallbacks, is_unanswered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quada.store.spans import Count, Span

_BUCKETS: Final = 40
_TOP: Final = 8
CLASSES: Final = ("AAAA", "A", "HTTPS", "PTR", "other")


class Mix(NamedTuple):
    """Queries over time by type: for each bucket a count for each of CLASSES."""

    start_ns: int
    bucket_ns: int
    counts: list[list[int]]


class Fell(NamedTuple):
    """What went to IPv4 because IPv6 did not answer, and the time that was waited in vain.

    From single events `times` is of questions that IPv4 then answered; from stored counts, which
    know no questions, of attempts over IPv6 that nobody answered.
    """

    times: int
    cost_ms: int


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
    fell: Fell


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
            f"{'no answer' if is_unanswered(event) else 'answered'}"
            for event in own
            if event.kind is Kind.UPSTREAM
        ),
        _fell(own),
    )


def figure_of(span: Span, role: Role, slice_count: int) -> Figures:
    """Count what is stored of one role. Rollups hold neither names nor provenance."""
    word = role.name.lower()
    own = [one for one in span.counts if one.role == word]
    queries = [one for one in own if one.kind == "query"]
    legs = [one for one in own if one.kind == "upstream"]
    counts = [[0] * len(CLASSES) for _ in range(slice_count)]
    for one in queries:
        kind = CLASSES.index(one.qtype) if one.qtype in CLASSES else len(CLASSES) - 1
        counts[one.slice][kind] += one.event_count
    vain = [one for one in legs if one.family == 6 and _is_vain(one)]
    return Figures(
        sum(one.event_count for one in queries),
        Mix(span.start_s * 10**9, span.slice_s * 10**9, counts),
        _most((one.outcome or "no answer", one.event_count) for one in queries),
        _most((f"IPv{one.family}", one.event_count) for one in queries if one.family),
        _most(((one.transport or "").upper(), one.event_count) for one in queries),
        [(prefix, count) for of, prefix, count in span.prefixes if of == word][:_TOP],
        _most(
            (f"{one.qtype} {one.cause or 'unknown'}", one.event_count)
            for one in queries
            if one.outcome == "SERVFAIL"
        ),
        [],
        [],
        [
            (f"IPv{family}, mean", sum(us for us, _ in timed) // sum(n for _, n in timed))
            for family in (6, 4)
            if (timed := [(q.duration_us, q.timed_count) for q in queries
                          if q.family == family and q.duration_us])
        ],
        _most(
            (f"IPv{one.family} {'no answer' if _is_vain(one) else 'answered'}", one.event_count)
            for one in legs
        ),
        Fell(sum(one.event_count for one in vain), sum(one.duration_us for one in vain) // 1000),
    )  # fmt: skip


def _fell(events: Iterable[Event]) -> Fell:
    fallbacks = Fallbacks()
    found = [fell for event in events if (fell := fallbacks.feed(event)) is not None]
    return Fell(len(found), sum(fell.cost_us for fell in found) // 1000)


def _is_vain(one: Count) -> bool:
    return one.outcome is None or one.cause == "reachability"


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


def _most(counted: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    found: Counter[str] = Counter()
    for word, count in counted:
        found[word] += count
    return found.most_common(_TOP)


def _top(words: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(words).most_common(_TOP)
