"""How findings are shown: profiles, JUnit, pictures."""

from xml.etree import ElementTree

import pytest

from quada.cli.judged import junit, read_profile
from quada.doctor.findings import Finding, Verdict, profiled
from quada.doctor.observation import Cut, Exchange, Observation
from quada.doctor.picture import dependencies, timeline
from quada.wire.faults import ConfigFault

FOUND = [
    Finding("aaaa-missing", Verdict.FAIL, "www.example.com.", "it has A and no AAAA", ("a\x1bb",)),
    Finding("ns-diversity", Verdict.WARN, "example.com.", "all in 2001:db8::/48"),
    Finding("link-resolver", Verdict.UNKNOWN, "2001:db8::53", "it was not asked"),
    Finding("edns", Verdict.PASS, "ns1.example.com.", "well"),
]


def test_a_profile_says_how_bad_things_are_and_nothing_else():
    text = '[severity]\n"aaaa-missing" = "INFO"\n"ns-diversity" = "OFF"\n"link-resolver" = "FAIL"\n"edns" = "FAIL"\n'
    found = profiled(FOUND, read_profile(text, "profile.toml"))
    assert {one.code: one.verdict for one in found} == {
        "aaaa-missing": "INFO", "link-resolver": "UNKNOWN", "edns": "PASS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [("[severity]\naaaa-mising = 'WARN'", "did you mean aaaa-missing"), ("[severity]\nedns = 'BAD'", "one of FAIL"),
     ("x", "no TOML"), ("[other]", "table")],
)  # fmt: skip
def test_a_wrong_profile_is_refused_with_the_remedy(text, said):
    with pytest.raises(ConfigFault) as caught:
        read_profile(text, "profile.toml")
    assert said in str(caught.value)


def test_junit_has_a_case_a_finding():
    top = ElementTree.fromstring(junit(FOUND, "quada doctor"))
    assert (top.get("tests"), top.get("failures"), top.get("skipped")) == ("4", "1", "1")
    case = top.find("testcase[@name='aaaa-missing www.example.com.']")
    assert case is not None
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "it has A and no AAAA"


def test_pictures_hold_every_zone_and_no_markup_of_strangers():
    cuts = {
        ".": Cut(".", "", ["a.root."], {"a.root.": ["2001:db8::1"]}),
        "com.": Cut("com.", ".", ["ns.com."], {"ns.com.": ["2001:db8::2", "192.0.2.2"]}),
        "example.com.": Cut("example.com.", "com.", ["ns.<script>.net."], {}),
        "net.": Cut("net.", ".", ["ns.net."], {"ns.net.": ["192.0.2.3"]}),
    }
    seen = Observation(
        "example.com.", "example.com.", 0.0, cuts=cuts, hosts={"ns.<script>.net.": ["192.0.2.9"]}
    )
    seen.exchanges = [
        Exchange("example.com.", "ns.<script>.net.", "192.0.2.9", "udp", "soa-udp", "example.com.", "SOA", 12.5, silence="timeout"),
    ]  # fmt: skip
    for picture in (dependencies(seen), timeline(seen)):
        assert "<script>" not in picture
        ElementTree.fromstring(picture)
    drawn = dependencies(seen)
    assert all(f">{zone}<" in drawn for zone in cuts)
    assert drawn.count("stroke-dasharray") == 1
