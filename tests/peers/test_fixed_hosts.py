"""Clients whose host is fixed in their code: they get a name for quada, and a CA to believe."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import quada.wire.names as names
from quada.store.accounts import FILE, Accounts
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import read_zone, write_record
from secondaries import running

pytestmark = pytest.mark.peers

ORIGIN = names.from_text("example.com.")
HOST = "api.dnsimple.com"
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ NS ns2
@ MX 10 mail
ns1 AAAA 2001:db8::53
ns2 AAAA 2001:db8::54
mail AAAA 2001:db8::25
old TXT "to be removed"
"""
WANTED = """'':
  - {type: MX, values: [{exchange: mail.example.com., preference: 20}]}
  - {type: ALIAS, value: edge.example.net.}
mail: {type: AAAA, value: "2001:db8::26"}
ns1: {type: AAAA, value: "2001:db8::53"}
ns2: {type: AAAA, value: "2001:db8::54"}
www: {type: AAAA, values: ["2001:db8::80", "2001:db8::81"]}
"""


@pytest.fixture
def inside() -> Iterator[list[str]]:
    """A network namespace in which the host is this one; gives the command that enters it."""
    if os.geteuid():
        pytest.skip(
            "port 443 and a name of one's own need a network namespace, and that needs root"
        )
    name = f"quada-host-{os.getpid()}"
    place = Path("/etc/netns") / name
    place.mkdir(parents=True)
    (place / "hosts").write_text(f"::1 localhost {HOST}\n")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
        (place / "hosts").unlink()
        place.rmdir()


def test_octodns_dnsimple_brings_a_zone_to_what_its_file_says(inside, tmp_path, until) -> None:
    state = tmp_path / "state"
    state.mkdir()
    store = ZoneStore.open(state / "zones.db")
    store.create(read_zone(TEXT, ORIGIN), Author("test"), 1)
    store.close()
    accounts = Accounts.open(state / FILE)
    token = accounts.add_token("octodns", ("records:example.com",), 1)
    accounts.close()
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[server]\nstate_dir = "{state}"\n[authority]\nlisten = ["[::1]:53"]\n'
        f'[api]\nlisten = ["[::1]:443"]\ntls = true\n[tls]\nnames = ["{HOST}"]\n'
    )
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "example.com.yaml").write_text(WANTED)
    wanted = tmp_path / "octodns.yaml"
    wanted.write_text(
        "manager: {max_workers: 1}\nproviders:\n"
        "  files:\n    class: octodns.provider.yaml.YamlProvider\n"
        f"    directory: {tmp_path}/zones\n    enforce_order: false\n"
        "  quada:\n    class: octodns_dnsimple.DnsimpleProvider\n"
        f"    token: {token}\n    account: 1\n"
        "zones:\n  example.com.:\n    sources: [files]\n    targets: [quada]\n"
    )
    trusted = {"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(state / "tls" / "chain.pem")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=100, env=trusted
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def sync() -> str:
        octodns = str(Path(sys.executable).parent / "octodns-sync")
        return run(octodns, f"--config-file={wanted}", "--doit", "--force")

    quada = [sys.executable, "-m", "quada"]
    serve = [*inside, *quada, "serve", "--role", "authority", "--config", str(config)]
    with running(serve, tmp_path / "log"):
        until(lambda: "quada is ready" in (tmp_path / "log").read_text(), within_s=40)
        health = ["curl", "-sf", "--cacert", trusted["REQUESTS_CA_BUNDLE"]]
        until(lambda: not subprocess.run([*inside, *health, f"https://{HOST}/health"]).returncode,
              within_s=20, what="the API")  # fmt: skip
        assert "Create" in sync()
        assert "No changes were planned" in sync()
    zone = ZoneStore.open(state / "zones.db").zone(ORIGIN)
    text = {write_record(record, ORIGIN) for record in zone.records()}
    found = {tuple(line.split()) for line in text}
    values = {(one[0], one[-2], one[-1]) for one in found}
    assert {
        ("www", "AAAA", "2001:db8::80"), ("www", "AAAA", "2001:db8::81"),
        ("mail", "AAAA", "2001:db8::26"), ("@", "ALIAS", "edge.example.net."),
    } <= values, sorted(text)  # fmt: skip
    assert names.from_text("old.example.com.") not in zone.nodes
