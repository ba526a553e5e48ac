"""RFC 6147 5: what DNS64 answers, and the acceptance list for DNS64 (D64-1 to D64-7)."""

import ipaddress

import pytest

import quada.resolver.dns64 as dns64
import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.dns64 import Choice, Looked, OnFailure, Rule, judge, read_net, read_prefix
from quada.telemetry.event import Provenance, Validation
from quada.wire.records import RRset

WELL_KNOWN = read_prefix("64:ff9b::/96")
RULE = Rule((WELL_KNOWN,))
NAME = names.from_text("v4.example.")
EMPTY = Looked(codes.NOERROR, negative_ttl=300)
PLAIN = {"is_do": False, "is_cd": False}


def aaaa(*texts: str, ttl: int = 60) -> RRset:
    return RRset(codes.AAAA, ttl, tuple(ipaddress.IPv6Address(text).packed for text in texts))


def a(*texts: str, ttl: int = 60) -> Looked:
    packed = tuple(ipaddress.IPv4Address(text).packed for text in texts)
    return Looked(codes.NOERROR, RRset(codes.A, ttl, packed))


def texts(rrset: RRset) -> list[str]:
    return [str(ipaddress.IPv6Address(rdata)) for rdata in rrset.rdatas]


def test_an_a_only_name_gets_synthesized_aaaa():
    assert judge(RULE, NAME, EMPTY, **PLAIN).choice is Choice.SYNTHESIZE
    made = dns64.synthesize(RULE, EMPTY, a("192.0.2.1", "192.0.2.2"))
    assert texts(made.rrset) == ["64:ff9b::c000:201", "64:ff9b::c000:202"]


def test_native_aaaa_are_never_replaced():
    looked = Looked(codes.NOERROR, aaaa("2001:db8::1"))
    assert judge(RULE, NAME, looked, **PLAIN).choice is Choice.KEEP


def test_what_is_made_is_marked_with_provenance_and_words():
    made = dns64.synthesize(RULE, EMPTY, a("192.0.2.1"))
    assert made.provenance is Provenance.DNS64
    assert made.ede_text == "DNS64 64:ff9b::/96 from 192.0.2.1"
    assert not made.is_masking


@pytest.mark.parametrize("rcode", [codes.SERVFAIL, codes.REFUSED, codes.FORMERR])
def test_a_failed_aaaa_lookup_stays_a_failure(rcode):
    judged = judge(RULE, NAME, Looked(rcode), **PLAIN)
    assert judged.choice is Choice.KEEP
    assert "failed" in judged.reason


def test_a_failed_aaaa_lookup_may_be_masked_but_says_so():
    rule = RULE._replace(on_failure=OnFailure.SYNTHESIZE)
    judged = judge(rule, NAME, Looked(codes.SERVFAIL), **PLAIN)
    assert (judged.choice, judged.is_masking) == (Choice.SYNTHESIZE, True)
    made = dns64.synthesize(rule, Looked(codes.SERVFAIL), a("192.0.2.1"), is_masking=True)
    assert made.is_masking
    assert "the AAAA lookup failed" in made.ede_text


@pytest.mark.parametrize("on_failure", OnFailure)
def test_bogus_is_never_synthesized_over(on_failure):
    rule = RULE._replace(on_failure=on_failure)
    for rcode in (codes.NOERROR, codes.SERVFAIL):
        bogus = Looked(rcode, validation=Validation.BOGUS)
        assert judge(rule, NAME, bogus, **PLAIN).choice is Choice.KEEP
    bogus_a = a("192.0.2.1")._replace(validation=Validation.BOGUS)
    assert dns64.synthesize(rule, EMPTY, bogus_a) is None


def test_nxdomain_is_the_answer():
    assert judge(RULE, NAME, Looked(codes.NXDOMAIN), **PLAIN).choice is Choice.KEEP


def test_with_do_and_cd_synthesis_is_withheld():
    signed = Looked(codes.NOERROR, validation=Validation.SECURE)
    assert judge(RULE, NAME, signed, is_do=True, is_cd=True).choice is Choice.KEEP
    assert judge(RULE, NAME, signed, is_do=True, is_cd=False).choice is Choice.SYNTHESIZE
    assert judge(RULE, NAME, signed, is_do=False, is_cd=True).choice is Choice.SYNTHESIZE


def test_a_signed_absence_can_be_kept_for_clients_that_set_do():
    rule = RULE._replace(withholds_secure=True)
    signed = Looked(codes.NOERROR, validation=Validation.SECURE)
    insecure = Looked(codes.NOERROR, validation=Validation.INSECURE)
    assert judge(rule, NAME, signed, is_do=True, is_cd=False).choice is Choice.KEEP
    assert judge(rule, NAME, insecure, is_do=True, is_cd=False).choice is Choice.SYNTHESIZE


def test_excluded_aaaa_go_one_by_one():
    """RFC 6147 5.1.4: records, not RRsets."""
    mixed = Looked(codes.NOERROR, aaaa("::ffff:192.0.2.9", "2001:db8::1"))
    judged = judge(RULE, NAME, mixed, **PLAIN)
    assert judged.choice is Choice.FILTER
    assert texts(judged.rrset) == ["2001:db8::1"]
    only = Looked(codes.NOERROR, aaaa("::ffff:192.0.2.9"))
    assert judge(RULE, NAME, only, **PLAIN).choice is Choice.SYNTHESIZE


def test_excluded_a_make_nothing():
    rule = RULE._replace(never_from=(read_net("192.0.2.0/25"),))
    made = dns64.synthesize(rule, EMPTY, a("192.0.2.1", "192.0.2.200"))
    assert texts(made.rrset) == ["64:ff9b::c000:2c8"]
    assert dns64.synthesize(rule, EMPTY, a("192.0.2.1")) is None


def test_the_ttl_is_the_lesser_of_both():
    """RFC 6147 5.1.7."""
    assert dns64.synthesize(RULE, EMPTY, a("192.0.2.1", ttl=900)).rrset.ttl == 300
    assert dns64.synthesize(RULE, EMPTY, a("192.0.2.1", ttl=20)).rrset.ttl == 20
    assert dns64.synthesize(RULE, Looked(0), a("192.0.2.1", ttl=9000)).rrset.ttl == 600


def test_several_prefixes_make_several_addresses():
    rule = Rule((WELL_KNOWN, read_prefix("2001:db8:64::/48")))
    made = dns64.synthesize(rule, EMPTY, a("192.0.2.1"))
    assert texts(made.rrset) == ["64:ff9b::c000:201", "2001:db8:64:c000:2:100::"]


def test_the_first_rule_that_holds_the_client_decides():
    mobile = Rule((WELL_KNOWN,), clients=(read_net("2001:db8:1::/48"),))
    rest = Rule((read_prefix("2001:db8:64::/96"),), clients=(read_net("2001:db8::/32"),))
    address = ipaddress.ip_address
    assert dns64.choose((mobile, rest), address("2001:db8:1::5").packed) is mobile
    assert dns64.choose((mobile, rest), address("2001:db8:2::5").packed) is rest
    assert dns64.choose((mobile, rest), address("192.0.2.5").packed) is None


def test_clients_over_ipv4_get_the_same_as_those_over_ipv6():
    """Documented: the family that a question travels by says nothing of the client's own."""
    assert dns64.choose((RULE,), ipaddress.ip_address("192.0.2.5").packed) is RULE


def test_the_nearest_name_in_the_zone_lists_decides():
    rule = RULE._replace(
        only=frozenset({names.from_text("example.")}),
        never=frozenset({names.from_text("lab.example.")}),
    )
    for text, fits in (("a.example.", True), ("a.lab.example.", False), ("a.test.", False)):
        choice = judge(rule, names.from_text(text), EMPTY, **PLAIN).choice
        assert (choice is Choice.SYNTHESIZE) == fits


def test_ipv4only_arpa_tells_the_prefix():
    """RFC 8880 7.1."""
    answer = dns64.ipv4only(RULE, dns64.IPV4ONLY, codes.AAAA)
    assert texts(answer.rrset) == ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]
    assert dns64.prefixes_in(answer.rrset.rdatas) == [WELL_KNOWN]
    assert dns64.ipv4only(RULE, dns64.IPV4ONLY, codes.A).rrset.rdatas == dns64.IPV4ONLY_ADDRESSES
    assert dns64.ipv4only(RULE, dns64.IPV4ONLY, codes.TXT).rrset is None
    below = dns64.ipv4only(RULE, names.from_text("x.ipv4only.arpa."), codes.AAAA)
    assert below.rcode == codes.NXDOMAIN
    assert dns64.ipv4only(RULE, names.from_text("arpa."), codes.AAAA) is None


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", "2001:db8:122:344::/64", "2001:db8::/32"])
def test_the_reverse_name_of_a_synthesized_address_leads_to_in_addr_arpa(prefix):
    rule = Rule((read_prefix(prefix),))
    made = rule.prefixes[0].synthesize(b"\xc0\x00\x02\x21")
    reverse = ipaddress.IPv6Address(made).reverse_pointer + "."
    target = dns64.ptr_target(rule, names.from_text(reverse))
    assert names.to_text(target) == "33.2.0.192.in-addr.arpa."


@pytest.mark.parametrize("text", ["1.0.0.ip6.arpa.", "example.", f"{'z.' * 32}ip6.arpa."])
def test_other_names_have_no_reverse_of_ours(text):
    assert dns64.ptr_target(RULE, names.from_text(text)) is None
