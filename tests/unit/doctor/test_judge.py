"""Judging: kept observations, damaged ones, and what must stay unknown."""

import base64
import contextlib
import json

import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quada.doctor import Observation, Verdict, judge, read_observation, write_observation
from quada.doctor.observation import Cut, Exchange, Resolved, Visit
from quada.wire.faults import DataFault


def soa(
    address: str, serial: int, *, about: str = "soa-udp", server: str = "ns.example."
) -> Exchange:
    query = dns.message.make_query("example.", "SOA")
    answer = dns.message.make_response(query)
    answer.flags |= 0x400
    answer.answer.append(
        dns.rrset.from_text("example.", 60, "IN", "SOA", f"a. b. {serial} 1 1 1 1")
    )
    return Exchange(
        "example.", server, address, "udp", about, "example.", "SOA", 1.0, answer.to_wire().hex()
    )


def seen(*exchanges: Exchange) -> Observation:
    made = Observation("example.", "example.", 1000.0)
    made.cuts = {
        ".": Cut(".", "", ["root."], {"root.": ["2001:500::1", "198.41.0.4"]}),
        "example.": Cut(
            "example.", ".", ["ns.example."], {"ns.example.": ["2a00::1", "198.51.0.1"]}
        ),
    }
    made.hosts = {"root.": ["2001:500::1", "198.41.0.4"], "ns.example.": ["2a00::1", "198.51.0.1"]}
    root = soa("2001:500::1", 1, about="vantage", server="")
    made.exchanges = [root, soa("198.41.0.4", 1, about="vantage", server=""), *exchanges]
    made.resolved = [
        Resolved("example.", qtype, families, "NOERROR", "insecure", [])
        for qtype, families in (("AAAA", "both"), ("A", "both"), ("AAAA", "ipv6"), ("AAAA", "ipv4"))
    ]
    return made


def bad(observation: Observation) -> set[str]:
    return {one.code for one in judge(observation) if one.verdict in (Verdict.FAIL, Verdict.WARN)}


def test_a_server_that_is_two_servers_by_family_is_found() -> None:
    split = seen(soa("2a00::1", 7), soa("198.51.0.1", 9))
    finding = next(one for one in judge(split) if one.code == "serial-differs")
    assert finding.message == "over IPv6 7, over IPv4 9"
    assert "serial-differs" not in bad(seen(soa("2a00::1", 9), soa("198.51.0.1", 9)))


def test_addresses_that_reach_nobody_are_named_by_kind() -> None:
    made = seen(soa("2a00::1", 7))
    made.hosts["ns.example."] = ["fd00::1", "198.51.0.1"]
    assert "ns-address-class" in bad(made)
    made.resolved[0].addresses = ["64:ff9b::c000:201"]
    assert "aaaa-address-class" in bad(made)


def test_a_signature_about_to_end_is_told_before_it_does() -> None:
    query = dns.message.make_query("example.", "AAAA")
    answer = dns.message.make_response(query)
    answer.answer.append(
        dns.rrset.from_text(
            "example.",
            60,
            "IN",
            "RRSIG",
            "AAAA 13 1 60 19700101010000 19700101000000 1 example. AAAA",
        )
    )
    made = seen(
        Exchange(
            "example.",
            "ns.example.",
            "2a00::1",
            "udp",
            "aaaa",
            "example.",
            "AAAA",
            1.0,
            answer.to_wire().hex(),
        )
    )
    finding = next(one for one in judge(made) if one.code == "signature-expiry")
    assert (finding.verdict, finding.subject) == (Verdict.FAIL, "example. AAAA")


def test_an_observation_is_read_back_as_it_was() -> None:
    made = seen(soa("2a00::1", 7))
    assert read_observation(write_observation(made)) == made


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 9}', '{"version": 1, "cuts": {}}', "null"]
)
def test_what_is_no_observation_is_refused(text: str) -> None:
    with pytest.raises(DataFault):
        read_observation(text)


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            "soa-udp",
            "edns",
            "ns",
            "referral",
            "aaaa",
            "https",
            "case",
            "recursion",
            "transfer",
            "large-tcp",
            "vantage",
            "cds",
            "ds",
            "reverse-ptr",
            "srv",
            "edns-unknown",
        ]
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_says_is_judged_without_harm(octets: bytes, about: str) -> None:
    made = seen(
        Exchange(
            "example.", "ns.example.", "2a00::1", "udp", about, "example.", "SOA", 1.0, octets.hex()
        )
    )
    judge(made)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_file_is_refused_or_judged(data) -> None:
    text = json.loads(write_observation(seen(soa("2a00::1", 7))))
    key = data.draw(st.sampled_from(sorted(text)))
    text[key] = data.draw(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just([])))
    try:
        made = read_observation(json.dumps(text))
    except DataFault:
        return
    try:
        judge(made)
    except (TypeError, AttributeError, ValueError):
        pytest.fail(f"a damaged {key} got through reading")


def test_where_somebody_else_answers_for_the_root_nothing_fails() -> None:
    made = seen(soa("2a00::1", 1), soa("198.51.0.1", 2))
    for one in made.about("vantage"):
        proxied = dns.message.from_wire(bytes.fromhex(one.message))
        proxied.flags &= ~0x400
        one.message = proxied.to_wire().hex()
    made.resolved.append(Resolved("example.", "AAAA", "both", "SERVFAIL", "bogus", [], "no DS"))
    found = judge(made)
    assert not {one.code for one in found if one.verdict in ("FAIL", "WARN")}
    said = next(one for one in found if one.code == "vantage-ipv6")
    assert "somebody else" in said.message


@given(st.integers(0, 255), st.binary(max_size=80), st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_keys_and_signatures_that_are_nonsense_are_judged(
    algorithm: int, key: bytes, signature: bytes
) -> None:
    made = seen(soa("2a00::1", 7))
    answer = dns.message.make_response(dns.message.make_query("example.", "DNSKEY"))
    answer.flags |= 0x400
    texts = {
        "DNSKEY": f"257 3 {algorithm} {base64.b64encode(key).decode()}",
        "DS": f"4711 {algorithm} 2 {'AB' * 32}", "CDS": f"4711 {algorithm} 2 {'AB' * 32}",
        "RRSIG": f"DNSKEY {algorithm} 1 60 20300101000000 19700101000000 4711 example. "
        + base64.b64encode(signature).decode(),
    }  # fmt: skip
    for rdtype, text in texts.items():
        with contextlib.suppress(dns.exception.DNSException, ValueError):
            answer.answer.append(dns.rrset.from_text("example.", 60, "IN", rdtype, text))
    octets = answer.to_wire().hex()
    for about in ("large-tcp", "ds", "cds", "aaaa"):
        made.exchanges.append(
            Exchange("example.", "ns.example.", "2a00::1", "tcp", about, "example.", "DNSKEY", 1.0, octets)
        )  # fmt: skip
    judge(made)


def test_ping_results_tell_of_this_machine_alone() -> None:
    def verdict(*seen_octets: tuple[int, str, str]) -> str:
        made = seen(soa("2a00::1", 7))
        made.visits = [
            Visit("path", ".", "2001:500::1", 0, "ping", stage, why, packet_octets=octets)
            for octets, stage, why in seen_octets
        ]
        return next((str(f.verdict) for f in judge(made) if f.code == "vantage-mtu"), "")

    lost = "nothing within 4 s"
    assert verdict((1280, "", ""), (1500, "", "")) == "PASS"
    assert verdict((1280, "", ""), (1500, "dial", lost)) == "WARN"
    assert verdict((1280, "", ""), (1500, "dial", "too large for the path")) == "INFO"
    assert verdict((1280, "dial", lost), (1500, "dial", lost)) == "UNKNOWN"
    assert verdict((1280, "refused", "no"), (1500, "refused", "no")) == ""


def test_encryption_that_nobody_told_of_is_noted_and_over_ipv4_alone_a_warning() -> None:
    def told(silence_six: str) -> dict[str, str]:
        made = seen(soa("2a00::1", 7), soa("198.51.0.1", 7))
        for address, silence in (("2a00::1", silence_six), ("198.51.0.1", "")):
            one = soa(address, 7, about="opportunistic")
            one.transport, one.silence = "dot", silence
            one.message = "" if silence else one.message
            made.exchanges.append(one)
        return {f.code: str(f.verdict) for f in judge(made) if f.code.startswith("encrypted")}

    assert told("") == {"encrypted-offered": "INFO"}
    assert told("timeout") == {"encrypted-ipv6": "WARN"}


def test_the_agent_that_errors_are_reported_to_is_told() -> None:
    made = seen(soa("2a00::1", 7), soa("2a00::1", 7, about="edns"))
    keys = dns.message.make_response(dns.message.make_query("example.", "DNSKEY"))
    keys.flags |= 0x400
    keys.answer.append(dns.rrset.from_text("example.", 60, "IN", "DNSKEY", "257 3 13 AAAA"))
    made.exchanges.append(
        Exchange("example.", "ns.example.", "2a00::1", "tcp", "large-tcp", "example.", "DNSKEY", 1.0,
                 keys.to_wire().hex())
    )  # fmt: skip

    def said() -> str:
        return next(one.message for one in judge(made) if one.code == "report-channel")

    assert said() == "it names no agent"
    one = made.about("edns")[0]
    answer = dns.message.from_wire(bytes.fromhex(one.message))
    agent = dns.name.from_text("agent.example.net.")
    answer.use_edns(0, options=[dns.edns.ReportChannelOption(agent)])
    one.message = answer.to_wire().hex()
    assert said() == "errors are reported to agent.example.net."


def test_a_name_that_costs_many_more_questions_over_ipv6_alone_is_told() -> None:
    made = seen(soa("2a00::1", 9), soa("198.51.0.1", 9))
    made.resolved[0].ask_count, made.resolved[2].ask_count = 6, 40
    finding = next(one for one in judge(made) if one.code == "resolves-ipv6-effort")
    assert (finding.verdict, finding.message) == (
        Verdict.WARN, "40 questions over IPv6 alone, 6 over both families")  # fmt: skip
    made.resolved[2].ask_count = 15  # twice and a half, and a few retries
    assert "resolves-ipv6-effort" not in bad(made)


def stream(about: str, address: str, octets: int) -> Exchange:
    one = soa(address, 9, about=about)
    one.message = one.message + "00" * (octets - len(one.message) // 2) if octets else ""
    one.silence = "" if octets else "timeout"
    return one


def test_a_long_answer_lost_over_ipv6_alone_is_a_stall_and_one_that_is_never_given_is_none() -> (
    None
):
    good = soa("2a00::1", 9, about="soa-tcp")
    four = stream("any-tcp", "198.51.0.1", 9_000)
    lost = seen(good, stream("any-tcp", "2a00::1", 0), four)
    assert "tcp-stalls" in bad(lost)
    dropped = seen(good, stream("any-tcp", "2a00::1", 0), stream("any-tcp", "198.51.0.1", 0))
    assert "tcp-stalls" not in bad(dropped)


def test_how_long_a_message_may_be_is_known_as_far_as_the_zone_has_one() -> None:
    short = seen(stream("large-tcp", "2a00::1", 300), stream("any-tcp", "2a00::1", 4_999))
    finding = next(one for one in judge(short) if one.code == "tcp-large")
    assert (finding.verdict, finding.message.split(";")[0]) == (
        Verdict.INFO, "4999 octets came whole from 2a00::1")  # fmt: skip
    long = seen(stream("text-tcp", "2a00::1", 5_000))
    assert next(one for one in judge(long) if one.code == "tcp-large").verdict is Verdict.PASS


def test_a_server_that_looks_at_itself_says_that_it_sees_no_outside() -> None:
    made = seen(soa("2a00::1", 9))
    assert not any(one.code == "vantage-own" for one in judge(made))
    made.own = ["2a00::1"]
    assert next(one for one in judge(made) if one.code == "vantage-own").verdict is Verdict.INFO
