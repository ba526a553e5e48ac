"""Zones that quada signs, in a small internet: what parents and validating resolvers see of them."""

import json
import sys
import time
from pathlib import Path

import dns.rdata
import pytest

import quada.wire.names as names
from quada.store.alerts import FILE, AlertStore
from quada.store.keys import KeyStore, SignedZone, ZonePolicy, bring_key
from quada.store.shelf import make_here
from quada.zones.keys import KeyRole
from quada.zones.keystate import RolloverPolicy

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
HERE = ("2001:db8:7::53", "2001:db8:8::53")
RESOLVER = "[::1]:5301"
# Time in seconds where it is usually in hours.
POLICY = ZonePolicy(
    rollover=RolloverPolicy(dnskey_ttl_s=1, ds_ttl_s=1, propagation_s=0, parent_s=0)
)
OPERATOR = f"@ NS ns1\n@ NS ns2\nns1 AAAA {HERE[0]}\nns2 AAAA {HERE[1]}\n"
CHILD = "@ NS ns1.op.net.\n@ NS ns2.op.net.\nwww AAAA 2001:db8:ff::80\nwww A 192.0.2.80\n"


def eventually(look, within_s: float = 40):
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def world(internet_with, tmp_path_factory):
    """An operator's signed zone and a signed child of another parent, both served by quada."""
    place: Path = tmp_path_factory.mktemp("signed")
    cut = "".join(f"op.net. NS ns{n}.op.net.\nns{n}.op.net. AAAA {HERE[n - 1]}\n" for n in (1, 2))
    delegation = "child.net. NS ns1.op.net.\nchild.net. NS ns2.op.net.\n"
    lab = internet_with(place, {"op.net.": (cut, OPERATOR), "child.net.": (delegation, CHILD)})
    for address in HERE:
        lab.run("ip", "addr", "add", f"{address}/128", "dev", "lo")
    soa = "$TTL 1\n@ SOA ns1.op.net. h.op.net. 1 3600 600 86400 1\n"
    state = place / "state"
    store = KeyStore.open(state)
    zones = ""
    for name, text in (("op.net", OPERATOR), ("child.net", CHILD)):
        (place / f"{name}.zone").write_text(soa + text)
        zones += f'[[zone]]\nname = "{name}"\nfile = "{place}/{name}.zone"\n'
        store.save(SignedZone(names.from_text(f"{name}."), POLICY))
    store.close()
    config = place / "quada.toml"
    config.write_text(
        f'version = 1\n[server]\nstate_dir = "{state}"\nworkers = 1\n'
        f'[authority]\nlisten = ["[{HERE[0]}]:53", "[{HERE[1]}]:53"]\n[dnssec]\ntick_s = 0.3\n{zones}'
    )
    quada = [sys.executable, "-m", "quada"]
    lab.popen([*quada, "serve", "--config", str(config)], "quada.log")
    lab.popen(
        [*quada, "serve", "--role", "resolver", "--workers", "1", "--listen", RESOLVER,
         "--root-hints", str(lab.hints), "--trust-anchor", str(lab.anchor),
         "--state-dir", str(place / "resolver")], "resolver.log",
    )  # fmt: skip
    lab.wait_for("child.net", HERE[0])
    lab.wait_for("localhost", "::1", 5301)
    lab.state = state
    return lab


def told(world, *command: str) -> dict:
    return json.loads(world.run(sys.executable, "-m", "quada", "dnssec", *command, "--json"))


def test_a_child_is_bootstrapped_by_what_its_operator_signals(world) -> None:
    """RFC 9615: published by the server, found good by the check, with the DS of the child's key."""
    ds = eventually(lambda: told(world, "ds", "op.net", "--state-dir", str(world.state))["ds"])
    anchor = world.place / "operator"
    anchor.write_text(world.anchor.read_text() + "\n".join(ds) + "\n")
    check = ("bootstrap-check", "child.net", "--resolver", RESOLVER)

    def good() -> dict | None:
        report = told(world, *check, "--anchor", str(anchor))
        return report if report["is_good"] else None

    report = eventually(good)
    assert report["signals"] == [
        "_dsboot.child.net._signal.ns1.op.net.", "_dsboot.child.net._signal.ns2.op.net.",
    ]  # fmt: skip
    wanted = told(world, "ds", "child.net", "--state-dir", str(world.state))["ds"]
    assert [one.split()[-4:] for one in report["ds"]] == [one.split()[-4:] for one in wanted]
    # Whose operator's zone is not secure has proved nothing.
    insecure = told(world, *check, "--anchor", str(world.anchor))
    assert not insecure["is_good"]
    assert any("not secure" in why for why in insecure["refusals"])
    # A name without a delegation of that kind.
    assert not told(world, "bootstrap-check", "example.net", "--resolver", RESOLVER,
                    "--anchor", str(anchor))["is_good"]  # fmt: skip


UNBOUND = """
server:
  directory: "{place}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  interface: ::1@5302
  do-daemonize: no
  do-not-query-localhost: no
  access-control: ::1 allow
  module-config: "validator iterator"
  root-hints: "{hints}"
  trust-anchor-file: "{anchor}"
  val-bogus-ttl: 1
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  infra-host-ttl: 1
remote-control:
  control-enable: no
"""


def test_what_is_bogus_outside_is_rolled_back_and_told(internet_with, tmp_path: Path) -> None:
    """Somebody says that the parent has the new DS, and it has not: the old key goes too early."""
    cut = "".join(f"op.net. NS ns{n}.op.net.\nns{n}.op.net. AAAA {HERE[n - 1]}\n" for n in (1, 2))
    lab = internet_with(tmp_path, {"op.net.": (cut, OPERATOR)})
    for address in HERE:
        lab.run("ip", "addr", "add", f"{address}/128", "dev", "lo")
    origin, state = names.from_text("op.net."), tmp_path / "state"
    zone = tmp_path / "op.zone"
    zone.write_text(
        "$TTL 1\n@ SOA ns1 h 1 3600 600 86400 1\n" + OPERATOR + "www AAAA 2001:db8:ff::1\n"
    )
    store, keys = KeyStore.open(state), {}
    signed = SignedZone(origin, POLICY)
    made = bring_key(signed, signed.state, keys, KeyRole.CSK, int(time.time()), make_here)
    store.save(signed._replace(state=made, keys=keys))
    store.close()
    (old,) = keys.values()
    anchor = tmp_path / "island"
    ds = dns.rdata.from_wire("IN", "DS", old.ds(), 0, len(old.ds())).to_text()
    anchor.write_text(f"{lab.anchor.read_text()}op.net. IN DS {ds}\n")
    (tmp_path / "unbound.conf").write_text(
        UNBOUND.format(place=tmp_path, hints=lab.hints, anchor=anchor)
    )
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[server]\nstate_dir = "{state}"\nworkers = 1\n'
        f'[authority]\nlisten = ["[{HERE[0]}]:53", "[{HERE[1]}]:53"]\n'
        f'[dnssec]\ntick_s = 0.3\nverify_with = ["[::1]:5302"]\ntrust_anchor = "{anchor}"\n'
        f'[[zone]]\nname = "op.net"\nfile = "{zone}"\n'
    )
    lab.popen(["unbound", "-c", str(tmp_path / "unbound.conf")], "unbound.log")
    lab.popen([sys.executable, "-m", "quada", "serve", "--config", str(config)], "quada.log")
    lab.wait_for("op.net", HERE[0])

    def outside() -> dict:
        return told_at(lab, state, "status", "op.net")[0]["server"]["outside"] or {}

    def asked_for() -> list[int]:
        return [int(one.split()[-4]) for one in told_at(lab, state, "ds", "op.net")["ds"]]

    eventually(lambda: asked_for() == [old.tag])
    told_at(lab, state, "seen", "op.net", "--tag", str(old.tag))
    first = eventually(lambda: (seen := outside()).get("state") == "verified" and seen)
    told_at(lab, state, "rollover", "op.net")
    new = eventually(lambda: next((tag for tag in asked_for() if tag != old.tag), 0))
    told_at(lab, state, "seen", "op.net", "--tag", str(new))  # which is not so

    alerts = AlertStore.open(state / FILE)
    alert = eventually(lambda: next(iter(alerts.alerts(limit=5)), None), within_s=60)
    assert alert.key == "dnssec/op.net."
    assert "serves the last good version again" in alert.told["summary"]
    back = eventually(lambda: (seen := outside()).get("state") == "verified" and seen)
    assert back["serial"] > first["serial"]
    assert " ad;" in lab.dig("www.op.net", "AAAA", "+dnssec", port=5302)
    eventually(lambda: not alerts.alerts(is_open=True, limit=5))
    tags = {key["tag"] for key in told_at(lab, state, "status", "op.net")[0]["keys"]}
    assert old.tag in tags
    alerts.close()


def told_at(lab, state: Path, *command: str):
    return json.loads(
        lab.run(
            sys.executable, "-m", "quada", "dnssec", *command, "--state-dir", str(state), "--json"
        )
    )
