"""The filter language."""

import pytest

from quada.telemetry.event import Event, Kind, Provenance, Role, Validation
from quada.telemetry.filter import read_filter
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault

BOGUS = Event(
    at_ns=1, role=Role.RECURSIVE, client="2001:db8:0:1::9", transport=Transport.UDP, qname="www.example.com.",
    qtype=28, rcode=2, validation=Validation.BOGUS, duration_us=150_000, ede=6,
)  # fmt: skip
PLAIN = Event(
    at_ns=1, role=Role.AUTHORITATIVE, client="192.0.2.9", transport=Transport.TCP, qname="example.net.",
    qtype=1, rcode=0, is_nodata=True, provenance=Provenance.ALIAS, kind=Kind.QUERY,
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("", [BOGUS, PLAIN]),
        ("aaaa servfail from 2001:db8::/48 zone example.com role recursive", [BOGUS]),
        ("aaaa a", [BOGUS, PLAIN]),
        ("aaaa nodata", []),
        ("servfail or nodata", [BOGUS, PLAIN]),
        ("not aaaa", [PLAIN]),
        ("not from 2001:db8::/32", [PLAIN]),
        ("noerror", []),
        ("over tcp", [PLAIN]),
        ("ipv6 bogus", [BOGUS]),
        ("slower 100ms", [BOGUS]),
        ("slower 1s", []),
        ("name *.example.*", [BOGUS]),
        ("zone net", [PLAIN]),
        ("alias", [PLAIN]),
        ("ede 6", [BOGUS]),
        ("upstream", []),
    ],
)
def test_words_choose_events(words: str, fits: list[Event]) -> None:
    test = read_filter(words.split())
    assert [event for event in (BOGUS, PLAIN) if test(event)] == fits


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "from",
        "from nowhere",
        "role king",
        "over pigeon",
        "slower soon",
        "ede x",
        "not",
        "a " * 100,
    ],
)
def test_a_wrong_word_is_named(words: str) -> None:
    with pytest.raises(ConfigFault):
        read_filter(words.split())
