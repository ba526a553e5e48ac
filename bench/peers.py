"""The servers measured: how each is configured and started with one thread on one core."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUADA = "quada"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure: its command for a zone file, a port and a directory, and its version."""

    name: str
    program: str
    command: Callable[[Path, int, Path], list[str]]
    version: Callable[[], str]

    @property
    def is_installed(self) -> bool:
        """Whether the program is there."""
        return self.name == QUADA or shutil.which(self.program) is not None


def _quada(zone: Path, port: int, place: Path) -> list[str]:
    return [
        sys.executable, "-m", "quada", "serve", "--role", "authority", "--workers", "1",
        "--zone", f"example.com={zone}", "--listen", f"[::1]:{port}", "--state-dir", str(place),
    ]  # fmt: skip


def _nsd(zone: Path, port: int, place: Path) -> list[str]:
    config = place / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: ::1@{port}\n  server-count: 1\n  username: ""\n'
        f'  pidfile: "{place}/nsd.pid"\n  database: ""\n  zonelistfile: "{place}/zone.list"\n'
        f'  xfrdfile: "{place}/xfrd.state"\n  xfrdir: "{place}"\n  zonesdir: "{place}"\n'
        "  do-ip4: no\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n"
        f"zone:\n  name: example.com\n  zonefile: {zone}\n"
    )
    return ["nsd", "-d", "-c", str(config)]


def _knot(zone: Path, port: int, place: Path) -> list[str]:
    config = place / "knot.conf"
    config.write_text(
        f"server:\n  listen: ::1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n"
        f"  background-workers: 1\n  rundir: {place}\n  tcp-max-clients: 100\n"
        f"database:\n  storage: {place}\nzone:\n  - domain: example.com\n    file: {zone}\n"
        "    semantic-checks: off\n    journal-content: none\n    zonefile-load: whole\n"
    )
    return ["knotd", "-c", str(config)]


def _named(zone: Path, port: int, place: Path) -> list[str]:
    config = place / "named.conf"
    config.write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }};'
        f" listen-on-v6 port {port} {{ ::1; }}; recursion no;"
        f' pid-file "{place}/named.pid"; session-keyfile "{place}/session.key"; }};\n'
        f'controls {{ }};\nzone example.com {{ type primary; file "{zone}"; }};\n'
    )
    return ["named", "-f", "-n", "1", "-c", str(config)]


def _pdns(zone: Path, port: int, place: Path) -> list[str]:
    named = place / "named.conf"
    named.write_text(f'zone "example.com" {{ type master; file "{zone}"; }};\n')
    return [
        "pdns_server", "--no-config", "--launch=bind", f"--bind-config={named}",
        "--local-address=::1", f"--local-port={port}", f"--socket-dir={place}", "--daemon=no",
        "--guardian=no", "--receiver-threads=1", "--distributor-threads=1", "--disable-syslog",
    ]  # fmt: skip


def _version(*command: str) -> Callable[[], str]:
    def ask() -> str:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        words = (ran.stdout + ran.stderr).strip().splitlines()
        return words[0] if words else "unknown"

    return ask


def _own_version() -> str:
    from quada import __version__

    return f"quada {__version__}, Python {sys.version.split()[0]}"


AUTHORITIES: tuple[Peer, ...] = (
    Peer(QUADA, sys.executable, _quada, _own_version),
    Peer("nsd", "nsd", _nsd, _version("nsd", "-v")),
    Peer("knot", "knotd", _knot, _version("knotd", "-V")),
    Peer("bind", "named", _named, _version("named", "-v")),
    Peer("powerdns", "pdns_server", _pdns, _version("pdns_server", "--version")),
)
