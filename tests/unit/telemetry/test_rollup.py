from quada.telemetry.event import Cause, Event, Kind, Role
from quada.telemetry.rollup import MINUTE_NS, Key, Minutes, PrefixKey, outcome, prefix_of, roll_up


def _event(minute: int = 10, **fields: object) -> Event:
    given: dict[str, object] = {
        "role": Role.RECURSIVE,
        "source": "r1",
        "client": "2001:db8::1",
        "qtype": 28,
        "rcode": 2,
    }
    return Event(at_ns=minute * MINUTE_NS + 5, **(given | fields))  # type: ignore[arg-type]


def test_events_are_counted_by_minute_stream_type_outcome_and_family() -> None:
    events = [
        _event(),
        _event(duration_us=40),
        _event(rcode=0, is_nodata=True),
        _event(minute=9, weight=8),
    ]
    first, second = roll_up(events)
    assert (first.minute, second.minute) == (9, 10)
    key = Key(Role.RECURSIVE, "r1", Kind.QUERY, "AAAA", "SERVFAIL", 6, None, None)
    assert first.counts[key].count == 8
    assert second.counts[key].count == 2
    assert (second.counts[key].timed_count, second.counts[key].duration_us) == (1, 40)
    assert second.counts[key._replace(outcome="NODATA")].count == 1


def test_clients_are_counted_by_prefix_and_upstream_servers_are_no_clients() -> None:
    events = [
        _event(client="2001:db8:0:1::5"), _event(client="2001:db8:0:1::6", qtype=1, rcode=0),
        _event(client="192.0.2.7", cause=Cause.VALIDATION),
        _event(client="2001:db8::53", kind=Kind.UPSTREAM, upstream_family=6),
    ]  # fmt: skip
    (minute,) = roll_up(events)
    assert {key.prefix for key in minute.prefixes} == {"2001:db8:0:1::/64", "192.0.2.0/24"}
    clients = minute.prefixes[PrefixKey(Role.RECURSIVE, "r1", "2001:db8:0:1::/64")]
    assert (
        clients.count,
        clients.aaaa_count,
        clients.servfail_count,
        clients.aaaa_servfail_count,
    ) == (2, 1, 1, 1)


def test_a_minute_in_parts_is_the_minute_at_once() -> None:
    events = [
        _event(client=f"2001:db8:0:{n:x}::1", qtype=n % 3 * 27 + 1, rcode=n % 4) for n in range(40)
    ]
    minutes = Minutes()
    for event in events:
        minutes.add(roll_up([event]))
    assert minutes.take(before=10) == []
    assert minutes.take(before=11) == roll_up(events)
    assert minutes.take(before=11) == []


def test_prefixes_of_a_minute_are_bounded_and_nothing_goes_uncounted() -> None:
    (minute,) = roll_up(_event(client=f"2001:db8:{n:x}::1") for n in range(1500))
    assert len(minute.prefixes) == 1000
    assert minute.other_prefixes.count == 500


def test_what_a_source_does_not_know_stays_unknown() -> None:
    (minute,) = roll_up([_event(client=None, qtype=None, rcode=None)])
    assert list(minute.counts) == [
        Key(Role.RECURSIVE, "r1", Kind.QUERY, None, None, None, None, None)
    ]
    assert outcome(_event(rcode=23)) == "BADCOOKIE"
    assert prefix_of("no address") is None
