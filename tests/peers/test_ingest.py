"""Logs that real servers write, hostile names included, become events without a line lost."""

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quada.store.follow import FrameFollower
from quada.telemetry.event import Kind, Role
from quada.telemetry.ingest import detect, make_parser
from quada.telemetry.ingest.dnstap import DnstapParser, FrameStream
from quada.wire.ask import Transport

pytestmark = pytest.mark.peers

ZONE = "$ORIGIN example.test.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns AAAA ::1\nwww AAAA 2001:db8::1\nwww A 192.0.2.1\n"
QUESTIONS = [
    ("www.example.test", "AAAA"), ("www.example.test", "A"), ("nx.example.test", "AAAA"),
    ("example.test", "TXT"), (r"a\032b.example.test", "AAAA"), (r"x\"y.example.test", "MX"),
    (r"n:\032query:\032x.example.test", "A"), ("www.example.test", "TYPE65280"),
    ("(paren).example.test", "AAAA"), ("q'uote.example.test", "AAAA"),
    ("sl/ash.example.test", "AAAA"), ("l" * 63 + ".example.test", "AAAA"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)
    (tmp_path / "zone").write_text(ZONE)
    (tmp_path / "hints").write_text(". 3600 NS ns.test.\nns.test. 3600 AAAA ::1\n")
    return tmp_path


def ask_all(
    command: list[str], port: int, output: Path, more: tuple[tuple[str, str], ...] = ()
) -> None:
    """Run a server, ask it everything over UDP and TCP, and end it."""
    with output.open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while "status: NOERROR" not in dig(port, "www.example.test", "AAAA"):
            assert time.monotonic() < deadline, output.read_text()
            assert server.poll() is None, output.read_text()
            time.sleep(0.1)
        for options in ((), ("+tcp", "+dnssec", "+cd")):
            for name, rdtype in (*QUESTIONS, *more):
                dig(port, name, rdtype, *options)
        time.sleep(0.3)
    finally:
        server.terminate()
        server.wait(20)


def dig(port: int, name: str, rdtype: str, *options: str) -> str:
    return subprocess.run(
        ["dig", "@::1", "-p", str(port), name, rdtype, "+tries=1", "+time=1", *options],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip


def parse(path: Path, format_name: str):
    """Give the events of a log, which `auto` must know, and of which no line may be lost."""
    lines = path.read_text(errors="backslashreplace").split("\n")
    assert detect(lines) == format_name
    parser = make_parser(format_name, "test", None)
    events = parser.feed(lines, 0) + parser.flush()
    assert not parser.unknown_count, list(parser.unknown)
    return [event for event in events if event.kind is Kind.QUERY]


def has_all(events) -> bool:
    """Whether each question was seen at least twice, whatever case or escape it was written in."""
    wanted = 2 * len(QUESTIONS)
    return len(events) >= wanted and sum(event.qtype == 28 for event in events) >= 14


def named(place: Path, port: int, more: str = "") -> list[str]:
    config = place / "named.conf"
    config.write_text(
        f'options {{ directory "{place}"; listen-on-v6 port {port} {{ ::1; }}; listen-on {{ none; }};'
        f' recursion no; dnssec-validation no; pid-file "{place}/named.pid"; querylog yes; {more} }};\n'
        "controls {};\n"
        "logging { channel q { stderr; severity info; print-time yes; print-category yes; print-severity yes; };"
        " category default { q; }; category queries { q; }; category query-errors { q; }; };\n"
        f'zone "." {{ type hint; file "{place}/hints"; }};\n'
        f'zone "example.test" {{ type primary; file "{place}/zone"; }};\n'
    )
    return ["named", "-f", "-c", str(config)]


def test_named_writes_what_we_read(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    ask_all(named(place, port), port, place / "log", more=(("outside.invalid", "AAAA"),))
    events = parse(place / "log", "bind")
    assert has_all(events)
    assert {event.transport is None for event in events} == {True, False}
    assert [e.rcode for e in events if e.qname == "outside.invalid."] == [5, 5]
    # Of what went well BIND 9.18 says nothing; 9.20 writes responses.
    assert all(
        e.rcode in {None, 0} for e in events if e.qname == "n:\\032query:\\032x.example.test."
    )


def test_named_dnstap_tells_everything(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    command = named(place, port, f'dnstap {{ all; }}; dnstap-output file "{place}/tap";')
    ask_all(command, port, place / "log")
    stream, parser = FrameStream(), DnstapParser("test")
    events = parser.feed(stream.feed((place / "tap").read_bytes()), 0) + parser.flush()
    assert not parser.unknown_count
    queries = [event for event in events if event.kind is Kind.QUERY]
    assert has_all(queries)
    assert all(event.rcode is not None for event in queries)
    assert {event.rcode for event in queries} >= {0, 3}
    assert any(event.is_nodata for event in queries)
    assert {event.role for event in queries} == {Role.AUTHORITATIVE}


def test_a_dnstap_file_is_followed_while_named_writes_and_rolls_it(
    place: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    tap = f'dnstap {{ all; }}; dnstap-output file "{place}/tap" size 4096 versions unlimited suffix increment;'
    parser = DnstapParser("test")
    events = []
    with ThreadPoolExecutor(1) as pool:
        command, more = named(place, port, tap), tuple(QUESTIONS) * 3  # longer than it buffers
        running = pool.submit(ask_all, command, port, place / "log", more)
        follower = None
        while not (running.done() and follower is not None):
            if follower is None and (place / "tap").exists():
                follower = FrameFollower(place / "tap")
            if follower is not None:
                events += parser.feed(follower.take(), 0)
            time.sleep(0.02)
        running.result()
    for _ in range(50):  # a file a look, and there are fewer of them
        events += parser.feed(follower.take(), 0)
    assert not follower.trouble
    follower.close()
    assert (place / "tap.0").exists(), "it was not rolled"
    whole = DnstapParser("test")
    for path in sorted(place.glob("tap*")):
        whole.feed(FrameStream().feed(path.read_bytes()), 0)
    assert parser.line_count == whole.line_count
    assert not parser.unknown_count
    assert has_all([event for event in events if event.kind is Kind.QUERY])


def test_knotd_dnstap_tells_what_was_asked_and_answered(
    place: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    config = place / "knot.conf"
    config.write_text(
        f"server:\n  rundir: {place}\n  listen: ::1@{port}\n"
        "log:\n  - target: stderr\n    any: info\n"
        f"database:\n  storage: {place}\n"
        f"mod-dnstap:\n  - id: tap\n    sink: {place}/tap\n    log-queries: on\n"
        "    log-responses: on\n"
        f"template:\n  - id: default\n    storage: {place}\n    global-module: mod-dnstap/tap\n"
        f"zone:\n  - domain: example.test\n    file: {place}/zone\n"
    )
    ask_all(["knotd", "-c", str(config)], port, place / "log")
    stream, parser = FrameStream(), DnstapParser("test")
    events = parser.feed(stream.feed((place / "tap").read_bytes()), 0) + parser.flush()
    assert not parser.unknown_count
    assert has_all(events)
    assert {event.role for event in events} == {Role.AUTHORITATIVE}
    assert {event.rcode for event in events} >= {0, 3}
    assert any(event.is_nodata for event in events)
    assert {event.transport for event in events} == {Transport.UDP, Transport.TCP}
    # Query and response are one event: nothing was counted twice.
    assert len(events) == parser.line_count // 2


def test_unbound_writes_what_we_read(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    config = place / "unbound.conf"
    config.write_text(
        f'server:\n interface: ::1\n port: {port}\n do-daemonize: no\n use-syslog: no\n logfile: "{place}/log"\n'
        f' chroot: ""\n username: ""\n pidfile: "{place}/pid"\n directory: "{place}"\n log-queries: yes\n'
        " log-replies: yes\n log-servfail: yes\n val-log-level: 2\n log-tag-queryreply: yes\n"
        ' module-config: "iterator"\n'
        ' local-zone: "example.test." static\n local-data: "www.example.test. AAAA 2001:db8::1"\n'
        'forward-zone:\n name: "."\n forward-addr: ::1@1\n'
    )
    ask_all(["unbound", "-d", "-c", str(config)], port, place / "out")
    events = parse(place / "log", "unbound")
    assert has_all(events)
    assert all(event.rcode is not None and event.duration_us is not None for event in events)


def test_the_powerdns_recursor_writes_what_we_read(
    place: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    ask_all(
        [
            "pdns_recursor", f"--local-address=[::1]:{port}", f"--config-dir={place}", f"--socket-dir={place}",
            "--daemon=no", "--quiet=no", "--loglevel=6", "--forward-zones-recurse=.=[::1]:1",
            "--structured-logging=yes", "--hint-file=", f"--auth-zones=example.test={place}/zone",
            "--disable-syslog=yes", "--security-poll-suffix=",
        ],
        port, place / "log",
    )  # fmt: skip
    lines = [line for line in (place / "log").read_text().split("\n") if 'msg="' in line]
    (place / "structured").write_text("\n".join(lines))
    events = parse(place / "structured", "pdns-recursor")
    assert has_all(events)
    assert {event.rcode for event in events} >= {0, 3}


def test_the_powerdns_server_writes_what_we_read(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    (place / "bind.conf").write_text(
        f'zone "example.test" {{ type master; file "{place}/zone"; }};\n'
    )
    ask_all(
        [
            "pdns_server", "--local-address=::1", f"--local-port={port}", f"--config-dir={place}",
            "--launch=bind", f"--bind-config={place}/bind.conf", f"--socket-dir={place}", "--daemon=no",
            "--guardian=no", "--log-dns-queries=yes", "--loglevel=6", "--disable-syslog=yes",
            "--security-poll-suffix=",
        ],
        port, place / "log",
    )  # fmt: skip
    assert has_all(parse(place / "log", "pdns-auth"))


def test_dnsmasq_writes_what_we_read(place: Path, free_port: Callable[[], int]) -> None:
    assert shutil.which("dnsmasq"), "tests/peers/install.sh installs dnsmasq-base"
    port = free_port()
    ask_all(
        [
            "dnsmasq", "-k", "-p", str(port), "--listen-address=::1", "--bind-interfaces", "--no-resolv",
            "--no-hosts", "--log-queries=extra", f"--log-facility={place}/log", "--local=/example.test/",
            "--address=/www.example.test/2001:db8::1", "--conf-file=/dev/null", "--user=root",
            f"--pid-file={place}/pid",
        ],
        port, place / "out",
    )  # fmt: skip
    events = parse(place / "log", "dnsmasq")
    assert has_all(events)
    assert {event.rcode for event in events} >= {0, 3}
