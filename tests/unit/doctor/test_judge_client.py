"""Judging a client program by kept runs."""

import pytest

from quada.doctor.judge_client import CLOSED, OPEN, SILENT, judge_client
from quada.doctor.observation import Observation, Visit, read_observation, write_observation


def run(kind: str, address: str, ms: float, why: str = "") -> Visit:
    return Visit("client", "localhost", address, 8080, kind, "dial" if why else "", why, ms, ms)


def judged(*runs: Visit) -> list[tuple[str, str, str]]:
    seen = Observation("fetch {url}", ".", 1.0, visits=list(runs))
    assert read_observation(write_observation(seen)) == seen
    return sorted((one.code, str(one.verdict), one.message) for one in judge_client(seen))


@pytest.mark.parametrize(
    ("late", "verdict"),
    [(250, "PASS"), (350, "PASS"), (351, "WARN"), (2000, "WARN"), (2001, "FAIL")],
)
def test_how_late_a_client_takes_ipv4_decides(late: int, verdict: str) -> None:
    found = judged(run(OPEN, "::1", 100), run(SILENT, "127.0.0.1", 100 + late))
    assert ("client-fallback", verdict,
            f"where IPv6 is lost it comes over IPv4 {late} ms later than over IPv6") in found  # fmt: skip


def test_the_quickest_of_several_runs_counts() -> None:
    found = judged(
        run(OPEN, "::1", 90), run(OPEN, "::1", 400), run(SILENT, "127.0.0.1", 340),
        run(SILENT, "127.0.0.1", 2_900),
    )  # fmt: skip
    assert [one[:2] for one in found] == [("client-fallback", "PASS"), ("client-family", "PASS")]


def test_a_client_that_never_takes_ipv4_fails() -> None:
    found = judged(run(OPEN, "::1", 9), run(SILENT, "127.0.0.1", 15_000, "it did not come"))
    assert found[0] == (
        "client-fallback", "FAIL", "where IPv6 is lost it never comes over IPv4: it did not come"
    )  # fmt: skip


def test_of_a_client_that_takes_ipv4_at_once_nothing_is_concluded() -> None:
    found = judged(
        run(OPEN, "127.0.0.1", 9), run(SILENT, "127.0.0.1", 9), run(CLOSED, "127.0.0.1", 9)
    )
    assert [one[:2] for one in found] == [
        ("client-fallback", "UNKNOWN"), ("client-fallback", "UNKNOWN"), ("client-family", "WARN"),
    ]  # fmt: skip


def test_of_a_program_that_does_not_come_at_all_everything_is_unknown() -> None:
    found = judged(run(OPEN, "127.0.0.1", 9, "it ended without coming, exit code 2"))
    assert {one[1] for one in found} == {"UNKNOWN"}
