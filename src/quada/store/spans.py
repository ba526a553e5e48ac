"""Counts of our own events over hours and days, read from the rollups of the event store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quada.store.seam import ask, seconds_of

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
    at = seconds_of(directory, "minute")
    keys = "kind, qtype, outcome, family, transport, cause"
    _, rows = ask(
        directory,
        f"SELECT role, floor(({at} - ?) / ?) AS slice, {keys}, sum(count), sum(timed_count),"
        f" sum(duration_us) FROM rollups WHERE {at} >= ? AND {at} < ? AND source = ?"
        f" AND role IS NOT NULL GROUP BY role, slice, {keys}",
        [start_s, slice_s, *bounds, OWN],
        rows_max=_ROWS_MAX,
    )
    _, prefixes = ask(
        directory,
        f"SELECT role, prefix, sum(count) AS asked FROM clients WHERE {at} >= ? AND {at} < ?"
        " AND source = ? AND role IS NOT NULL GROUP BY role, prefix ORDER BY asked DESC LIMIT ?",
        [*bounds, OWN, _PREFIXES],
    )
    counts = [
        Count(row[0], int(row[1]), *row[2:8], *(int(one or 0) for one in row[8:])) for row in rows
    ]
    return Span(start_s, slice_s, counts, [(role, of, int(asked)) for role, of, asked in prefixes])
