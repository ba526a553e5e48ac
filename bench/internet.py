"""A simulated internet in a network namespace: root, a TLD and leaf zones, signed or not.

Each level has an nsd of its own on the client's core. Signed zones share one key, so that making
them is quick; each has its own DS and signatures.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING, Final

import quada.wire.names as names
from bench.measure import CLIENT_CORE
from quada.zones import read_zone
from quada.zones.keys import KeyRole, make_key
from quada.zones.sign import sign
from quada.zones.signature import ds_rdata
from quada.zones.signing import KeySet, SigningKey, SigningPolicy
from quada.zones.write import write_zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAVES: Final = 1000
NAMES: Final = (
    100  # in each leaf, n0 to n99: no wildcard, or a resolver would need one answer alone
)
TLD_NAME: Final = "lab"  # no name that resolvers treat apart (RFC 6761)
ROOT: Final = "2001:db8:0::53"
_TLD: Final = "2001:db8:1::53"
_LEAF: Final = "2001:db8:2::53"
_SPACE: Final = f"quada-bench-{os.getpid()}"
_SOA: Final = f"@ 3600 SOA ns.{TLD_NAME}. h.{TLD_NAME}. 1 3600 600 86400 60\n"


class Internet:
    """A command prefix that runs inside, hints, and the root's DS as text."""

    def __init__(self, place: Path, anchor: str) -> None:
        self.inside = ["ip", "netns", "exec", _SPACE]
        self.hints = place / "hints"
        self.hints.write_text(f". 3600 NS ns.root.\nns.root. 3600 AAAA {ROOT}\n")
        self.anchor = anchor
        self.anchor_file = place / "anchor"
        self.anchor_file.write_text(f". 3600 IN DS {anchor}\n")


@contextlib.contextmanager
def internet(place: Path, *, is_signed: bool) -> Iterator[Internet]:
    """Make the namespace and its servers."""
    place.mkdir(parents=True, exist_ok=True)
    texts, anchor = _texts(is_signed=is_signed)
    made = Internet(place, anchor)
    _sh("ip", "netns", "add", _SPACE)
    try:
        _sh(*made.inside, "ip", "link", "set", "lo", "up")
        for address in (ROOT, _TLD, _LEAF):
            _sh(*made.inside, "ip", "addr", "add", f"{address}/128", "dev", "lo")
        servers = [_start(made.inside, place, address, zones) for address, zones in texts.items()]
        try:
            yield made
        finally:
            for server in servers:
                server.terminate()
                server.wait(20)
    finally:
        _sh("ip", "netns", "del", _SPACE)


def _texts(*, is_signed: bool) -> tuple[dict[str, dict[str, str]], str]:
    """Write all zones by the address they are served at; and the root's DS."""
    key = make_key(names.ROOT, KeyRole.CSK)
    mine = SigningKey(key.algorithm, key.tag, key.signer())
    keys = KeySet((key.dnskey,), (mine,), (mine,))

    def ds_of(zone: str) -> str:
        rdata = ds_rdata(names.from_text(zone), key.dnskey) or b""
        return f"{key.tag} {rdata[2]} {rdata[3]} {rdata[4:].hex()}"

    def made(zone: str, text: str) -> str:
        origin = names.from_text(zone)
        parsed = read_zone(f"$ORIGIN {zone}\n{_SOA}{text}", origin)
        if is_signed:
            parsed = sign(None, parsed, keys, SigningPolicy(), int(time.time())).signed
        return "".join(write_zone(parsed))

    def cut(zone: str, server: str, address: str, label: str) -> str:
        ds = f"{label} 3600 DS {ds_of(zone)}\n" if is_signed else ""
        return f"{label} 3600 NS {server}\n{server} 3600 AAAA {address}\n{ds}"

    tld = f"{TLD_NAME}."
    root_text = f"@ 3600 NS ns.root.\nns.root. 3600 AAAA {ROOT}\n"
    root_text += cut(tld, f"ns.{tld}", _TLD, tld)
    leaves = {f"z{n}.{tld}": n for n in range(LEAVES)}
    cuts = "".join(cut(zone, f"ns.{zone}", _LEAF, zone) for zone in leaves)
    leaf = f"@ 3600 NS ns\nns 3600 AAAA {_LEAF}\n"
    leaf += "".join(f"n{number} 3600 AAAA 2001:db8::1\n" for number in range(NAMES))
    texts = {
        ROOT: {".": made(".", root_text)},
        _TLD: {tld: made(tld, f"@ 3600 NS ns\nns 3600 AAAA {_TLD}\n{cuts}")},
        _LEAF: {zone: made(zone, leaf) for zone in leaves},
    }
    return texts, ds_of(".")


def _start(
    inside: list[str], place: Path, address: str, texts: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start an nsd on one address for some zones, on the client's core."""
    own = place / address.replace(":", "-")
    own.mkdir()
    lines = []
    for zone, text in texts.items():
        file = own / f"zone-{zone}"
        file.write_text(text)
        lines.append(f"zone:\n  name: {zone}\n  zonefile: {file}\n")
    config = own / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: {address}\n  username: ""\n  database: ""\n  do-ip4: no\n'
        f'  pidfile: "{own}/pid"\n  xfrdfile: "{own}/xfrd"\n  zonelistfile: "{own}/list"\n'
        f'  zonesdir: "{own}"\n  server-count: 1\nremote-control:\n  control-enable: no\n'
        + "".join(lines)
    )
    with (own / "log").open("w") as output:
        return subprocess.Popen(
            [*inside, "taskset", "-c", str(CLIENT_CORE), "nsd", "-d", "-c", str(config)],
            stdout=output, stderr=output,
        )  # fmt: skip


def _sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
