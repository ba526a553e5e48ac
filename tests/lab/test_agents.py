"""Two vantage points, one of them without IPv4, give a matrix of verdicts."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quada.store.accounts import FILE, Accounts
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import read_zone

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
HERE, THERE = "2001:db8:aa::1", "2001:db8:aa::2"
LEAF6 = "2001:db8:3::53"
NAME, WEB = "www.example.com", "2001:db8:7::80"


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(internet):
    """A quada server with API over HTTPS inside, and a namespace beside that has IPv6 alone."""
    other = f"{internet.name}-six"
    sh("ip", "netns", "add", other)
    try:
        sh(
            "ip",
            "link",
            "add",
            "six0",
            "netns",
            internet.name,
            "type",
            "veth",
            "peer",
            "name",
            "six1",
            "netns",
            other,
        )
        for name, link, address in ((internet.name, "six0", HERE), (other, "six1", THERE)):
            sh("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
            sh(
                "ip",
                "netns",
                "exec",
                name,
                "ip",
                "addr",
                "add",
                f"{address}/64",
                "dev",
                link,
                "nodad",
            )
            sh("ip", "netns", "exec", name, "ip", "link", "set", link, "up")
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "add", "default", "via", HERE)
        state = internet.place / "agents"
        state.mkdir()
        config = internet.place / "agents.toml"
        config.write_text(
            f'version = 1\n[authority]\nlisten = ["[{HERE}]:5399"]\n[tls]\nnames = ["{HERE}"]\n'
            f'[api]\nlisten = ["[{HERE}]:8443"]\ntls = true\n[server]\nstate_dir = "{state}"\n'
        )
        store = ZoneStore.open(state / "zones.db")
        store.create(
            read_zone("@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 AAAA ::1\n", b"\x04mine\x00"),
            Author("test"),
            1,
        )
        store.close()
        accounts = Accounts.open(state / FILE)
        for name, scope in (
            ("admin", "admin"),
            ("both", "agent"),
            ("six", "agent"),
            ("strict", "agent"),
            ("stranger", "agent"),
            ("near", "agent"),
            ("far", "agent"),
        ):
            (internet.place / f"{name}.token").write_text(accounts.add_token(name, (scope,), 1))
        accounts.close()
        internet.popen(
            [sys.executable, "-m", "quada", "serve", "--config", str(config)], "agents.log"
        )
        internet.wait_for("mine", HERE, 5399)
        ca = state / "tls" / "chain.pem"
        wait_for_agents(internet, ca)  # the API itself: an agent that finds nobody waits a second
        yield internet, other, ca
    finally:
        sh("ip", "netns", "del", other)


def agent(namespace: str, place, token: str, ca, *options: str) -> subprocess.Popen:
    with (place / f"agent-{token}.log").open("wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", "quada", "agent", "--server",
             f"https://[{HERE}]:8443", "--token-file", str(place / f"{token}.token"), "--ca-file", str(ca),
             *options],
            stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


def doctor(internet, ca, name: str, *options: str) -> dict:
    said = internet.run(
        sys.executable, "-m", "quada", "doctor", name, "--lab", "--json", "--root-hints", str(internet.hints),
        "--trust-anchor", str(internet.anchor), "--server", f"https://[{HERE}]:8443",
        "--token-file", str(internet.place / "admin.token"), "--ca-file", str(ca), *options, timeout_s=120,
    )  # fmt: skip
    return json.loads(said)


def wait_for_agents(internet, ca, *wanted: str) -> None:
    """Wait until these agents have called in, by asking the API and not by looking at domains."""
    token = (internet.place / "admin.token").read_text().strip()
    deadline = time.monotonic() + 60
    while True:
        said = internet.run("curl", "-s", "-g", "--cacert", str(ca), "-H", f"Authorization: Bearer {token}",
                            f"https://[{HERE}]:8443/quada/v1/agents")  # fmt: skip
        found = json.loads(said) if said.startswith("[") else []
        if {one["name"] for one in found} >= set(wanted):
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_each_vantage_point_gives_its_own_verdict(server) -> None:
    internet, other, ca = server
    running = [agent(internet.name, internet.place, "both", ca, "--lab"),
               agent(other, internet.place, "six", ca, "--lab")]  # fmt: skip
    try:
        wait_for_agents(internet, ca, "both", "six")
        told = doctor(internet, ca, "example.com")
        assert set(told["vantages"]) == {"local", "both", "six"}
        rows = {(row["code"], row["subject"]): row["verdicts"] for row in told["matrix"]}
        assert rows["vantage-ipv6", "vantage"] == {"local": "PASS", "both": "PASS", "six": "PASS"}
        assert rows["vantage-ipv4", "vantage"] == {
            "local": "PASS",
            "both": "PASS",
            "six": "UNKNOWN",
        }
        assert rows["resolves-ipv6-only", "example.com."] == {
            "local": "PASS",
            "both": "PASS",
            "six": "PASS",
        }
        assert rows["vantage-mtu", "vantage"] == {"local": "PASS", "both": "PASS", "six": "PASS"}
        # What fails on the path of one vantage point alone is seen as that.
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "add", "blackhole", f"{LEAF6}/128")
        told = doctor(internet, ca, "example.com", "--vantage", "both", "--vantage", "six")
        rows = {(row["code"], row["subject"]): row["verdicts"] for row in told["matrix"]}
        dead = next(said for (code, subject), said in rows.items()
                    if code in {"server-udp-ipv6", "server-dead"} and said.get("six") == "FAIL")  # fmt: skip
        assert dead.get("both") in {None, "PASS"}
        # So are full packets that one path loses and does not say so.
        internet.drop(f"ip6 daddr {THERE} icmpv6 type echo-reply meta length > 1400")
        told = doctor(internet, ca, "example.com", "--vantage", "both", "--vantage", "six")
        rows = {(row["code"], row["subject"]): row["verdicts"] for row in told["matrix"]}
        assert rows["vantage-mtu", "vantage"] == {"both": "PASS", "six": "WARN"}
    finally:
        internet.restore()
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "flush", "type", "blackhole")
        for process in running:
            process.terminate()
            process.wait(15)


def test_a_resolver_that_recurses_for_strangers_is_found_from_an_agent(server) -> None:
    internet, other, ca = server
    is_open, is_half, is_closed = (f"2001:db8:5::{n}" for n in (5, 6, 7))
    double = str(Path(__file__).with_name("resolver_double.py"))
    for address in (is_open, is_half, is_closed):
        internet.run("ip", "addr", "add", f"{address}/128", "dev", "lo")
    internet.popen([sys.executable, double, "made", is_open], "open.log")
    internet.popen([sys.executable, double, "filter", is_half], "half.log")
    config = internet.place / "closed.toml"
    config.write_text(
        f'version = 1\n[resolver]\nlisten = ["[{is_closed}]:53"]\nallow = ["::1/128"]\n'
        f'root_hints = "{internet.hints}"\n[server]\nstate_dir = "{internet.place}/closed"\nworkers = 1\n'
    )
    internet.popen([sys.executable, "-m", "quada", "serve", "--config", str(config)], "closed.log")
    internet.wait_for("localhost", is_open)
    internet.wait_for("localhost", is_half)
    internet.wait_for("localhost", is_closed)
    running = agent(other, internet.place, "stranger", ca, "--lab")
    try:
        wait_for_agents(internet, ca, "stranger")
        said = internet.run(
            sys.executable, "-m", "quada", "doctor", "resolver", "--json", f"--resolver={is_open}",
            f"--resolver={is_half}", f"--resolver={is_closed}", "--use=native=www.example.com", "--vantage=stranger",
            "--server", f"https://[{HERE}]:8443", "--ca-file", str(ca),
            "--token-file", str(internet.place / "admin.token"), timeout_s=60,
        )  # fmt: skip
    finally:
        running.terminate()
        running.wait(15)
    found = json.loads(said)["vantages"]["stranger"]
    assert {(one["code"], one["subject"]): one["verdict"] for one in found} == {
        ("resolver-open", is_open): "FAIL", ("resolver-open", is_half): "WARN", ("resolver-open", is_closed): "PASS",
    }, said  # fmt: skip


def acme_check(internet, ca, webroot: Path, *options: str) -> dict:
    said = internet.run(
        sys.executable, "-m", "quada", "acme", "check", NAME, "--lab", "--json", "--webroot", str(webroot),
        "--resolve", f"{NAME}={WEB}", "--server", f"https://[{HERE}]:8443", "--ca-file", str(ca),
        "--token-file", str(internet.place / "admin.token"), "--vantage=near", "--vantage=far", *options,
        timeout_s=90,
    )  # fmt: skip
    return json.loads(said)


@pytest.fixture
def perspectives(server):
    """A web server inside, and two agents as perspectives of it: one beside it, one elsewhere."""
    internet, other, ca = server
    webroot = internet.place / "webroot"
    webroot.mkdir(exist_ok=True)
    internet.run("ip", "addr", "add", f"{WEB}/128", "dev", "lo")
    web = internet.popen([sys.executable, "-m", "http.server", "80", "--bind", WEB, "--directory",
                          str(webroot)], "web.log")  # fmt: skip
    running = [agent(internet.name, internet.place, "near", ca, "--lab"),
               agent(other, internet.place, "far", ca, "--lab")]  # fmt: skip
    try:
        wait_for_agents(internet, ca, "near", "far")
        yield webroot
    finally:
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "flush", "type", "blackhole")
        for process in (*running, web):
            process.terminate()
            process.wait(15)


def test_agents_are_perspectives_of_a_validation(server, perspectives) -> None:
    internet, other, ca = server
    told = acme_check(internet, ca, perspectives)
    assert set(told["perspectives"]) == {"near", "far"}
    said = next(one for one in told["findings"] if one["code"] == "perspectives-differ")
    assert said["verdict"] == "PASS", told
    sh("ip", "netns", "exec", other, "ip", "-6", "route", "add", "blackhole", f"{WEB}/128")
    told = acme_check(internet, ca, perspectives)
    said = next(one for one in told["findings"] if one["code"] == "perspectives-differ")
    assert said["verdict"] == "WARN"  # one of two may fail
    assert said["message"].endswith("; far: not"), said


@pytest.mark.peers
def test_a_certificate_is_refused_where_the_agent_elsewhere_cannot_fetch(
    server, perspectives
) -> None:
    if shutil.which("lego") is None:
        pytest.skip("lego is missing")
    internet, other, ca = server
    state, log = internet.place / "ca", internet.place / "ca.log"
    internet.popen(
        [sys.executable, "-u", "-m", "quada", "acme", "ca", "--listen", "[::1]:14000", "--lab",
         "--state-dir", str(state), "--resolve", f"{NAME}={WEB}", "--server", f"https://[{HERE}]:8443",
         "--ca-file", str(ca), "--token-file", str(internet.place / "admin.token"), "--vantage=far"],
        "ca.log",
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while "rehearsal CA ready" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)

    def lego(account: str) -> str:
        return internet.run(
            "env", f"LEGO_CA_CERTIFICATES={state / 'root.pem'}", "lego", "--server",
            "https://[::1]:14000/dir", "--path", str(internet.place / account), "-a", "-m",
            "a@example.com", "-d", NAME, "--http", "--http.webroot", str(perspectives), "run", timeout_s=60,
        )  # fmt: skip

    sh("ip", "netns", "exec", other, "ip", "-6", "route", "add", "blackhole", f"{WEB}/128")
    assert "During secondary validation, from far" in lego("one")
    sh("ip", "netns", "exec", other, "ip", "-6", "route", "flush", "type", "blackhole")
    assert "Server responded with a certificate" in lego("two")


def test_an_agent_keeps_its_own_limits(server) -> None:
    internet, _, ca = server
    running = agent(
        internet.name, internet.place, "strict", ca
    )  # no --lab: documentation addresses are refused; the other agents are listed for a minute more
    try:
        wait_for_agents(internet, ca, "strict")
        told = doctor(internet, ca, "example.com", "--vantage", "strict")
        rows = {row["code"]: row["verdicts"]["strict"] for row in told["matrix"]}
        assert rows["vantage-ipv6"] == rows["vantage-ipv4"] == "UNKNOWN"
        assert "FAIL" not in {v for k, v in rows.items() if k.startswith("server")}
    finally:
        running.terminate()
        running.wait(15)


def test_a_token_of_another_scope_is_no_agent(server) -> None:
    internet, _, ca = server
    running = agent(internet.name, internet.place, "admin", ca)
    assert running.wait(30) == 2
    assert "does not take the token" in (internet.place / "agent-admin.log").read_text()
    said = doctor(internet, ca, "example.com", "--vantage", "nobody")
    assert "no vantage point" in said["fault"]["message"]
