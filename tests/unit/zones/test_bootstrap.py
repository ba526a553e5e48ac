"""RFC 9615: what is signalled, and what a parent must refuse."""

import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.zones.bootstrap import (
    CDS_DELETE,
    Announced,
    Look,
    Seen,
    Signals,
    judge,
    signal_name,
)

CHILD = names.from_text("example.co.uk.")
NS1, NS2 = names.from_text("ns1.example.net."), names.from_text("ns2.example.org.")
CDS, CDNSKEY = b"\x30\x39\x0d\x02" + bytes(32), b"\x01\x01\x03\x0d" + bytes(64)
WHAT = Announced((NS1, NS2), 300, (CDS,), (CDNSKEY,))


def test_the_signal_of_a_child_lies_under_its_servers_name() -> None:
    name = signal_name(CHILD, NS1)
    assert name is not None
    assert names.to_text(name) == "_dsboot.example.co.uk._signal.ns1.example.net."


def test_a_server_below_the_child_cannot_vouch_for_it() -> None:
    assert signal_name(CHILD, names.from_text("ns1.example.co.uk.")) is None
    assert signal_name(CHILD, CHILD) is None


def test_a_name_that_would_be_too_long_is_none() -> None:
    long = names.from_text(".".join(["a" * 60] * 4) + ".")
    assert signal_name(CHILD, long) is None


def zone(make_zone, more: str = ""):
    return make_zone(
        "example.net. 300 IN SOA ns1.example.net. h.example.net. 1 3600 900 86400 300\n"
        "example.net. 300 IN NS ns1.example.net.\nns1.example.net. 300 IN AAAA 2001:db8::53\n"
        + more,
        "example.net.",
    )


def test_a_zone_signals_for_the_servers_it_holds_and_no_others(make_zone) -> None:
    signals = Signals()
    signals.put(CHILD, WHAT)
    records = signals.records(zone(make_zone), [CHILD])
    assert {r.owner for r in records} == {signal_name(CHILD, NS1)}
    assert {(r.rdtype, r.rdata) for r in records} == {(codes.CDS, CDS), (codes.CDNSKEY, CDNSKEY)}
    signals.put(CHILD, None)
    assert signals.records(zone(make_zone), [CHILD]) == ()


def test_what_lies_below_a_cut_or_in_a_deeper_zone_is_not_signalled_from_above(make_zone) -> None:
    signals = Signals()
    signals.put(CHILD, WHAT._replace(servers=(names.from_text("ns.sub.example.net."),)))
    cut = zone(make_zone, "sub.example.net. 300 IN NS ns.elsewhere.org.\n")
    assert signals.records(cut, [CHILD]) == ()
    deeper = names.from_text("sub.example.net.")
    assert signals.records(zone(make_zone), [CHILD, deeper]) == ()
    assert signals.records(zone(make_zone), [CHILD]) != ()


def test_what_the_content_says_itself_stands(make_zone) -> None:
    signals = Signals()
    signals.put(CHILD, WHAT)
    own = "_dsboot.example.co.uk._signal.ns1.example.net. 300 IN TXT mine\n"
    assert signals.records(zone(make_zone, own), [CHILD]) == ()


def good() -> Look:
    apex = tuple(
        Seen(place, rdtype, frozenset((rdata,)))
        for place in ("ns1", "ns2")
        for rdtype, rdata in ((codes.CDS, CDS), (codes.CDNSKEY, CDNSKEY))
    )
    signals = tuple(one._replace(place=f"signal {one.place}") for one in apex)
    return Look(CHILD, (Seen("parent", codes.DS, frozenset()),), (NS1, NS2), apex, signals)


def changed(field: str, number: int, **values) -> Look:
    look = good()
    seen = list(getattr(look, field))
    seen[number] = seen[number]._replace(**values)
    return look._replace(**{field: tuple(seen)})


def test_where_all_agree_nothing_is_refused() -> None:
    assert judge(good()) == []


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (changed("ds", 0, rdatas=frozenset((CDS,))), "has DS already"),
        (changed("ds", 0, rdatas=None, why="no answer"), "parent: no answer"),
        (good()._replace(servers=()), "no delegation"),
        (good()._replace(servers=(names.from_text("ns1.example.co.uk."),), signals=()), "can signal"),
        (changed("apex", 2, rdatas=None, why="no answer"), "ns2: no answer"),
        (changed("signals", 1, rdatas=None, why="insecure, not secure"), "signal ns1: insecure"),
        (changed("apex", 2, rdatas=frozenset((CDS[::-1],))), "ns2 gives other CDS than ns1"),
        (changed("apex", 3, rdatas=frozenset()), "ns2 gives no CDNSKEY, unlike ns1"),
        (changed("signals", 0, rdatas=frozenset((CDS, CDS[::-1]))), "signal ns1 gives other CDS"),
        (changed("signals", 3, rdatas=frozenset()), "signal ns2 gives no CDNSKEY"),
    ],
)  # fmt: skip
def test_each_rule_of_the_rfc_refuses(look: Look, words: str) -> None:
    refusals = judge(look)
    assert any(words in refusal for refusal in refusals), refusals


def everywhere(cds: frozenset[bytes], cdnskeys: frozenset[bytes]) -> Look:
    look = good()

    def put(one: Seen) -> Seen:
        return one._replace(rdatas=cds if one.rdtype == codes.CDS else cdnskeys)

    return look._replace(apex=tuple(map(put, look.apex)), signals=tuple(map(put, look.signals)))


def test_a_child_that_asks_for_nothing_or_for_removal_is_not_bootstrapped() -> None:
    assert judge(everywhere(frozenset(), frozenset())) == ["the child has neither CDS nor CDNSKEY"]
    asked = judge(everywhere(frozenset((CDS_DELETE,)), frozenset()))
    assert asked == ["the child asks for no DS (RFC 8078 4)"]


def test_cds_alone_is_enough() -> None:
    assert judge(everywhere(frozenset((CDS,)), frozenset())) == []
