"""Judging resolvers from exchanges: what the lab's resolvers do not get wrong."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from quada.doctor.findings import Finding
from quada.doctor.judge_resolvers import judge_resolvers
from quada.doctor.observation import Exchange, Observation

AT = "2001:db8::53"
MADE = "64:ff9b::c000:201"


def exchange(
    about: str, qname: str, qtype: str, *data: str, rcode=dns.rcode.NOERROR, ra: bool = True
) -> Exchange:
    answer = dns.message.make_response(dns.message.make_query(qname, qtype))
    answer.set_rcode(rcode)
    answer.flags |= dns.flags.RA if ra else 0
    if data:
        answer.answer.append(dns.rrset.from_text(qname, 60, "IN", qtype, *data))
    return Exchange(".", AT, AT, "udp", about, qname, qtype, 1.0, answer.to_wire().hex())


def codes(*exchanges: Exchange) -> dict[str, str]:
    plain = [exchange("plain-udp", ".", "SOA"), exchange("plain-tcp", ".", "SOA"),
             exchange("ipv4only", "ipv4only.arpa.", "AAAA", "64:ff9b::c000:aa")]  # fmt: skip
    seen = Observation(
        "resolvers", ".", 1.0, resolvers={AT: "given"}, exchanges=[*plain, *exchanges]
    )
    return {one.code: str(one.verdict) for one in judge_resolvers(seen)}


def test_synthesis_over_a_native_address_is_told() -> None:
    assert codes(exchange("native", "www.example.", "AAAA", MADE))["dns64-over-native"] == "WARN"
    assert "dns64-over-native" not in codes(
        exchange("native", "www.example.", "AAAA", "2001:db8::1")
    )


def test_a_resolver_that_designates_nothing_encrypted_is_noted() -> None:
    assert codes()["resolver-ddr"] == "INFO"


def test_synthesis_for_a_client_that_validates_is_told() -> None:
    assert codes(exchange("signed-four-cd", "a.example.", "AAAA", MADE))["dns64-signed"] == "WARN"


def test_a_synthesized_address_without_a_name_is_told() -> None:
    name = "a.a.0.0.0.0.0.c.ip6.arpa."
    assert (
        codes(exchange("synthesized-ptr", name, "PTR", rcode=dns.rcode.NXDOMAIN))["dns64-reverse"]
        == "WARN"
    )
    assert "dns64-reverse" not in codes(exchange("synthesized-ptr", name, "PTR", "www.example."))


def test_a_negative_trust_anchor_is_told_and_nothing_concluded_of_validation() -> None:
    anchored = exchange("bogus", "b.example.", "AAAA", "2001:db8::1")
    answer = dns.message.from_wire(bytes.fromhex(anchored.message))
    answer.use_edns(0, options=[dns.edns.EDEOption(33)])
    anchored.message = answer.to_wire().hex()
    found = codes(anchored, exchange("bogus-cd", "b.example.", "AAAA", "2001:db8::1"))
    assert found["resolver-nta"] == "INFO"
    assert "resolver-validates" not in found


def test_a_failure_without_a_reason_is_noted() -> None:
    found = codes(
        exchange("bogus", "b.example.", "AAAA", rcode=dns.rcode.SERVFAIL),
        exchange("bogus-cd", "b.example.", "AAAA", MADE),
    )
    assert found["resolver-ede"] == "INFO"
    assert found["resolver-validates"] == "WARN"  # no AD was seen on what is good


def test_a_resolver_open_to_strangers_fails_and_one_that_refuses_passes() -> None:
    def verdict(one: Exchange) -> str:
        seen = Observation("resolvers", ".", 1.0, resolvers={AT: "given"}, exchanges=[one])
        return str(judge_resolvers(seen)[0].verdict)

    assert verdict(exchange("stranger", "www.example.", "AAAA", "2001:db8::1")) == "FAIL"
    assert (
        verdict(exchange("stranger", "www.example.", "AAAA", rcode=dns.rcode.REFUSED, ra=False))
        == "PASS"
    )
    silent = Exchange(
        ".", AT, AT, "udp", "stranger", "www.example.", "AAAA", 1.0, silence="unreachable"
    )
    assert verdict(silent) == "UNKNOWN"


def reached(*answers: tuple[str, str]) -> list[Finding]:
    """Judge resolvers in this order, each with the address that it gives to ipv4only.arpa."""
    exchanges = []
    for address, told in answers:
        mine = [exchange("plain-udp", ".", "SOA"), exchange("plain-tcp", ".", "SOA")]
        if told == "dead":
            for one in mine:
                one.message, one.silence = "", "timeout"
        else:
            mine.append(exchange("ipv4only", "ipv4only.arpa.", "AAAA", *([told] if told else [])))
        for one in mine:
            one.address = one.server = address
        exchanges += mine
    listed = {address: "given" for address, _ in answers}
    return judge_resolvers(
        Observation("resolvers", ".", 1.0, resolvers=listed, exchanges=exchanges)
    )


def said(found: list[Finding], code: str) -> tuple[str, str]:
    return next((str(one.verdict), one.message) for one in found if one.code == code)


def test_a_stub_waits_for_each_dead_resolver_before_the_first_that_answers() -> None:
    dead = [(f"2001:db8::{n}", "dead") for n in range(1, 4)]
    assert said(reached((AT, ""), dead[0]), "resolver-order")[0] == "PASS"
    assert said(reached(*dead[:2], (AT, "")), "resolver-order") == (
        "WARN", f"stubs wait 10 s before they ask {AT}")  # fmt: skip
    assert said(reached(*dead, (AT, "")), "resolver-order") == (
        "FAIL", f"stubs ask 3, and {AT} is the first to answer")  # fmt: skip
    assert not any(one.code == "resolver-order" for one in reached(*dead))


def test_dns64_for_one_family_alone_is_told_by_which_family_it_is() -> None:
    four, told = "192.0.2.53", "64:ff9b::c000:aa"
    assert said(reached((AT, told), (four, "")), "dns64-family")[0] == "INFO"
    assert said(reached((AT, ""), (four, told)), "dns64-family")[0] == "WARN"
    assert said(reached((AT, told), (four, told)), "dns64-family")[0] == "PASS"
    assert not any(one.code == "dns64-family" for one in reached((AT, ""), (four, "")))
    # Two of one family that differ are another fault.
    mixed = reached((AT, told), ("2001:db8::54", ""), (four, told))
    assert not any(one.code == "dns64-family" for one in mixed)
    assert said(mixed, "dns64-prefix")[0] == "WARN"
