"""The authority, packet in and packet out."""

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.authority.cookies import Cookies, siphash24
from quada.telemetry.event import Provenance, compose_head, parse_record
from quada.wire.ask import Transport
from quada.wire.respond import Deferred
from quada.zones import read_zone

ZONE = """
$ORIGIN example.com.
$TTL 300
@      SOA ns1 host 1 3600 600 86400 60
@      NS ns1
@      NS ns2
@      MX 10 mail
ns1    AAAA 2001:db8::1
ns1    A 192.0.2.1
ns2    AAAA 2001:db8::2
www    AAAA 2001:db8::80
c      CNAME www
cc     CNAME c
loop   CNAME loop
ext    CNAME foo.example.org.
gone   CNAME nx.example.com.
*.w    AAAA 2001:db8::99
*.wc   CNAME www
a.ent  AAAA 2001:db8::3
sub    NS ns.sub
sub    NS ns2
ns.sub AAAA 2001:db8::53
occluded.sub AAAA 2001:db8::54
d      DNAME www.example.net.
mail   AAAA 2001:db8::25
svc    HTTPS 1 www alpn=h2
big    TXT "{0}" "{0}" "{0}" "{0}" "{0}" "{0}"
""".replace("{0}", "x" * 250)
PEER = b"\x0a\x00\x12\x34" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07" + bytes(4)


@pytest.fixture(scope="module")
def authority() -> Authority:
    made = Authority(AuthoritySettings(cookie_secret=bytes(16), nsid=b"n1"))
    made.put(read_zone(ZONE, names.from_text("example.com.")))
    made.begin(1_700_000_000_000_000_000)
    return made


def ask(
    authority: Authority,
    qname: str,
    rdtype: str,
    *,
    transport: Transport = Transport.UDP,
    **options: object,
) -> dns.message.Message:
    query = dns.message.make_query(qname, rdtype, **options)
    wire = query.to_wire()
    answered = authority.answer(wire, PEER, transport)
    assert not isinstance(answered, Deferred)
    message = dns.message.from_wire(wire[:2] + answered[0])
    assert query.is_response(message)
    return message


def texts(section: list) -> list[str]:
    return [rrset.to_text() for rrset in section]


def test_the_case_of_the_question_comes_back(authority: Authority) -> None:
    answer = ask(authority, "WwW.eXample.com.", "AAAA")
    assert texts(answer.question) == ["WwW.eXample.com. IN AAAA"]
    assert texts(answer.answer) == ["WwW.eXample.com. 300 IN AAAA 2001:db8::80"]


@pytest.mark.parametrize(
    ("qname", "rdtype", "rcode", "answer", "authority_types"),
    [
        ("www.example.com.", "A", "NOERROR", [], ["SOA"]),
        ("nx.example.com.", "AAAA", "NXDOMAIN", [], ["SOA"]),
        ("ent.example.com.", "AAAA", "NOERROR", [], ["SOA"]),
        ("x.w.example.com.", "AAAA", "NOERROR", ["AAAA"], []),
        ("x.w.example.com.", "A", "NOERROR", [], ["SOA"]),
        ("cc.example.com.", "AAAA", "NOERROR", ["CNAME", "CNAME", "AAAA"], []),
        ("x.wc.example.com.", "AAAA", "NOERROR", ["CNAME", "AAAA"], []),
        ("ext.example.com.", "AAAA", "NOERROR", ["CNAME"], []),
        ("gone.example.com.", "AAAA", "NXDOMAIN", ["CNAME"], ["SOA"]),
        ("x.d.example.com.", "AAAA", "NOERROR", ["DNAME", "CNAME"], []),
        ("d.example.com.", "AAAA", "NOERROR", [], ["SOA"]),
        ("sub.example.com.", "DS", "NOERROR", [], ["SOA"]),
        ("sub.example.com.", "NS", "NOERROR", [], ["NS"]),
        ("occluded.sub.example.com.", "AAAA", "NOERROR", [], ["NS"]),
        ("example.com.", "ANY", "NOERROR", ["SOA"], []),
        ("example.org.", "AAAA", "REFUSED", [], []),
    ],
)
def test_sections_are_what_rfc_1034_says(
    authority: Authority,
    qname: str,
    rdtype: str,
    rcode: str,
    answer: list[str],
    authority_types: list[str],
) -> None:
    for transport in (Transport.UDP, Transport.TCP, Transport.UDP):
        message = ask(authority, qname, rdtype, transport=transport)
        assert dns.rcode.to_text(message.rcode()) == rcode
        assert [dns.rdatatype.to_text(r.rdtype) for r in message.answer] == answer
        assert [dns.rdatatype.to_text(r.rdtype) for r in message.authority] == authority_types


def test_a_referral_carries_glue_and_no_aa(authority: Authority) -> None:
    message = ask(authority, "deep.below.sub.example.com.", "AAAA")
    assert not message.flags & dns.flags.AA
    assert "ns.sub.example.com. 300 IN AAAA 2001:db8::53" in texts(message.additional)


def test_a_cname_loop_ends(authority: Authority) -> None:
    assert len(ask(authority, "loop.example.com.", "AAAA").answer) <= 16


def test_a_response_too_large_for_udp_is_truncated_and_whole_over_tcp(
    authority: Authority,
) -> None:
    small = ask(authority, "big.example.com.", "TXT")
    assert small.flags & dns.flags.TC
    assert small.answer == []
    whole = ask(authority, "big.example.com.", "TXT", transport=Transport.TCP)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer) == 1


def test_an_unknown_edns_version_is_badvers(authority: Authority) -> None:
    message = ask(authority, "www.example.com.", "AAAA", use_edns=1)
    assert message.rcode() == dns.rcode.BADVERS
    assert message.edns == 0


def test_nsid_comes_only_when_asked_for(authority: Authority) -> None:
    asked = ask(
        authority,
        "www.example.com.",
        "AAAA",
        use_edns=0,
        options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")],
    )
    assert [option.to_wire() for option in asked.options] == [b"n1"]
    assert ask(authority, "www.example.com.", "AAAA", use_edns=0).options == ()


def test_encrypted_answers_are_padded_to_blocks_when_asked(authority: Authority) -> None:
    query = dns.message.make_query("www.example.com.", "AAAA", use_edns=0, pad=128).to_wire()
    answered = authority.answer(query, PEER, Transport.DOT)
    assert not isinstance(answered, Deferred)
    assert (len(answered[0]) + 2) % 468 == 0
    dns.message.from_wire(query[:2] + answered[0])


def test_referrals_without_room_for_in_domain_glue_are_truncated() -> None:
    lines = [
        "$ORIGIN example.com.",
        "$TTL 300",
        "@ SOA ns host 1 2 3 4 5",
        "@ NS ns",
        "ns AAAA 2001:db8::1",
    ]
    for number in range(20):
        lines += [
            f"sub NS a-rather-long-name-server-{number}.sub",
            f"a-rather-long-name-server-{number}.sub AAAA 2001:db8::{number:x}",
        ]
    authority = Authority(AuthoritySettings())
    authority.put(read_zone("\n".join(lines) + "\n", names.from_text("example.com.")))
    message = ask(authority, "x.sub.example.com.", "AAAA")
    assert message.flags & dns.flags.TC  # RFC 9471 3.1
    whole = ask(authority, "x.sub.example.com.", "AAAA", transport=Transport.TCP)
    assert len(whole.additional) == 20


def test_the_event_says_why_the_answer_is_what_it_is(authority: Authority) -> None:
    query = dns.message.make_query("x.w.example.com.", "AAAA").to_wire()
    answered = authority.answer(query, PEER, Transport.UDP)
    assert not isinstance(answered, Deferred)
    seen = parse_record(compose_head(0, PEER) + answered[1])
    assert seen.client == "2001:db8::7"
    assert seen.qname == "x.w.example.com."
    assert seen.zone == "example.com."
    assert seen.provenance is not None
    assert Provenance.WILDCARD in seen.provenance


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_garbage_gets_silence_or_an_error_never_an_exception(packet: bytes) -> None:
    authority = Authority(AuthoritySettings(cookie_secret=bytes(16)))
    authority.put(read_zone(ZONE, names.from_text("example.com.")))
    answered = authority.answer(packet, PEER, Transport.UDP)
    assert authority.fault_count == 0
    if not isinstance(answered, Deferred) and answered[0]:
        assert len(packet) >= 12
        assert len(answered[0]) <= 1230


@settings(max_examples=300)
@given(st.data())
def test_mutated_queries_are_answered_within_the_rules(data: st.DataObject) -> None:
    authority = Authority(AuthoritySettings(cookie_secret=bytes(16), nsid=b"n"))
    authority.put(read_zone(ZONE, names.from_text("example.com.")))
    qname = data.draw(
        st.sampled_from(["www.example.com.", "x.w.example.com.", "x.sub.example.com."])
    )
    query = bytearray(dns.message.make_query(qname, "AAAA", want_dnssec=True).to_wire())
    for _ in range(data.draw(st.integers(0, 5))):
        query[data.draw(st.integers(2, len(query) - 1))] = data.draw(st.integers(0, 255))
    packet = bytes(query[: data.draw(st.integers(0, len(query)))])
    for transport in (Transport.UDP, Transport.TCP):
        answered = authority.answer(packet, PEER, transport)
        assert authority.fault_count == 0
        # dnspython reads what is not a query by other rules, whatever our answer says.
        if not isinstance(answered, Deferred) and answered[0] and packet[2] >> 3 & 0xF == 0:
            dns.message.from_wire(packet[:2] + answered[0], ignore_trailing=False)


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", dns.rcode.FORMERR),
        (b"\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00" + b"\x00\x00\x01\x00\x01" * 2,
        dns.rcode.FORMERR),
        (b"\x00\x01\x18\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01", dns.rcode.NOTIMP),
        (b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",
        dns.rcode.FORMERR),
    ],
    ids=["no question", "two questions", "unknown opcode", "pointer to itself"],
)  # fmt: skip
def test_wrong_packets_get_the_right_rcode(
    authority: Authority, packet: bytes, rcode: dns.rcode.Rcode
) -> None:
    answered = authority.answer(packet, PEER, Transport.UDP)
    assert not isinstance(answered, Deferred)
    assert answered[0][1] & 0xF == rcode


def test_responses_are_met_with_silence(authority: Authority) -> None:
    packet = dns.message.make_response(dns.message.make_query("www.example.com.", "AAAA")).to_wire()
    answered = authority.answer(packet, PEER, Transport.UDP)
    assert not isinstance(answered, Deferred)
    assert answered[0] == b""


def test_siphash_agrees_with_its_authors_vector() -> None:
    # SipHash paper, appendix A: key 00..0f, message 00..0e.
    assert siphash24(bytes(range(15)), bytes(range(16))) == bytes.fromhex("e545be4961ca29a1")


def test_server_cookie_agrees_with_rfc_9018_appendix_a() -> None:
    cookies = Cookies(bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf"))
    made = cookies.make(bytes.fromhex("2464c4abcf10c957"), bytes((198, 51, 100, 100)), 1559731985)
    assert made.hex() == "010000005cf79f111f8130c3eee29480"


def test_answers_kept_are_bounded(authority: Authority) -> None:
    query = dns.message.make_query("www.example.com.", "AAAA").to_wire()
    query = query[:11] + b"\x01" + query[12:]
    for number in range(40_000):
        opt = b"\x00\x00\x29" + (512 + number).to_bytes(2, "big") + bytes(6)
        authority.answer(query + opt, PEER, Transport.UDP)
    assert 0 < len(authority.answers) <= 32_768


def orders(*, is_cyclic: bool) -> list[list[str]]:
    """AAAA of a name in four seconds that follow each other, each asked twice."""
    made = Authority(AuthoritySettings(is_cyclic=is_cyclic))
    made.put(
        read_zone(
            "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n"
            + "".join(f"www 60 AAAA 2001:db8::{n}\n" for n in (1, 2, 3)),
            names.from_text("example.com."),
        )
    )
    out = []
    for second in range(4):
        made.begin((1_800_000_000 + second) * 1_000_000_000)
        twice = [[r.address for r in ask(made, "www.example.com", "AAAA").answer[0]] for _ in "ab"]
        assert twice[0] == twice[1]
        out.append(twice[0])
    return out


def test_addresses_take_turns_to_come_first_where_that_is_wanted() -> None:
    fixed = orders(is_cyclic=False)
    assert fixed == [fixed[0]] * 4
    cyclic = orders(is_cyclic=True)
    assert {order[0] for order in cyclic[:3]} == set(fixed[0])
    assert cyclic[3] == cyclic[0]
    assert all(sorted(order) == sorted(fixed[0]) for order in cyclic)
