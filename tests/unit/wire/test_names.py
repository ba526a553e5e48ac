"""Names as octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quada.wire.names as names
from quada.wire.faults import DataFault, MalformedMessage

labels = st.lists(st.binary(min_size=1, max_size=20), max_size=8)


@given(labels)
def test_presentation_format_keeps_every_octet(parts: list[bytes]) -> None:
    name = names.join(parts)
    assert names.from_text(names.to_text(name)) == name


@given(st.binary(max_size=300), st.integers(0, 300))
def test_parsing_garbage_ends_in_a_name_or_malformed_message(packet: bytes, offset: int) -> None:
    try:
        name, after = names.parse_name(packet, offset)
    except MalformedMessage:
        return
    assert len(name) <= names.MAX_NAME_OCTETS
    assert offset < after <= len(packet)


def test_pointer_to_itself_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        names.parse_name(b"\x00" * 12 + b"\xc0\x0c", 12)


def test_subdomain_is_told_by_label_not_by_suffix() -> None:
    example = names.from_text("example.com.")
    assert names.is_subdomain(names.from_text("www.example.com."), example)
    assert not names.is_subdomain(names.from_text("badexample.com."), example)
    # The octets of `example.com.` inside one label are not its ancestor.
    assert not names.is_subdomain(b"\x0eaa\x07example\x03com\x00", example)


def test_label_over_63_octets_is_refused() -> None:
    with pytest.raises(DataFault):
        names.from_text("a" * 64 + ".example.")
