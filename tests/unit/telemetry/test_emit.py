"""Events in other people's forms: what our own reader and OpenTelemetry's protobuf make of them."""

import json

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from quada.telemetry.emit import compose_dnstap, compose_export
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role
from quada.telemetry.ingest.dnstap import DnstapParser, fields
from quada.wire.ask import Transport

NAMES = ["www.example.com.", ".", "\\000\\010.example.com.", "a\\.b.example."]
EVENTS = st.builds(
    Event,
    at_ns=st.integers(1, 1 << 61),
    kind=st.sampled_from(Kind),
    role=st.none() | st.sampled_from(Role),
    client=st.sampled_from([None, "2001:db8::1", "192.0.2.1", "0f" * 16]),
    client_port=st.none() | st.integers(0, 65535),
    transport=st.none() | st.sampled_from(Transport),
    qname=st.none() | st.sampled_from(NAMES),
    qtype=st.none() | st.integers(0, 65535),
    rcode=st.none() | st.integers(0, 4095),
    flags=st.integers(0, 65535),
    is_nodata=st.none() | st.booleans(),
    is_do=st.none() | st.booleans(),
    ede=st.none() | st.integers(0, 49151),
    provenance=st.none() | st.integers(1, 255).map(Provenance),
    cause=st.none() | st.sampled_from(Cause),
    zone=st.none() | st.sampled_from(NAMES),
    duration_us=st.none() | st.integers(0, 10**9),
    weight=st.integers(1, 5),
    detail=st.sampled_from(["", "name cut", "why"]),
)  # fmt: skip


def event(**over: object) -> Event:
    return Event(
        **{
            "at_ns": 1_795_209_695_123_456_789, "role": Role.RECURSIVE, "client": "2001:db8::9",
            "client_port": 40209, "transport": Transport.DOT, "qname": "www.example.com.",
            "qtype": 28, "rcode": 2, "ede": 6, "flags": 0x0180, "duration_us": 1500, **over,
        }
    )  # fmt: skip


def read(octets: bytes) -> Event:
    parser = DnstapParser("x")
    (found,) = [*parser.feed([octets], 0), *parser.flush()]
    return found


def test_a_dnstap_message_says_who_what_when_and_what_came_of_it() -> None:
    octets = compose_dnstap(event(), b"ns1")
    assert octets is not None
    found = read(octets)
    assert (found.at_ns, found.client, found.client_port) == (event().at_ns, "2001:db8::9", 40209)
    assert (found.role, found.transport, found.qname, found.qtype) == (
        Role.RECURSIVE, Transport.DOT, "www.example.com.", 28,
    )  # fmt: skip
    assert (found.rcode, found.ede, found.cause, found.flags) == (2, 6, Cause.VALIDATION, 0x0180)
    assert found.duration_us == 1500
    assert fields(octets)[1] == b"ns1"


def test_an_upstream_message_without_an_answer_is_a_query_to_whom_was_asked() -> None:
    octets = compose_dnstap(
        event(kind=Kind.UPSTREAM, cause=Cause.REACHABILITY, client="2001:db8:53::1"), b""
    )
    assert octets is not None
    found = read(octets)
    assert (found.kind, found.client, found.rcode) == (Kind.UPSTREAM, "2001:db8:53::1", None)
    assert found.upstream_family == 6


@given(EVENTS)
def test_whatever_an_event_holds_a_reader_of_dnstap_understands(one: Event) -> None:
    octets = compose_dnstap(one, b"ns1")
    if octets is None:
        assert one.qname is None or one.qtype is None or one.detail == "name cut"
        return
    found = read(octets)
    assert (found.kind, found.qname, found.qtype) == (one.kind, one.qname, one.qtype)
    if found.rcode is not None:
        assert found.rcode == (one.rcode or 0) & 0xF  # our reader takes no extended rcodes


@given(st.lists(EVENTS, max_size=5))
def test_whatever_an_event_holds_opentelemetry_understands(events: list[Event]) -> None:
    text = json.dumps(compose_export(events, "ns1"))
    request = json_format.Parse(text, ExportLogsServiceRequest())
    records = [r for one in request.resource_logs for s in one.scope_logs for r in s.log_records]
    assert sorted(r.time_unix_nano for r in records) == sorted(one.at_ns for one in events)


def test_attributes_have_the_names_of_the_semantic_conventions() -> None:
    (resource,) = compose_export([event()], "ns1")["resourceLogs"]
    (record,) = resource["scopeLogs"][0]["logRecords"]
    found = {one["key"]: next(iter(one["value"].values())) for one in record["attributes"]}
    assert found["client.address"] == "2001:db8::9"
    assert found["network.type"] == "ipv6"
    assert found["network.transport"] == "tcp"
    assert found["dns.question.name"] == "www.example.com."
    assert record["severityText"] == "WARN"
    (resource,) = compose_export([event(kind=Kind.UPSTREAM)], "ns1")["resourceLogs"]
    keys = {one["key"] for one in resource["scopeLogs"][0]["logRecords"][0]["attributes"]}
    assert "server.address" in keys
    assert "client.address" not in keys


def test_an_event_whose_cause_is_none_says_none_compiled_or_not() -> None:
    event = Event(at_ns=1, rcode=0, cause=Cause.NONE)
    assert event.blamed is None
    assert "cause" not in event.to_json()
    assert Event(at_ns=1, cause=Cause.LIMIT).to_json()["cause"] == "limit"
