"""Signals over labelled traffic: what happens is said once, and what is benign is not said."""

import pytest
from bench.incidents import score, summary
from bench.traffic import schedule

from quada.telemetry.signals import State, Watch


@pytest.fixture(scope="module")
def scores():
    return [score(seed, 200, 0.4) for seed in (201, 202)]


def test_incidents_are_found_and_benign_events_are_not_taken_for_one(scores) -> None:
    found = summary(scores)
    assert found["recall"] == 1.0
    assert found["false a day"] == 0.0
    assert found["p95 minutes"] <= 8


def test_causes_and_places_are_named(scores) -> None:
    found = summary(scores)
    assert found["cause right"] >= 0.9
    assert found["place right"] >= 0.75


def test_a_collector_that_stops_makes_the_watch_blind_and_nothing_else() -> None:
    from bench.traffic import START_S, traffic

    incidents = [one for one in schedule(7, 0.4) if "collector" in one.name]
    incidents = [one._replace(start=80, end=110) for one in incidents]
    watch = Watch()
    said = []
    for minute, events in enumerate(traffic(7, 200, incidents)):
        watch.feed(events)
        said += watch.judge(START_S + (minute + 1) * 60 + 31)
    for role in ("recursive", "authoritative"):
        states = [one.state for one in said if one.key == f"blind/{role}"]
        assert states == [State.BLIND, State.CLOSED]
    assert {one.kind for one in said} == {"blind"}


def test_lost_events_make_the_watch_blind() -> None:
    from bench.traffic import START_S, traffic

    incidents = [
        one._replace(start=90, end=91) for one in schedule(7, 0.4) if "benign: three" in one.name
    ]
    watch = Watch()
    said = []
    for minute, events in enumerate(traffic(7, 200, incidents)):
        watch.feed(events)
        if minute == 70:
            watch.lose(10_000, START_S + minute * 60)
        said += watch.judge(START_S + (minute + 1) * 60 + 31)
    states = [one.state for one in said if one.key == "blind/recursive"]
    assert states[:2] == [State.BLIND, State.CLOSED]


def test_an_open_signal_is_closed_by_the_watch_after_the_next_start() -> None:
    from bench.traffic import START_S, traffic

    incidents = [
        one._replace(start=5, end=20)
        for one in schedule(7, 0.8)
        if one.name.startswith("AAAA bogus")
    ]
    first, second = Watch(), Watch()
    minutes = list(enumerate(traffic(7, 200, incidents)))
    for minute, events in minutes[:12]:
        first.feed(events)
        first.judge(START_S + (minute + 1) * 60 + 31)
    assert first.open
    second.resume(first.open.values())
    closed = []
    for minute, events in minutes[12:]:
        second.feed(events)
        closed += second.judge(START_S + (minute + 1) * 60 + 31)
    assert [one.state for one in closed if one.kind == "aaaa-servfail"][-1] is State.CLOSED
    assert not second.open
