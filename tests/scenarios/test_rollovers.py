"""Rollovers in compressed time: at every moment, whatever resolvers still hold validates.

Each scenario signs a real zone at every step, shows it to the gate, and then validates answers under
every combination of DS, DNSKEY RRset and data that a resolver may hold at that moment.
"""

from __future__ import annotations

import random

import pytest

import quada.wire.codes as codes
import quada.zones.rollover as rollover
from quada.zones.keys import KeyRole
from quada.zones.keystate import Method
from quada.zones.sighting import Sighting, agree

MAX_TTL_S = 7200
HOUR_S = 3600


def whats(drill) -> list[str]:
    return [" ".join(w for w in what.split() if not w.isdigit()) for _, what in drill.steps]


def test_a_zone_becomes_signed_before_its_ds_is_asked_for(drill):
    made = drill(has_csk=True)
    assert whats(made) == ["sign the zone with CSK", "publish CSK", "ask the parent for DS of"]
    assert made.steps[2][0] >= MAX_TTL_S + made.policy.propagation_s


def test_a_zsk_is_rolled_by_pre_publication(drill):
    made = drill(has_csk=False)
    made.steps.clear()
    made.bring(KeyRole.ZSK)
    made.run(8)
    assert whats(made) == ["publish ZSK", "sign the zone with ZSK", "remove ZSK"]
    first, second, third = (at for at, _ in made.steps)
    assert second - first >= made.policy.dnskey_ttl_s + made.policy.propagation_s  # Ipub
    assert third - second >= MAX_TTL_S + made.policy.propagation_s  # Iret
    assert len(made.state.rings) == 2


def test_a_ksk_is_rolled_by_double_signature(drill):
    made = drill(has_csk=False)
    made.steps.clear()
    made.bring(KeyRole.KSK)
    made.run(10)
    assert whats(made) == ["publish KSK", "ask the parent for DS of", "remove KSK"]


def test_a_ksk_is_rolled_by_double_ds(drill):
    made = drill(has_csk=False, method=Method.DOUBLE_DS)
    made.steps.clear()
    made.bring(KeyRole.KSK)
    made.run(12)
    assert whats(made) == [
        "ask the parent for DS of KSK",
        "publish KSK",
        "ask the parent for DS of",
    ]
    assert len(made.state.rings) == 2


def test_a_csk_is_rolled(drill):
    made = drill(has_csk=True)
    made.steps.clear()
    made.bring(KeyRole.CSK)
    made.run(12)
    assert whats(made) == [
        "publish CSK",
        "sign the zone with CSK",
        "ask the parent for DS of",
        "remove CSK",
    ]


@pytest.mark.parametrize("has_csk", [True, False])
@pytest.mark.parametrize("method", Method)
def test_an_algorithm_is_rolled_signatures_first_and_last(drill, has_csk, method):
    made = drill(has_csk=has_csk, method=method)
    made.steps.clear()
    made.policy = made.policy._replace(algorithm=13)
    for role in made.policy.roles:
        made.bring(role)
    made.run(18)
    told = whats(made)
    assert told[0].startswith("sign the zone")
    assert told[-1].startswith("stop signing")
    assert {ring.key[0] for ring in made.state.rings} == {13}


def test_a_rollover_waits_for_a_parent_that_does_not_follow(drill):
    made = drill(has_csk=True)
    made.steps.clear()
    made.parent_lag_s = 1000 * HOUR_S
    made.bring(KeyRole.CSK)
    made.run(30)
    assert whats(made)[-1] == "ask the parent for DS of"
    _, steps = rollover.advance(made.state, made.policy, MAX_TTL_S, made.now_s)
    held = [step for step in steps if step.at_s is None]
    assert any("leads to no key" in step.held for step in held)
    assert any("the parent was seen with" in step.held for step in held)


def test_a_rollover_can_be_turned_round_midway(drill):
    made = drill(has_csk=True)
    (old,) = made.state.rings
    made.bring(KeyRole.CSK)
    made.run(3)
    new = made.state.rings[-1]
    made.state = rollover.withdraw(made.state, new.key)
    made.run(12)
    assert [ring.key for ring in made.state.rings] == [old.key]
    assert made.state.ds_seen == {old.key}


def test_a_zone_becomes_unsigned_only_after_its_ds_is_gone(drill):
    made = drill(has_csk=True)
    made.steps.clear()
    made.state = made.state._replace(is_signed=False)
    made.run(10)
    assert whats(made) == ["ask the parent to remove DS", "remove all keys and signatures"]
    assert made.served[-1][0].rrset(made.origin, codes.DNSKEY) is None


@pytest.mark.parametrize("seed", range(6))
def test_rollovers_at_any_moment_and_pace_never_break_anybody(drill, seed):
    """New keys, turns and algorithm changes at random, with a parent of random slowness."""
    chance = random.Random(seed)
    made = drill(
        has_csk=chance.random() < 0.5,
        method=chance.choice(list(Method)),
        parent_lag_s=chance.randrange(HOUR_S, 6 * HOUR_S),
        hours=16,
    )
    for _ in range(3):
        role = chance.choice(made.policy.roles)
        if not any(not ring.is_staying for ring in made.state.rings):
            if chance.random() < 0.4:
                algorithm = chance.choice([13, 15])
                made.policy = made.policy._replace(algorithm=algorithm)
                for each in made.policy.roles:
                    made.bring(each)
            else:
                made.bring(role)
        elif chance.random() < 0.3 and not any(
            r.key[0] != made.state.rings[0].key[0] for r in made.state.rings
        ):
            made.state = rollover.withdraw(made.state, made.state.rings[-1].key)
        made.run(chance.randrange(1, 8), jitter=chance)
    made.run(24, jitter=chance)


def test_the_forecast_tells_every_step_before_it_is_taken(drill):
    made = drill(has_csk=False)
    made.bring(KeyRole.ZSK)
    plan = rollover.forecast(made.state, made.policy, MAX_TTL_S, made.now_s)
    start = made.now_s
    made.steps.clear()
    made.run(8)
    told = [step.what.split(" (")[0] for step in plan]
    assert told == [what for _, what in made.steps]
    for step, (at, _) in zip(plan, made.steps, strict=True):
        assert 0 <= at + made.start_s - step.at_s <= HOUR_S, (start, step)


def test_no_rollover_starts_in_a_frozen_span(drill):
    made = drill(has_csk=False)
    later = made.now_s + 100 * 86_400
    assert [role for role, _ in rollover.due(made.state, made.policy, later)] == [KeyRole.ZSK]
    frozen = made.policy._replace(frozen=((later - 1, later + 1),))
    assert rollover.due(made.state, frozen, later) == []


@pytest.mark.parametrize(
    ("sightings", "said"),
    [
        ([Sighting("a", 6, frozenset({b"1"})), Sighting("a", 4, frozenset({b"1"}))], ""),
        ([Sighting("a", 6, frozenset({b"1"})), Sighting("b", 4, frozenset())], "disagree"),
        ([Sighting("a", 4, frozenset({b"1"}))], "over IPv6"),
        ([Sighting("a", 6, frozenset({b"1"}))], "over IPv4"),
        (
            [
                Sighting("a", 6, frozenset({b"1"})),
                Sighting("a", 4, frozenset({b"1"})),
                Sighting("b", 6, None),
            ],
            "b over IPv6 did not answer",
        ),
        ([], "over IPv6"),
    ],
)
def test_the_parent_counts_as_seen_only_when_all_its_servers_agree_over_both_families(
    sightings, said
):
    seen, why = agree(sightings, families=frozenset({4, 6}))
    assert said in why
    assert (seen is not None) == (said == "")
