"""Events come back from the store as they went in, in time's order, narrowed early, none twice."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quada.cli.tail import read_since
from quada.store.events import EventStore
from quada.store.history import History
from quada.store.rows import event_of, event_rows
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.telemetry.filter import make_filter, read_terms
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault, ReachFault

S = 1_000_000_000
NOW_S = 1_795_200_000
NAMES = ["a.example.", "www.example.com.", "example.com.", "notexample.com.", "\\000.example.com."]
EVENTS = st.builds(
    Event,
    at_ns=st.integers(NOW_S * S, (NOW_S + 100) * S),
    kind=st.sampled_from(Kind),
    role=st.none() | st.sampled_from(Role),
    source=st.sampled_from(["quada", "ns1"]),
    client=st.none() | st.sampled_from(["2001:db8::1", "192.0.2.1"]),
    client_port=st.none() | st.integers(0, 65535),
    transport=st.none() | st.sampled_from(Transport),
    qname=st.none() | st.sampled_from(NAMES),
    qtype=st.none() | st.sampled_from([1, 28, 65, 65280, 255]),
    rcode=st.none() | st.sampled_from([0, 2, 3, 5, 16, 4000]),
    flags=st.integers(0, 65535),
    is_nodata=st.none() | st.booleans(),
    is_do=st.none() | st.booleans(),
    ede=st.none() | st.integers(0, 49151),
    validation=st.none() | st.sampled_from(Validation),
    provenance=st.none() | st.integers(1, 255).map(Provenance),
    cause=st.none() | st.sampled_from([one for one in Cause if one]),
    zone=st.none() | st.sampled_from(NAMES),
    duration_us=st.none() | st.integers(0, 10**7),
    response_octets=st.none() | st.integers(0, 65535),
    answer_count=st.none() | st.integers(0, 65535),
    upstream_family=st.none() | st.sampled_from([4, 6]),
    weight=st.integers(1, 100),
    detail=st.sampled_from(["", "why"]),
)  # fmt: skip


@given(EVENTS)
def test_a_row_becomes_the_event_it_was_made_of(event: Event) -> None:
    (row,) = event_rows([event], str)
    assert event_of(row) == event


@pytest.mark.parametrize(
    "words",
    [[], ["aaaa"], ["aaaa", "https"], ["servfail", "nodata"], ["servfail", "noerror"], ["not", "aaaa"],
     ["type65280"], ["any"], ["zone", "Example.com"], ["ipv6", "role", "recursive"], ["upstream"],
     ["source", "ns1", "query"], ["over", "tcp", "slower", "5s"], ["from", "2001:db8::/48", "refused"],
     ["authoritative", "recursive", "bogus"]],
)  # fmt: skip
@settings(max_examples=3, deadline=None)
@given(events=st.lists(EVENTS, min_size=30, max_size=30))
def test_what_is_left_out_early_is_nothing_that_fits(
    tmp_path_factory, words: list[str], events: list[Event]
) -> None:
    place = tmp_path_factory.mktemp("history")
    EventStore(place).put(events, {}, NOW_S)
    terms = read_terms(words)
    fits = make_filter(terms)
    found = [one for one in History(place).since(NOW_S * S, terms) if fits(one)]
    assert [one.at_ns for one in found] == sorted(one.at_ns for one in found)

    def key(event: Event) -> str:
        return repr(event)

    assert sorted(found, key=key) == sorted(filter(fits, events), key=key)


def event(at_s: int, source: str = "quada") -> Event:
    return Event(at_ns=at_s * S, source=source, qname="a.", role=Role.RECURSIVE)


def test_only_what_came_since_then_is_given_and_positions_are_of_the_same_moment(
    tmp_path: Path,
) -> None:
    store = EventStore(tmp_path)
    store.put([event(NOW_S - 7200), event(NOW_S)], {"ring:a-0": {"at": [1, 2]}}, NOW_S)
    history = History(tmp_path)
    assert [one.at_ns for one in history.since((NOW_S - 60) * S)] == [NOW_S * S]
    assert history.positions["ring:a-0"]["at"] == [1, 2]


def test_what_is_stored_meanwhile_is_given_once_and_compaction_gives_nothing_again(
    tmp_path: Path,
) -> None:
    store = EventStore(tmp_path)
    for number in range(9):
        store.put([event(NOW_S + number)], {}, NOW_S + number)
    history = History(tmp_path)
    assert len(list(history.since(0))) == 9
    assert history.fresh() == []
    assert store.compact(NOW_S + 7200) == 18  # events and rollups
    assert history.fresh() == []
    store.put([event(NOW_S + 7200, "ns1")], {}, NOW_S + 7200)
    assert [one.source for one in history.fresh()] == ["ns1"]
    assert history.fresh() == []


def test_without_a_store_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReachFault):
        list(History(tmp_path).since(0))


def test_how_long_ago_is_read_in_the_usual_ways() -> None:
    now_ns = time.time_ns()
    assert read_since("2h", now_ns) == now_ns - 7200 * S
    assert read_since("90s", now_ns) == now_ns - 90 * S
    assert read_since("2026-11-20T21:00", now_ns) == 1_795_208_400 * S
    assert read_since("2026-11-20T22:00+01:00", now_ns) == 1_795_208_400 * S
    for text in ("", "h", "2w", "-2h", "yesterday", "²h", "٣h", "9999999d"):
        with pytest.raises(ConfigFault):
            read_since(text, now_ns)
