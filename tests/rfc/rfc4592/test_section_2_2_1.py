"""RFC 4592 2.2.1: the example zone, and what it says of each question."""

import pytest

ZONE = """
$ORIGIN example.
@                3600 SOA   ns.example.com. hostmaster 1 2 3 4 5
                 3600 NS    ns.example.com.
                 3600 NS    ns.example.net.
*.example.       3600 TXT   "this is a wildcard"
                 3600 MX    10 host1.example.
sub.*.example.   3600 TXT   "this is not a wildcard"
host1.example.   3600 A     192.0.2.1
_ssh._tcp.host1.example. 3600 SRV 0 0 22 host1.example.
_ssh._tcp.host2.example. 3600 SRV 0 0 22 host2.example.
subdel.example.  3600 NS    ns.example.com.
                 3600 NS    ns.example.net.
"""


@pytest.fixture(scope="module")
def ask(authority_of):
    return authority_of(example=ZONE)


@pytest.mark.parametrize(
    ("qname", "rdtype", "rcode", "answer", "authority"),
    [
        ("host3.example.", "MX", "NOERROR", ["host3.example. mx"], []),
        ("host3.example.", "A", "NOERROR", [], ["example. soa"]),
        ("foo.bar.example.", "TXT", "NOERROR", ["foo.bar.example. txt"], []),
        ("host1.example.", "MX", "NOERROR", [], ["example. soa"]),
        ("sub.*.example.", "MX", "NOERROR", [], ["example. soa"]),
        ("_telnet._tcp.host1.example.", "SRV", "NXDOMAIN", [], ["example. soa"]),
        ("host.subdel.example.", "A", "NOERROR", [], ["subdel.example. ns"]),
        ("ghost.*.example.", "MX", "NXDOMAIN", [], ["example. soa"]),
        ("_tcp.host2.example.", "SRV", "NOERROR", [], ["example. soa"]),
    ],
)
def test_the_examples_are_answered_as_written(
    ask, facts, qname, rdtype, rcode, answer, authority
) -> None:
    assert facts(ask(qname, rdtype)) == (rcode, answer, authority)


def test_a_question_for_the_wildcard_itself_is_no_synthesis(ask, facts) -> None:
    assert facts(ask("*.example.", "TXT")) == ("NOERROR", ["*.example. txt"], [])
