"""Many ALIAS names on few targets: one lookup a target, bounds that hold, no client left waiting."""

from bench.alias import Crowd


def test_a_thousand_names_on_ten_targets_are_ten_lookups_of_each_family() -> None:
    crowd = Crowd(1_000, 10)
    cold = crowd.ask_all()
    assert (cold.waited, cold.lookups, cold.messages) == (2_000, 20, 20)
    warm = crowd.ask_all()
    assert (warm.waited, warm.lookups) == (0, 0)
    crowd.restart()
    assert crowd.ask_all().lookups == 20


def test_an_outage_of_minutes_asks_again_now_and_then_and_keeps_nothing_more() -> None:
    crowd = Crowd(1_000, 10)
    crowd.ask_all()
    crowd.is_silent = True
    crowd.now += 120  # all have expired
    before = len(crowd.keeper._targets), len(crowd.view._known)
    for _ in range(20):
        told = crowd.ask_all()
        # Under way already: everybody gets what is stale, and nobody asks again.
        assert told.lookups <= 20
        crowd.now += 0.1
    assert (len(crowd.keeper._targets), len(crowd.view._known)) == before
    assert len(crowd.keeper._lookups) <= 20
