"""The doctor in a small internet with planted faults: the codes planted appear, and no others."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

LEAF6, LEAF4 = "2001:db8:3::53", "192.0.2.4"
LEAF2 = "2001:db8:4::53"
NET6 = "2001:db8:2::53"


def cut(zone: str, *, glue6: str = LEAF6, servers: str = "ns0") -> str:
    """What the parent says: NS, IPv4 glue, and IPv6 glue where there is some."""
    lines = "".join(
        f"{zone} NS {server}.{zone}\n{server}.{zone} A {LEAF4}\n" for server in servers.split()
    )
    return lines + "".join(f"{server}.{zone} AAAA {glue6}\n" for server in servers.split() if glue6)


def own(*, six: str = LEAF6) -> str:
    """What the zone says of itself: one server, a PTR-less host is not among it."""
    return f"@ NS ns0\nns0 A {LEAF4}\n" + (f"ns0 AAAA {six}\n" if six else "")


# Every planted zone has one server, and so these two by necessity.
ALONE = {"ns-ipv6-count", "ns-diversity", "single-point"}
PLANTED = {
    "well.net.": (cut("well.net."), own() + "@ A 192.0.2.4\nal CNAME ns0\n"),
    "sixzone.net.": (
        f"sixzone.net. NS ns0.sixzone.net.\nns0.sixzone.net. AAAA {LEAF6}\n",
        f"@ NS ns0\nns0 AAAA {LEAF6}\n@ A 192.0.2.4\n",
    ),
    "onalias.net.": (
        cut("onalias.net.") + "onalias.net. NS al.well.net.\n",
        own() + "@ NS al.well.net.\n",
    ),
    "noglue.net.": (cut("noglue.net.", glue6=""), own()),
    "oldglue.net.": (cut("oldglue.net.", glue6="2001:db8:4::53"), own()),
    "glueonly.net.": (cut("glueonly.net."), own(six="")),
    "nsdiff.net.": (cut("nsdiff.net."), own() + f"@ NS ns9\nns9 AAAA {LEAF6}\n"),
    "v4zone.net.": (cut("v4zone.net.", glue6=""), own(six="")),
    "openxfr.net.": (cut("openxfr.net."), own()),
    "hints.net.": (cut("hints.net."), own() + "@ HTTPS 1 . ipv4hint=192.0.2.4\n"),
    "onv4zone.net.": ("onv4zone.net. NS ns0.v4zone.net.\n", "@ NS ns0.v4zone.net.\n"),
    "ring1.net.": ("ring1.net. NS ns.ring2.net.\n", "@ NS ns.ring2.net.\nns AAAA 2001:db8:3::53\n"),
    "ring2.net.": ("ring2.net. NS ns.ring1.net.\n", "@ NS ns.ring1.net.\nns AAAA 2001:db8:3::53\n"),
}
# A server of our own with one fault a zone, at addresses of its own.
FAULTY6, FAULTY4 = "2001:db8:6::53", "192.0.2.6"
FAULTS = {
    "noedns.net": {"edns", "aaaa-missing"}, "bigdrop.net": {"large-answers", "aaaa-missing"},
    "noaaaa.net": {"aaaa-dropped", "resolves-ipv6-only"}, "lowered.net": {"case-altered", "aaaa-missing"},
    "decent.net": {"aaaa-missing"}, "bigfrag.net": {"fragments-dropped", "aaaa-missing"},
    "bigsend.net": {"udp-too-large", "aaaa-missing"}, "bigtcp.net": {"aaaa-missing"},
    "oldedns.net": {"edns-unknown", "aaaa-missing"}, "slowsix.net": {"server-slow-ipv6", "aaaa-missing"},
    "lateaaaa.net": {"aaaa-slow", "aaaa-missing"}, "twofaced.net": {"data-differs", "ptr-missing"},
}  # fmt: skip
HOSTILE = ("garbage.net", "wrongid.net", "loop.net", "drip.net", "flood.net")
for _name in (*FAULTS, *HOSTILE):
    PLANTED[f"{_name}."] = (
        f"{_name}. NS ns0.{_name}.\nns0.{_name}. AAAA {FAULTY6}\nns0.{_name}. A {FAULTY4}\n",
        own(),
    )
_MANY = " ".join(f"name-server-with-a-long-name-{n:02}" for n in range(12))
PLANTED["fat.net."] = (
    cut("fat.net.", servers=_MANY),
    "".join(f"@ NS {one}\n{one} A {LEAF4}\n{one} AAAA {LEAF6}\n" for one in _MANY.split()),
)
_MORE = " ".join(f"name-server-with-quite-a-long-name-{n:02}-of-them-all" for n in range(26))
PLANTED["huge.net."] = (
    cut("huge.net.", servers=_MORE),
    "".join(f"@ NS {one}\n{one} A {LEAF4}\n{one} AAAA {LEAF6}\n" for one in _MORE.split()),
)
PLANTED["long.net."] = (
    cut("long.net."),
    own() + "".join(f'@ TXT "{n:02} {"x" * 240}"\n' for n in range(24)),
)
EXPECTED = {
    "long.net": {*ALONE},
    "huge.net": {"referral-size", "ns-diversity"},
    "fat.net": {"referral-size", "ns-diversity"},
    "example.com": set(),
    "www.broken.com": {"bogus-aaaa", "ptr-missing", *ALONE},
    "well.net": {"aaaa-missing", *ALONE},
    # Reachable over IPv6 by nobody who starts from the parent.
    "noglue.net": {"glue-ipv6-missing", "resolves-ipv6-only", "ns-ipv6-count", "ns-diversity"},
    "oldglue.net": {
        "glue-differs",
        "server-udp-ipv6",
        "server-tcp-ipv6",
        "resolves-ipv6-only",
        "ns-ipv6-count",
        "ns-diversity",
    },
    "glueonly.net": {"glue-only", "ns-ipv6-count", "single-point"},
    "nsdiff.net": {"ns-sets-differ", *ALONE},
    "v4zone.net": {"ns-ipv6-count", "resolves-ipv6-only"},
    "openxfr.net": {"transfer-open", *ALONE},
    "hints.net": {"https-hints", *ALONE},
    "onalias.net": {"ns-target", "ns-diversity"},
    "sixzone.net": {"aaaa-missing", *ALONE},
    "onv4zone.net": {"ns-ipv6-count", "resolves-ipv6-only"},
    "ring1.net": {"unresolvable"},
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory, internet_with):
    return internet_with(tmp_path_factory.mktemp("planted"), PLANTED)


def run_doctor(lab, name: str, *options: str) -> tuple[dict[str, str], dict]:
    """Give the codes that fail or warn, and all that was said."""
    said = lab.run(
        sys.executable, "-m", "quada", "doctor", name, "--lab", "--json", "--root-hints",
        str(lab.hints), "--trust-anchor", str(lab.anchor), *options, timeout_s=100,
    )  # fmt: skip
    told = json.loads(said)
    bad = {
        one["code"]: one["verdict"]
        for one in told["findings"]
        if one["verdict"] in ("FAIL", "WARN")
    }
    return bad, told


@pytest.fixture(scope="module")
def faulty(planted):
    """Start the server with faults inside; gives what starts it anew in another mode."""
    for address in (f"{FAULTY6}/128", f"{FAULTY4}/32"):
        planted.run("ip", "addr", "add", address, "dev", "lo")
    running: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> None:
        for process in running:
            process.terminate()
            process.wait(10)
        script = str(Path(__file__).parent / "faulty.py")
        running[:] = [planted.popen([sys.executable, script, mode, FAULTY6, FAULTY4], "faulty.log")]
        planted.wait_for("decent.net", FAULTY6)

    start("plain")
    return start


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_server_is_found_and_nothing_else(planted, faulty, name: str) -> None:
    bad, told = run_doctor(planted, name)
    assert set(bad) == FAULTS[name] | ALONE, json.dumps(told, indent=1)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_neither_holds_nor_breaks_a_run(planted, faulty, name: str) -> None:
    began = time.monotonic()
    bad, told = run_doctor(planted, name)
    assert time.monotonic() - began < 60
    assert "FAIL" in bad.values(), told


def test_the_size_from_which_answers_are_lost_is_bounded(planted, faulty) -> None:
    _, told = run_doctor(planted, "bigfrag.net")
    said = next(one for one in told["findings"] if one["code"] == "fragments-dropped")
    offers = [int(word) for word in re.findall(r"where (\d+) .* from (\d+) ", said["message"])[0]]
    size = int(re.findall(r"\((\d+) octets over TCP", said["message"])[0])
    assert offers[0] < size <= offers[1]
    assert offers[1] - offers[0] <= 64


def test_a_server_that_recurses_for_strangers_is_found(planted, faulty) -> None:
    faulty("recurse")
    try:
        bad, told = run_doctor(planted, "decent.net")
    finally:
        faulty("plain")
    assert set(bad) == {"open-recursion", "aaaa-missing", *ALONE}
    said = next(one for one in told["findings"] if one["code"] == "open-recursion")
    assert said["message"].endswith("over IPv6 and IPv4")


def test_a_server_that_refers_to_the_root_is_found(planted, faulty) -> None:
    faulty("upward")
    try:
        bad, _ = run_doctor(planted, "decent.net")
    finally:
        faulty("plain")
    assert set(bad) == {"upward-referral", "aaaa-missing", *ALONE}


def test_a_connection_that_stands_still_at_large_segments_is_found(planted, faulty) -> None:
    planted.drop(f"ip6 saddr {FAULTY6} tcp sport 53 meta length > 1400")
    try:
        bad, told = run_doctor(planted, "bigtcp.net")
    finally:
        planted.restore()
    assert set(bad) == {"tcp-stalls", "aaaa-missing", *ALONE}
    said = next(one for one in told["findings"] if one["code"] == "tcp-stalls")
    assert said["message"] == "over TCP a short answer comes, and DNSKEY does not"


def test_the_segments_that_a_server_takes_are_told(planted, faulty) -> None:
    """Loopback takes segments of any size; one that clamps them is as it should be."""
    _, told = run_doctor(planted, "decent.net")
    assert verdicts(told, "segment-size") == {"INFO"}
    faulty("clamped")
    try:
        _, told = run_doctor(planted, "decent.net")
    finally:
        faulty("plain")
    assert verdicts(told, "segment-size") == {"PASS"}, told


def test_how_long_a_message_came_whole_over_tcp_is_told(planted) -> None:
    _, told = run_doctor(planted, "long.net")
    assert verdicts(told, "tcp-large") == {"PASS"}, told
    _, told = run_doctor(planted, "well.net")
    assert verdicts(told, "tcp-large") == {"INFO"}, told


def test_a_machine_that_is_a_server_of_the_domain_says_so(planted) -> None:
    _, told = run_doctor(planted, "well.net")
    said = next(one for one in told["findings"] if one["code"] == "vantage-own")
    assert said["verdict"] == "INFO"
    assert f"{LEAF6} and {LEAF4}" in said["message"]


def verdicts(told: dict, code: str) -> set[str]:
    return {one["verdict"] for one in told["findings"] if one["code"] == code}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_is_found_and_nothing_else(planted, name: str) -> None:
    bad, told = run_doctor(planted, name)
    assert set(bad) == EXPECTED[name], json.dumps(told, indent=1)


def test_the_smallest_cut_names_who_must_act(planted) -> None:
    _, told = run_doctor(planted, "onv4zone.net")
    finding = next(one for one in told["findings"] if one["code"] == "resolves-ipv6-only")
    assert "ns0.v4zone.net." in finding["message"]
    assert any(
        line.startswith("v4zone.net.: ns0.v4zone.net. has no usable IPv6")
        for line in finding["evidence"]
    )


def test_servers_dead_over_ipv6_alone_are_an_ipv6_finding(planted) -> None:
    planted.drop(f"ip6 daddr {LEAF6}")
    planted.drop(f"ip6 daddr {LEAF2}")
    try:
        bad, _ = run_doctor(planted, "example.com")
    finally:
        planted.restore()
    assert set(bad) == {"ns-ipv6-count", "server-udp-ipv6", "server-tcp-ipv6", "resolves-ipv6-only"}


def test_a_server_dead_over_ipv4_alone_is_a_warning(planted) -> None:
    planted.drop("ip daddr 192.0.2.5")
    try:
        bad, _ = run_doctor(planted, "example.com")
    finally:
        planted.restore()
    assert bad == {"server-udp-ipv4": "WARN"}


def test_a_zone_without_ipv4_is_a_note(planted) -> None:
    _, told = run_doctor(planted, "sixzone.net")
    assert verdicts(told, "resolves-ipv4-only") == {"INFO"}


def test_a_referral_that_is_cut_and_does_not_come_over_tcp_is_found(planted) -> None:
    planted.drop(f"ip6 daddr {NET6} tcp dport 53")
    try:
        bad, told = run_doctor(planted, "huge.net")
    finally:
        planted.restore()
    assert set(bad) == {"referral-truncated", "resolves-ipv6-only", *EXPECTED["huge.net"]}, told


def test_tcp_blocked_over_ipv6_is_told_apart(planted) -> None:
    planted.drop(f"ip6 daddr {LEAF6} tcp dport 53")
    try:
        bad, _ = run_doctor(planted, "example.com")
    finally:
        planted.restore()
    assert set(bad) == {"server-tcp-ipv6"}


def test_a_server_dead_over_both_families_is_no_ipv6_finding(planted) -> None:
    planted.drop(f"ip6 daddr {LEAF2}")
    planted.drop("ip daddr 192.0.2.5")
    try:
        bad, _ = run_doctor(planted, "example.com")
    finally:
        planted.restore()
    assert "server-dead" in bad
    assert not {"server-udp-ipv6", "server-tcp-ipv6", "resolves-ipv6-only"} & set(bad)


def test_without_ipv6_here_ipv6_is_unknown_and_never_failed(planted) -> None:
    planted.drop("meta nfproto ipv6 udp dport 53")
    planted.drop("meta nfproto ipv6 tcp dport 53")
    try:
        bad, told = run_doctor(planted, "example.com")
    finally:
        planted.restore()
    assert not bad
    unknown = {one["code"] for one in told["findings"] if one["verdict"] == "UNKNOWN"}
    assert {"vantage-ipv6", "ns-ipv6-count", "resolves-ipv6-only"} <= unknown


def test_a_zone_is_checked_before_it_is_delegated(planted) -> None:
    bad, told = run_doctor(
        planted, "well.net", f"--ns=ns0.well.net/{LEAF6}", f"--ns=ns0.well.net/{LEAF4}"
    )
    assert told["zone"] == "well.net."
    assert "glue-ipv6-missing" not in bad
    bad, _ = run_doctor(planted, "well.net", f"--ns=ns0.well.net/{LEAF4}")
    assert "glue-ipv6-missing" in bad


def test_a_kept_observation_is_judged_the_same_again(planted, tmp_path) -> None:
    kept = tmp_path / "seen.json"
    bad, _ = run_doctor(planted, "www.broken.com", f"--save={kept}")
    again, _ = run_doctor(planted, "", f"--replay={kept}")
    assert again == bad


def test_the_shadow_report_names_zones_and_servers(planted, tmp_path) -> None:
    names = tmp_path / "names"
    names.write_text("example.com\nv4zone.net\nonv4zone.net\nring1.net\n")
    said = planted.run(
        sys.executable, "-m", "quada", "shadow", str(names), "--json", "--root-hints", str(planted.hints),
        timeout_s=100,
    )  # fmt: skip
    rows = {row["name"]: row for row in json.loads(said)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "example.com.": "yes", "v4zone.net.": "no", "onv4zone.net.": "no", "ring1.net.": "neither",
    }  # fmt: skip
    assert rows["onv4zone.net."]["cuts"] == [["ns0.v4zone.net."]]
    assert rows["onv4zone.net."]["operators"] == ["v4zone.net."]


def test_graphviz_draws_what_a_name_depends_on_and_who_runs_it(planted, tmp_path) -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    text, picture = tmp_path / "graph.dot", tmp_path / "graph.svg"
    run_doctor(planted, "onv4zone.net", f"--dot={text}", f"--svg={picture}")
    assert "run by v4zone.net." in text.read_text()
    drawn = picture.read_text()
    assert drawn.startswith("<svg")
    assert "Generated by graphviz" in drawn or "graph0" in drawn
    assert "onv4zone.net." in drawn
