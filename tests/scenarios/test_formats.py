"""The labelled traffic, written as every server logs it: nothing is lost in reading it back."""

import pytest
from bench.render import NAMES, Through
from bench.traffic import START_S, schedule, traffic

from quada.telemetry.event import Cause, Kind
from quada.telemetry.signals import Watch


def minutes():
    """Ten minutes in which AAAA of a zone are bogus, after five that are well."""
    incidents = [
        one._replace(start=5, end=15)
        for one in schedule(7, 0.6)
        if one.name.startswith("AAAA bogus")
    ]
    return list(traffic(7, 60, incidents))[:15]


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_understood_and_every_question_is_an_event(name: str) -> None:
    through = Through(name)
    written = [one for minute in minutes() for one in minute]
    read = through.read(written)
    assert through.counts[1] == 0
    roles = {one.role for one in read}
    asked = [one for one in written if one.kind is Kind.QUERY and one.role in roles]
    told = [one for one in read if one.kind is Kind.QUERY]
    # What still waits for a line that may belong to it is given later.
    if told:
        assert len(asked) - 20 <= len(told) <= len(asked)
        assert {one.qname for one in told} <= {one.qname for one in asked}


@pytest.mark.parametrize("name", ["own", "bind", "dnstap", "unbound", "pdns-recursor", "coredns"])
def test_failing_aaaa_is_found_in_the_log_of(name: str) -> None:
    through, watch, said = Through(name), Watch(), []
    for number, events in enumerate(minutes()):
        watch.feed(through.read(events))
        said += watch.judge(START_S + (number + 1) * 60 + 31)
    assert {one.kind for one in said} == {"aaaa-servfail"}
    # CoreDNS tells no reason that it does not have; the others say that it is validation.
    assert {one.cause for one in said} <= {Cause.VALIDATION.name.lower(), "unknown"}
    assert name == "coredns" or said[-1].cause == "validation"
