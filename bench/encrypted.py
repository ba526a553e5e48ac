"""DoT and DoH: what a query over a connection that is kept costs each server, in one run.

`python -m bench.encrypted` runs it and writes bench/results/encrypted.md. All answer the same ten
thousand names, each in the way it has: authorities from the zone, kresd and unbound from local
data, dnsdist from its packet cache before an nsd whose CPU does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.authority import write_questions, write_zone
from bench.measure import Cost, free_port, query, running
from bench.peers import AUTHORITIES
from quada.transport.tls import make_certificate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

_NAMES: Final = 10_000
_LOST_MAX: Final = 5.0  # percent: a server that loses more is not doing the same work
_SOA: Final = "ns1.example.com. host.example.com. 1 3600 600 86400 60"
_RESULTS: Final = Path(__file__).parent / "results"
_WAYS: Final = {"DoT": ("-m", "dot"), "DoH": ("-m", "doh")}
# Over HTTPS one query a connection at a time: dnsperf 2.10 loses all but the first of the responses
# that come in one TLS record, and dnsdist writes them so.
_LOADS: Final = {"DoT": ("-c", "10", "-q", "200"), "DoH": ("-c", "50", "-q", "50")}


class Setting(NamedTuple):
    """Where a server finds its zone, certificate and place, and the ports it is to take."""

    zone: Path
    pair: Path
    place: Path
    plain: int
    tls: int
    https: int


def _quada(at: Setting) -> list[str]:
    config = at.place / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[::1]:{at.plain}"]\n'
        f'listen_tls = ["[::1]:{at.tls}"]\nlisten_https = ["[::1]:{at.https}"]\n'
        f'[tls]\ncertificate = "{at.pair}/chain.pem"\nkey = "{at.pair}/key.pem"\n'
        f'[[zone]]\nname = "example.com"\nfile = "{at.zone}"\n'
    )
    return [sys.executable, "-m", "quada", "serve", "--config", str(config), "--workers", "1",
            "--state-dir", str(at.place / "state")]  # fmt: skip


def _named(at: Setting) -> list[str]:
    config = at.place / "named.conf"
    config.write_text(
        f'tls own {{ cert-file "{at.pair}/chain.pem"; key-file "{at.pair}/key.pem"; }};\n'
        'http own { endpoints { "/dns-query"; }; };\n'
        f'options {{ directory "{at.place}"; listen-on {{ none; }}; recursion no; pid-file none;\n'
        f" listen-on-v6 port {at.plain} {{ ::1; }};\n"
        f" listen-on-v6 port {at.tls} tls own {{ ::1; }};\n"
        f" listen-on-v6 port {at.https} tls own http own {{ ::1; }};\n"
        f' session-keyfile "{at.place}/session.key"; }};\ncontrols {{ }};\n'
        f'zone example.com {{ type primary; file "{at.zone}"; }};\n'
    )
    return ["named", "-f", "-n", "1", "-c", str(config)]


def _addresses(zone: Path) -> Iterator[tuple[str, str]]:
    for line in zone.read_text().splitlines():
        fields = line.split()
        if fields[2:3] == ["AAAA"] and not fields[0].startswith("*"):
            yield fields[0], fields[3]


def _kresd(at: Setting) -> list[str]:
    hosts = at.place / "hosts"
    hosts.write_text("".join(f"{ip} {name}\n" for name, ip in _addresses(at.zone)))
    config = at.place / "kresd.conf"
    config.write_text(
        f"net.listen('::1', {at.plain}, {{ kind = 'dns' }})\n"
        f"net.listen('::1', {at.tls}, {{ kind = 'tls' }})\n"
        f"net.listen('::1', {at.https}, {{ kind = 'doh2' }})\n"
        f"net.tls('{at.pair}/chain.pem', '{at.pair}/key.pem')\n"
        f"modules = {{ 'hints > iterate' }}\nhints.add_hosts('{hosts}')\n"
        f"local soa = kres.parse_rdata({{ 'SOA {_SOA}' }})\n"
        "policy.add(policy.domains(policy.ANSWER({ [kres.type.SOA] = { rdata = soa, ttl = 300 } }),"
        " { todname('example.com') }))\n"
        "trust_anchors.remove('.')\ncache.size = 32 * MB\n"
    )
    return ["kresd", "-n", "-c", str(config), str(at.place)]


def _unbound(at: Setting) -> list[str]:
    config = at.place / "unbound.conf"
    data = "".join(f' local-data: "{name} 300 AAAA {ip}"\n' for name, ip in _addresses(at.zone))
    config.write_text(
        f"server:\n interface: ::1@{at.plain}\n interface: ::1@{at.tls}\n tls-port: {at.tls}\n"
        f" interface: ::1@{at.https}\n https-port: {at.https}\n num-threads: 1\n do-daemonize: no\n"
        f' tls-service-key: "{at.pair}/key.pem"\n tls-service-pem: "{at.pair}/chain.pem"\n'
        f' use-syslog: no\n chroot: ""\n username: ""\n pidfile: ""\n directory: "{at.place}"\n'
        ' incoming-num-tcp: 100\n local-zone: "example.com." static\n'
        ' local-data: "example.com. SOA '
        f'{_SOA}"\n'
        f"{data}remote-control:\n control-enable: no\n"
    )
    return ["unbound", "-d", "-c", str(config)]


def _dnsdist(at: Setting, backend: int) -> list[str]:
    config = at.place / "dnsdist.conf"
    pair = f"'{at.pair}/chain.pem', '{at.pair}/key.pem'"
    config.write_text(
        f"setLocal('[::1]:{at.plain}')\nsetACL('::1/128')\n"
        f"addTLSLocal('[::1]:{at.tls}', {pair})\n"
        f"addDOHLocal('[::1]:{at.https}', {pair}, '/dns-query')\n"
        f"newServer({{ address = '[::1]:{backend}', healthCheckInterval = 60 }})\n"
        "getPool(''):setCache(newPacketCache(100000))\n"
    )
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", str(config)]


_SERVERS: Final[dict[str, Callable[[Setting], list[str]]]] = {
    "quada": _quada, "bind": _named, "kresd": _kresd, "unbound": _unbound,
}  # fmt: skip
_PROGRAMS: Final = {"bind": "named"}


def run(place: Path, seconds: float) -> dict[str, dict[str, Cost]]:
    """Measure every installed server both ways; by way, then by server."""
    zone = place / "example.com.zone"
    write_zone(zone, _NAMES)
    place.joinpath("key.pem").touch(mode=0o644)
    make_certificate(
        place / "chain.pem", place / "key.pem", ["::1", "localhost"],
        datetime.datetime.now(datetime.UTC),
    )  # fmt: skip
    questions = place / "questions"
    write_questions(questions, _host)
    out: dict[str, dict[str, Cost]] = {way: {} for way in _WAYS}
    with contextlib.ExitStack() as stack:
        servers = {
            name: make
            for name, make in _SERVERS.items()
            if name == "quada" or shutil.which(_PROGRAMS.get(name, name))
        }
        if shutil.which("dnsdist") and shutil.which("nsd"):
            backend = _backend(stack, zone, place)
            servers["dnsdist"] = lambda at: _dnsdist(at, backend)
        for name, make in servers.items():
            own = place / name
            own.mkdir(mode=0o777)
            at = Setting(zone, place, own, free_port(), free_port(), free_port())
            with running(make(at), at.plain, own / "log", 30) as pid:
                for way, mode in _WAYS.items():
                    port = at.tls if way == "DoT" else at.https
                    uri = ("-O", f"doh-uri=https://[::1]:{port}/dns-query") if way == "DoH" else ()
                    options = (*mode, *uri, *_LOADS[way])
                    query(pid, port, questions, 1.0, *options)  # warm
                    out[way][name] = query(pid, port, questions, seconds, *options)
    return out


def _host(chance: random.Random) -> str:
    return f"host{chance.randrange(_NAMES)}.example.com AAAA"


def _backend(stack: contextlib.ExitStack, zone: Path, place: Path) -> int:
    nsd = next(peer for peer in AUTHORITIES if peer.name == "nsd")
    own, port = place / "backend", free_port()
    own.mkdir(mode=0o777)
    stack.enter_context(running(nsd.command(zone, port, own), port, own / "log"))
    return port


def table(results: dict[str, dict[str, Cost]]) -> list[str]:
    """Write costs as Markdown: CPU microseconds, queries lost, and quada's ratio to each."""
    lines = ["| way | server | CPU µs a query | queries/s | lost | quada costs |", "|---" * 6 + "|"]
    for way, costs in results.items():
        ours = costs["quada"].cpu_us
        for name, cost in costs.items():
            if cost.lost_percent > _LOST_MAX:
                lines.append(f"| {way} | {name} | | | {cost.lost_percent:.1f} % | not comparable |")
                continue
            ratio = (
                f"{ours / cost.cpu_us:.2f} times that" if name != "quada" and cost.cpu_us else ""
            )
            lines.append(
                f"| {way} | {name} | {cost.cpu_us:.1f} | {cost.per_second:.0f} |"
                f" {cost.lost_percent:.1f} % | {ratio} |"
            )
    return lines


def main() -> None:
    """Run, print and write down."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="a way and server")
    options.add_argument("--no-results", action="store_true", help="print alone")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="quada-bench-") as name:
        Path(name).chmod(0o777)
        lines = table(run(Path(name), wanted.seconds))
    kernel = platform.release().partition("-")[0]
    now = datetime.datetime.now(datetime.UTC)
    text = "\n".join(
        [f"# DoT and DoH, {now:%Y-%m-%d}", "", f"One server core, Linux {kernel}; DoT 10"
         " connections with 200 queries outstanding, DoH 50 with one each;", "TLS 1.3, names that"
         " exist.", "", *lines, ""]
    )  # fmt: skip
    print(text)
    if not wanted.no_results:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "encrypted.md").write_text(text)


if __name__ == "__main__":
    main()
