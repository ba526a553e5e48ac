"""When perspectives agree, by Boulder's counts."""

import pytest

from quada.acme.forecast import Forecast, with_perspectives
from quada.acme.perspectives import Seen, agree
from quada.acme.validate import Failed, Fetched, Hop, Problem, Verdict

GOOD = Verdict(None, (), 0.1)
BAD = Verdict(Problem("connection", "timeout"), (), 10.0)


@pytest.mark.parametrize(
    ("count", "failures", "is_valid"),
    [(0, 0, True), (1, 1, False), (2, 1, True), (3, 1, True), (3, 2, False), (5, 1, True),
     (5, 2, False), (6, 2, True), (6, 3, False)],
)  # fmt: skip
def test_as_many_may_fail_as_boulder_allows(count: int, failures: int, is_valid: bool) -> None:
    remote = [Seen(f"p{n}", BAD if n < failures else GOOD) for n in range(count)]
    ended = agree(GOOD, remote)
    assert (ended.problem is None) is is_valid
    if ended.problem is not None:
        assert ended.problem == Problem(
            "connection", "During secondary validation, from p0: timeout"
        )


def test_a_failed_local_pass_stays_the_reason() -> None:
    assert agree(BAD, [Seen("far", GOOD)]) == BAD


def test_places_that_end_elsewhere_differ_without_a_token() -> None:
    def ended(address: str, outcome: Fetched | Failed) -> Verdict:
        hop = Hop("http://www.example.com/x", (address,), address, outcome)
        return Verdict(Problem("unauthorized", "no"), (hop,), 0.1)

    page = Fetched(404, "", b"", 0.1)
    made = Forecast("www.example.com", {"replay": ended("2001:db8::1", page)}, {}, ())
    same = {f"p{n}": ended("2001:db8::1", page) for n in range(3)}
    assert with_perspectives(made, same, has_token=False).findings[-1].verdict == "PASS"
    dead = ended("2001:db8::1", Failed("dial", "timeout", 10.0))
    one = with_perspectives(made, {**same, "p0": dead}, has_token=False).findings[-1]
    assert (one.verdict, one.message) == ("WARN", "2 of 3 other perspectives agree; p0: not")
    two = with_perspectives(made, {**same, "p0": dead, "p1": dead}, has_token=False).findings[-1]
    assert two.verdict == "FAIL"
