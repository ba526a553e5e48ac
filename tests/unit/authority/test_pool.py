"""Pools: who leaves, who stays, who is chosen."""

import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.authority.pool import Check, Member, Policy, Pool, PoolState, Result
from quada.wire.faults import ConfigFault

V6, V4 = 28, 1


def pool(*members: Member, policy: Policy = Policy.ALL, answer_count: int = 1) -> PoolState:
    return PoolState(
        Pool(
            name="web",
            members=members,
            check=Check(rise=2, fall=3),
            policy=policy,
            answer_count=answer_count,
        )
    )


def fail(state: PoolState, address: str, times: int = 3) -> None:
    for _ in range(times):
        state.take(Result("web", address, False, 1.0, "refused"), 100.0)


def texts(rdatas: tuple[bytes, ...]) -> list[str]:
    return [str(ipaddress.ip_address(rdata)) for rdata in rdatas]


def test_a_dead_ipv6_address_is_out_while_ipv4_stays() -> None:
    state = pool(
        Member(address="2001:db8::1"), Member(address="2001:db8::2"), Member(address="192.0.2.1")
    )
    fail(state, "2001:db8::1")
    assert texts(state.choose(V6, [])) == ["2001:db8::2"]
    assert texts(state.choose(V4, [])) == ["192.0.2.1"]


def test_one_bad_check_changes_nothing() -> None:
    state = pool(Member(address="2001:db8::1"), Member(address="2001:db8::2"))
    fail(state, "2001:db8::1", times=2)
    state.take(Result("web", "2001:db8::1", True, 1.0), 101.0)
    fail(state, "2001:db8::1", times=2)
    assert len(state.choose(V6, [])) == 2


def test_a_member_comes_back_after_enough_good_checks() -> None:
    state = pool(Member(address="2001:db8::1"), Member(address="2001:db8::2"))
    fail(state, "2001:db8::1")
    assert state.take(Result("web", "2001:db8::1", True, 1.0), 101.0) is None
    turned = state.take(Result("web", "2001:db8::1", True, 1.0), 102.0)
    assert turned is not None
    assert turned.is_healthy
    assert len(state.choose(V6, [])) == 2


def test_when_all_fail_all_are_given_and_the_event_says_so() -> None:
    state = pool(Member(address="2001:db8::1"), Member(address="2001:db8::2"))
    fail(state, "2001:db8::1")
    for _ in range(2):
        state.take(Result("web", "2001:db8::2", False, 1.0), 100.0)
    turned = state.take(Result("web", "2001:db8::2", False, 1.0), 100.0)
    assert turned is not None
    assert turned.is_pool_down
    assert len(state.choose(V6, [])) == 2


def test_failover_gives_the_best_priority_that_lives() -> None:
    state = pool(
        Member(address="2001:db8::1", priority=1),
        Member(address="2001:db8::2", priority=2),
        policy=Policy.FAILOVER,
    )
    assert texts(state.choose(V6, [])) == ["2001:db8::1"]
    fail(state, "2001:db8::1")
    assert texts(state.choose(V6, [])) == ["2001:db8::2"]


def test_weights_decide_how_often_a_member_is_drawn() -> None:
    state = pool(
        Member(address="2001:db8::1", weight=3),
        Member(address="2001:db8::2", weight=1),
        policy=Policy.WEIGHTED,
    )
    drawn = Counter(texts(state.choose(V6, [step / 100]))[0] for step in range(100))
    assert drawn == {"2001:db8::1": 75, "2001:db8::2": 25}


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=4), st.integers(1, 6))
def test_a_draw_never_repeats_a_member(draws: list[float], count: int) -> None:
    members = [Member(address=f"2001:db8::{n}", weight=n) for n in range(1, 5)]
    state = pool(*members, policy=Policy.WEIGHTED, answer_count=count)
    chosen = state.choose(V6, draws)
    assert len(set(chosen)) == len(chosen) == min(count, 4)


def test_a_redefined_pool_keeps_the_health_of_those_who_stay() -> None:
    state = pool(Member(address="2001:db8::1"), Member(address="2001:db8::2"))
    fail(state, "2001:db8::1")
    again = state.redefined(
        Pool(name="web", members=(Member(address="2001:db8::1"), Member(address="2001:db8::3")))
    )
    assert texts(again.choose(V6, [])) == ["2001:db8::3"]


def test_a_pool_with_a_wrong_address_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigFault, match=r"pools\.web\.members"):
        pool(Member(address="2001:db8::zz"))


def watched(agree: int, *vantage: str) -> PoolState:
    return PoolState(
        Pool(
            name="web",
            members=(Member(address="2001:db8::1"), Member(address="2001:db8::2")),
            check=Check(rise=1, fall=1, interval_s=10, timeout_s=2),
            vantage=vantage,
            agree=agree,
        )
    )


def say(state: PoolState, vantage: str, is_good: bool | None, now: float = 100.0) -> str:
    """Have a vantage point say something of the first member; gives how that stands then."""
    state.take(Result("web", "2001:db8::1", is_good, 1.0, f"seen {is_good}", vantage), now)
    health = state.health["2001:db8::1"]
    return ("in" if health.is_healthy else "out") + ("" if health.is_known else "?")


def test_a_member_is_out_when_enough_vantage_points_agree() -> None:
    state = watched(2, "local", "ams", "osa")
    assert say(state, "local", False) == "in?"
    assert say(state, "ams", True) == "in?"
    assert say(state, "osa", True) == "in"
    assert say(state, "ams", False) == "out"
    assert texts(state.choose(V6, [])) == ["2001:db8::2"]
    assert "ams: seen False; local: seen False; osa: seen True" in state.reason("2001:db8::1")
    assert say(state, "local", True) == "in"


def test_who_cannot_tell_neither_takes_a_member_out_nor_brings_it_back() -> None:
    state = watched(2, "local", "ams", "osa")
    assert say(state, "ams", None) == "in?"
    assert say(state, "osa", None) == "in?"
    assert say(state, "local", False) == "in?"
    assert say(state, "ams", False) == "out"
    assert say(state, "ams", None) == "out?"
    assert say(state, "local", True) == "out?", "one of three is no majority"
    assert say(state, "osa", True) == "in"


def test_what_was_heard_too_long_ago_counts_as_unknown() -> None:
    state = watched(2, "local", "ams")
    say(state, "ams", False, 100.0)
    assert say(state, "local", False, 101.0) == "out"
    assert say(state, "local", True, 140.0) == "in"
    assert say(state, "local", False, 150.0) == "in?"


def test_strangers_have_no_say() -> None:
    state = watched(1, "local")
    assert say(state, "ams", False) == "in?"
    assert say(state, "local", True) == "in"


@pytest.mark.parametrize(
    ("agree", "vantage"), [(0, ("local",)), (2, ("local",)), (1, ()), (1, ("a", "a"))]
)
def test_an_agreement_that_cannot_be_is_refused(agree: int, vantage: tuple[str, ...]) -> None:
    with pytest.raises(ConfigFault, match=r"pools\.web\.(agree|vantage)"):
        watched(agree, *vantage)
