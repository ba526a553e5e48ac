"""RFC 6672 2.2 and 3: what DNAME does to names below it, and to none else."""

import pytest

ZONE = """
$ORIGIN example.com.
$TTL 60
@ SOA ns host 1 2 3 4 5
@ NS ns
ns AAAA 2001:db8::1
x DNAME example.net.
short DNAME a.{0}.{0}.{0}.example.net.
there DNAME here.example.com.
a.here AAAA 2001:db8::2
""".replace("{0}", "x" * 60)


@pytest.fixture(scope="module")
def ask(authority_of):
    return authority_of(example_com=ZONE)


@pytest.mark.parametrize(
    ("qname", "target"),
    [
        ("a.x.example.com.", "a.example.net."),
        ("a.b.x.example.com.", "a.b.example.net."),
    ],
)
def test_names_below_are_substituted_with_the_ttl_of_the_dname(ask, qname, target) -> None:
    message = ask(qname, "AAAA")
    dname, cname = message.answer
    assert dname.name.to_text() == "x.example.com."
    assert cname.name.to_text() == qname
    assert cname[0].target.to_text() == target
    assert cname.ttl == dname.ttl == 60


def test_the_owner_itself_is_not_substituted(ask, facts) -> None:
    assert facts(ask("x.example.com.", "AAAA")) == ("NOERROR", [], ["example.com. soa"])
    assert facts(ask("x.example.com.", "DNAME"))[1] == ["x.example.com. dname"]


def test_a_name_that_grows_too_long_is_yxdomain(ask) -> None:
    message = ask(f"{'y' * 60}.short.example.com.", "AAAA")
    assert message.rcode() == 6
    assert len(message.answer) == 1


def test_a_target_in_the_zone_is_followed(ask, facts) -> None:
    rcode, answer, _ = facts(ask("a.there.example.com.", "AAAA"))
    assert rcode == "NOERROR"
    assert answer[-1] == "a.here.example.com. aaaa"
