"""A resolver in the small internet."""

import json
import sys
import time

import pytest

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def port(resolver) -> int:
    return resolver()[0]


def status(answer: str) -> str:
    return answer.partition("status: ")[2].partition(",")[0]


def flags(answer: str) -> set[str]:
    return set(answer.partition("flags: ")[2].partition(";")[0].split())


def test_signed_names_are_secure_and_say_so(internet, port) -> None:
    answer = internet.dig("www.example.com", "AAAA", "+dnssec", port=port)
    assert status(answer) == "NOERROR", answer
    assert "2001:db8:ff::80" in answer
    assert "RRSIG" in answer
    assert "ad" in flags(answer)


def test_unsigned_names_are_answered_without_ad(internet, port) -> None:
    answer = internet.dig("www.example.net", "AAAA", "+dnssec", port=port)
    assert "2001:db8:ff::82" in answer
    assert "ad" not in flags(answer)


def test_a_chain_crosses_zones(internet, port) -> None:
    answer = internet.dig("alias.example.com", "AAAA", port=port)
    assert "CNAME" in answer
    assert "2001:db8:ff::82" in answer


@pytest.mark.parametrize(
    ("qname", "rdtype", "expected"),
    [
        ("nx.example.com", "AAAA", "NXDOMAIN"),
        ("v4only.example.com", "AAAA", "NOERROR"),
        ("ent.example.com", "AAAA", "NOERROR"),
        ("x.wild.example.com", "AAAA", "NOERROR"),
        ("nothing.test", "AAAA", "NXDOMAIN"),
        ("www.glueless.net", "AAAA", "NOERROR"),
    ],
)
def test_denials_wildcards_and_glueless_zones_resolve(
    internet, port, qname, rdtype, expected
) -> None:
    assert status(internet.dig(qname, rdtype, "+dnssec", port=port)) == expected


def test_aaaa_alone_damaged_fails_for_aaaa_alone_and_cd_shows_it(internet, port) -> None:
    bad = internet.dig("www.broken.com", "AAAA", port=port)
    assert status(bad) == "SERVFAIL"
    assert "EDE: " in bad
    assert "192.0.2.80" in internet.dig("www.broken.com", "A", port=port)
    assert "2001:db8:ff::80" in internet.dig("www.broken.com", "AAAA", "+cd", port=port)


def test_delegations_in_a_circle_end_in_servfail(internet, port) -> None:
    assert status(internet.dig("www.loop.net", "AAAA", port=port)) == "SERVFAIL"


def test_a_cut_answer_is_fetched_over_tcp(internet, port) -> None:
    answer = internet.dig("big.example.com", "TXT", "+tcp", port=port)
    assert answer.count("x" * 200) == 12


def test_a_dead_family_costs_little_and_a_live_one_answers(internet, resolver) -> None:
    port, _ = resolver()
    internet.drop("meta nfproto ipv6 udp dport 53 ip6 daddr 2001:db8::/32")
    try:
        answer = internet.dig("www.example.com", "AAAA", port=port)
    finally:
        internet.restore()
    assert "2001:db8:ff::80" in answer


def test_a_resolver_of_one_family_uses_that_family_alone(internet, resolver, tmp_path) -> None:
    port, _ = resolver()
    internet.drop("meta nfproto ipv4 udp dport 53 ip daddr 192.0.2.0/24")
    try:
        assert "2001:db8:ff::80" in internet.dig("www.example.com", "AAAA", port=port)
    finally:
        internet.restore()


def test_the_keys_of_the_anchor_are_followed(internet, resolver) -> None:
    port, state = resolver()
    internet.dig("www.example.com", "AAAA", port=port)
    deadline = time.monotonic() + 15
    while not (state / "anchors.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kept = json.loads((state / "anchors.json").read_text())
    assert [key["state"] for key in kept["points"]["."]["keys"]] == ["valid"]


@pytest.mark.parametrize(
    ("name", "rdtype"), [("example.com", "DNSKEY"), (".", "DNSKEY"), ("example.com", "DS")]
)
def test_who_asks_for_keys_first_gets_them_and_spoils_nothing(
    internet, resolver, name: str, rdtype: str
) -> None:
    port, _ = resolver()
    said = internet.dig(name, rdtype, "+dnssec", port=port)
    assert "NOERROR" in said
    assert " ad;" in said or " ad " in said, said
    said = internet.dig("www.example.com", "AAAA", "+dnssec", port=port)
    assert "NOERROR" in said, said


def test_a_cache_that_is_kept_answers_after_a_restart(internet, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    state = internet.place / "kept"
    config.write_text(
        f'version = 1\n[server]\nstate_dir = "{state}"\nworkers = 1\n[resolver]\nlisten = ["[::1]:5398"]\n'
        f'root_hints = "{internet.hints}"\ntrust_anchor = "{internet.anchor}"\nkeep_cache = true\n'
    )

    def start():
        made = internet.popen(
            [sys.executable, "-m", "quada", "serve", "--role", "resolver", "--config", str(config)],
            "kept.log",
        )
        internet.wait_for("localhost", "::1", 5398)
        return made

    first = start()
    for name in ("www.example.com", "none.example.com", "www.broken.com"):
        internet.dig(name, "AAAA", port=5398)
    first.terminate()
    first.wait(20)
    assert (state / "cache-0.jsonl").stat().st_mode & 0o077 == 0
    internet.drop("ip6 daddr 2001:db8::/32")
    internet.drop("ip daddr 192.0.2.0/24")
    try:
        start()
        said = internet.dig("www.example.com", "AAAA", "+dnssec", port=5398)
        assert "2001:db8:ff::80" in said
        assert " ad;" in said or " ad " in said
        assert "NXDOMAIN" in internet.dig("none.example.com", "AAAA", port=5398)
        assert "SERVFAIL" in internet.dig("www.broken.com", "AAAA", port=5398)
    finally:
        internet.restore()


def test_a_gap_that_is_known_answers_for_all_names_in_it(internet, resolver) -> None:
    port, _ = resolver()
    first = internet.dig("nothing-here.example.com", "AAAA", "+dnssec", port=port)
    assert "NXDOMAIN" in first
    internet.drop("ip6 daddr 2001:db8::/32")
    internet.drop("ip daddr 192.0.2.0/24")
    try:
        # The servers are away: what is said now follows from what was proven before (RFC 8198).
        for name in ("nothing-here-either", "nothing-hers", "deep.nothing-here"):
            said = internet.dig(f"{name}.example.com", "A", "+dnssec", port=port)
            assert "status: NXDOMAIN" in said, said
            assert " ad;" in said or " ad " in said, said
            assert "NSEC" in said
    finally:
        internet.restore()


def test_dns64_makes_aaaa_and_says_so(internet, resolver) -> None:
    port, state = resolver("--dns64", "64:ff9b::/96")
    answer = internet.dig("v4only.example.com", "AAAA", port=port)
    assert "64:ff9b::c000:251" in answer
    assert "EDE: 29" in answer
    assert "2001:db8:ff::80" in internet.dig("www.example.com", "AAAA", port=port)
    assert status(internet.dig("www.broken.com", "AAAA", port=port)) == "SERVFAIL"
    told = internet.run(
        sys.executable,
        "-m",
        "quada",
        "explain",
        "v4only.example.com",
        "AAAA",
        "--json",
        "--state-dir",
        str(state),
    )
    assert json.loads(told)["provenance"] == ["dns64"]


def test_explain_tells_every_server_asked(internet, resolver) -> None:
    _, state = resolver()
    told = json.loads(
        internet.run(
            sys.executable,
            "-m",
            "quada",
            "explain",
            "www.example.com",
            "AAAA",
            "--json",
            "--state-dir",
            str(state),
        )
    )
    zones = [step["zone"] for step in told["steps"]]
    assert zones[0] == "."
    assert "example.com." in zones
    assert {step["family"] for step in told["steps"]} == {6}
    assert told["validation"] == "secure"


def test_events_of_clients_and_upstreams_are_in_the_recursive_stream(internet, resolver) -> None:
    port, state = resolver()
    internet.dig("www.example.net", "AAAA", port=port)
    shown = internet.run(
        sys.executable,
        "-m",
        "quada",
        "tail",
        "--json",
        "--no-follow",
        "-n",
        "100",
        "--state-dir",
        str(state),
    )
    events = [json.loads(line) for line in shown.splitlines()]
    assert {event["role"] for event in events} == {"recursive"}
    assert {event["kind"] for event in events} == {"query", "upstream"}
    assert all(event["upstream_family"] == 6 for event in events if event["kind"] == "upstream")


def test_stale_answers_bridge_an_outage(internet, resolver) -> None:
    port, _state = resolver()
    assert "2001:db8:ff::80" in internet.dig("www.example.com", "AAAA", port=port)
    internet.drop("meta l4proto udp th dport 53")
    try:
        answer = internet.dig("nx2.example.org", "AAAA", port=port)
        assert status(answer) == "SERVFAIL"
        assert "2001:db8:ff::80" in internet.dig("www.example.com", "AAAA", port=port)
    finally:
        internet.restore()


def test_outsiders_are_refused_with_a_reason(internet, resolver) -> None:
    internet.run("ip", "addr", "add", "2001:db8:99::1/128", "dev", "lo")
    _port, _ = resolver("--listen", "[2001:db8:99::1]:5399")
    answer = internet.dig("www.example.com", "AAAA", port=5399, at="2001:db8:99::1")
    assert status(answer) == "REFUSED"
    assert "EDE: 18" in answer


def test_a_negative_trust_anchor_is_set_kept_and_ended(internet, resolver) -> None:
    from quada.server.control import command

    port, state_dir = resolver()
    socket = state_dir / "control.sock"
    assert status(internet.dig("www.broken.com", "AAAA", port=port)) == "SERVFAIL"
    held = command(socket, "distrust", name="broken.com.", for_s=600)
    assert list(held) == ["broken.com."]
    answer = internet.dig("www.broken.com", "AAAA", port=port)
    assert status(answer) == "NOERROR"
    assert "ad" not in flags(answer)
    assert command(socket, "distrust", name="broken.com.", for_s=0) == {}
    assert status(internet.dig("www.broken.com", "AAAA", port=port)) == "SERVFAIL"


def test_the_running_resolver_says_which_zones_ipv6_alone_does_not_reach(
    internet, resolver
) -> None:
    from quada.server.control import command

    port, state_dir = resolver()
    for name in ("www.example.com", "www.four.net"):
        assert "2001:db8:ff::" in internet.dig(name, "AAAA", port=port)
    rows = command(state_dir / "control.sock", "shadow")
    assert [(row["zone"], row["verdict"], row["servers"]) for row in rows] == [
        ("four.net.", "no", {"ns.four.net.": "no AAAA glue"})
    ]


PEER_PORTS = {"unbound": 5390, "named": 5391, "kresd": 5392, "pdns_recursor": 5393}


def peer_command(internet, peer: str) -> list[str]:
    """Configure another resolver for the lab; give the command that runs it."""
    place = internet.place / f"{peer}-peer"
    place.mkdir()
    config, port = place / "config", PEER_PORTS[peer]
    anchor = " ".join(internet.anchor.read_text().split()[3:])
    tag, algorithm, kind, *digest = anchor.split()
    if peer == "unbound":
        config.write_text(
            f"server:\n  interface: ::1@{port}\n  do-daemonize: no\n  username: \"\"\n"
            f"  chroot: \"\"\n  directory: {place}\n  pidfile: {place}/pid\n  use-syslog: no\n"
            f"  root-hints: {internet.hints}\n  trust-anchor-file: {internet.anchor}\n"
            "  access-control: ::1 allow\n  local-zone: \"test.\" nodefault\n"
            "  do-not-query-localhost: no\nremote-control:\n  control-enable: no\n"
        )  # fmt: skip
        return ["unbound", "-d", "-c", str(config)]
    if peer == "named":
        config.write_text(
            f'options {{ directory "{place}"; listen-on {{ none; }};'
            f" listen-on-v6 port {port} {{ ::1; }}; recursion yes; empty-zones-enable no;"
            f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
            f'trust-anchors {{ . static-ds {tag} {algorithm} {kind} "{"".join(digest)}"; }};\n'
            f'zone "." {{ type hint; file "{internet.hints}"; }};\n'
        )
        return ["named", "-g", "-n", "1", "-c", str(config)]
    if peer == "kresd":
        config.write_text(
            f"net.listen('::1', {port}, {{ kind = 'dns' }})\nmodules = {{ 'hints > iterate' }}\n"
            f"hints.root_file('{internet.hints}')\n"
            f"trust_anchors.remove('.')\ntrust_anchors.add('. IN DS {anchor}')\n"
        )
        return ["kresd", "-n", "-q", "-c", str(config), str(place)]
    config.write_text(f"clearTA()\naddTA('.', \"{anchor}\")\n")
    return [
        "pdns_recursor", "--config-dir=/nonexistent", "--local-address=::1",
        f"--local-port={port}", f"--hint-file={internet.hints}", f"--socket-dir={place}",
        "--threads=1", "--daemon=no", "--dnssec=validate", f"--lua-config-file={config}",
        "--query-local-address=::,0.0.0.0", "--dont-query=", "--disable-syslog",
        "--security-poll-suffix=",
    ]  # fmt: skip


@pytest.mark.parametrize("peer", list(PEER_PORTS))
def test_the_same_questions_get_the_same_answers_from_others(internet, port, peer) -> None:
    other = PEER_PORTS[peer]
    internet.popen(peer_command(internet, peer), f"{peer}.log")
    internet.wait_for("example.com", "::1", other)
    questions = [
        ("www.example.com", "AAAA"), ("www.example.com", "MX"), ("nx.example.com", "AAAA"),
        ("alias.example.com", "AAAA"), ("x.wild.example.com", "AAAA"), ("www.broken.com", "AAAA"),
        ("www.broken.com", "A"), ("www.example.net", "AAAA"), ("www.glueless.net", "AAAA"),
        ("ent.example.com", "A"), ("com", "DS"), ("example.com", "DNSKEY"), ("net", "DS"),
    ]  # fmt: skip

    def facts(answer: str) -> tuple[str, bool, list[str]]:
        records = [
            line.split(None, 4)[-1]
            for line in answer.splitlines()
            if line and not line.startswith(";") and "RRSIG" not in line
        ]
        return status(answer), "ad" in flags(answer), sorted(records)

    for qname, rdtype in questions:
        options = ("+dnssec", "+noauthority", "+noadditional")
        ours = facts(internet.dig(qname, rdtype, *options, port=port))
        theirs = facts(internet.dig(qname, rdtype, *options, port=other))
        assert ours == theirs, (qname, rdtype)
