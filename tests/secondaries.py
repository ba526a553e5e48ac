"""Other people's servers as secondaries of example.com, over ::1, and how a test runs one."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Tsig(NamedTuple):
    """A key of hmac-sha256 that transfers are asked for with; the secret in base64."""

    name: str
    secret: str


def named_secondary(place: Path, port: int, primary: int, key: Tsig | None = None) -> list[str]:
    """Configure BIND; gives its command."""
    with_key = f" key {key.name}" if key else ""
    (place / "named.conf").write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }}; recursion no;'
        f" listen-on-v6 port {port} {{ ::1; }}; notify no; allow-transfer {{ any; }};"
        f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        + (f'key {key.name} {{ algorithm hmac-sha256; secret "{key.secret}"; }};\n' if key else "")
        + f'zone example.com {{ type secondary; file "copy"; allow-notify {{ ::1; }};'
        f" primaries {{ ::1 port {primary}{with_key}; }}; }};\n"
    )
    return ["named", "-g", "-n", "1", "-c", str(place / "named.conf")]


def knot_secondary(place: Path, port: int, primary: int, key: Tsig | None = None) -> list[str]:
    """Configure Knot; gives its command."""
    keys = ""
    if key:
        keys = f"key:\n  - id: {key.name}\n    algorithm: hmac-sha256\n    secret: {key.secret}\n"
    (place / "knot.conf").write_text(
        f"server:\n  listen: ::1@{port}\n  rundir: {place}\ndatabase:\n  storage: {place}\n"
        + keys
        + f"remote:\n  - id: quada\n    address: ::1@{primary}\n"
        + (f"    key: {key.name}\n" if key else "")
        + "acl:\n  - id: notify\n    address: ::1\n    action: [notify, transfer]\n"
        f"zone:\n  - domain: example.com\n    storage: {place}\n    master: quada\n    acl: notify\n"
    )
    return ["knotd", "-c", str(place / "knot.conf")]


def nsd_secondary(place: Path, port: int, primary: int, key: Tsig | None = None) -> list[str]:
    """Configure NSD; gives its command."""
    keys = ""
    if key:
        keys = f'key:\n  name: {key.name}\n  algorithm: hmac-sha256\n  secret: "{key.secret}"\n'
    (place / "nsd.conf").write_text(
        f'server:\n  ip-address: ::1@{port}\n  server-count: 1\n  username: ""\n  do-ip4: no\n'
        f'  pidfile: "{place}/pid"\n  database: ""\n  zonelistfile: "{place}/list"\n'
        f'  xfrdfile: "{place}/xfrd"\n  xfrdir: "{place}"\n  zonesdir: "{place}"\n'
        "remote-control:\n  control-enable: no\n"
        + keys
        + "zone:\n  name: example.com\n  zonefile: copy\n"
        f"  request-xfr: ::1@{primary} {key.name if key else 'NOKEY'}\n"
        "  allow-notify: ::1 NOKEY\n  provide-xfr: ::1 NOKEY\n"
    )
    return ["nsd", "-d", "-c", str(place / "nsd.conf")]


SECONDARIES = [named_secondary, knot_secondary, nsd_secondary]


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
