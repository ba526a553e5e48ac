"""Addresses as text: what the rest of the world writes, octet for octet."""

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quada.wire.addresses import to_text, unmapped


@given(
    st.binary(min_size=16, max_size=16)
    | st.lists(st.sampled_from([0, 0, 1, 255]), min_size=16, max_size=16).map(bytes)
)
@example(bytes(16))
@example(bytes(15) + b"\x01")
@example(bytes.fromhex("20010db8000000010000000000000001"))
def test_ipv6_is_written_as_rfc_5952_asks(octets: bytes) -> None:
    address = ipaddress.IPv6Address(octets)
    if address.ipv4_mapped is None:
        assert to_text(octets) == str(address)
        assert unmapped(octets) == octets
    else:
        assert to_text(octets) == f"::ffff:{address.ipv4_mapped}"
        assert unmapped(octets) == address.ipv4_mapped.packed
    assert socket.inet_pton(socket.AF_INET6, to_text(octets)) == octets


@given(st.binary(min_size=4, max_size=4))
def test_ipv4_is_written_as_four_numbers(octets: bytes) -> None:
    assert to_text(octets) == str(ipaddress.IPv4Address(octets))


@pytest.mark.parametrize("count", [0, 3, 5, 15, 17])
def test_other_counts_of_octets_are_no_address(count: int) -> None:
    with pytest.raises(ValueError, match="neither"):
        to_text(bytes(count))
