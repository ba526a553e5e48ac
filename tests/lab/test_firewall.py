"""The rules we print, loaded into a namespace: what is configured is let in, and nothing else."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quada.store.accounts import FILE, Accounts

pytestmark = pytest.mark.lab

LISTEN = """
import socket, sys, threading
def udp(family, host, port):
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind((host, port))
    while True:
        data, peer = s.recvfrom(512); s.sendto(data, peer)
def tcp(family, host, port):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((host, port)); s.listen()
    while True: s.accept()[0].close()
for port in map(int, sys.argv[1:]):
    for family, host in ((socket.AF_INET6, "2001:db8:f::1"), (socket.AF_INET, "192.0.2.101")):
        threading.Thread(target=udp, args=(family, host, port), daemon=True).start()
        threading.Thread(target=tcp, args=(family, host, port), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
PROBE = """
import json, socket
out = {}
for host, family in (("2001:db8:f::1", socket.AF_INET6), ("192.0.2.101", socket.AF_INET)):
    for port in (53, 853, 8080, 9999):
        s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(0.5)
        try:
            s.sendto(b"x", (host, port)); s.recv(10); out[f"{host} udp {port}"] = True
        except OSError:
            out[f"{host} udp {port}"] = False
        s = socket.socket(family); s.settimeout(0.5)
        try:
            s.connect((host, port)); out[f"{host} tcp {port}"] = True
        except OSError:
            out[f"{host} tcp {port}"] = False
print(json.dumps(out))
"""


@pytest.fixture
def pair():
    """Two namespaces on a wire: ours, with addresses ending in 1, and a stranger's."""
    ours, theirs = f"quada-fw-{os.getpid()}-a", f"quada-fw-{os.getpid()}-b"

    def sh(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    try:
        for name in (ours, theirs):
            sh("ip", "netns", "add", name)
    except (subprocess.CalledProcessError, PermissionError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        sh(
            "ip",
            "link",
            "add",
            "fw0",
            "netns",
            ours,
            "type",
            "veth",
            "peer",
            "name",
            "fw1",
            "netns",
            theirs,
        )
        for name, device, six, four in (
            (ours, "fw0", "2001:db8:f::1/64", "192.0.2.101/24"),
            (theirs, "fw1", "2001:db8:f::2/64", "192.0.2.102/24"),
        ):
            sh("ip", "-n", name, "addr", "add", six, "dev", device, "nodad")
            sh("ip", "-n", name, "addr", "add", four, "dev", device)
            sh("ip", "-n", name, "link", "set", device, "up")
            sh("ip", "-n", name, "link", "set", "lo", "up")
        time.sleep(0.5)
        yield ours, theirs
    finally:
        for name in (ours, theirs):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_the_rules_let_in_exactly_what_is_configured(pair, tmp_path: Path) -> None:
    ours, theirs = pair
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::]:53", "0.0.0.0:53"]\nlisten_tls = ["[2001:db8:f::1]:853"]\n'
        '[api]\nlisten = ["[::]:8080"]\n'
    )
    rules = subprocess.run(
        [sys.executable, "-m", "quada", "firewall", "--config", str(config), "--default-drop"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    server = subprocess.Popen(
        ["ip", "netns", "exec", ours, sys.executable, "-c", LISTEN, "53", "853", "8080", "9999"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        for _ in range(2):  # loading twice replaces
            subprocess.run(
                ["ip", "netns", "exec", ours, "nft", "-f", "-"], input=rules, text=True, check=True
            )
        seen = json.loads(
            subprocess.run(
                ["ip", "netns", "exec", theirs, sys.executable, "-c", PROBE],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    finally:
        server.terminate()
        server.wait(10)
        assert server.stdout is not None
        server.stdout.close()
    six, four = "2001:db8:f::1", "192.0.2.101"
    opened = {what for what, is_open in seen.items() if is_open}
    assert opened == {
        f"{six} udp 53", f"{six} tcp 53", f"{four} udp 53", f"{four} tcp 53",
        f"{six} tcp 853", f"{six} tcp 8080",
    }  # fmt: skip


def nft(namespace: str, *words: str, text: str = "") -> None:
    subprocess.run(
        ["ip", "netns", "exec", namespace, "nft", *words], input=text or None, text=True, check=True
    )


def test_an_agent_outside_finds_the_hole_and_the_block(pair, tmp_path: Path) -> None:
    ours, theirs = pair
    six, four = "2001:db8:f::1", "192.0.2.101"
    state = tmp_path / "state"
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[{six}]:53", "{four}:53"]\nlisten_tls = ["[{six}]:853"]\n'
        f'listen_quic = ["[{six}]:853"]\n[tls]\nnames = ["{six}"]\n'
        f'[api]\nlisten = ["[{six}]:8443"]\ntls = true\n[server]\nstate_dir = "{state}"\nworkers = 1\n'
    )
    accounts = Accounts.open(state / FILE)
    accounts.add_user("nobody", ("read",), 1)  # so that no first link is printed
    for name, scope in (("admin", "admin"), ("outside", "agent")):
        (tmp_path / f"{name}.token").write_text(accounts.add_token(name, (scope,), 1))
    accounts.close()
    quada = [sys.executable, "-m", "quada"]
    rules = subprocess.run([*quada, "firewall", "--config", str(config), "--default-drop"],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    nft(ours, "-f", "-", text=rules)
    there = ["--server", f"https://[{six}]:8443", "--ca-file", str(state / "tls" / "chain.pem")]
    running = []

    def start(namespace: str, *command: str) -> None:
        with (tmp_path / f"log{len(running)}").open("wb") as log:
            running.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", namespace, *command], stdout=log, stderr=log
                )
            )

    def verify() -> dict[str, set[str]]:
        """Give the doors that are wrong, by code; the server is asked from its own namespace."""
        said = subprocess.run(
            ["ip", "netns", "exec", ours, *quada, "firewall", "verify", "--config", str(config), "--address", six,
             "--address", four, "--from", "outside", "--closed", "9999", "--json", *there,
             "--token-file", str(tmp_path / "admin.token")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        told = json.loads(said.stdout)
        if "findings" not in told:
            return {"fault": {str(told)}}
        bad: dict[str, set[str]] = {}
        for one in told["findings"]:
            if one["verdict"] != "PASS":
                bad.setdefault(one["code"], set()).add(one["subject"])
        return bad

    try:
        start(ours, *quada, "serve", "--role", "authority", "--config", str(config))
        start(ours, sys.executable, "-c", LISTEN, "9999")
        deadline = time.monotonic() + 60
        while not (state / "tls" / "chain.pem").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        start(theirs, *quada, "agent", *there, "--token-file", str(tmp_path / "outside.token"), "--lab",
              *(f"--port={port}" for port in (53, 80, 443, 853, 5380, 8053, 8080, 8443, 9153, 9999)))  # fmt: skip
        while (bad := verify()) and "fault" in bad:
            assert time.monotonic() < deadline, bad
            time.sleep(0.3)
        assert bad == {}
        nft(
            ours,
            "insert",
            "rule",
            "inet",
            "quada",
            "input",
            "ip6",
            "daddr",
            six,
            "tcp",
            "dport",
            "853",
            "drop",
        )
        nft(ours, "insert", "rule", "inet", "quada", "input", "meta", "nfproto", "ipv6", "tcp", "dport",
            "{ 9153, 9999 }", "accept")  # fmt: skip
        assert verify() == {
            "firewall-blocks": {f"{six} tcp 853"}, "firewall-hole": {f"{six} tcp 9999"},
            "firewall-lets-through": {f"{six} tcp 9153"},
        }  # fmt: skip
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)
