"""Each rule of Boulder's http-01, with servers that do as they are told."""

import pytest

from quada.acme.forecast import forecast
from quada.acme.validate import Failed, Fetch, Fetched, Looked, Lookup, Mode, caa_problem, http_01

SIX, FOUR = "2001:db8::80", "192.0.2.80"
KEY = "token.thumb"
OK = Fetched(200, "", KEY.encode(), 0.1)
DEAD = Failed("dial", "timed out", 10.0)


def to(location: str, status: int = 301, tls: str = "") -> Fetched:
    return Fetched(status, location, b"", 0.1, tls_version=tls)


def play(steps, names, servers):
    """Answer asks: names to addresses, and (scheme://host, family) to what is said there."""
    asked = []
    try:
        ask = next(steps)
        while True:
            if isinstance(ask, Lookup):
                found = names.get(ask.name, ())
                if isinstance(found, dict):
                    answer = found.get(ask.rdtype, Looked())
                else:
                    wanted = {"AAAA": True, "A": False}.get(ask.rdtype)
                    answer = Looked(tuple(a for a in found if (":" in a) is wanted))
            else:
                assert isinstance(ask, Fetch)
                place = ask.url.split("/.well-known")[0].split("/x")[0]
                asked.append((place, 6 if ":" in ask.address else 4))
                answer = servers.get(asked[-1], DEAD)
                if isinstance(answer, Failed) and answer.seconds > ask.timeout_s:
                    answer = answer._replace(seconds=ask.timeout_s)
            ask = steps.send(answer)
    except StopIteration as end:
        return end.value, asked


def validate(servers, names=None, mode=Mode.REPLAY, **options):
    names = names or {"a.example": (SIX, FOUR)}
    return play(http_01("a.example", "token", KEY, mode=mode, **options), names, servers)


HTTP, HTTPS = "http://a.example", "https://a.example"


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    ("servers", "kind", "asked"),
    [
        ({(HTTP, 6): OK, (HTTP, 4): OK}, "", [(HTTP, 6)]),
        ({(HTTP, 4): OK}, "", [(HTTP, 6), (HTTP, 4)]),
        ({(HTTP, 6): Failed("dial", "refused", 0.0), (HTTP, 4): OK}, "", [(HTTP, 6), (HTTP, 4)]),
        ({(HTTP, 6): Failed("read", "timed out", 10.0), (HTTP, 4): OK}, "connection", [(HTTP, 6)]),
        ({(HTTP, 6): Failed("protocol", "HTTP/2", 0.1), (HTTP, 4): OK}, "connection", [(HTTP, 6)]),
        ({(HTTP, 6): Fetched(404, "", b"", 0.1), (HTTP, 4): OK}, "unauthorized", [(HTTP, 6)]),
        ({(HTTP, 6): Fetched(200, "", b"wrong", 0.1), (HTTP, 4): OK}, "unauthorized", [(HTTP, 6)]),
        ({(HTTP, 6): Fetched(303, "http://a.example/x", b"", 0.1)}, "unauthorized", [(HTTP, 6)]),
        ({}, "connection", [(HTTP, 6), (HTTP, 4)]),
    ],
)
def test_ipv6_goes_first_and_ipv4_only_after_a_failed_dial(servers, kind, asked, mode) -> None:
    verdict, seen = validate(servers, mode=mode)
    assert (verdict.problem.kind if verdict.problem else "") == kind
    assert seen == asked


def test_one_family_alone_has_no_second_try() -> None:
    for address in (SIX, FOUR):
        verdict, seen = validate({}, names={"a.example": (address,)})
        assert verdict.problem.kind == "connection"
        assert len(seen) == 1


def test_a_dead_aaaa_behind_a_redirect_fails_today_and_not_by_hop() -> None:
    servers = {(HTTP, 4): to("https://a.example/x"), (HTTPS, 4): OK}
    today, asked = validate(servers)
    assert today.problem.kind == "connection"
    assert asked == [(HTTP, 6), (HTTP, 4), (HTTPS, 6)]
    proposed, asked = validate(servers, mode=Mode.PER_HOP, budget_s=60)
    assert proposed.problem is None
    assert asked == [(HTTP, 6), (HTTP, 4), (HTTPS, 6), (HTTPS, 4)]


def test_a_second_hop_dead_over_ipv6_is_reported_as_a_loop_today() -> None:
    servers = {
        (HTTP, 6): to("https://a.example/x"),
        (HTTP, 4): to("https://a.example/x"),
        (HTTPS, 4): OK,
    }
    today, asked = validate(servers)
    assert "loop" in today.problem.detail
    assert asked == [(HTTP, 6), (HTTPS, 6), (HTTP, 4)]
    proposed, _ = validate(servers, mode=Mode.PER_HOP)
    assert proposed.problem is None


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("ftp://a.example/x", "scheme"),
        ("http://a.example:8080/x", "port 8080"),
        ("http:///x", "no host"),
        ("http://a.example.well-known/x", "slash"),
        ("http://localhost/x", "no public name"),
        ("http://[::1]/x", "reserved"),
        ("http://127.0.0.1/x", "reserved"),
        ("http://a.example/x" + "y" * 2001, "too long"),
    ],
)
def test_redirects_that_boulder_does_not_follow(location: str, word: str) -> None:
    verdict, _ = validate(
        {(HTTP, 6): to(location)}, is_reserved=lambda a: a in ("::1", "127.0.0.1")
    )
    assert verdict.problem.kind == "connection"
    assert word in verdict.problem.detail


def test_a_redirect_from_an_old_tls_is_refused() -> None:
    servers = {
        (HTTP, 6): to("https://a.example/x"),
        (HTTPS, 6): to("https://a.example/x/2", tls="TLSv1.1"),
    }
    verdict, _ = validate(servers)
    assert "TLSv1.1" in verdict.problem.detail


def test_eleven_redirects_are_followed_and_no_twelfth() -> None:
    def chain(steps):
        count = 0
        ask = next(steps)
        try:
            while True:
                if isinstance(ask, Lookup):
                    ask = steps.send(Looked((SIX,) if ask.rdtype == "AAAA" else ()))
                else:
                    count += 1
                    ask = steps.send(to(f"http://a.example/x/{count}"))
        except StopIteration as end:
            return count, end.value

    count, verdict = chain(http_01("a.example", "token", KEY))
    assert count == 12
    assert "too many" in verdict.problem.detail


@pytest.mark.parametrize(
    ("body", "is_good"),
    [
        (KEY.encode() + b"\n\t ", True),
        (b" " + KEY.encode(), False),
        (KEY.encode() + b" " * 120, False),
        (b"x" * 129, False),
        (b"\xff\xfe", False),
    ],
)
def test_bodies_are_trimmed_at_the_end_and_short(body: bytes, is_good: bool) -> None:
    verdict, _ = validate({(HTTP, 6): Fetched(200, "", body, 0.1)})
    assert (verdict.problem is None) is is_good


def test_two_failed_lookups_are_told_and_one_is_not() -> None:
    both = {"a.example": {"AAAA": Looked(error="SERVFAIL"), "A": Looked(error="timeout")}}
    verdict, _ = validate({}, names=both)
    assert verdict.problem.kind == "dns"
    assert "SERVFAIL" in verdict.problem.detail
    assert "timeout" in verdict.problem.detail
    one = {"a.example": {"AAAA": Looked(error="SERVFAIL"), "A": Looked((FOUR,))}}
    assert validate({(HTTP, 4): OK}, names=one)[0].problem is None


def test_reserved_addresses_are_left_out_and_only_the_first_is_dialled() -> None:
    names = {"a.example": ("fd00::1", SIX, "2001:db8::81", FOUR)}
    verdict, asked = validate(
        {(HTTP, 6): OK}, names=names, is_reserved=lambda a: a.startswith("fd")
    )
    assert verdict.problem is None
    assert asked == [(HTTP, 6)]
    assert verdict.hops[0].address == SIX


def test_the_time_is_shared_by_both_tries() -> None:
    verdict, _ = validate({}, budget_s=12)
    assert verdict.seconds == 12


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({}, ""),
        ({"a.example": Looked(('0 issue "ca.example"',))}, ""),
        ({"a.example": Looked(('0 issue "other.example"',))}, "caa"),
        ({"a.example": Looked(('0 issue ";"',))}, "caa"),
        ({"a.example": Looked(('0 iodef "mailto:x@a.example"',))}, ""),
        ({"a.example": Looked(('128 strange "x"',))}, "caa"),
        ({"a.example": Looked(('1 strange "x"',))}, "caa"),
        ({"a.example": Looked(error="SERVFAIL")}, "dns"),
        ({"example": Looked(error="SERVFAIL"), "a.example": Looked(('0 issue "ca.example"',))}, ""),
        ({"example": Looked(('0 issue "other.example"',))}, "caa"),
        ({"a.example": Looked(('0 issue "ca.example; validationmethods=dns-01"',))}, ""),
    ],
)
def test_caa_is_walked_from_the_name_upwards(found, kind: str) -> None:
    problem = caa_problem("a.example", found, issuer="ca.example")
    assert (problem.kind if problem else "") == kind


def codes(servers, names=None, key=KEY):
    names = names or {"a.example": (SIX, FOUR)}
    steps = forecast(
        "a.example", "token", key, issuer="ca.example", is_reserved=lambda _: False, ports={}
    )
    made, _ = play(steps, names, servers)
    return {finding.code for finding in made.findings}


def test_each_pitfall_is_told_apart() -> None:
    here = OK._replace(server="nginx")
    assert codes({(HTTP, 6): here, (HTTP, 4): here}) == {"validates"}
    elsewhere = Fetched(404, "", b"", 0.1, "apache")
    assert codes({(HTTP, 6): elsewhere, (HTTP, 4): here}) == {"aaaa-elsewhere", "fails"}
    assert codes({(HTTP, 4): here}) == {"aaaa-dead", "validates"}
    redirecting = {(HTTP, 4): to("https://a.example/x"), (HTTPS, 4): here}
    assert {"aaaa-dead-behind-redirect", "fails"} <= codes(redirecting)
    broken = {(HTTP, 6): Failed("read", "timed out", 10.0), (HTTP, 4): here}
    assert codes(broken) == {"aaaa-broken", "fails"}
    assert codes({(HTTP, 6): elsewhere, (HTTP, 4): elsewhere}, key="") == {"reached"}
