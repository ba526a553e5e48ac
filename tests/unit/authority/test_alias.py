"""ALIAS targets: the order fresh, stale, retried, failed; one lookup for all."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

import quada.wire.names as names
from quada.authority.alias import AliasSettings, Expansion, Found, Source, View
from quada.authority.keeper import Keeper, Turn
from quada.wire.ask import Ask, Endpoint, NoReply, Reply, Silence

TARGET = names.from_text("edge.example.net.")
V6, V4 = 28, 1
SETTINGS = AliasSettings(upstreams=(Endpoint("2001:db8::53"), Endpoint("2001:db8::54")))


def reply(ask: Ask, *answer: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> Reply:
    message = dns.message.make_response(dns.message.from_wire(ask.query))
    message.set_rcode(rcode)
    for line in answer:
        owner, ttl, rdtype, rdata = line.split(None, 3)
        message.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", rdtype, rdata))
    return Reply(ask, message.to_wire(), 0.01)


def asked_type(ask: Ask) -> int:
    return int(dns.message.from_wire(ask.query).question[0].rdtype)


def ask_of(turn: Turn, rdtype: int) -> Ask:
    return next(ask for ask in turn.asks if asked_type(ask) == rdtype)


def test_both_families_are_looked_up_together_aaaa_first() -> None:
    turn = Keeper(SETTINGS).want(TARGET, 100.0)
    assert [asked_type(ask) for ask in turn.asks] == [V6, V4]


def test_a_target_is_looked_up_once_however_many_want_it() -> None:
    keeper = Keeper(SETTINGS)
    keeper.want(TARGET, 100.0)
    assert keeper.want(TARGET, 100.1).asks == []


def test_ttl_is_the_lowest_of_chain_and_addresses() -> None:
    keeper = Keeper(SETTINGS)
    ask = ask_of(keeper.want(TARGET, 100.0), V6)
    turn = keeper.take(
        reply(
            ask,
            "edge.example.net. 20 CNAME b.example.net.",
            "b.example.net. 40 AAAA 2001:db8::1",
        ),
        100.0,
    )
    assert turn.news[0].found is Found.ADDRESSES
    assert turn.news[0].expires_at == 120.0


def test_a_missing_family_is_nodata_and_leaves_the_other_unharmed() -> None:
    keeper, view = Keeper(SETTINGS), View(SETTINGS)
    first = keeper.want(TARGET, 100.0)
    for ask, lines in (
        (ask_of(first, V6), ("edge.example.net. 60 AAAA 2001:db8::1",)),
        (ask_of(first, V4), ()),
    ):
        for news in keeper.take(reply(ask, *lines), 100.0).news:
            view.put(news._replace(expires_at=160.0))
    v6 = view.standing(TARGET, V6, 101.0, is_last=False)
    v4 = view.standing(TARGET, V4, 101.0, is_last=False)
    assert v6 is not None
    assert v6.expansion.found is Found.ADDRESSES
    assert v4 is not None
    assert v4.expansion.found is Found.NODATA


def test_the_second_attempt_goes_to_another_resolver_and_either_may_win() -> None:
    keeper = Keeper(SETTINGS)
    first = ask_of(keeper.want(TARGET, 100.0), V6)
    assert keeper.next_at == 100.2
    second = ask_of(keeper.wake(100.2), V6)
    assert (first.to.address, second.to.address) == ("2001:db8::53", "2001:db8::54")
    late = keeper.take(reply(first, "edge.example.net. 60 AAAA 2001:db8::1"), 100.4)
    assert late.news[0].found is Found.ADDRESSES
    assert keeper.take(reply(second), 100.45).news == []


def test_servfail_from_all_attempts_is_a_failure_in_words() -> None:
    keeper = Keeper(SETTINGS)
    first = ask_of(keeper.want(TARGET, 100.0), V6)
    second = keeper.take(reply(first, rcode=dns.rcode.SERVFAIL), 100.1).asks[0]
    news = keeper.take(NoReply(second, Silence.TIMEOUT, 0.5), 100.6).news
    assert news[0].found is Found.FAILED
    assert "timeout" in news[0].detail
    assert keeper.want(TARGET, 101.0).asks == []  # a failed target is left alone for a while


def test_stale_addresses_come_before_failure_and_only_when_nothing_better_can() -> None:
    view = View(SETTINGS)
    good = Expansion(TARGET, V6, Found.ADDRESSES, (bytes(16),), 100.0, 40.0, 5.0, "2001:db8::53")
    view.put(good)
    assert view.standing(TARGET, V6, 101.0, is_last=False) is None
    stale = view.standing(TARGET, V6, 101.0, is_last=True)
    assert stale is not None
    assert stale.source is Source.STALE
    assert stale.ttl_s == 30
    view.put(good._replace(found=Found.FAILED, addresses=(), expires_at=106.0))
    at_once = view.standing(TARGET, V6, 101.0, is_last=False)
    assert at_once is not None
    assert at_once.source is Source.STALE
    too_old = view.standing(TARGET, V6, 100.0 + 86_401, is_last=True)
    assert too_old is not None
    assert too_old.source is Source.FAILED


def test_a_target_in_use_is_refreshed_before_its_end_and_an_unused_one_is_not() -> None:
    for is_used in (True, False):
        keeper = Keeper(SETTINGS)
        first = keeper.want(TARGET, 100.0)
        for ask, rdtype in (
            (ask_of(first, V6), "AAAA 2001:db8::1"),
            (ask_of(first, V4), "A 192.0.2.1"),
        ):
            keeper.take(reply(ask, f"edge.example.net. 60 {rdtype}"), 100.0)
        if is_used:
            keeper.asked([TARGET], 150.0)
        else:
            keeper._targets[TARGET].asked_at = 0.0
        asks = keeper.wake(155.0).asks
        assert [asked_type(ask) for ask in asks] == ([V6, V4] if is_used else [])


def test_memory_is_bounded_by_targets_and_lookups() -> None:
    settings = AliasSettings(upstreams=SETTINGS.upstreams, targets_max=10, lookups_max=4)
    keeper, view = Keeper(settings), View(settings)
    for number in range(50):
        target = names.from_text(f"t{number}.example.net.")
        for news in keeper.want(target, 100.0).news:
            assert news.found is Found.FAILED
            view.put(news)
    assert len(keeper._lookups) == 4
    assert len(keeper._targets) == 10
    assert len(view._known) <= 20


def test_a_target_is_stale_while_its_end_has_passed_and_lookups_fail() -> None:
    keeper = Keeper(SETTINGS)
    for ask in keeper.want(TARGET, 100.0).asks:
        rdtype = "AAAA 2001:db8::1" if asked_type(ask) == V6 else "A 192.0.2.1"
        keeper.take(reply(ask, f"edge.example.net. 60 {rdtype}"), 100.0)
    asks = keeper.want(TARGET, 170.0).asks
    while asks:
        asks = [
            further
            for ask in asks
            for further in keeper.take(NoReply(ask, Silence.TIMEOUT, 0.5), 170.5).asks
        ]
    (told,) = keeper.standings(171.0, limit=10)
    assert told == {
        "target": "edge.example.net.",
        "lookups": 4,
        "failures": 2,
        "stale_families": 2,
    }
    assert keeper.standings(171.0, limit=0) == []
