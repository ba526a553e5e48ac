"""A pool whose members are out when vantage points agree: this server, and an agent elsewhere."""

import json
import os
import subprocess
import sys
import time

import pytest

from quada.store.accounts import FILE, Accounts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
HERE, THERE = "2001:db8:ab::1", "2001:db8:ab::2"
MEMBERS = ("2001:db8:3::53", "2001:db8:4::53")
PORT = 5451


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def watched(internet):
    """A server with API and two pools, and a namespace for an agent; gives both and the state."""
    other = f"{internet.name}-far"
    sh("ip", "netns", "add", other)
    try:
        sh("ip", "link", "add", "far0", "netns", internet.name, "type", "veth",
           "peer", "name", "far1", "netns", other)  # fmt: skip
        for name, link, address in ((internet.name, "far0", HERE), (other, "far1", THERE)):
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
        place = internet.place / "agreement"
        state = place / "state"
        state.mkdir(parents=True)
        (place / "zone").write_text(
            "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns AAAA 2001:db8::1\n"
            "both POOL both\neither POOL either\n"
        )
        pools = ""
        for name, agree in (("both", 2), ("either", 1)):
            pools += (
                f'[[pool]]\nname = "{name}"\nprobe = "dns"\ninterval_s = 0.3\ntimeout_s = 0.3\n'
            )
            pools += f'rise = 2\nfall = 2\nttl_s = 5\nvantage = ["local", "far"]\nagree = {agree}\n'
            pools += "".join(f'[[pool.member]]\naddress = "{address}"\n' for address in MEMBERS)
            pools += '[[pool.member]]\naddress = "192.0.2.4"\n'
        (place / "quada.toml").write_text(
            f'version = 1\n[server]\nworkers = 1\nstate_dir = "{state}"\n[tls]\nnames = ["{HERE}"]\n'
            f'[authority]\nlisten = ["[::1]:{PORT}"]\n[api]\nlisten = ["[{HERE}]:8444"]\ntls = true\n'
            f'[[zone]]\nname = "example.org"\nfile = "{place}/zone"\n{pools}'
        )
        accounts = Accounts.open(state / FILE)
        (place / "far.token").write_text(accounts.add_token("far", ("agent",), 1))
        accounts.close()
        command = [sys.executable, "-m", "quada", "serve", "--config", str(place / "quada.toml")]
        internet.popen(command, "agreement.log")
        internet.wait_for("example.org", "::1", PORT)
        yield internet, other, state
    finally:
        sh("ip", "netns", "del", other)


def agent(internet, other: str, state) -> subprocess.Popen:
    with (internet.place / "far-agent.log").open("wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", other, sys.executable, "-m", "quada", "agent", "--lab",
             "--server", f"https://[{HERE}]:8444", "--ca-file", str(state / "tls" / "chain.pem"),
             "--token-file", str(state.parent / "far.token")],
            stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


def addresses(internet, name: str) -> set[str]:
    return set(internet.dig(f"{name}.example.org", "AAAA", "+short", port=PORT).split())


def told(internet, state) -> dict[tuple[str, str], dict]:
    said = internet.run(
        sys.executable, "-m", "quada", "status", "--json", "--state-dir", str(state)
    )
    return {(one["pool"], one["address"]): one for one in json.loads(said)["pools"]}


def wait(what: str, condition) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def says(internet, state, pool: str, address: str) -> dict[str, bool | None]:
    row = told(internet, state)[pool, address]
    return {one["name"]: one["is_good"] for one in row["vantage"]}


def detail(internet, state, address: str) -> str:
    return told(internet, state)["either", address]["detail"]


def test_a_member_leaves_when_as_many_agree_as_are_wanted(watched) -> None:
    internet, other, state = watched
    dead, well = MEMBERS
    wait("local says well", lambda: says(internet, state, "both", dead)["local"])
    assert told(internet, state)["both", dead]["is_known"], "one who says well is enough for both"
    row = told(internet, state)["either", dead]
    assert (row["is_healthy"], row["is_known"]) == (True, False), "far might say that it is dead"
    wait("nobody has called in as far yet", lambda: "far: UNKNOWN" in detail(internet, state, dead))

    running = agent(internet, other, state)
    try:
        wait("far says well", lambda: says(internet, state, "both", dead)["far"])
        assert told(internet, state)["both", dead]["is_known"]
        row = told(internet, state)["either", "192.0.2.4"]
        assert (row["is_known"], row["is_healthy"]) == (False, True)
        assert "no route of that family" in row["detail"], "far has no IPv4: that is no fault"

        # Dead on the path from far alone: one of two.
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "add", "blackhole", f"{dead}/128")
        wait("one is enough for either", lambda: addresses(internet, "either") == {well})
        assert addresses(internet, "both") == {dead, well}

        # Dead from here too: both agree.
        internet.drop(f"ip6 daddr {dead}")
        wait("both agree", lambda: addresses(internet, "both") == {well})

        # Far goes away: who cannot tell neither brings it back nor takes others out.
        running.terminate()
        running.wait(15)
        wait("far is unknown", lambda: says(internet, state, "both", dead)["far"] is None)
        assert addresses(internet, "both") == {well}
        row = told(internet, state)["both", dead]
        assert (row["is_healthy"], row["is_known"]) == (False, False)

        internet.restore()
        wait("local says well again", lambda: says(internet, state, "both", dead)["local"])
        wait("not all agree that it is dead", lambda: addresses(internet, "both") == {dead, well})
    finally:
        internet.run("nft", "flush", "ruleset")
        sh("ip", "netns", "exec", other, "ip", "-6", "route", "flush", "type", "blackhole")
        if running.poll() is None:
            running.terminate()
            running.wait(15)
