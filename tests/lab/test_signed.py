"""Zones that quada signs, in a small internet: what parents and validating resolvers see of them."""

import json
import sys
import time
from pathlib import Path

import pytest

import quada.wire.names as names
from quada.store.keys import KeyStore, SignedZone, ZonePolicy
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
