"""Lines of each format, what they give and what they leave unknown, and hostile ones."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quada.store.follow import Follower
from quada.telemetry.event import Cause, Kind, Validation
from quada.telemetry.ingest import FORMATS, detect, make_parser
from quada.telemetry.ingest.dnstap import BrokenStream, DnstapParser, FrameStream, control, frame
from quada.wire.ask import Transport

QUERY = "20-Nov-2026 21:18:58.277 queries: info: client @0x7fa0 2001:db8:1::9#40209 (www.example.test): query: www.example.test IN AAAA +E(0)TDCK (2001:db8::53)"


def parse(format_name: str, *lines: str):
    parser = make_parser(format_name, "test", None)
    events = parser.feed(lines, 7) + parser.flush()
    assert not parser.unknown_count, list(parser.unknown)
    return events


@pytest.mark.parametrize(
    "line",
    [
        QUERY,
        QUERY.replace("20-Nov-2026 21:18:58.277 ", "2026-11-20T21:18:58.277Z "),
        QUERY.replace("20-Nov-2026 21:18:58.277 ", "2026-11-20T21:18:58.277 "),
        QUERY.replace("queries: info: ", ""),
        QUERY.replace("(www.example.test): query", "(www.example.test): view internal: query"),
        QUERY + " [ECS 2001:db8::/56/0]",
        QUERY.replace("(2001:db8::53)", "(2001:db8::53#853)"),
        "<30>1 ".replace("<30>1 ", "")
        + "Nov 20 21:18:58 host named[77]: "
        + QUERY.partition(".277 ")[2],
        '{"log":"' + QUERY + '\\n","stream":"stdout","time":"2026-11-20T21:18:58.277Z"}',
        "named-1  | " + QUERY,
    ],
)
def test_bind_query_lines_say_who_asked_what_and_not_how_it_ended(line: str) -> None:
    (event,) = parse("bind", line)
    assert (event.client, event.client_port, event.qname, event.qtype) == (
        "2001:db8:1::9",
        40209,
        "www.example.test.",
        28,
    )
    assert event.rcode is None
    assert event.transport is None  # T is TCP, DoT or DoH
    assert event.is_do
    assert detect([line]) == "bind"


def test_a_bind_failure_is_joined_to_its_query() -> None:
    failed = "20-Nov-2026 21:18:58.377 query-errors: info: client @0x7fa0 2001:db8:1::9#40209 (www.example.test): query failed (failure) for www.example.test/IN/AAAA at query.c:7916"
    bogus = "20-Nov-2026 21:18:58.300 dnssec: info: validating www.example.test/AAAA: no valid signature found"
    (event,) = parse("bind", QUERY, bogus, failed)
    assert (event.rcode, event.cause, event.validation) == (2, Cause.VALIDATION, Validation.BOGUS)
    (alone,) = parse("bind", failed)
    assert (alone.rcode, alone.qname) == (2, "www.example.test.")


def test_a_bind_response_line_tells_rcode_and_nodata() -> None:
    response = "20-Nov-2026 21:18:58.278 responses: info: client @0x7fa0 2001:db8:1::9#40209 (www.example.test): response: www.example.test IN AAAA NOERROR 0 1 1 +E(0)K (2001:db8::53)"
    (event,) = parse("bind", QUERY, response)
    assert (event.rcode, event.is_nodata, event.answer_count) == (0, True, 0)


def test_bind_complaints_of_other_servers_are_upstream_attempts() -> None:
    (event,) = parse(
        "bind",
        "20-Nov-2026 21:18:58.277 lame-servers: info: timed out resolving 'app.example.test/AAAA/IN': 2001:db8::53#53",
    )
    assert (event.kind, event.upstream_family, event.cause) == (
        Kind.UPSTREAM,
        6,
        Cause.REACHABILITY,
    )


def test_coredns_lines_take_their_cause_from_the_error_before() -> None:
    error = "[ERROR] plugin/errors: 2 www.example.test. AAAA: read udp [2001:db8::1]:3->[2001:db8::53]:53: i/o timeout"
    line = '[INFO] [2001:db8:1::9]:50759 - 29008 "AAAA IN www.example.test. udp 41 false 1232" SERVFAIL qr,rd,ra 68 0.037990251s'
    (event,) = parse("coredns", error, line)
    assert (event.client, event.rcode, event.cause, event.duration_us) == (
        "2001:db8:1::9",
        2,
        Cause.REACHABILITY,
        37990,
    )
    assert event.at_ns == 7  # its lines have no time
    assert detect([line]) == "coredns"


def test_unbound_replies_take_their_cause_from_the_failure_before() -> None:
    events = parse(
        "unbound",
        "[1795209695] unbound[9:0] query: ::1 www.example.test. AAAA IN",
        "[1795209695] unbound[9:0] info: validation failure <www.example.test. AAAA IN>: signature crypto failed from 2001:db8::53",
        "[1795209695] unbound[9:0] error: SERVFAIL <www.example.test. AAAA IN>: all the configured stub or forward servers failed",
        "[1795209695] unbound[9:0] reply: ::1 www.example.test. AAAA IN SERVFAIL 0.001594 0 127",
    )
    (event,) = events
    assert (event.rcode, event.cause, event.validation, event.duration_us) == (
        2,
        Cause.VALIDATION,
        Validation.BOGUS,
        1594,
    )


def test_pdns_recursor_bogus_is_servfail_to_the_client() -> None:
    (event,) = parse(
        "pdns-recursor",
        'msg="Answer" subsystem="syncres" ts="1795242149.519" answers="0" proto="udp" qname="n" qtype="AAAA" rcode="0" remote="[::1]:41090" timeouts="0" totms="1.293" validationState="Bogus - No valid RRSIG"',
    )
    assert (event.rcode, event.validation, event.transport) == (2, Validation.BOGUS, Transport.UDP)


def test_dnsmasq_numbers_join_a_query_to_its_end() -> None:
    (event,) = parse(
        "dnsmasq",
        "dnsmasq[7]: 12 ::1/39522 query[AAAA] www.example.test from ::1",
        "dnsmasq[7]: 12 ::1/39522 forwarded www.example.test to 2001:db8::53",
        "dnsmasq[7]: 12 ::1/39522 reply www.example.test is NODATA-IPv6",
    )
    assert (event.rcode, event.is_nodata, event.upstream_family) == (0, True, 6)


def test_lines_not_understood_are_counted_and_kept_in_bounds() -> None:
    parser = make_parser("unbound", "test", None)
    parser.feed([f"nonsense {n}" for n in range(1000)], 0)
    assert parser.unknown_count == 1000
    assert len(parser.unknown) == 20


@given(st.sampled_from(sorted(FORMATS)), st.lists(st.text(max_size=200), max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_line_harms_a_parser(format_name: str, lines: list[str]) -> None:
    parser = make_parser(format_name, "test", None)
    parser.feed(lines, 0)
    parser.flush()


@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 300), st.characters())
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_good_line_harms_a_parser(format_name: str, at: int, letter: str) -> None:
    good = {
        "bind": QUERY,
        "coredns": '[INFO] [2001:db8:1::9]:50759 - 29008 "AAAA IN n. udp 41 false 1232" SERVFAIL qr,rd,ra 68 0.03s',
        "unbound": "[1795209695] unbound[9:0] reply: ::1 n. AAAA IN SERVFAIL 0.001594 0 127",
        "pdns-recursor": 'msg="Answer" proto="udp" qname="n" qtype="AAAA" rcode="0" remote="[::1]:41090" totms="1.293"',
        "pdns-auth": "Remote 2001:db8:1::9 wants 'n|AAAA', do = 1, bufsize = 1232: packetcache MISS",
        "dnsmasq": "dnsmasq[7]: 12 ::1/39522 query[AAAA] n from ::1",
        "systemd-resolved": "Using degraded feature set UDP instead of UDP+EDNS0 for DNS server 2001:db8::53.",
    }[format_name]
    line = good[: at % len(good)] + letter + good[at % len(good) + 1 :]
    parser = make_parser(format_name, "test", None)
    for event in parser.feed([line, good], 0) + parser.flush():
        event.to_json()


@given(st.lists(st.binary(max_size=100), max_size=10))
@settings(max_examples=200, deadline=None)
def test_no_frame_harms_dnstap(frames: list[bytes]) -> None:
    parser = DnstapParser("test")
    parser.feed(frames, 0)
    assert parser.unknown_count <= len(frames)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_frames_come_whole_however_they_are_cut(frames: list[bytes], data) -> None:
    octets = control(2, b"protobuf:dnstap.Dnstap") + b"".join(map(frame, frames)) + control(3)
    stream = FrameStream()
    found: list[bytes] = []
    at = 0
    while at < len(octets):
        step = data.draw(st.integers(1, 40))
        found += stream.feed(octets[at : at + step])
        at += step
    assert found == frames
    assert stream.is_ended


def test_a_stream_of_something_else_is_refused() -> None:
    for octets in (
        control(2, b"protobuf:other"),
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x00\x00\x00\x00\x01",
    ):
        with pytest.raises(BrokenStream):
            FrameStream().feed(octets)


def test_frames_before_a_broken_place_are_given_before_it_is_told() -> None:
    stream = FrameStream()
    assert stream.feed(frame(b"one") + frame(b"two") + b"\x7f\xff\xff\xff") == [b"one", b"two"]
    assert stream.waiting_octets == 4
    with pytest.raises(BrokenStream):
        stream.feed(b"")


def test_a_followed_file_loses_nothing_when_it_is_renamed_or_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthr")
    follower = Follower(path)
    assert follower.take() == ["one", "two"]
    with path.open("a") as file:
        file.write("ee\n")
    path.rename(tmp_path / "log.1")
    path.write_text("four\n")
    seen = []
    for _ in range(6):
        seen += follower.take()
    assert seen == ["three", "four"]
    kept = follower.position
    follower.close()
    with path.open("a") as file:
        file.write("five\n")
    again = Follower(path, kept)
    assert again.take() == ["five"]
    path.write_text("six\n")
    seen = []
    for _ in range(4):
        seen += again.take()
    assert seen == ["six"]
    again.close()


def test_a_line_without_end_is_cut_and_the_next_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 3_000_000 + b"\nnext\n")
    follower = Follower(path)
    lines = [line for _ in range(8) for line in follower.take()]
    follower.close()
    assert [len(line) for line in lines] == [65536, 4]
    assert lines[-1] == "next"


def test_a_compressed_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    follower = Follower(path)
    assert follower.take() == ["one", "two"]
    follower.close()


ANSWER = {
    "subsystem": "syncres", "ts": "1795242149.095", "answers": "1", "ecs": "", "proto": "tcp",
    "qname": "www.example.test", "qtype": "AAAA", "rcode": "2", "remote": "[2001:db8:1::9]:36392",
    "timeouts": "1", "totms": "1.293", "validationState": "Indeterminate",
}  # fmt: skip


@given(st.lists(st.permutations(sorted(ANSWER)).flatmap(lambda keys: st.sets(st.sampled_from(keys)).map(
    lambda absent: [key for key in keys if key not in absent])), min_size=1, max_size=4))  # fmt: skip
def test_pdns_pairs_are_read_whatever_their_order_by_the_quick_way_and_the_sure_one(orders) -> None:
    quick = make_parser("pdns-recursor", "test", None)
    for keys in orders:  # one parser, so that what it remembers of a line is tried on others
        line = 'host pdns_recursor[7]: msg="Answer" ' + " ".join(f'{k}="{ANSWER[k]}"' for k in keys)
        sure = make_parser("pdns-recursor", "test", None)
        events = quick.feed([line], 7)
        assert events == sure.feed([line + r' other="a\\b"'], 7)
        assert len(events) == ("qname" in keys and "qtype" in keys)
        for event in events:
            assert event.rcode == (2 if "rcode" in keys else None)
            assert event.client == ("2001:db8:1::9" if "remote" in keys else None)
            assert event.at_ns == (1795242149095000064 if "ts" in keys else 7)
            assert event.duration_us == (1293 if "totms" in keys else None)
            assert event.transport == (Transport.TCP if "proto" in keys else None)
            assert event.is_nodata == (False if "answers" in keys else None)


def test_a_pdns_line_that_is_cut_inside_a_value_does_not_tell_that_value() -> None:
    (event,) = parse(
        "pdns-recursor", 'msg="Answer" qname="n" qtype="AAAA" rcode="0" remote="[::1]:41'
    )
    assert (event.rcode, event.client, event.client_port) == (0, None, None)


def test_a_quote_in_a_pdns_name_does_not_end_it() -> None:
    (event,) = parse(
        "pdns-recursor", r'msg="Answer" qname="a\" rcode=\"5.example" qtype="AAAA" rcode="0"'
    )
    assert event.rcode == 0


REPLY = "[1795209695] unbound[9:0] reply: ::1 www.example.test. AAAA IN NOERROR 0.001594 0 127"
WANTS = (
    "Remote 2001:db8:1::9 wants 'www.example.test|AAAA', do = 1, bufsize = 1232: packetcache MISS"
)


@pytest.mark.parametrize(("name", "line"), [("unbound", REPLY), ("pdns-auth", WANTS)])
def test_journalds_export_and_json_are_carriers(name: str, line: str) -> None:
    export = [
        "__CURSOR=s=1;i=2", "__REALTIME_TIMESTAMP=1795209695123456", "__MONOTONIC_TIMESTAMP=5",
        "_BOOT_ID=0", "PRIORITY=6", "SYSLOG_IDENTIFIER=x", f"MESSAGE={line}", "_PID=9", "",
    ]  # fmt: skip
    as_json = json.dumps({"__REALTIME_TIMESTAMP": "1795209695123456", "MESSAGE": line})
    for lines in (export * 2, [as_json] * 2):
        assert detect(lines) == name
        events = parse(name, *lines)
        assert len(events) == 2
        if name == "pdns-auth":  # it has no time of its own
            assert {event.at_ns for event in events} == {1_795_209_695_123_456_000}
