"""Pools in the small internet: an address that stops answering leaves, and comes back."""

import json
import sys
import time

import pytest

pytestmark = pytest.mark.lab

MEMBERS = ("2001:db8:3::53", "2001:db8:4::53")


@pytest.fixture(scope="module")
def pooled(internet):
    """quada with a pool of the leaf servers, checked by DNS; gives port and state directory."""
    place = internet.place / "pools"
    place.mkdir()
    (place / "zone").write_text(
        "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns AAAA 2001:db8::1\n"
        'www POOL web\nwww TXT "beside"\nnone POOL absent\n'
    )
    members = "".join(f'[[pool.member]]\naddress = "{address}"\n' for address in MEMBERS)
    members += '[[pool.member]]\naddress = "192.0.2.4"\n'
    (place / "quada.toml").write_text(
        f'version = 1\n[server]\nworkers = 2\nstate_dir = "{place}/state"\n'
        f'[authority]\nlisten = ["[::1]:5450"]\n[[zone]]\nname = "example.org"\n'
        f'file = "{place}/zone"\n[[pool]]\nname = "web"\nprobe = "dns"\ninterval_s = 0.2\n'
        f"timeout_s = 0.2\nrise = 2\nfall = 2\nttl_s = 5\n{members}"
    )
    internet.popen(
        [
            sys.executable,
            "-m",
            "quada",
            "serve",
            "--role",
            "authority",
            "--config",
            str(place / "quada.toml"),
        ],
        "pools.log",
    )
    internet.wait_for("example.org", "::1", 5450)
    return place / "state"


def addresses(internet, rdtype: str = "AAAA") -> set[str]:
    return set(internet.dig("www.example.org", rdtype, "+short", port=5450).split())


def wait_for(internet, expected: set[str]) -> float:
    started = time.monotonic()
    while addresses(internet) != expected:
        assert time.monotonic() - started < 10, addresses(internet)
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_dead_address_leaves_alone_and_comes_back(internet, pooled) -> None:
    wait_for(internet, set(MEMBERS))
    internet.drop(f"ip6 daddr {MEMBERS[0]}")
    try:
        took_s = wait_for(internet, {MEMBERS[1]})
        print(f"out of the answer after {took_s:.1f} s")
        assert addresses(internet, "A") == {"192.0.2.4"}
        assert "beside" in internet.dig("www.example.org", "TXT", port=5450)
        state = json.loads(
            internet.run(
                sys.executable, "-m", "quada", "status", "--json", "--state-dir", str(pooled)
            )
        )
        health = {one["address"]: one["is_healthy"] for one in state["pools"]}
        assert health == {MEMBERS[0]: False, MEMBERS[1]: True, "192.0.2.4": True}
    finally:
        internet.restore()
    wait_for(internet, set(MEMBERS))


def test_when_every_address_fails_all_are_given(internet, pooled) -> None:
    wait_for(internet, set(MEMBERS))
    internet.drop("ip6 daddr { 2001:db8:3::53, 2001:db8:4::53 }")
    try:
        wait_for(internet, {MEMBERS[1]} if len(addresses(internet)) == 1 else set(MEMBERS))
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            log = (internet.place / "pools.log").read_text()
            if "is_pool_down=True" in log:
                break
            time.sleep(0.1)
        assert addresses(internet) == set(MEMBERS)
    finally:
        internet.restore()


def test_the_answer_carries_the_pools_ttl(internet, pooled) -> None:
    answer = internet.dig("www.example.org", "AAAA", "+noall", "+answer", port=5450)
    assert {line.split()[1] for line in answer.splitlines() if "AAAA" in line} == {"5"}
