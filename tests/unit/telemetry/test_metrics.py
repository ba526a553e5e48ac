"""Counts of events: what they count, and that strangers cannot make labels."""

from hypothesis import given
from hypothesis import strategies as st

from quada.telemetry.event import Cause, Event, Kind, Provenance, Role
from quada.telemetry.metrics import METRICS, Meter
from quada.wire.ask import Transport


def query(**over: object) -> Event:
    return Event(
        **{
            "at_ns": 1, "role": Role.RECURSIVE, "client": "2001:db8::1", "qname": "a.example.",
            "qtype": 28, "rcode": 0, "transport": Transport.UDP, "duration_us": 700, **over,
        }
    )  # fmt: skip


def upstream(at_s: float, client: str, rcode: int | None, took_us: int, qname: str = "a.") -> Event:
    return Event(
        at_ns=int(at_s * 1e9), kind=Kind.UPSTREAM, role=Role.RECURSIVE, client=client, qname=qname,
        qtype=28, rcode=rcode, duration_us=took_us,
        cause=Cause.REACHABILITY if rcode is None else Cause.NONE,
    )  # fmt: skip


def test_a_query_counts_by_type_and_what_the_client_got() -> None:
    meter = Meter()
    meter.feed(
        [
            query(weight=5),
            query(rcode=2, cause=Cause.VALIDATION),
            query(qtype=1, client="192.0.2.1", is_nodata=True, transport=None),
        ]
    )
    assert meter.counters["quada_queries_total"] == {
        ("recursive", "quada", "6", "udp", "AAAA", "NOERROR"): 5,
        ("recursive", "quada", "6", "udp", "AAAA", "SERVFAIL"): 1,
        ("recursive", "quada", "4", "unknown", "A", "NODATA"): 1,
    }
    assert meter.counters["quada_query_failures_total"] == {
        ("recursive", "quada", "6", "AAAA", "validation"): 1
    }


def test_durations_go_to_the_bucket_that_holds_them_with_their_weight() -> None:
    meter = Meter()
    meter.feed(
        [query(duration_us=100), query(duration_us=101, weight=3), query(duration_us=1 << 40)]
    )
    (found,) = meter.histograms["quada_query_duration_seconds"].values()
    assert (found.counts[0], found.counts[1], found.counts[-1]) == (1, 3, 1)
    assert found.sum_us == 100 + 303 + (1 << 40)


def test_an_alias_answer_counts_as_fresh_or_stale_and_for_each_reason() -> None:
    meter = Meter()
    meter.feed(
        [
            query(provenance=Provenance.ALIAS | Provenance.STALE),
            query(provenance=Provenance.ALIAS),
        ]
    )
    assert meter.counters["quada_alias_answers_total"] == {("stale",): 1, ("fresh",): 1}
    assert meter.counters["quada_answers_total"][("recursive", "quada", "alias")] == 2


def test_a_fallback_costs_what_ipv6_took_in_vain() -> None:
    meter = Meter()
    meter.feed(
        [
            upstream(1, "2001:db8::1", None, 400_000),
            upstream(2, "2001:db8::2", None, 300_000),
            upstream(2.1, "192.0.2.1", 0, 9_000),
            upstream(2.2, "192.0.2.1", 0, 9_000),
        ]
    )
    (found,) = meter.histograms["quada_ipv6_fallback_seconds"].values()
    assert (sum(found.counts), found.sum_us) == (1, 700_000)
    assert meter.counters["quada_upstream_total"] == {
        ("quada", "6", "unknown", "unanswered"): 2, ("quada", "4", "unknown", "NOERROR"): 2,
    }  # fmt: skip


def test_what_ipv6_answers_in_the_end_or_ipv4_late_is_no_fallback() -> None:
    meter = Meter()
    meter.feed(
        [
            upstream(1, "2001:db8::1", None, 400_000),
            upstream(2, "2001:db8::2", 0, 9_000),
            upstream(3, "192.0.2.1", 0, 9_000),
            upstream(4, "2001:db8::1", None, 400_000, "b."),
            upstream(15, "192.0.2.1", 0, 9_000, "b."),
        ]
    )
    assert not meter.histograms["quada_ipv6_fallback_seconds"]


@given(
    st.lists(
        st.builds(
            Event,
            at_ns=st.integers(0, 1 << 63),
            kind=st.sampled_from(Kind),
            source=st.integers(0, 500).map(str),
            client=st.sampled_from([None, "2001:db8::1", "192.0.2.1"]),
            qname=st.text(max_size=5),
            qtype=st.integers(0, 65535),
            rcode=st.none() | st.integers(0, 4095),
            detail=st.text(),
            zone=st.none() | st.text(),
        ),
        max_size=300,
    )
)
def test_nothing_that_strangers_write_becomes_a_label(events: list[Event]) -> None:
    meter = Meter()
    meter.feed(events)
    words = {
        "unknown", "other", "unanswered", "NODATA", "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
        "NOTIMP", "REFUSED", "NOTAUTH", "BADVERS", "AAAA", "A", "HTTPS", "6", "4",
    }  # fmt: skip
    sources = set()
    for metric in METRICS:
        for labels in meter.counters.get(metric.name, meter.histograms.get(metric.name, ())):
            for name, value in zip(metric.labels, labels, strict=True):
                if name == "source":
                    sources.add(value)
                else:
                    assert value in words
    assert len(sources) <= 65
