"""The incident checklist against planted faults: the right cause comes first."""

import json
import sys
import time

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

LEAF6, LEAF4, LEAF2 = "2001:db8:3::53", "192.0.2.4", "2001:db8:4::53"


def zone(name: str, *, glue6: str = LEAF6, six: str = LEAF6, more: str = "") -> tuple[str, str]:
    """What net. says of a zone with one server, and what it says itself."""
    parent = f"{name} NS ns0.{name}\nns0.{name} A {LEAF4}\n" + (
        f"ns0.{name} AAAA {glue6}\n" if glue6 else ""
    )
    return parent, f"@ NS ns0\nns0 A {LEAF4}\n" + (f"ns0 AAAA {six}\n" if six else "") + more


PLANTED = {
    "well.net.": zone("well.net.", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"),
    "noglue.net.": zone("noglue.net.", glue6="", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"),
    "oldglue.net.": zone(
        "oldglue.net.", glue6=LEAF2, more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"
    ),
    "v4zone.net.": zone(
        "v4zone.net.", glue6="", six="", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"
    ),
    "onlya.net.": zone("onlya.net.", more="@ A 192.0.2.9\n"),
    "ring1.net.": ("ring1.net. NS ns.ring2.net.\n", "@ NS ns.ring2.net.\n"),
    "ring2.net.": ("ring2.net. NS ns.ring1.net.\n", "@ NS ns.ring1.net.\n"),
}
FAULTS = [
    # name, packets to drop, the cause that is right
    ("well.net", [], "none-found"),
    ("www.example.com", [], "none-found"),
    ("www.broken.com", [], "aaaa-bogus"),
    ("noglue.net", [], "glue-missing"),
    ("oldglue.net", [], "glue-stale"),
    ("v4zone.net", [], "servers-without-ipv6"),
    ("onlya.net", [], "aaaa-missing"),
    ("ring1.net", [], "zone-unresolvable"),
    ("www.example.com", [f"ip6 daddr {LEAF6}", f"ip6 daddr {LEAF2}"], "ipv6-unreachable"),
    ("well.net", [f"ip6 daddr {LEAF6}"], "ipv6-unreachable"),
    (
        "www.example.com",
        [f"ip6 daddr {LEAF6} tcp dport 53", f"ip6 daddr {LEAF2} tcp dport 53"],
        "tcp-blocked",
    ),
    ("www.example.com", [f"ip6 daddr {LEAF2}", "ip daddr 192.0.2.5"], "server-dead"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, internet_with):
    return internet_with(tmp_path_factory.mktemp("incidents"), PLANTED)


def run_incident(lab, name: str, drops: list[str]) -> dict:
    for drop in drops:
        lab.drop(drop)
    try:
        said = lab.run(
            sys.executable, "-m", "quada", "incident", name, "--lab", "--json", "--root-hints",
            str(lab.hints), "--trust-anchor", str(lab.anchor), timeout_s=120,
        )  # fmt: skip
    finally:
        if drops:
            lab.restore()
    return json.loads(said)


def test_the_right_cause_comes_first_in_nine_of_ten(lab) -> None:
    named = [
        (name, right, run_incident(lab, name, drops)["causes"][0]["code"])
        for name, drops, right in FAULTS
    ]
    wrong = [one for one in named if one[1] != one[2]]
    assert len(wrong) <= len(FAULTS) // 10, wrong


def test_the_steps_come_in_order_with_their_commands(lab) -> None:
    told = run_incident(lab, "www.broken.com", [])
    assert [step["title"] for step in told["steps"]] == [
        "authoritative answers", "IPv6 transport", "validation", "client discovery", "fallback masking", "blast radius",
    ]  # fmt: skip
    assert told["steps"][2]["verdict"] == "FAIL"
    assert told["steps"][3]["verdict"] == "UNKNOWN"
    assert all(step["commands"] for step in told["steps"])


def test_the_web_process_walks_it_too_from_where_it_stands(lab, tmp_path) -> None:
    from quada.store.accounts import FILE, Accounts

    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[api]\nlisten = ["[::1]:8080"]\n'
        f'[resolver]\nroot_hints = "{lab.hints}"\ntrust_anchor = "{lab.anchor}"\n'
    )
    state = tmp_path / "state"
    accounts = Accounts.open(state / FILE)
    accounts.add_user("nobody", ("read",), 1)  # so that no first link is printed
    token = accounts.add_token("lab", ("read",), 1)
    accounts.close()
    served = lab.popen(
        [
            sys.executable, "-m", "quada", "serve", "--role", "authority", "--config", str(config),
            "--listen", "[::1]:5399", "--state-dir", str(state),
        ],
        "web",
    )  # fmt: skip
    ask = [
        "curl", "-s", "--retry", "40", "--retry-connrefused", "--retry-delay", "1", "-g",
        "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json",
    ]  # fmt: skip
    try:
        for name, right in (("www.broken.com", "aaaa-bogus"), ("well.net", "none-found")):
            body = json.dumps({"kind": "incident", "name": name})
            begun = lab.run(*ask, "-d", body, "http://[::1]:8080/quada/v1/runs", timeout_s=60)
            path = f"http://[::1]:8080/quada/v1/runs/{json.loads(begun)['id']}"
            deadline = time.monotonic() + 120
            told: dict = {}
            while not told.get("is_done"):
                assert time.monotonic() < deadline, told
                time.sleep(0.5)
                told = json.loads(lab.run(*ask, path))
            assert told["report"]["causes"][0]["code"] == right, told["report"]["causes"]
    finally:
        served.terminate()
        served.wait(20)
