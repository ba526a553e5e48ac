"""Targets that fail for minutes, in simulated time: how often they are asked, and what is kept."""

import heapq
import itertools
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import quada.wire.names as names
from quada.authority.alias import (
    AliasSettings,
    Expansion,
    Found,
    Source,
    Standing,
    View,
)
from quada.authority.keeper import Keeper, Turn
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome, Reply, Silence

AAAA, A = 28, 1
SETTINGS = AliasSettings(upstreams=(Endpoint("2001:db8::53"), Endpoint("2001:db8::54")))
FOUND = {"AAAA": "2001:db8::1", "A": "192.0.2.1"}


def reply(ask: Ask, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, *lacks: str) -> Reply:
    """Answer as a resolver does, with an address of 20 s of the family asked for."""
    query = dns.message.from_wire(ask.query)
    name, rdtype = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
    made = dns.message.make_response(query)
    made.set_rcode(rcode)
    if rcode == dns.rcode.NOERROR and rdtype not in lacks:
        made.answer.append(dns.rrset.from_text(name, 20, "IN", rdtype, FOUND[rdtype]))
    elif rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        soa = dns.rrset.from_text("net.", 20, "IN", "SOA", "a. b. 1 2 3 4 20")
        made.authority.append(soa)
    return Reply(ask, made.to_wire(), 0.01)


Upstream = Callable[[Ask, float], tuple[float, Outcome]]
"""What becomes of an Ask made at a time: after how long, and what."""


class Simulation:
    """A keeper, a worker's view and an upstream, in simulated time."""

    def __init__(self, upstream: Upstream, targets: int = 1, **settings: float) -> None:
        self.settings = AliasSettings(upstreams=SETTINGS.upstreams, **settings)
        self.keeper, self.view = Keeper(self.settings), View(self.settings)
        self.targets = [names.from_text(f"t{n}.example.net.") for n in range(targets)]
        self.upstream = upstream
        self.now = 1000.0
        self.news: list[Expansion] = []
        self._coming: list[tuple[float, int, Outcome]] = []
        self._count = itertools.count()

    def ask(self, target: bytes | None = None, rdtype: int = AAAA) -> Standing:
        """Ask as a client does: at once where that is possible, else at the end of the budget."""
        target = target or self.targets[0]
        standing = self.view.standing(target, rdtype, self.now, is_last=False)
        if standing is None:
            self.follow(self.keeper.want(target, self.now))
            end = self.now + self.settings.budget_s
            while standing is None and self._coming and self._coming[0][0] <= end:
                self._step(end)
                standing = self.view.standing(target, rdtype, self.now, is_last=False)
            if standing is None:
                self.now = end
                standing = self.view.standing(target, rdtype, end, is_last=True)
        assert standing is not None
        self.keeper.asked(self.targets, self.now)
        return standing

    def follow(self, turn: Turn) -> None:
        for news in turn.news:
            self.view.put(news)
            self.news.append(news)
        for ask in turn.asks:
            after_s, outcome = self.upstream(ask, self.now)
            heapq.heappush(self._coming, (self.now + after_s, next(self._count), outcome))

    def run(self, seconds: float, *, every_s: float = 1.0) -> None:
        """Let time pass while every target is asked for now and then."""
        end = self.now + seconds
        next_ask = self.now
        while self.now < end:
            if next_ask <= self.now:
                next_ask += every_s
                for target in self.targets:
                    if self.view.standing(target, AAAA, self.now, is_last=False) is None:
                        self.follow(self.keeper.want(target, self.now))
                self.keeper.asked(self.targets, self.now)
            self._step(min(next_ask, end))

    def _step(self, end: float) -> None:
        """Go on to what is next: an outcome, or what the keeper wants to be woken for."""
        due = self.keeper.next_at
        at = self._coming[0][0] if self._coming else end
        if due is not None and due <= min(at, end):
            self.now = max(self.now, due)
            self.follow(self.keeper.wake(self.now))
        elif self._coming and at <= end:
            self.now, _, outcome = heapq.heappop(self._coming)
            self.follow(self.keeper.take(outcome, self.now))
        else:
            self.now = end


def family(ask: Ask) -> int:
    return int(dns.message.from_wire(ask.query).question[0].rdtype)


def servfail(ask: Ask, _: float) -> tuple[float, Outcome]:
    return 0.001 if family(ask) == AAAA else 0.004, reply(ask, dns.rcode.SERVFAIL)


def refused(ask: Ask, _: float) -> tuple[float, Outcome]:
    return 0.0001 * family(ask), NoReply(ask, Silence.REFUSED, 0.0)


def silent(ask: Ask, _: float) -> tuple[float, Outcome]:
    return ask.timeout_s, NoReply(ask, Silence.TIMEOUT, ask.timeout_s)


def late(ask: Ask, _: float) -> tuple[float, Outcome]:
    return 0.7, reply(ask)


def good(ask: Ask, _: float) -> tuple[float, Outcome]:
    return 0.02, reply(ask)


FAULTS = [servfail, refused, silent]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_target_that_fails_for_minutes_is_asked_every_few_seconds_and_no_more(fault) -> None:
    simulation = Simulation(fault, targets=10)
    simulation.run(600)
    lookups = simulation.keeper.counters.lookups
    # Every five seconds or a little more, AAAA and A, ten targets: 2,400; and the first ones.
    assert 1000 < lookups <= 2 * 10 * (600 / 5 + 1)
    assert len(simulation.keeper._times) <= 10 * 2 * 3
    assert len(simulation.keeper._asks) <= 10 * 2 * 2


@pytest.mark.parametrize("fault", FAULTS)
def test_no_client_waits_past_its_budget_whatever_the_resolver_does(fault) -> None:
    simulation = Simulation(fault)
    for _ in range(200):
        before = simulation.now
        standing = simulation.ask()
        assert standing.source is Source.FAILED
        assert simulation.now - before <= simulation.settings.budget_s + 1e-9
        simulation.run(1.3)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_known_is_served_without_waiting_while_it_fails(fault) -> None:
    simulation = Simulation(good)
    assert simulation.ask().source is Source.FRESH
    simulation.upstream = fault
    simulation.run(25)
    for _ in range(60):
        before = simulation.now
        standing = simulation.ask()
        assert standing.source is Source.STALE
        assert standing.expansion.addresses
        assert simulation.now == before, "it is known to fail: nobody waits"
        simulation.run(5, every_s=0.5)
    simulation.upstream = good
    simulation.run(6)
    assert simulation.ask().source is Source.FRESH


def test_a_target_that_comes_and_goes_is_fresh_or_stale_and_never_empty() -> None:
    def flapping(ask: Ask, now: float) -> tuple[float, Outcome]:
        return (good if int(now / 30) % 2 else silent)(ask, now)

    simulation = Simulation(good)
    simulation.ask()
    simulation.upstream = flapping
    seen = set()
    for _ in range(600):
        standing = simulation.ask()
        seen.add(standing.source)
        assert standing.expansion.addresses
        simulation.run(1)
    assert seen == {Source.FRESH, Source.STALE}
    assert simulation.keeper.counters.lookups < 2 * 600 / 5


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN], ids=["nodata", "nx"])
def test_a_target_that_vanishes_is_empty_when_its_addresses_have_ended(rcode) -> None:
    simulation = Simulation(good)
    assert simulation.ask().expansion.found is Found.ADDRESSES
    simulation.upstream = lambda ask, _: (0.02, reply(ask, rcode, "AAAA", "A"))
    simulation.run(21)
    standing = simulation.ask()
    assert (standing.expansion.found, standing.source) == (Found.NODATA, Source.FRESH)


@pytest.mark.parametrize(("lacking", "has"), [("A", AAAA), ("AAAA", A)])
def test_a_family_that_goes_leaves_the_other(lacking: str, has: int) -> None:
    simulation = Simulation(good)
    simulation.ask()
    simulation.upstream = lambda ask, _: (0.02, reply(ask, dns.rcode.NOERROR, lacking))
    simulation.run(25)
    assert simulation.ask(rdtype=has).expansion.found is Found.ADDRESSES
    assert simulation.ask(rdtype=AAAA + A - has).expansion.found is Found.NODATA


def test_a_target_that_moves_is_followed_within_its_ttl() -> None:
    simulation = Simulation(good)
    simulation.ask()
    FOUND["AAAA"] = "2001:db8::2"
    try:
        simulation.run(21)
        assert simulation.ask().expansion.addresses[0][-1] == 2
    finally:
        FOUND["AAAA"] = "2001:db8::1"


def test_a_target_slower_than_clients_may_wait_is_known_a_little_later() -> None:
    simulation = Simulation(late)
    before = simulation.now
    assert simulation.ask().source is Source.FAILED
    assert simulation.now - before <= simulation.settings.budget_s + 1e-9
    simulation.run(0.3)
    assert simulation.ask().source is Source.FRESH
    for _ in range(100):
        simulation.run(1)
        assert simulation.ask().source is Source.FRESH, "refreshed early enough, every time"
