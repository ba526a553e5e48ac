"""The cache over a restart: what holds comes back, and nothing else does."""

from hypothesis import given
from hypothesis import strategies as st

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import Cache, Word
from quada.telemetry.event import Validation
from quada.wire.records import Record

NAME = names.from_text("www.example.com.")
ZONE = names.from_text("example.com.")
RECORD = Record(NAME, codes.AAAA, 300, bytes(15) + b"\x01")


def word(**changes) -> Word:
    return Word(
        NAME, codes.AAAA, 0, (RECORD,), (), ZONE, 1_000.0, 1_300.0, Validation.SECURE
    )._replace(**changes)


def test_what_holds_comes_back_as_it_was():
    one, two = Cache(), Cache()
    gone = names.from_text("none.example.com.")
    for each in (word(), word(name=gone, rcode=3, answer=()), word(rdtype=codes.A, expires_at=1_050.0),
                 word(rdtype=codes.TXT, validation=Validation.BOGUS)):  # fmt: skip
        one.put(each)
    assert two.restore(one.dump(1_100.0), 1_100.0) == 2
    assert two.get(NAME, codes.AAAA, 1_100.0) == word()
    assert two.get(names.from_text("below.none.example.com."), codes.A, 1_100.0) is not None
    assert two.get(NAME, codes.A, 1_100.0) is None
    assert two.get(NAME, codes.TXT, 1_100.0) is None


def test_a_clock_that_went_back_or_times_beyond_all_bounds_are_not_believed():
    one = Cache()
    one.put(word())
    lines = list(one.dump(1_100.0))
    assert Cache().restore(lines, 500.0) == 0
    assert Cache().restore([lines[0].replace("1300.0", "9e99")], 1_100.0) == 0


@given(st.lists(st.text(max_size=60) | st.just('[1, 2, 3, [], [], "", 0, 1, 0, null, ""]')))
def test_no_line_breaks_the_restoring(lines):
    assert Cache().restore(lines, 1_000.0) == 0
