"""The rehearsal CA validates from several source addresses: how many may fail decides."""

import os
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.peers, pytest.mark.timeout(120)]
NAME, WEB = "www.example.com", "2001:db8:7::80"
PLACES = [f"2001:db8:7::{n}" for n in range(1, 4)]


@pytest.fixture
def place():
    """A namespace with the web server's address and those of three perspectives."""
    name = f"quada-perspectives-{os.getpid()}"
    if os.geteuid():
        pytest.skip("network namespaces need root")
    if shutil.which("lego") is None:
        pytest.skip("lego is missing")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        for address in (WEB, *PLACES):
            subprocess.run(
                ["ip", "-n", name, "addr", "add", f"{address}/128", "dev", "lo"], check=True
            )
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_one_perspective_may_fail_and_two_may_not(place: str, tmp_path) -> None:
    inside = ["ip", "netns", "exec", place]
    log, state = tmp_path / "ca.log", tmp_path / "ca"
    with log.open("wb") as output:
        ca = subprocess.Popen(
            [*inside, sys.executable, "-m", "quada", "acme", "ca", "--listen", "[::1]:14000", "--lab",
             "--state-dir", str(state), "--resolve", f"{NAME}={WEB}",
             *(f"--perspective=place{n}={address}" for n, address in enumerate(PLACES, 1))],
            stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    def lego(account: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*inside, "lego", "--server", "https://[::1]:14000/dir", "--path", str(tmp_path / account), "-a",
             "-m", "a@example.com", "-d", NAME, "--http", "--http.port", f"[{WEB}]:80", "run"],
            capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "LEGO_CA_CERTIFICATES": str(state / "root.pem")},
        )  # fmt: skip

    def refuse(address: str) -> None:
        subprocess.run([*inside, "nft", "add", "rule", "inet", "f", "in", "ip6", "saddr", address, "tcp",
                        "dport", "80", "reject", "with", "tcp", "reset"], check=True)  # fmt: skip

    try:
        deadline = time.monotonic() + 30
        while "rehearsal CA ready" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        subprocess.run([*inside, "nft", "-f", "-"], text=True, check=True,
                       input="table inet f {\nchain in {\ntype filter hook input priority 0\n}\n}\n")  # fmt: skip
        refuse(PLACES[1])
        taken = lego("one")
        assert taken.returncode == 0, taken.stderr + log.read_text()
        refuse(PLACES[2])
        refused = lego("two")
        assert refused.returncode != 0
        assert "During secondary validation, from place2" in refused.stderr
    finally:
        ca.terminate()
        ca.wait(15)
