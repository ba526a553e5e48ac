"""Seats of a resolver: no client network and no zone takes them all."""

from hypothesis import given
from hypothesis import strategies as st

from quada.server.quota import Quota, QuotaSettings, Seat


def quota(**limits: int) -> Quota:
    return Quota(QuotaSettings(**limits), lambda name: name[-3:])


def test_one_client_network_leaves_seats_to_others() -> None:
    made = quota(total=10, per_network=3, per_zone=10)
    taken = [made.take(b"a", b"x.z") for _ in range(5)]
    assert [isinstance(one, Seat) for one in taken] == [True, True, True, False, False]
    assert "this client" in taken[3]
    assert isinstance(made.take(b"b", b"x.z"), Seat)
    made.leave(taken[0])
    assert isinstance(made.take(b"a", b"x.z"), Seat)
    assert made.status() == {"under_way": 4, "refused": 2}


def test_a_zone_with_slow_servers_leaves_seats_to_others() -> None:
    made = quota(total=100, per_network=100, per_zone=5)
    slow = [made.take(bytes((n,)), b"x.slow") for n in range(20)]
    assert sum(isinstance(one, Seat) for one in slow) == 10  # five before zones are told apart
    assert "this zone" in slow[-1]
    assert isinstance(made.take(b"b", b"x.well"), Seat)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"1.z", b"2.y"]), st.booleans()
        )
    )
)
def test_counts_come_back_to_nothing(steps) -> None:
    made = quota(total=6, per_network=3, per_zone=2)
    seats: list[Seat] = []
    for network, name, is_leaving in steps:
        if is_leaving and seats:
            made.leave(seats.pop(0))
            continue
        got = made.take(network, name)
        if isinstance(got, Seat):
            seats.append(got)
        assert made.status()["under_way"] == len(seats) <= 6
    for seat in seats:
        made.leave(seat)
    assert made.status()["under_way"] == 0
    assert made._networks == made._zones == {}
