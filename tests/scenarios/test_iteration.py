"""Iteration, step by step: which server is asked what, and what is believed."""

import pytest
from tests.scenarios.small_internet import (
    ROOT_SERVER,
    SmallInternet,
    coded,
    cut,
    folding,
    silent,
    silent_over_udp,
    without_edns,
)

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.dns64 import read_prefix
from quada.telemetry.event import Provenance
from quada.wire.ask import Transport

COM, EXAMPLE, EXAMPLE_4, OTHER = "2001:db8:1::53", "2001:db8:2::53", "192.0.2.2", "2001:db8:3::53"


def build(**options) -> SmallInternet:
    made = SmallInternet(**options)
    made.serve(
        ".",
        f"@ NS ns.root.\nns.root. AAAA {ROOT_SERVER}\ncom NS ns.com.\nns.com. AAAA {COM}\n",
        ROOT_SERVER,
    )
    made.serve(
        "com.",
        f"@ NS ns\nns AAAA {COM}\nexample NS ns.example\nns.example AAAA {EXAMPLE}\n"
        f"ns.example A {EXAMPLE_4}\nother NS ns.other\nns.other AAAA {OTHER}\n"
        "glueless NS ns.other.com.\n",
        COM,
    )
    made.serve(
        "example.com.",
        f"@ NS ns\nns AAAA {EXAMPLE}\nns A {EXAMPLE_4}\nwww AAAA 2001:db8::1\nwww AAAA 2001:db8::2\n"
        "a.b.c AAAA 2001:db8::3\nalias CNAME www\naway CNAME www.other.com.\nloop CNAME loop2\n"
        "loop2 CNAME loop\nd DNAME other.com.\n*.wild AAAA 2001:db8::4\nfour A 192.0.2.80\n"
        + "".join(f"chain{n} CNAME chain{n + 1}\n" for n in range(40)),
        EXAMPLE, EXAMPLE_4,
    )  # fmt: skip
    made.serve(
        "other.com.", f"@ NS ns\nns AAAA {OTHER}\nwww AAAA 2001:db8::9\ndeep.er AAAA 2001:db8::8\n",
        OTHER,
    )  # fmt: skip
    made.serve("glueless.com.", "@ NS ns.other.com.\nwww AAAA 2001:db8::7\n", OTHER)
    return made


@pytest.fixture
def internet() -> SmallInternet:
    return build()


def test_a_name_is_found_from_the_root_and_no_server_learns_more_than_it_must(internet) -> None:
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    assert internet.questions() == ["com. A", "example.com. A", "www.example.com. AAAA"]
    assert {one.address for one in internet.asked} == {ROOT_SERVER, COM, EXAMPLE}


def test_what_is_known_is_not_asked_again_until_it_expires(internet) -> None:
    internet.ask("www.example.com.")
    count = len(internet.asked)
    internet.sleep(1)
    again = internet.ask("www.example.com.")
    assert again.provenance & Provenance.CACHED
    assert len(internet.asked) == count
    internet.sleep(301)
    internet.ask("www.example.com.")
    assert len(internet.asked) > count


def test_a_known_delegation_is_asked_straight(internet) -> None:
    internet.ask("www.example.com.")
    internet.asked.clear()
    assert internet.addresses("four.example.com.", codes.A) == ["192.0.2.80"]
    assert internet.questions() == ["four.example.com. A"]


def test_a_deep_name_is_asked_label_by_label(internet) -> None:
    internet.ask("www.example.com.")
    internet.asked.clear()
    assert internet.addresses("a.b.c.example.com.") == ["2001:db8::3"]
    assert internet.questions() == [
        "c.example.com. A",
        "b.c.example.com. A",
        "a.b.c.example.com. AAAA",
    ]


def test_nodata_and_nxdomain_are_kept_as_long_as_the_soa_says(internet) -> None:
    assert internet.ask("www.example.com.", codes.MX).resolution.rcode == codes.NOERROR
    gone = internet.ask("gone.example.com.").resolution
    assert gone.rcode == codes.NXDOMAIN
    assert round(gone.expires_at - gone.stored_at) == 60
    internet.asked.clear()
    assert internet.ask("gone.example.com.", codes.A).resolution.rcode == codes.NXDOMAIN
    assert internet.ask("below.gone.example.com.").resolution.rcode == codes.NXDOMAIN  # RFC 8020
    assert internet.asked == []
    internet.sleep(61)
    internet.ask("gone.example.com.")
    assert internet.asked


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alias.example.com.", ["www.example.com.", "2001:db8::1", "2001:db8::2"]),
        ("away.example.com.", ["www.other.com.", "2001:db8::9"]),
        ("www.d.example.com.", ["other.com.", "www.other.com.", "2001:db8::9"]),
        ("anything.wild.example.com.", ["2001:db8::4"]),
        ("www.glueless.com.", ["2001:db8::7"]),
    ],
)
@pytest.mark.parametrize("is_warm", [False, True])
def test_aliases_wildcards_and_glueless_zones_are_followed(
    internet, name, expected, is_warm
) -> None:
    if is_warm:
        internet.ask("www.example.com.")
    assert internet.addresses(name) == expected


@pytest.mark.parametrize("is_warm", [False, True])
def test_loops_and_endless_chains_end_in_servfail_with_the_reason(internet, is_warm) -> None:
    if is_warm:
        internet.ask("www.example.com.")
    looped = internet.ask("loop.example.com.")
    assert looped.resolution.rcode == codes.SERVFAIL
    assert "loop" in looped.ede_text
    endless = internet.ask("chain0.example.com.")
    assert endless.resolution.rcode == codes.SERVFAIL
    assert "too long" in endless.ede_text


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_truncated_answer_is_asked_for_over_tcp(internet, is_warm) -> None:
    if is_warm:
        internet.ask("four.example.com.", codes.A)
    internet.break_(EXAMPLE, cut)
    internet.asked.clear()
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    ways = [one.transport for one in internet.asked if one.address == EXAMPLE]
    assert ways == [Transport.UDP, Transport.TCP]


def test_a_server_that_refuses_edns_is_asked_without_it_from_then_on(internet) -> None:
    internet.break_(EXAMPLE, without_edns)
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    internet.asked.clear()
    assert internet.addresses("four.example.com.", codes.A) == ["192.0.2.80"]
    assert [one.query[11] for one in internet.asked] == [0]


def test_a_server_that_folds_case_is_asked_over_tcp(internet) -> None:
    internet.break_(EXAMPLE, folding)
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    assert internet.asked[-1].transport is Transport.TCP


@pytest.mark.parametrize("is_warm", [False, True])
def test_ipv6_is_asked_first_and_ipv4_when_it_is_silent(internet, is_warm) -> None:
    if is_warm:
        internet.ask("four.example.com.", codes.A)
    internet.break_(EXAMPLE, silent)
    internet.asked.clear()
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    assert [one.address for one in internet.asked][-2:] == [EXAMPLE, EXAMPLE_4]
    internet.asked.clear()
    internet.ask("a.b.c.example.com.")
    assert EXAMPLE not in {one.address for one in internet.asked}  # remembered
    internet.mend()
    internet.sleep(400)
    internet.asked.clear()
    internet.ask("anything.wild.example.com.")
    assert EXAMPLE not in {one.address for one in internet.asked}, "no client waits for a probe"
    assert internet.probe() == 1
    assert internet.iterator.servers.order([EXAMPLE, EXAMPLE_4], internet.now)[0] == EXAMPLE


def test_a_server_that_stays_dead_costs_no_client_a_wait_again(internet) -> None:
    internet.break_(EXAMPLE, silent)
    internet.ask("www.example.com.")
    probes = 0
    for number in range(100):
        internet.sleep(4)
        before = internet.now
        internet.ask(f"n{number}.wild.example.com.")
        assert internet.now - before < 0.1
        probes += internet.probe()
    assert 5 <= probes <= 12, "each failure doubles the time until the next"


def test_a_dead_family_is_probed_at_one_server_and_comes_back_whole() -> None:
    zones = 20
    internet = SmallInternet(roots=("192.0.2.1",))
    delegations = "".join(
        f"z{n} NS ns.z{n}\nns.z{n} AAAA 2001:db8:{n:x}::53\nns.z{n} A 198.51.100.{n}\n"
        for n in range(1, zones)
    )
    internet.serve(".", f"@ NS ns.root.\nns.root. A 192.0.2.1\n{delegations}", "192.0.2.1")
    for n in range(1, zones):
        hosts = f"2001:db8:{n:x}::53", f"198.51.100.{n}"
        internet.serve(f"z{n}.", "@ NS ns\n* AAAA 2001:db8::80\n", *hosts)
        internet.break_(hosts[0], silent)
    costs = []
    for n in range(1, zones):
        before = internet.now
        internet.ask(f"www.z{n}.")
        costs.append(internet.now - before)
    assert sum(cost > 0.2 for cost in costs) == 6, "so many failures make a family dead"
    internet.sleep(60)
    internet.asked.clear()
    for n in range(1, zones):
        internet.ask(f"mail.z{n}.")
    assert not [one for one in internet.asked if ":" in one.address]
    assert internet.probe() == 1
    internet.mend()
    internet.sleep(400)
    internet.ask("third.z19.")
    assert internet.probe() == 1
    internet.asked.clear()
    internet.ask("fourth.z19.")
    assert [one.address for one in internet.asked] == ["2001:db8:13::53"]


@pytest.mark.parametrize("rcode", [codes.REFUSED, codes.SERVFAIL, 4])
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_server_that_fails_is_passed_over_for_the_next(internet, rcode, is_warm) -> None:
    if is_warm:
        internet.ask("four.example.com.", codes.A)
    internet.break_(EXAMPLE, coded(rcode))
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]


def test_a_lame_server_is_passed_over(internet) -> None:
    internet.serve("com.", "@ NS ns.com.\n", EXAMPLE)
    internet.server(EXAMPLE).drop(names.from_text("example.com."))
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]
    assert internet.asked[-1].address == EXAMPLE_4


def test_when_nobody_answers_the_old_answer_is_given_and_marked(internet) -> None:
    internet.ask("www.example.com.")
    internet.sleep(400)
    internet.break_(EXAMPLE, silent)
    internet.break_(EXAMPLE_4, silent)
    stale = internet.ask("www.example.com.")
    assert stale.resolution.rcode == codes.NOERROR
    assert stale.provenance & Provenance.STALE
    assert stale.ede == 3
    internet.sleep(90_000)
    assert internet.ask("www.example.com.").resolution.rcode == codes.SERVFAIL


def test_a_stale_nxdomain_has_a_code_of_its_own(internet) -> None:
    internet.ask("gone.example.com.")
    internet.sleep(400)
    internet.break_(EXAMPLE, silent)
    internet.break_(EXAMPLE_4, silent)
    stale = internet.ask("gone.example.com.")
    assert (stale.resolution.rcode, stale.ede) == (codes.NXDOMAIN, 19)


def test_udp_that_is_dropped_for_all_is_servfail_with_words(internet) -> None:
    internet.ask("four.example.com.", codes.A)
    for address in (EXAMPLE, EXAMPLE_4):
        internet.break_(address, silent_over_udp)
    failed = internet.ask("www.example.com.")
    assert failed.resolution.rcode == codes.SERVFAIL
    assert "gave no answer" in failed.ede_text


@pytest.mark.parametrize("families", [(6,), (4,)])
def test_a_resolver_of_one_family_asks_in_that_family_alone(families) -> None:
    internet = build(families=families, roots=(ROOT_SERVER, "192.0.2.1"))
    internet.ask("www.example.com.")
    assert {6 if ":" in one.address else 4 for one in internet.asked} == set(families)


def test_an_answer_to_another_question_is_not_believed(internet) -> None:
    internet.ask("four.example.com.", codes.A)

    def other(ask, answer):
        return answer.replace(answer[12:16], b"\x03XyZ", 1)

    for address in (EXAMPLE, EXAMPLE_4):
        internet.break_(address, other)
    assert internet.ask("www.example.com.").resolution.rcode == codes.SERVFAIL


def test_records_of_other_zones_are_not_believed(internet) -> None:
    internet.ask("www.example.com.")

    def poison(ask, answer):
        # One more answer record: www.other.com AAAA 2001:db8::bad, from a server of example.com.
        owner = names.from_text("www.other.com.")
        record = (
            owner
            + b"\0\x1c\0\1\0\1\0\0\0\x10"
            + bytes.fromhex("20010db8")
            + bytes(10)
            + b"\x0b\xad"
        )
        at = 12
        while answer[at]:
            at += answer[at] + 1
        count = int.from_bytes(answer[6:8], "big") + 1
        at += 5
        return answer[:6] + count.to_bytes(2, "big") + answer[8:at] + record + answer[at:]

    internet.break_(EXAMPLE, poison)
    internet.ask("four.example.com.", codes.A)
    internet.mend()
    assert internet.addresses("www.other.com.") == ["2001:db8::9"]


def test_garbage_and_floods_of_records_cost_one_server_and_no_more(internet) -> None:
    internet.ask("four.example.com.", codes.A)
    for garbage in (b"", b"\0" * 11, b"\xff" * 40):
        internet.break_(EXAMPLE, lambda ask, answer, g=garbage: answer[:2] + g)
        internet.cache.flush(names.from_text("www.example.com."), is_subtree=False)
        internet.sleep(1000)
        assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]


def test_a_referral_upwards_or_sideways_is_not_followed(internet) -> None:
    internet.ask("four.example.com.", codes.A)

    def upwards(ask, answer):
        return (
            coded(0)(ask, answer)[:8]
            + b"\0\1\0\0"
            + answer[12 : _end(answer)]
            + (b"\x03com\0" + b"\0\2\0\1\0\1\0\0\0\x04\x02ns\0")
        )

    for address in (EXAMPLE, EXAMPLE_4):
        internet.break_(address, upwards)
    assert internet.ask("www.example.com.").resolution.rcode == codes.SERVFAIL
    assert internet.cache.closest(
        names.from_text("other.com."), internet.now
    ).zone == names.from_text("com.")


def _end(message: bytes) -> int:
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def test_a_delegation_of_many_glueless_servers_costs_few_lookups(internet) -> None:
    # NXNSAttack: a referral that names a thousand servers without addresses.
    internet.serve(
        "bomb.com.", "@ NS ns\n" + "".join(f"evil NS n{i}.v{i}.other.com.\n" for i in range(200)),
        "2001:db8:bad::53",
    )  # fmt: skip
    internet.serve("com.", f"@ NS ns\nns AAAA {COM}\nbomb NS ns.bomb\nns.bomb AAAA 2001:db8:bad::53\n"
                   f"other NS ns.other\nns.other AAAA {OTHER}\n", COM)  # fmt: skip
    failed = internet.ask("www.evil.bomb.com.")
    assert failed.resolution.rcode == codes.SERVFAIL
    assert len(internet.asked) <= 64
    assert len([one for one in internet.asked if one.address == OTHER]) <= 12


def test_zones_that_depend_on_each_other_end_in_servfail(internet) -> None:
    # TsuNAME: each zone's only server lies in the other, and there is no glue.
    internet.serve("com.", f"@ NS ns\nns AAAA {COM}\nx NS ns.y\ny NS ns.x\n", COM)
    failed = internet.ask("www.x.com.")
    assert failed.resolution.rcode == codes.SERVFAIL
    assert len(internet.asked) <= 64


def test_a_policy_that_says_nothing_is_told_apart_from_the_world(internet) -> None:
    assert internet.ask("www.example.com.").provenance == Provenance.NATIVE


def test_the_root_is_asked_who_serves_it_and_believed_until_that_expires(internet) -> None:
    # The hints name one server; the root itself names another, which is asked from then on.
    internet.serve(
        ".", f"@ NS ns.new.\nns.new. AAAA 2001:db8:0:1::54\ncom NS ns.com.\nns.com. AAAA {COM}\n",
        ROOT_SERVER, "2001:db8:0:1::54",
    )  # fmt: skip
    until = internet.prime()
    assert until == pytest.approx(internet.now + 300, abs=1)
    internet.asked.clear()
    internet.ask("www.example.com.")
    assert internet.asked[0].address == "2001:db8:0:1::54"
    internet.sleep(301)
    internet.asked.clear()
    internet.ask("www.example.com.")
    assert internet.asked[0].address == ROOT_SERVER  # the hints again


@pytest.mark.parametrize("fault", [silent, coded(codes.REFUSED), cut])
def test_a_root_that_cannot_be_asked_leaves_the_hints_in_place(internet, fault) -> None:
    internet.break_(ROOT_SERVER, fault)
    primed = internet.prime()
    assert primed is None or fault is cut
    internet.mend()
    internet.sleep(10)
    assert internet.addresses("www.example.com.") == ["2001:db8::1", "2001:db8::2"]


def test_a_root_without_addresses_we_can_use_is_not_believed() -> None:
    internet = build(families=(6,))
    internet.serve(".", "@ NS ns.new.\nns.new. A 192.0.2.9\n", ROOT_SERVER)
    assert internet.prime() is None


def test_the_shadow_names_zones_that_ipv6_alone_does_not_reach_and_what_their_servers_lack() -> (
    None
):
    internet = build()
    internet.serve(
        "com.",
        f"@ NS ns\nns AAAA {COM}\nfour NS ns.four\nns.four A 192.0.2.4\n"
        f"out NS ns.far.other\nfine NS ns.other\nother NS ns.other\nns.other AAAA {OTHER}\n",
        COM,
    )
    internet.serve("other.com.", f"@ NS ns\nns AAAA {OTHER}\nns.far A 192.0.2.5\n", OTHER)
    internet.serve(
        "four.com.", "@ NS ns.four.com.\nns A 192.0.2.4\nwww AAAA 2001:db8::1\n", "192.0.2.4"
    )
    internet.serve("out.com.", "@ NS ns.far.other.com.\nwww AAAA 2001:db8::1\n", "192.0.2.5")
    internet.serve("fine.com.", "@ NS ns.other.com.\nwww AAAA 2001:db8::1\n", OTHER)
    for zone in ("four", "out", "fine"):
        assert internet.addresses(f"www.{zone}.com.") == ["2001:db8::1"]
    internet.ask("more.four.com.")
    rows = internet.iterator.shadow.report(internet.cache, internet.now)
    assert [(row["zone"], row["verdict"], row["asked"], row["servers"]) for row in rows] == [
        ("four.com.", "no", 2, {"ns.four.com.": "no AAAA glue"}),
        ("out.com.", "no", 1, {"ns.far.other.com.": "no AAAA"}),
    ]


def test_ipv4_only_servers_are_asked_through_nat64_where_there_is_no_ipv4() -> None:
    internet = build(families=(6,))
    internet.iterator.nat64 = read_prefix("64:ff9b::/96")
    internet.serve(
        "com.",
        f"@ NS ns\nns AAAA {COM}\nfour NS ns.four\nns.four A 192.0.2.4\nfar NS ns.four\n",
        COM,
    )
    internet.serve(
        "four.com.", "@ NS ns\nns A 192.0.2.4\nwww AAAA 2001:db8::1\n", "64:ff9b::c000:204"
    )
    internet.serve("far.com.", "@ NS ns.four.com.\nwww AAAA 2001:db8::2\n", "64:ff9b::c000:204")
    assert internet.addresses("www.four.com.") == ["2001:db8::1"]
    assert internet.addresses("www.far.com.") == ["2001:db8::2"]
    assert all(":" in one.address for one in internet.asked)
