"""RFC 6052 2.4: the table of representations of 192.0.2.33."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.resolver.dns64 import PREFIX_LENGTHS, prefixes_in, read_prefix
from quada.wire.faults import ConfigFault

TABLE = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
]


@pytest.mark.parametrize(("prefix", "address"), TABLE)
def test_addresses_are_made_and_taken_apart_as_the_table_says(prefix, address):
    ipv4, ipv6 = (ipaddress.ip_address(text).packed for text in ("192.0.2.33", address))
    assert read_prefix(prefix).synthesize(ipv4) == ipv6
    assert read_prefix(prefix).extract(ipv6) == ipv4
    assert str(read_prefix(prefix)) == prefix


@given(octets=st.binary(min_size=8, max_size=8), ipv4=st.binary(min_size=4, max_size=4))
def test_every_length_gives_back_what_it_was_given(octets, ipv4):
    for length in PREFIX_LENGTHS:
        net = ipaddress.ip_network((octets + bytes(8), length), strict=False)
        prefix = read_prefix(str(net))
        assert prefix.extract(prefix.synthesize(ipv4)) == ipv4


@pytest.mark.parametrize("text", ["64:ff9b::/80", "64:ff9b::1/96", "192.0.2.0/24", "x"])
def test_a_prefix_of_no_known_form_is_a_config_fault(text):
    with pytest.raises(ConfigFault):
        read_prefix(text)


def test_a_prefix_that_sets_the_u_octet_is_refused():
    with pytest.raises(ConfigFault, match="64 to 71"):
        read_prefix("2001:db8:0:0:ff00::/96")


@pytest.mark.parametrize(("prefix", "_"), TABLE)
def test_a_host_finds_the_prefix_in_ipv4only_arpa(prefix, _):
    """RFC 7050 3."""
    made = [read_prefix(prefix).synthesize(ip) for ip in (b"\xc0\x00\x00\xaa", b"\xc0\x00\x00\xab")]
    assert read_prefix(prefix) in prefixes_in(made)
