"""Response policy zones: triggers, actions, and which of them wins."""

import ipaddress

import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.policy import Kind, Policy

TEXT = """
@ 60 IN SOA . . 1 2 3 4 5
@ 60 IN NS .
gone 60 IN CNAME .
*.gone 60 IN CNAME .
empty 60 IN CNAME *.
fine.gone 60 IN CNAME rpz-passthru.
dropped 60 IN CNAME rpz-drop.
tcp 60 IN CNAME rpz-tcp-only.
moved 60 IN CNAME garden.example.
*.moved 60 IN CNAME *.garden.example.
local 60 IN AAAA 2001:db8::1
32.zz.db8.2001.rpz-ip 60 IN CNAME .
128.1.zz.db8.2001.rpz-ip 60 IN CNAME rpz-passthru.
24.0.2.0.192.rpz-ip 60 IN CNAME *.
48.zz.5.db8.2001.rpz-client-ip 60 IN CNAME rpz-passthru.
ns.evil.rpz-nsdname 60 IN CNAME .
33.1.zz.db8.2001.rpz-ip 60 IN CNAME .
"""


@pytest.fixture(scope="module")
def policy(make_zone) -> Policy:
    return Policy(make_zone(TEXT, "rpz.example."))


@pytest.mark.parametrize(
    ("qname", "kind"),
    [
        ("gone.", Kind.NXDOMAIN),
        ("a.b.gone.", Kind.NXDOMAIN),
        ("fine.gone.", Kind.PASSTHRU),
        ("empty.", Kind.NODATA),
        ("a.empty.", None),
        ("dropped.", Kind.DROP),
        ("tcp.", Kind.TCP_ONLY),
        ("moved.", Kind.CNAME),
        ("local.", Kind.LOCAL_DATA),
        ("other.", None),
        (".", None),
    ],
)
def test_a_question_meets_its_trigger(policy, qname, kind):
    action = policy.for_name(names.from_text(qname))
    assert (action.kind if action else None) == kind


def test_a_wildcard_target_takes_the_whole_question(policy):
    action = policy.for_name(names.from_text("a.moved."))
    assert names.to_text(action.target) == "a.moved.garden.example."


def test_local_data_answers_its_types_and_denies_the_others(policy):
    action = policy.for_name(names.from_text("local."))
    assert action.rrset(codes.AAAA).rdatas == (ipaddress.IPv6Address("2001:db8::1").packed,)
    assert action.rrset(codes.A) is None
    assert action.reason == "policy rpz.example. has local-data for local."


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("2001:db8::2", Kind.NXDOMAIN),
        ("2001:db8::1", Kind.PASSTHRU),
        ("2001:db9::1", None),
        ("192.0.2.77", Kind.NODATA),
        ("198.51.100.1", None),
    ],
)
def test_an_answers_addresses_meet_the_longest_prefix(policy, address, kind):
    action = policy.for_answer([ipaddress.ip_address(address).packed])
    assert (action.kind if action else None) == kind


def test_a_clients_address_is_a_trigger_of_its_own(policy):
    inside, outside = (ipaddress.ip_address(t).packed for t in ("2001:db8:5::1", "2001:db8::1"))
    assert policy.for_client(inside).kind is Kind.PASSTHRU
    assert policy.for_client(outside) is None


def test_triggers_nobody_can_follow_are_told(policy):
    assert sorted(policy.ignored) == [
        "33.1.zz.db8.2001.rpz-ip.rpz.example.",
        "ns.evil.rpz-nsdname.rpz.example.",
    ]
