"""Reverse zones from forward zones and a plan."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import ConfigFault
from quada.zones import Zone, read_zone
from quada.zones.check_reverse import reverse_address, reverse_name
from quada.zones.reverse import drift, make_zones, read_plan, repair, zone_names

ORIGIN = names.from_text("example.com.")
FORWARD = """$TTL 300
@ SOA ns1 h 1 3600 900 1209600 300
@ NS ns1
ns1 AAAA 2001:db8:10::53
app AAAA 2001:db8:10::20
longer.app AAAA 2001:db8:10::20
given AAAA 2001:db8:10:ff00::1
app A 192.0.2.10
cust A 192.0.2.70
"""
PLAN = read_plan(
    {
        "prefix": [
            {
                "network": "2001:db8:10::/48",
                "servers": ["ns1.example.com."],
                "delegation": [
                    {"network": "2001:db8:10:ff00::/57", "servers": ["ns.example.net."]}
                ],
            },
            {
                "network": "192.0.2.0/24",
                "servers": ["ns1.example.com."],
                "delegation": [{"network": "192.0.2.64/26", "servers": ["ns.example.net."]}],
            },
        ]
    }
)


def forward(text: str = FORWARD) -> Zone:
    return read_zone(text, ORIGIN)


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("2001:db8:10::/48", ["0.1.0.0.8.b.d.0.1.0.0.2.ip6.arpa."]),
        ("2001:db8::/31", ["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."]),
        ("192.0.2.0/24", ["2.0.192.in-addr.arpa."]),
        ("192.0.2.0/23", ["2.0.192.in-addr.arpa.", "3.0.192.in-addr.arpa."]),
        ("192.0.2.64/26", ["64/26.2.0.192.in-addr.arpa."]),
    ],
)
def test_a_prefix_of_any_length_has_its_zones(network: str, zones: list[str]) -> None:
    assert [names.to_text(name) for name in zone_names(ip_network(network))] == zones


@given(st.ip_addresses(), st.integers(0, 7))
def test_the_zones_of_a_prefix_cover_it_exactly(address: object, less: int) -> None:
    value = ip_address(str(address))
    length = (48 if value.version == 6 else 24) - less
    network = ip_network((value, length), strict=False)
    zones = zone_names(network)
    owner = reverse_name(value.packed)
    assert sum(names.is_subdomain(owner, zone) for zone in zones) == 1
    assert reverse_address(owner) == value.packed


def test_zones_are_made_with_pointers_and_delegations() -> None:
    six, four = make_zones(PLAN, [forward()], 1)
    pointer = six.rrset(reverse_name(ip_address("2001:db8:10::20").packed), codes.PTR)
    assert pointer is not None
    assert pointer.rdatas == (names.from_text("app.example.com."),)
    assert six.rrset(reverse_name(ip_address("2001:db8:10:ff00::1").packed), codes.PTR) is None
    cuts = [owner for owner, node in six.nodes.items() if node and node[0].rdtype == codes.NS]
    assert len(cuts) == 8  # a /57 is eight /60 zones
    alias = four.rrset(reverse_name(bytes((192, 0, 2, 70))), codes.CNAME)
    assert alias is not None
    assert alias.rdatas == (names.from_text("70.64/26.2.0.192.in-addr.arpa."),)


def test_drift_is_found_and_mended_in_one_step() -> None:
    zones = make_zones(PLAN, [forward()], 1)
    assert drift(PLAN, [forward()], zones) == []
    moved = forward(
        FORWARD.replace("ns1 AAAA 2001:db8:10::53", "ns1 AAAA 2001:db8:10::54")
        .replace("\napp AAAA 2001:db8:10::20", "\nother AAAA 2001:db8:10::20")
        .replace("longer.app AAAA", ";")
    )
    found = drift(PLAN, [moved], zones)
    assert sorted(one.kind for one in found) == ["missing", "stale", "wrong"]
    mended = [repair(zone, found) for zone in zones]
    assert drift(PLAN, [moved], mended) == []
    assert [zone.serial for zone in mended] == [2, 1]


def test_a_shared_address_keeps_its_name_until_the_plan_says_otherwise() -> None:
    zones = make_zones(PLAN, [forward()], 1)
    later = forward(FORWARD + "a AAAA 2001:db8:10::20\n")
    assert drift(PLAN, [later], zones) == []
    address = ip_address("2001:db8:10::20").packed
    said = PLAN._replace(chosen={address: names.from_text("a.example.com.")})
    assert [one.kind for one in drift(said, [later], zones)] == ["wrong"]


def test_foreign_pointers_are_kept() -> None:
    [six, four] = make_zones(PLAN, [forward()], 1)
    owner = reverse_name(ip_address("2001:db8:10::99").packed)
    text = names.to_text(owner)
    extra = read_zone(f"{text} 300 PTR host.example.net.\n", six.origin)
    with_it = Zone.build(six.origin, [*six.records(), *extra.records()])
    found = drift(PLAN, [forward()], [with_it, four])
    assert [one.kind for one in found] == ["foreign"]
    assert repair(with_it, found) is with_it


@pytest.mark.parametrize(
    "data",
    [{}, {"prefix": [{}]}, {"prefix": [{"network": "x", "servers": ["a."]}]}, {"prefix": 3},
     {"prefix": [{"network": "2001:db8::/32", "servers": []}]},
     {"prefix": [{"network": "2001:db8::/32", "servers": ["a."],
                  "delegation": [{"network": "192.0.2.0/24", "servers": ["a."]}]}]}],
)  # fmt: skip
def test_a_broken_plan_is_a_fault(data: dict[str, object]) -> None:
    with pytest.raises(ConfigFault):
        read_plan(data)
