"""RFC 2308: negative answers carry the SOA, with the lower of its TTL and MINIMUM."""

import pytest


@pytest.mark.parametrize(("ttl", "minimum", "expected"), [(3600, 60, 60), (30, 600, 30)])
def test_the_negative_ttl_is_the_lower_of_two(authority_of, ttl, minimum, expected) -> None:
    ask = authority_of(
        example=f"$ORIGIN example.\n@ {ttl} SOA ns host 1 2 3 4 {minimum}\n@ {ttl} NS ns\nns 300 AAAA ::1\n"
    )
    for qname, rdtype, rcode in (("nx.example.", "AAAA", 3), ("ns.example.", "A", 0)):
        message = ask(qname, rdtype)
        assert message.rcode() == rcode
        assert message.authority[0].ttl == expected


def test_a_chain_to_a_name_that_does_not_exist_is_nxdomain_with_the_chain(
    authority_of, facts
) -> None:
    ask = authority_of(
        example="$ORIGIN example.\n$TTL 9\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns AAAA ::1\nc CNAME nx\n"
    )
    assert facts(ask("c.example.", "AAAA")) == ("NXDOMAIN", ["c.example. cname"], ["example. soa"])
