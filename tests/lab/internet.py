"""A small internet in one network namespace: root, TLDs, leaf zones, signed or not.

`Internet` makes a namespace with loopback addresses for every server, starts one nsd that answers for
all zones, and gives hints and a trust anchor for resolvers started inside with `run`. Faults are
switched with nftables: `drop`, `restore`. As root only; everything it made goes with `close`.

    with Internet(Path("/tmp/lab")) as internet:
        internet.popen(["quada", "serve", "--role", "resolver", ...])
        internet.dig("www.example.com", "AAAA", port=5301)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import dns.rdatatype
import dns.zone

SERVERS = {
    "root": ("2001:db8:0::53", "192.0.2.1"),
    "com": ("2001:db8:1::53", "192.0.2.2"),
    "net": ("2001:db8:2::53", "192.0.2.3"),
    "leaf": ("2001:db8:3::53", "192.0.2.4"),
    "leaf2": ("2001:db8:4::53", "192.0.2.5"),
}
_COUNT = itertools.count()


class Signed(NamedTuple):
    """A zone below com., signed, on the servers leaf and leaf2.

    `cds` is `own`, `other` or `delete`; `second` says what is wrong with leaf2's: another `key`, or
    the signatures over a type. `strips` are types that are taken out after signing.
    """

    text: str
    cds: str = ""
    second: str = ""
    strips: tuple[str, ...] = ()


class Internet:
    """See the module.

    `planted` are more zones on the server leaf: name to what net. says of it, and its own text
    without SOA; `second` those of the server leaf2. `signed` are zones below com., and `root` is
    what the root says beside its own.
    """

    def __init__(
        self, place: Path, planted: dict[str, tuple[str, str]] | None = None, *,
        second: dict[str, str] | None = None, signed: dict[str, Signed] | None = None, root: str = "",
    ) -> None:  # fmt: skip
        self.place = place
        self._planted = planted or {}
        self._second, self._signed, self._root = second or {}, signed or {}, root
        self.name = f"quada-lab-{os.getpid()}-{next(_COUNT)}"
        self.hints = place / "hints"
        self.anchor = place / "anchor"
        self._running: list[subprocess.Popen[bytes]] = []
        self._zones: dict[str, tuple[str, Path]] = {}
        self._keys: dict[str, str] = {}

    def __enter__(self) -> Internet:
        self.place.mkdir(parents=True, exist_ok=True)
        _sh("ip", "netns", "add", self.name)
        self._sh("ip", "link", "set", "lo", "up")
        for v6, v4 in SERVERS.values():
            self._sh("ip", "addr", "add", f"{v6}/128", "dev", "lo")
            self._sh("ip", "addr", "add", f"{v4}/32", "dev", "lo")
        self._make_zones()
        for server in SERVERS:
            self._start_nsd(server)
        self.wait_for("example.com", SERVERS["leaf"][0])
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        _sh("ip", "netns", "del", self.name)

    def popen(self, command: list[str], log: str = "log") -> subprocess.Popen[bytes]:
        """Start a program inside; it is ended with the lab."""
        with (self.place / log).open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command], stdout=output, stderr=output
            )
        self._running.append(process)
        return process

    def run(self, *command: str, timeout_s: float = 30) -> str:
        """Run a program inside; gives what it printed."""
        ran = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        return ran.stdout + ran.stderr

    def dig(self, qname: str, rdtype: str, *options: str, port: int, at: str = "::1") -> str:
        """Ask a resolver inside."""
        return self.run("dig", f"@{at}", "-p", str(port), qname, rdtype, "+tries=1", "+time=8",
                        *options)  # fmt: skip

    def drop(self, what: str) -> None:
        """Drop packets: an nftables match, as `ip6 daddr 2001:db8:3::53`."""
        self._sh("nft", "add", "table", "inet", "faults")
        self._sh("nft", "add", "chain", "inet", "faults", "out",
                 "{ type filter hook output priority 0; }")  # fmt: skip
        self._sh("nft", "add", "rule", "inet", "faults", "out", *what.split(), "drop")

    def restore(self) -> None:
        """Let everything through again."""
        self.run("nft", "delete", "table", "inet", "faults")

    def wait_for(self, qname: str, at: str, port: int = 53, within_s: float = 20) -> None:
        """Wait until a server answers."""
        deadline = time.monotonic() + within_s
        while "status: " not in self.dig(qname, "SOA", "+time=1", port=port, at=at):
            if time.monotonic() > deadline:
                raise AssertionError(f"{at} does not answer; see {self.place}")
            time.sleep(0.1)

    def _make_zones(self) -> None:
        """Write the zones; those below `com` are signed, `net` and its children are not."""
        soa = "@ SOA ns hostmaster 1 3600 600 86400 60\n"

        def ns(zone: str, *servers: str) -> str:
            lines = "".join(f"@ NS ns{n}.{zone}\n" for n, _ in enumerate(servers))
            for number, server in enumerate(servers):
                v6, v4 = SERVERS[server]
                lines += f"ns{number}.{zone} AAAA {v6}\nns{number}.{zone} A {v4}\n"
            return lines

        leaf_ds = self._zone(
            "leaf", "example.com.", soa + ns("example.com.", "leaf", "leaf2")
            + "www AAAA 2001:db8:ff::80\nwww A 192.0.2.80\nv4only A 192.0.2.81\n"
            "alias CNAME www.example.net.\n*.wild AAAA 2001:db8:ff::99\na.ent AAAA 2001:db8:ff::1\n"
            'big TXT "' + '" "'.join(["x" * 200] * 12) + '"\n',
            is_signed=True,
        )  # fmt: skip
        self._zone("leaf2", "example.com.", "", same_as="example.com.")
        broken_ds = self._zone(
            "leaf", "broken.com.", soa + ns("broken.com.", "leaf")
            + "www AAAA 2001:db8:ff::80\nwww A 192.0.2.80\n", is_signed=True, breaks="AAAA",
        )  # fmt: skip
        self._zone("leaf", "example.net.", soa + ns("example.net.", "leaf")
                   + "www AAAA 2001:db8:ff::82\nwww A 192.0.2.82\n")  # fmt: skip
        v4 = SERVERS["leaf"][1]  # a zone that IPv6 alone does not reach
        self._zone("leaf", "four.net.", soa + f"@ NS ns\nns A {v4}\nwww AAAA 2001:db8:ff::84\n")
        self._zone("leaf2", "glueless.net.", soa + "@ NS ns0.example.com.\n"
                   "www AAAA 2001:db8:ff::83\n")  # fmt: skip
        self._zone("leaf", "glueless.net.", "", same_as="glueless.net.")
        told = ""
        for zone, one in self._signed.items():
            text = soa + ns(zone, "leaf", "leaf2") + one.text
            told += self._cut(zone, "leaf", "leaf2") + self._zone(
                "leaf", zone, text, is_signed=True, cds=one.cds, strips=one.strips
            )
            if one.second:
                breaks = "" if one.second == "key" else one.second
                other = None if one.second == "key" else zone
                self._zone("leaf2", zone, text, is_signed=True, breaks=breaks, key_of=other)
            else:
                self._zone("leaf2", zone, "", same_as=zone)
        com_ds = self._zone(
            "com", "com.", soa + ns("com.", "com") + told
            + self._cut("example.com.", "leaf", "leaf2") + leaf_ds
            + self._cut("broken.com.", "leaf") + broken_ds, is_signed=True,
        )  # fmt: skip
        for zone, (_, text) in self._planted.items():
            self._zone("leaf", zone, soa + text)
        for zone, text in self._second.items():
            self._zone("leaf2", zone, soa + text)
        self._zone("net", "net.", soa + ns("net.", "net") + self._cut("example.net.", "leaf")
                   + "".join(cut for cut, _ in self._planted.values())
                   + f"four.net. NS ns.four.net.\nns.four.net. A {v4}\n"
                   + "glueless.net. NS ns0.example.com.\n"
                   "loop.net. NS ns.loop2.net.\nloop2.net. NS ns.loop.net.\n")  # fmt: skip
        self.anchor.write_text(
            self._zone(
                "root",
                ".",
                "@ SOA ns hostmaster 1 3600 600 86400 60\n"
                + ns("", "root")
                + self._cut("com.", "com")
                + com_ds
                + self._cut("net.", "net")
                + self._root,
                is_signed=True,
            )
        )
        v6, v4 = SERVERS["root"]
        self.hints.write_text(f". 3600 NS ns0.\nns0. 3600 AAAA {v6}\nns0. 3600 A {v4}\n")

    @staticmethod
    def _cut(zone: str, *servers: str) -> str:
        lines = ""
        for number, server in enumerate(servers):
            v6, v4 = SERVERS[server]
            lines += f"{zone} NS ns{number}.{zone}\n"
            lines += f"ns{number}.{zone} AAAA {v6}\nns{number}.{zone} A {v4}\n"
        return lines

    def _zone(
        self, server: str, zone: str, text: str, *, is_signed: bool = False, same_as: str = "",
        breaks: str = "", cds: str = "", strips: tuple[str, ...] = (), key_of: str | None = None,
    ) -> str:  # fmt: skip
        """Write one zone for a server; gives its DS records."""
        if same_as:
            self._zones[f"{server} {zone}"] = (
                zone, next(p for k, (z, p) in self._zones.items() if z == same_as),
            )  # fmt: skip
            return ""
        path = self.place / f"zone-{server}-{zone if zone != '.' else 'root'}"
        path.write_text(f"$ORIGIN {zone}\n$TTL 300\n{text}")
        ds = ""
        if is_signed:
            base = self._keys[key_of] if key_of else self._sh(
                "dnssec-keygen", "-q", "-K", str(self.place), "-a", "13", "-f", "KSK", zone).strip()  # fmt: skip
            self._keys[zone] = base
            key = (self.place / f"{base}.key").read_text()
            if cds == "own":
                key += self._sh("dnssec-dsfromkey", "-C", "-2", str(self.place / f"{base}.key"))
            elif cds:
                key += f"@ CDS {'0 0 0 00' if cds == 'delete' else '4711 13 2 ' + 'AB' * 32}\n"
            path.write_text(path.read_text() + key)
            signed = path.with_name(f"{path.name}.signed")
            self._sh("dnssec-signzone", "-q", "-z", "-P", "-K", str(self.place), "-d",
                     str(self.place), "-o", zone, "-f",
                     str(signed), str(path))  # fmt: skip
            ds = self._sh("dnssec-dsfromkey", "-2", str(self.place / f"{base}.key"))
            path = signed
            if breaks:
                _break_signature(path, breaks)
            if strips:
                _strip(path, zone, strips)
        self._zones[f"{server} {zone}"] = (zone, path)
        return ds

    def _start_nsd(self, server: str) -> None:
        place = self.place / server
        place.mkdir(exist_ok=True)
        v6, v4 = SERVERS[server]
        config = place / "nsd.conf"
        zones = "".join(
            f"zone:\n  name: {zone}\n  zonefile: {path}\n"
            + ("  provide-xfr: ::0/0 NOKEY\n" if zone.startswith("openxfr.") else "")
            for key, (zone, path) in self._zones.items()
            if key.split()[0] == server
        )
        config.write_text(
            f'server:\n  ip-address: {v6}\n  ip-address: {v4}\n  username: ""\n  database: ""\n'
            f'  pidfile: "{place}/pid"\n  xfrdfile: "{place}/xfrd"\n  zonelistfile: "{place}/list"\n'
            f'  zonesdir: "{place}"\n  server-count: 1\n'
            f"remote-control:\n  control-enable: no\n{zones}"
        )
        self.popen(["nsd", "-d", "-c", str(config)], f"nsd-{server}.log")

    def _sh(self, *command: str) -> str:
        return _sh("ip", "netns", "exec", self.name, *command)


def _sh(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def _break_signature(path: Path, rdtype: str) -> None:
    """Damage the signatures over one type, so that only it is bogus."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        words = line.split()
        if "RRSIG" not in words or words[words.index("RRSIG") + 1] != rdtype:
            continue
        at = next(at for at in range(number, len(lines)) if ")" in lines[at])
        first = lines[at].strip()[0]
        lines[at] = lines[at].replace(first, "x" if first != "x" else "y", 1)
    path.write_text("\n".join(lines) + "\n")


def _strip(path: Path, origin: str, types: tuple[str, ...]) -> None:
    """Take records of some types out, with their signatures."""
    zone = dns.zone.from_file(str(path), origin, relativize=False, check_origin=False)
    for node in zone.nodes.values():
        node.rdatasets = [
            one for one in node.rdatasets
            if not {dns.rdatatype.to_text(one.rdtype), dns.rdatatype.to_text(one.covers)} & set(types)
        ]  # fmt: skip
    zone.to_file(str(path), relativize=False)


def is_possible() -> str:
    """Say why the lab cannot run here; empty where it can."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [p for p in ("ip", "nft", "nsd", "dnssec-signzone") if shutil.which(p) is None]
    return f"these programs are missing: {', '.join(missing)}" if missing else ""
