"""Spans: what rollups say of hours and days, and what the dashboard makes of it."""

from pathlib import Path

import pytest

from quada.console.figures import Fell, figure_of
from quada.store.events import EventStore
from quada.store.spans import read_span
from quada.telemetry.event import Cause, Event, Kind, Role
from quada.wire.ask import Transport
from quada.wire.faults import ReachFault

START = 1_700_000_000 // 3600 * 3600


def event(at_s: int, **more: object) -> Event:
    known: dict[str, object] = {
        "kind": Kind.QUERY, "role": Role.AUTHORITATIVE, "transport": Transport.UDP, "qtype": 28,
        "rcode": 0, "client": "2001:db8::7", "duration_us": 100,
    }  # fmt: skip
    return Event(at_ns=(START + at_s) * 10**9, **{**known, **more})  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = EventStore(tmp_path / "history")
    leg = {"kind": Kind.UPSTREAM, "role": Role.RECURSIVE}
    events = [
        event(-60),
        event(0), event(30, weight=9), event(70, qtype=1, client="192.0.2.7"),
        event(80, rcode=2, cause=Cause.VALIDATION),
        event(90, source="ns1"),
        event(95, **leg, upstream_family=6, cause=Cause.REACHABILITY, rcode=2, duration_us=400_000),
        event(96, **leg, upstream_family=4, duration_us=20_000),
        event(180),
    ]  # fmt: skip
    store.put(events, {}, START)
    return tmp_path / "history"


def test_a_span_holds_what_came_in_it_and_is_ours(directory: Path) -> None:
    span = read_span(directory, START, 60, 3)
    figures = figure_of(span, Role.AUTHORITATIVE, 3)
    assert figures.query_count == 12
    assert [sum(one) for one in figures.mix.counts] == [10, 2, 0]
    assert figures.mix.counts[1][:2] == [1, 1]
    assert figures.rcodes == [("NOERROR", 11), ("SERVFAIL", 1)]
    assert figures.failures == [("AAAA validation", 1)]
    assert figures.families == [("IPv6", 11), ("IPv4", 1)]
    assert figures.sources == [("2001:db8::/64", 11), ("192.0.2.0/24", 1)]
    assert figures.slow_us == [("IPv6, mean", 100), ("IPv4, mean", 100)]


def test_attempts_over_ipv6_that_nobody_answered_are_counted_with_what_they_cost(
    directory: Path,
) -> None:
    figures = figure_of(read_span(directory, START, 60, 3), Role.RECURSIVE, 3)
    assert figures.fell == Fell(1, 400)
    assert figures.upstream == [("IPv6 no answer", 1), ("IPv4 answered", 1)]


def test_where_no_events_are_kept_a_span_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReachFault):
        read_span(tmp_path, START, 60, 3)
