"""Zone rules: each says what it is for, and nothing of a good zone."""

import ipaddress

import pytest

import quada.wire.names as names
from quada.zones import Finding, Policy, Severity, Zone, check_zone, read_text, read_zone, refusals
from quada.zones.check import rules
from quada.zones.check_address import special_range

ORIGIN = names.from_text("example.com.")
GOOD = """$TTL 300
@ SOA ns1 hostmaster 2026010101 3600 900 1209600 300
@ NS ns1
@ NS ns2
ns1 AAAA 2a00::53
ns1 A 192.0.2.53
ns2 AAAA 2a00:1::53
"""
SEED_FORWARD = """$TTL 300
@ IN SOA ns1.example.com. dns.example.com. (
2026010101 3600 900 1209600 300 )
 IN NS ns1.example.com.
ns1 IN AAAA 2001:db8:10::53
app IN AAAA 2001:db8:10::20
"""
SEED_REVERSE = """$TTL 300
@ IN SOA ns1.example.com. dns.example.com. (
2026010101 3600 900 1209600 300 )
 IN NS ns1.example.com.
0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0 IN PTR app.example.com.
"""
REVERSE_ORIGIN = names.from_text("8.b.d.0.1.0.0.2.ip6.arpa.")


def findings(text: str, *others: Zone, **options: object) -> list[Finding]:
    reading = read_text(text, ORIGIN)
    return check_zone(reading.zone, others, notes=reading.notes, **options)  # type: ignore[arg-type]


def codes_of(text: str, *others: Zone, **options: object) -> set[str]:
    return {finding.code for finding in findings(text, *others, **options)}


def test_a_good_zone_has_no_findings() -> None:
    assert findings(GOOD, now_s=1767312000) == []


SIGNED = "DNSKEY 256 3 5 AQID\n RRSIG {} 13 2 300 20260201000000 20260101000000 1 @ AQID\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("$TTL 3\n@ NS ns1\n", "no-soa"),
        ("$TTL 3\n@ SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5\n", "many-soa"),
        (GOOD + "x SOA a b 1 2 3 4 5\n", "many-soa"),
        ("$TTL 3\n@ SOA a b 1 2 3 4 5\n", "no-ns"),
        ("$TTL 3\n@ SOA a b 1 2 3 4 5\n@ NS ns.example.net.\n", "single-ns"),
        ("$TTL 3\n@ SOA a b 1 2 3 4 5\n", "soa-timers"),
        ("$TTL 3\n@ SOA a b 0 2 3 4 5\n", "soa-serial"),
        (GOOD + "c CNAME a\nc TXT x\n", "cname-and-other"),
        (GOOD + "c CNAME a\nc CNAME b\n", "many-cname"),
        (GOOD + "c DNAME a\nc DNAME b\n", "many-dname"),
        (GOOD + "c DNAME a\nx.c TXT b\n", "dname-below"),
        (GOOD + "c NS ns.c\nns.c AAAA 2a00::1\nx.c TXT b\n", "occluded"),
        (GOOD + "*.c NS ns1\n", "wildcard-ns"),
        (GOOD + "x TXT a\nx TXT a\n", "duplicate-record"),
        (GOOD + "x 5 TXT a\nx 6 TXT b\n", "mixed-ttl"),
        (GOOD + "x.example.com TXT a\n", "doubled-origin"),
        (GOOD + "x MX 1 ns1.example.com\n", "doubled-origin"),
        (GOOD + "my_host AAAA 2a00::1\n", "host-characters"),
        (GOOD + "@ MX 0 .\n@ MX 1 ns1\n", "null-mx-mixed"),
        (GOOD + '@ TXT "v=spf1 -all"\n@ TXT "v=spf1 mx -all"\n', "many-spf"),
        (GOOD + f'@ TXT "v=spf1 " "{"a" * 240}" "{"a" * 240}"\n', "long-spf"),
        (GOOD + "@ SPF x\n", "spf-type"),
        (GOOD + "c NS ns.c\n", "glue-missing"),
        (GOOD + "c NS ns.c\nns.c A 192.0.2.1\n", "glue-without-aaaa"),
        (GOOD + "@ NS ns3\nns3 A 192.0.2.1\n", "ns-without-aaaa"),
        (GOOD.replace("ns2 AAAA 2a00:1::53", "ns2 A 192.0.2.2"), "few-ipv6-ns"),
        (GOOD + "@ NS n\nn CNAME ns1\n", "ns-target-cname"),
        (GOOD + "@ MX 1 n\nn CNAME ns1\n", "mx-target-cname"),
        (GOOD + "_s._tcp SRV 1 1 1 n\nn CNAME ns1\n", "srv-target-cname"),
        (GOOD + "@ NS nowhere\n", "ns-target-missing"),
        (GOOD + "@ MX 1 nowhere\n", "mx-target-missing"),
        (GOOD + "_s._tcp SRV 1 1 1 nowhere\n", "srv-target-missing"),
        (GOOD + "x A 192.0.2.1\n", "aaaa-missing"),
        (GOOD + "x AAAA ::ffff:192.0.2.1\n", "aaaa-special"),
        (GOOD + "x AAAA fd00::1\n", "aaaa-special"),
        (GOOD + "x 5 AAAA 2a00::1\nx 6 A 192.0.2.1\n", "ttl-family"),
        (GOOD + "@ HTTPS 1 . ipv4hint=192.0.2.1\n", "hint-family"),
        (GOOD + "x ALIAS a.example.net.\nx CNAME b\n", "alias-and-cname"),
        (GOOD + "x ALIAS a.example.net.\nx AAAA 2a00::1\n", "alias-and-address"),
        (GOOD + "x ALIAS y\ny CNAME z\nz ALIAS x\n", "alias-loop"),
        (GOOD + "x DS 1 13 1 " + "00" * 20 + "\n", "ds-without-ns"),
        (GOOD + "x DS 1 13 1 " + "00" * 20 + "\n", "weak-algorithm"),
        (GOOD + "@ " + SIGNED.format("AAAA"), "weak-algorithm"),
        (GOOD + "@ " + SIGNED.format("AAAA"), "signature-missing"),
        (GOOD + "@ NSEC3PARAM 1 0 10 -\n", "nsec3-iterations"),
    ],
)
def test_each_fault_of_a_zone_has_its_code(text: str, code: str) -> None:
    assert code in codes_of(text)


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (1770076800, "signature-expired"),
        (1769817600, "signature-soon"),
        (1766000000, "signature-early"),
    ],
)
def test_signature_times_are_judged_by_the_time_given(now_s: int, code: str) -> None:
    assert code in codes_of(GOOD + "@ " + SIGNED.format("AAAA"), now_s=now_s)


def test_nothing_is_said_of_mail_targets_elsewhere() -> None:
    assert codes_of(GOOD + "@ MX 1 mail.example.net.\n@ MX 2 x.sub\nsub NS ns1\n") == set()


def test_wildcards_stand_for_targets_below_them_only_where_no_name_is_nearer() -> None:
    text = GOOD + "*.w AAAA 2a00::1\n@ MX 1 a.w\n"
    assert codes_of(text) == set()
    assert "mx-target-missing" in codes_of(text + "b.w TXT x\n@ MX 1 a.b.w\n")


def test_the_policy_may_ask_for_aaaa_and_exempt_names() -> None:
    text = GOOD + "x A 192.0.2.1\n"
    [finding] = findings(text, policy=Policy(requires_aaaa=True))
    assert finding.severity == Severity.WARNING
    exempt = Policy(requires_aaaa=True, ipv4_only=frozenset([names.from_text("x", ORIGIN)]))
    assert findings(text, policy=exempt) == []


def test_the_ptr_of_sixteen_labels_is_reported_with_the_right_name_beside_it() -> None:
    forward = read_zone(SEED_FORWARD, ORIGIN)
    reverse = read_zone(SEED_REVERSE, REVERSE_ORIGIN)
    [finding] = [f for f in check_zone(reverse, [forward]) if f.code == "nibble-count"]
    assert finding.severity == Severity.ERROR
    assert "has 24 of 32 nibbles" in finding.message
    right = "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0"
    assert finding.fix == f"app.example.com. is 2001:db8:10::20: write {right}"
    assert refusals(check_zone(reverse, [forward])) == []
    [alone] = [f for f in check_zone(reverse) if f.code == "nibble-count"]
    assert "if the address is 2001:db8::20" in alone.fix


def test_drift_between_forward_and_reverse_is_found_from_both_sides() -> None:
    forward = read_zone(SEED_FORWARD, ORIGIN)
    text = SEED_REVERSE.replace("0.2.0.0.0", "1.2.0.0.0").replace(
        "0.0 IN", "0.0.0.0.0.0.0.1.0.0 IN"
    )
    reverse = read_zone(text, REVERSE_ORIGIN)
    assert "ptr-drift" in {f.code for f in check_zone(reverse, [forward])}
    missing = [f for f in check_zone(forward, [reverse]) if f.code == "ptr-missing"]
    assert [names.to_text(f.owner) for f in missing] == ["ns1.example.com.", "app.example.com."]


def test_every_rule_says_why_what_to_do_and_where_it_is_written() -> None:
    for rule in rules():
        assert rule.code == rule.code.lower()
        assert rule.why.endswith(".")
        assert rule.fix
        assert rule.rfc


@pytest.mark.parametrize(
    ("text", "said"),
    [("192.168.1.1", "private"), ("172.31.0.1", "private"), ("172.32.0.1", ""), ("100.64.0.1", "shared"),
     ("127.0.0.1", "loopback"), ("169.254.1.1", "link-local"), ("198.19.255.255", "benchmarks"), ("198.20.0.0", ""),
     ("224.0.0.1", "multicast"), ("255.255.255.255", "reserved"), ("0.0.0.1", "this network"), ("192.0.2.1", "documentation"),
     ("2001:20::1", "protocol"), ("2001:200::1", ""), ("5f00::1", "segment"), ("fd00::1", "unique local"), ("2a00::1", "")],
)  # fmt: skip
def test_special_addresses_of_both_families_are_known(text, said):
    found = special_range(ipaddress.ip_address(text).packed)
    assert said in found
    assert bool(said) == bool(found)


def test_checks_that_a_load_leaves_out_can_refuse_nothing() -> None:
    from quada.zones import check

    refusing = {name for module in (check.check_address, check.check_dnssec, check.check_reverse, check.check_shape)
                for name, value in vars(module).items() if getattr(value, "refuses", False)}  # fmt: skip
    assert refusing >= {"NO_SOA", "CNAME_AND_OTHER", "ALIAS_AND_CNAME"}

    def used(function, seen) -> set[str]:
        words = set(function.__code__.co_names)
        for name in words - seen:
            inner = function.__globals__.get(name)
            if hasattr(inner, "__code__") and inner.__module__ == function.__module__:
                words |= used(inner, seen | words)
        return words

    for function in check._CHECKS:
        may_refuse = bool(used(function, set()) & refusing)
        assert may_refuse == (function in check._REFUSING), function.__name__
