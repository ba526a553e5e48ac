"""Responses, skimmed."""

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quada.wire.names as names
from quada.wire.faults import MalformedMessage
from quada.wire.skim import follow, skim


def response(*answer: str) -> bytes:
    query = dns.message.make_query("www.example.com.", "AAAA", use_edns=0)
    message = dns.message.make_response(query)
    for line in answer:
        owner, ttl, rdtype, rdata = line.split(None, 3)
        message.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", rdtype, rdata))
    return message.to_wire()


def test_compressed_names_come_out_whole() -> None:
    skimmed = skim(response("www.example.com. 60 MX 10 Mail.example.com.", "x.org. 5 NS ns.x.org."))
    assert skimmed.answer[0].rdata == b"\x00\x0a" + names.from_text("Mail.example.com.")
    assert skimmed.answer[1].owner == names.from_text("x.org.")
    assert skimmed.edns is not None


def test_a_chain_is_followed_to_its_addresses() -> None:
    skimmed = skim(
        response(
            "www.example.com. 60 CNAME a.example.net.",
            "a.example.net. 30 CNAME b.example.net.",
            "b.example.net. 20 AAAA 2001:db8::1",
        )
    )
    last, links, found = follow(skimmed.answer, names.from_text("www.example.com."), 28)
    assert names.to_text(last) == "b.example.net."
    assert [link.ttl for link in links] == [60, 30]
    assert found[0].rdata[-1] == 1


def test_a_loop_of_cnames_ends_without_records() -> None:
    skimmed = skim(
        response("www.example.com. 60 CNAME b.example.", "b.example. 60 CNAME www.example.com.")
    )
    assert follow(skimmed.answer, names.from_text("www.example.com."), 28)[2] == []


@given(st.data())
def test_damaged_responses_are_read_or_malformed(data: st.DataObject) -> None:
    octets = bytearray(response("www.example.com. 60 SOA ns.example.com. h.example.com. 1 2 3 4 5"))
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        skim(bytes(octets[: data.draw(st.integers(0, len(octets)))]))
    except MalformedMessage:
        return


def test_a_message_without_question_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        skim(bytes(12))
