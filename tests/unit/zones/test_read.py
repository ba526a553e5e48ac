"""Zone text read and written."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.zones import Record, RRset, Zone, diff, read_text, read_zone, write_zone
from quada.zones.rdata import read_ipv6, read_rdata, write_rdata

ORIGIN = names.from_text("example.com.")
HEAD = "$TTL 300\n@ IN SOA ns1 hostmaster ( 1 3600 900 1209600 300 )\n"


def name(text: str) -> bytes:
    return names.from_text(text, ORIGIN)


def only(text: str, owner: str, rdtype: int) -> RRset:
    rrset = read_zone(HEAD + text, ORIGIN).rrset(name(owner), rdtype)
    assert rrset is not None
    return rrset


def fault_of(text: str) -> DataFault:
    with pytest.raises(DataFault) as caught:
        read_zone(text, ORIGIN, place="db.example.com")
    return caught.value


@pytest.mark.parametrize(
    "line",
    [
        "app 60 IN AAAA 2001:db8::20",
        "app IN 60 AAAA 2001:db8::20",
        "app in 1m aaaa 2001:DB8:0:0::20",
        "APP 60 AAAA 2001:db8::0.0.0.32 ; a comment",
        "app.example.com. 60 AAAA ( 2001:db8::20\n )",
        "app 60 TYPE28 \\# 16 20010db8 0000000000000000 00000020",
        "app 60 CLASS1 AAAA \\# 16 20010db8000000000000000000000020",
        "$ORIGIN app\n@ 60 AAAA 2001:db8::20",
        "$GENERATE 32-32 app 60 AAAA 2001:db8::${0,0,x}",
        "\\097pp 60 IN AAAA 2001:db8::20\r",
    ],
)
def test_one_record_has_many_spellings(line: str) -> None:
    rrset = only(line + "\n", "app", codes.AAAA)
    assert rrset == RRset(codes.AAAA, 60, (bytes.fromhex("20010db8000000000000000000000020"),))


def test_owner_ttl_and_class_are_inherited() -> None:
    zone = read_zone(HEAD + "\tNS ns1\nns1 77 AAAA ::1\n  A 192.0.2.1\n", ORIGIN)
    assert zone.rrset(ORIGIN, codes.NS) == RRset(codes.NS, 300, (name("ns1"),))
    assert zone.rrset(name("ns1"), codes.A) == RRset(codes.A, 300, (b"\xc0\x00\x02\x01",))


def test_without_a_default_the_last_ttl_is_used() -> None:
    reading = read_text("@ SOA ns1 h 1 2 3 4 77\na AAAA ::1\nb 9 AAAA ::1\nc AAAA ::1\n", ORIGIN)
    ttls = [reading.zone.nodes[name(owner)][0].ttl for owner in ("@", "a", "b", "c")]
    assert ttls == [77, 77, 9, 9]
    assert [note.code for note in reading.notes] == ["ttl-missing"]


def test_class_before_ttl_teaches_nothing_about_the_class() -> None:
    zone = read_zone(HEAD + "a IN 60 AAAA ::1\nb IN AAAA ::1\n", ORIGIN)
    assert [zone.nodes[name(owner)][0].ttl for owner in ("a", "b")] == [60, 300]


def test_quoted_parameters_stay_whole_and_quoted_text_parts() -> None:
    assert only('w HTTPS 1 . alpn="h2,h3"\n', "w", codes.HTTPS) == only(
        "w HTTPS 1 . alpn=h2,h3\n", "w", codes.HTTPS
    )
    assert only('t TXT a="b c"\n', "t", codes.TXT).rdatas == (b"\x02a=\x03b c",)


def test_a_class_whose_indent_was_lost_is_still_a_class() -> None:
    reading = read_text(HEAD + "IN NS ns1\nin NS ns2\nIN IN NS ns3\n", ORIGIN)
    assert [note.code for note in reading.notes] == ["lost-indent"]
    apex, host = (reading.zone.rrset(name(owner), codes.NS) for owner in ("@", "in"))
    assert apex == RRset(codes.NS, 300, (name("ns1"),))
    assert host == RRset(codes.NS, 300, (name("ns2"), name("ns3")))


def test_text_keeps_its_quotes_escapes_and_octets() -> None:
    rrset = only('t TXT "a;b (c)" d\\;e "\\"\\200" "é"\n', "t", codes.TXT)
    assert rrset.rdatas == (b'\x07a;b (c)\x03d;e\x02"\xc8\x02\xc3\xa9',)


def test_alias_is_stored_as_its_private_type() -> None:
    for word in ("ALIAS", "alias", "ANAME", "TYPE65401"):
        data = "\\# 3 016100" if word == "TYPE65401" else "a."
        assert only(f"@ 60 {word} {data}\n", "@", codes.ALIAS).rdatas == (b"\x01a\x00",)


def test_unknown_types_pass_through() -> None:
    assert only("x TYPE65534 \\# 3 abcdef\n", "x", 65534).rdatas == (b"\xab\xcd\xef",)
    assert only("x TYPE65534 \\# 0\n", "x", 65534).rdatas == (b"",)


def test_generate_counts_steps_and_nibbles() -> None:
    zone = read_zone(
        HEAD + "$GENERATE 1-5/2 h$ 60 A 192.0.2.${10,0,d}\n$GENERATE 31-32 ${0,3,n} PTR h$$\n",
        ORIGIN,
    )
    for number in (1, 3, 5):
        rrset = zone.rrset(name(f"h{number}"), codes.A)
        assert rrset is not None
        assert rrset.rdatas == (bytes((192, 0, 2, number + 10)),)
    assert zone.rrset(name("f.1"), codes.PTR) == RRset(codes.PTR, 300, (name("h$"),))
    assert zone.node(name("0.2")) is not None


def test_include_brings_its_own_origin_and_leaves_ours() -> None:
    files = {"sub": "a AAAA ::1\n$ORIGIN deeper\nb AAAA ::1\n"}
    text = HEAD + "x AAAA ::1\n$INCLUDE sub sub\n A 192.0.2.1\nc AAAA ::1\n"
    zone = read_zone(text, ORIGIN, include=files.__getitem__)
    for owner in ("a.sub", "b.deeper.sub", "x", "c"):
        assert zone.rrset(name(owner), codes.AAAA), owner
    assert zone.rrset(name("x"), codes.A)


def test_a_file_that_includes_itself_is_a_fault() -> None:
    with pytest.raises(DataFault, match="nested deeper than 10"):
        read_zone("$INCLUDE me\n", ORIGIN, include=lambda path: "$INCLUDE me\n")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a 60 IN AAAA 192.0.2.1\n", "1:14", "the type is A"),
        ("a 60 IN A 2001:db8::1\n", "1:11", "the type is AAAA"),
        ("a 60 A ( 192.0.2.1\n192.0.2.2 )\n", "2:1", "too much"),
        ("\na 60 MX ten mx\n", "2:9", "preference 'ten'"),
        ("a 60 MX 10\n", "1:9", "a field is missing"),
        ("a 60 AAAB ::1\n", "1:6", "not a record type"),
        ("a 60 ANY ::1\n", "1:6", "for questions"),
        ("a 60 CH TXT x\n", "1:6", "class CH"),
        ("a AAAA ::1\n", "1:1", "$TTL 300"),
        (" 60 AAAA ::1\n", "1:2", "no owner"),
        ("a.example.net. 60 AAAA ::1\n", "1:1", "outside the zone example.com."),
        ('a 60 TXT "open\n', "1:10", "quote is not closed"),
        ("a 60 TXT ( x\n\n", "1:10", "never closed"),
        ("a 60 TXT x )\n", "1:12", "without an open one"),
        ("a..b 60 AAAA ::1\n", "1:1", "empty label"),
        ("a 3000000000 AAAA ::1\n", "1:3", "2147483647"),
        ("$BAD x\n", "1:1", "not a directive"),
        ("$INCLUDE /etc/passwd\n", "1:1", "not allowed here"),
        ("$GENERATE 0-99999999 a$ AAAA ::1\n", "1:1", "more than"),
        ("a 60 TYPE65534 \\# 4 abc\n", "1:16", "hexadecimal"),
        ('a 60 TXT "" ' + "x" * 256 + "\n", "1:13", "longer than 255"),
        ("a 60 DS 1 2\n", "1:9", "DS data cannot be read"),
    ],
)
def test_a_fault_names_file_line_column_and_remedy(text: str, place: str, message: str) -> None:
    fault = fault_of(text)
    assert fault.place == f"db.example.com:{place}"
    assert message in str(fault)


def test_faults_can_be_collected() -> None:
    reading = read_text("a 60 A x\nb 60 AAAA ::1\nc 60 A y\n", ORIGIN, keeps_going=True)
    assert [fault.place for fault in reading.faults] == ["zone:1:8", "zone:3:8"]
    assert reading.zone.rrset(name("b"), codes.AAAA)


def test_duplicates_and_mixed_ttls_are_noted() -> None:
    reading = read_text("a 60 AAAA ::1\na 50 AAAA ::2\na 60 AAAA ::1\n", ORIGIN)
    assert [note.code for note in reading.notes] == ["duplicate-record", "mixed-ttl"]
    rrset = reading.zone.rrset(name("a"), codes.AAAA)
    assert rrset is not None
    assert (rrset.ttl, len(rrset.rdatas)) == (50, 2)


garbage = st.lists(
    st.sampled_from(
        [
            *'abz019.@*$\\"();:- \t\n\r#_é\x00\udcff',
            "IN ",
            "AAAA ",
            "TXT ",
            "$INCLUDE ",
            "$GENERATE ",
        ]
    ),
    max_size=60,
).map("".join)


@given(garbage)
@settings(max_examples=400, deadline=None)
def test_garbage_is_read_or_faulted_and_never_more(text: str) -> None:
    with contextlib.suppress(DataFault):
        read_zone(text, ORIGIN, include=lambda path: text)
    assert len(read_text("$TTL 5\n" + text, ORIGIN, keeps_going=True).faults) <= 200


labels = st.binary(min_size=1, max_size=12).map(bytes.lower)
owners = st.lists(labels, max_size=3).map(lambda parts: names.join(parts)[:-1] + ORIGIN)
targets = st.lists(st.binary(min_size=1, max_size=12), max_size=4).map(names.join)
rdatas = st.one_of(
    st.tuples(st.just(codes.AAAA), st.binary(min_size=16, max_size=16)),
    st.tuples(st.just(codes.A), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from([codes.NS, codes.CNAME, codes.PTR, codes.ALIAS]), targets),
    st.tuples(st.just(codes.MX), targets.map(lambda target: b"\x00\x0a" + target)),
    st.tuples(st.just(codes.SRV), targets.map(lambda target: b"\x00\x01\x00\x02\x01\xbb" + target)),
    st.tuples(
        st.just(codes.TXT),
        st.lists(st.binary(max_size=30), min_size=1, max_size=3).map(
            lambda parts: b"".join(bytes((len(part),)) + part for part in parts)
        ),
    ),
    st.tuples(st.just(65534), st.binary(max_size=20)),
    st.tuples(st.just(codes.SVCB), targets.map(lambda target: b"\x00\x01" + target)),
)
records = st.builds(
    lambda owner, data, ttl: Record(owner, data[0], ttl, data[1]),
    owners,
    rdatas,
    st.sampled_from([0, 60, 300, 2**31 - 1]),
)


@given(st.lists(records, max_size=12))
@settings(max_examples=200, deadline=None)
def test_what_is_written_reads_back_the_same(content: list[Record]) -> None:
    zone = Zone.build(ORIGIN, content)
    text = "".join(write_zone(zone))
    again = read_zone(text, ORIGIN)
    assert diff(zone, again) == ((), ())
    assert zone.nodes.keys() == again.nodes.keys()
    assert "".join(write_zone(again)) == text


@given(st.sampled_from([*range(1, 300), 65401]), st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_octets_of_any_type_survive_text(rdtype: int, wire: bytes) -> None:
    text = write_rdata(rdtype, wire, ORIGIN)
    if text.startswith("\\#"):
        return
    from quada.zones.tokens import Entry

    entry = Entry()
    entry.add(text, 1)
    assert read_rdata(rdtype, [token.text for token in entry.tokens], ORIGIN) == wire


@given(st.text(st.sampled_from("0123456789abcdefg:.%/ +_"), max_size=20))
def test_ipv6_reading_agrees_with_the_standard_library(text: str) -> None:
    import ipaddress

    try:
        expected = ipaddress.IPv6Address(text).packed if "%" not in text else None
    except ValueError:
        expected = None
    try:
        found = read_ipv6(text)
    except DataFault:
        found = None
    assert found == expected


@given(st.ip_addresses(v=6))
def test_ipv6_writing_agrees_with_the_standard_library(address: object) -> None:
    import ipaddress

    assert isinstance(address, ipaddress.IPv6Address)
    text = write_rdata(codes.AAAA, address.packed)
    if address.ipv4_mapped is None:
        assert text == str(address)
    assert read_ipv6(text) == address.packed
    assert read_ipv6(address.exploded.upper()) == address.packed
