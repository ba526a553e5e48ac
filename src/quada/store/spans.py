"""Counts of our own events over hours and days, read from the rollups of the event store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quada.store.events import ask

if TYPE_CHECKING:
    from pathlib import Path

_ROWS_MAX = 20_000  # of 48 slices some four hundred kinds each, more than was ever seen
_PREFIXES = 50
OWN = "quada"
"""What the store calls the stream that is ours (`RingSource`)."""


class Count(NamedTuple):
    """How many events of a kind came in one slice of a span; durations in microseconds.

    `slice` counts from 0; the other words are the columns of `rollups`.
    """

    role: str
    slice: int
    kind: str
    qtype: str | None
    outcome: str | None
    family: int | None
    transport: str | None
    cause: str | None
    event_count: int
    timed_count: int
    duration_us: int


class Span(NamedTuple):
    """What happened between two times, in slices of `slice_s` seconds, and who asked most."""

    start_s: int
    slice_s: int
    counts: list[Count]
    prefixes: list[tuple[str, str, int]]


def read_span(directory: Path, start_s: int, slice_s: int, slice_count: int) -> Span:
    """Read a span. Raises: ReachFault where no events are kept."""
    end_s = start_s + slice_s * slice_count
    bounds = [start_s, end_s]
    _, rows = ask(
        directory,
        "SELECT role, CAST(floor((epoch(minute) - ?) / ?) AS INTEGER), kind, qtype, outcome,"
        " family, transport, cause, CAST(sum(count) AS BIGINT), CAST(sum(timed_count) AS BIGINT),"
        " CAST(sum(duration_us) AS BIGINT) FROM rollups"
        " WHERE epoch(minute) >= ? AND epoch(minute) < ? AND source = ? AND role IS NOT NULL"
        " GROUP BY ALL",
        [start_s, slice_s, *bounds, OWN],
        rows_max=_ROWS_MAX,
    )
    _, prefixes = ask(
        directory,
        "SELECT role, prefix, CAST(sum(count) AS BIGINT) FROM clients"
        " WHERE epoch(minute) >= ? AND epoch(minute) < ? AND source = ? AND role IS NOT NULL"
        " GROUP BY ALL ORDER BY 3 DESC LIMIT ?",
        [*bounds, OWN, _PREFIXES],
    )
    return Span(start_s, slice_s, [Count(*row) for row in rows], [(*row,) for row in prefixes])
