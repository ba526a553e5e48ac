"""The checklist over logs: where failures are local, the place is the cause."""

from quada.doctor import Observation
from quada.doctor.incident import Logged, walk
from quada.doctor.link import Link, judge_link
from quada.doctor.link.facts import Router


def clients(site: int, count: int) -> tuple[str, ...]:
    return tuple(f"2001:db8:{site:x}:{n % 6:x}::{n:x}" for n in range(count))


def test_failures_at_one_site_of_a_well_zone_point_to_that_site() -> None:
    everybody = tuple(c for site in range(10) for c in clients(site, 30))
    logged = Logged(minutes=60, six=everybody, six_failed=clients(3, 30), four=everybody)
    report = walk(Observation("www.example.com.", ".", 0.0), [], logged)
    assert report.causes[0].code == "local-path"
    assert "2001:db8:3:" in report.causes[0].why
    assert "RA and DHCPv6" in report.steps[3].said


def test_failures_everywhere_are_not_called_local() -> None:
    everybody = tuple(c for site in range(10) for c in clients(site, 30))
    logged = Logged(minutes=60, six=everybody, six_failed=everybody[::2], four=everybody)
    report = walk(Observation("www.example.com.", ".", 0.0), [], logged)
    assert report.causes[0].code == "none-found"
    assert report.steps[5].said == "everywhere"


def test_upstream_that_answers_over_ipv4_alone_is_masking() -> None:
    logged = Logged(minutes=60, upstream={6: (40, 3), 4: (40, 40)})
    report = walk(Observation("www.example.com.", ".", 0.0), [], logged)
    assert "IPv4 is tried after IPv6" in report.steps[4].said
    assert "upstream over IPv6: 3 of 40 answered" in report.steps[4].evidence


def test_a_link_that_was_looked_at_is_step_four_and_a_cause() -> None:
    router = Router("fe80::1", is_other=True)
    found = judge_link(Link("eth0", routers=[router]))
    report = walk(Observation("www.example.com.", ".", 0.0), found, Logged())
    assert report.causes[0].code == "client-discovery"
    assert report.steps[3].verdict == "FAIL"
    assert "no RDNSS" in report.steps[3].said


def test_a_name_that_nobody_asked_for_has_no_blast_radius_to_tell() -> None:
    report = walk(Observation("www.example.com.", ".", 0.0), [], Logged(minutes=60))
    assert report.steps[5].verdict == "UNKNOWN"
