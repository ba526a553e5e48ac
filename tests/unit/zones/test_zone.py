"""Zone versions."""

from hypothesis import given
from hypothesis import strategies as st

import quada.wire.names as names
from quada.zones import Record, Zone, diff

ORIGIN = names.from_text("example.com.")
SOA = Record(ORIGIN, 6, 300, b"\x00\x00" + bytes(20))
records = st.lists(
    st.builds(
        Record,
        st.sampled_from(["a", "b", "x.a", "y.x.a", "*.b", "@"]).map(
            lambda text: names.from_text(text, ORIGIN)
        ),
        st.sampled_from([1, 28, 16]),
        st.just(300),
        st.binary(min_size=1, max_size=2),
    ),
    max_size=12,
)


def contents(zone: Zone) -> dict[bytes, set[tuple[int, int, frozenset[bytes]]]]:
    return {
        owner: {(r.rdtype, r.ttl, frozenset(r.rdatas)) for r in node}
        for owner, node in zone.nodes.items()
    }


@given(records, records)
def test_a_difference_leads_from_one_version_to_the_next(
    old: list[Record], new: list[Record]
) -> None:
    before = Zone.build(ORIGIN, [SOA, *old])
    after = Zone.build(ORIGIN, [SOA, *new])
    assert contents(before.changed(diff(before, after))) == contents(after)


def test_empty_non_terminals_come_and_go_with_what_is_below() -> None:
    deep = Record(names.from_text("x.y.z", ORIGIN), 28, 300, bytes(16))
    zone = Zone.build(ORIGIN, [SOA, deep])
    assert zone.node(names.from_text("y.z", ORIGIN)) == ()
    gone = zone.changed(diff(zone, Zone.build(ORIGIN, [SOA])))
    assert gone.node(names.from_text("z", ORIGIN)) is None
    assert zone.node(names.from_text("z", ORIGIN)) == ()
