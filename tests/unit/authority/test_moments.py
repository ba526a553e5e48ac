"""Answers that hold for a moment: composed once for it, and gone when their target moves."""

import dns.message
import dns.rrset
import pytest

import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.authority.alias import AliasSettings, Expansion, Found, View
from quada.wire.ask import Transport
from quada.zones import read_zone

ORIGIN = names.from_text("example.com.")
TARGET = names.from_text("edge.example.net.")
START = 1_800_000_000
PEER = bytes(28)
ONE, TWO = bytes.fromhex("20010db8") + bytes(11) + b"\x01", bytes.fromhex("20010db8") + bytes(12)


@pytest.fixture
def view() -> View:
    return View(AliasSettings())


@pytest.fixture
def authority(view) -> Authority:
    made = Authority(AuthoritySettings(), aliases=view)
    made.put(
        read_zone("@ 3600 SOA a b 1 2 3 4 5\n@ NS a\n@ 3600 ALIAS edge.example.net.\n", ORIGIN)
    )
    made.begin(START * 10**9)
    return made


def known(view: View, *addresses: bytes, ttl_s: int = 200, at: int = START) -> None:
    view.put(
        Expansion(TARGET, 28, Found.ADDRESSES, addresses, at + ttl_s, at, 0.01, "2001:db8::53", "")
    )


def ask(authority: Authority, second: int, transport: Transport = Transport.UDP):
    """Ask at a second after the start; gives the RRset, and whether nothing had to be composed."""
    authority.begin((START + second) * 10**9)
    packet = dns.message.make_query("example.com.", "AAAA", id=0, use_edns=False).to_wire()
    known = authority.answers.get(packet[2:]) if transport is Transport.UDP else None
    response, _ = known or authority.answer(packet, PEER, transport)
    (rrset,) = dns.message.from_wire(packet[:2] + response).answer
    return rrset, known is not None


def texts(rrset: dns.rrset.RRset) -> list[str]:
    return sorted(item.to_text() for item in rrset)


def test_an_answer_is_composed_once_for_its_moment_and_never_outlives_its_target(
    authority, view
) -> None:
    known(view, ONE)
    told = [ask(authority, second) for second in range(20)]
    assert [is_known for _, is_known in told].count(False) == 4, "five seconds each"
    for second, (rrset, _) in enumerate(told):
        assert 200 - 20 // 2 <= rrset.ttl + second <= 200


def test_a_short_life_is_told_to_the_second(authority, view) -> None:
    known(view, ONE, ttl_s=20)
    assert [ask(authority, second)[0].ttl for second in range(20)] == list(range(20, 0, -1))


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_target_that_moved_ends_the_moment(authority, view, transport) -> None:
    known(view, ONE)
    assert texts(ask(authority, 0, transport)[0]) == ["2001:db8::1"]
    known(view, TWO)
    assert texts(ask(authority, 0, transport)[0]) == ["2001:db8::"]


def test_a_target_that_stays_ends_no_moment(authority, view) -> None:
    known(view, ONE, TWO)
    ask(authority, 0)
    known(view, TWO, ONE, at=START + 1)
    assert ask(authority, 1)[1], "another order of the same addresses is no news"


def test_a_clock_that_goes_back_ends_all_moments(authority, view) -> None:
    known(view, ONE, ttl_s=100_000)
    ask(authority, 5_000)
    rrset, is_known = ask(authority, 0)
    assert not is_known
    assert rrset.ttl == 3600
