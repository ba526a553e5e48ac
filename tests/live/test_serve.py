"""A whole server over real sockets, ::1 first."""

import asyncio
import json
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import httpx
import pytest

from quada.transport.tls import Certificate
from quic_client import Http3Client, connected

ZONE = """$ORIGIN example.com.
$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
ns1 AAAA 2001:db8::53
www AAAA 2001:db8::80
www A 192.0.2.80
*.dyn AAAA 2001:db8::99
"""


@pytest.fixture
def zone_file(tmp_path: Path) -> Path:
    path = tmp_path / "example.com.zone"
    path.write_text(ZONE)
    return path


@pytest.fixture
def server(serve, zone_file):
    return serve("--role", "authority", "--zone", f"example.com={zone_file}")


def aaaa(message: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in message.answer for item in rrset]


def frame(query: bytes) -> bytes:
    return struct.pack("!H", len(query)) + query


def read_frame(sock: socket.socket) -> bytes:
    def exactly(count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            more = sock.recv(count - len(octets))
            if not more:
                raise ConnectionError("closed")
            octets += more
        return octets

    return exactly(struct.unpack("!H", exactly(2))[0])


def test_answers_come_over_udp_and_tcp(server) -> None:
    assert aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::80"]
    assert aaaa(server.tcp("www.example.com.", "AAAA")) == ["2001:db8::80"]
    assert server.udp("nx.example.com.", "AAAA").rcode() == dns.rcode.NXDOMAIN


def test_short_and_long_queries_that_come_together_are_all_answered(server) -> None:
    queries = []
    for number, octets in enumerate([0, 200, 220, 240, 900, 4000, 0] * 20):
        query = dns.message.make_query("www.example.com.", "AAAA", id=number)
        option = dns.edns.GenericOption(65001, bytes(octets))  # for local use (RFC 6891 9)
        query.use_edns(0, options=[option] if octets else [], payload=1232)
        queries.append(query)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect(("::1", server.port))
        for query in queries:
            sock.send(query.to_wire(max_size=4090))
        answers = {}
        for _ in queries:
            answer = dns.message.from_wire(sock.recv(4096))
            answers[answer.id] = answer
    assert sorted(answers) == list(range(len(queries)))
    assert {tuple(aaaa(answer)) for answer in answers.values()} == {("2001:db8::80",)}


def test_ipv4_is_served_beside_ipv6_on_a_socket_of_its_own(serve, zone_file) -> None:
    both = serve(
        "--zone", f"example.com={zone_file}", "--listen", "127.0.0.1:0", "--role", "authority"
    )
    port = int(both.listening[1].split()[0].rpartition(":")[2])
    query = dns.message.make_query("www.example.com.", "A")
    assert aaaa(dns.query.udp(query, "127.0.0.1", port=port, timeout=5)) == ["192.0.2.80"]


def test_a_wildcard_listener_answers_from_the_address_it_was_asked_at(serve, zone_file) -> None:
    served = serve("--zone", f"example.com={zone_file}", listen="[::]:0")
    for qname in ("www.example.com.", "x.dyn.example.com.", "nx.example.com."):
        served.udp(qname, "AAAA")  # dnspython drops answers from any other address


def test_sigterm_ends_cleanly(server) -> None:
    assert server.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", server.port), timeout=1)


def test_a_killed_worker_is_replaced(server, until) -> None:
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: server.workers() and server.workers() != before, what="another worker")
    until(lambda: aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::80"])


def test_a_killed_supervisor_takes_its_workers_along(server, until) -> None:
    workers = server.children()
    server.process.kill()
    server.process.wait(5)

    def are_gone() -> bool:
        return not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)

    until(are_gone, what="workers gone")


def test_a_changed_zone_file_is_taken_and_a_bad_one_is_not(server, zone_file, until) -> None:
    zone_file.write_text(ZONE.replace("2001:db8::80", "2001:db8::81").replace("host 1", "host 2"))
    until(lambda: aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::81"])
    zone_file.write_text("@ SOA broken\n")
    os.kill(server.process.pid, signal.SIGHUP)
    until(lambda: "refused" in server.log.read_text())
    assert aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::81"]


def test_many_queries_share_a_connection_and_one_segment(server) -> None:
    names = ["www", "nx", "a.dyn", "ns1"] * 100
    queries = [
        dns.message.make_query(f"{name}.example.com.", "AAAA", id=number)
        for number, name in enumerate(names)
    ]
    with socket.create_connection(("::1", server.port), timeout=5) as sock:
        sock.sendall(b"".join(frame(query.to_wire()) for query in queries))
        answers = [dns.message.from_wire(read_frame(sock)) for _ in queries]
    by_id = {answer.id: answer for answer in answers}
    for query in queries:
        assert query.is_response(by_id[query.id])


def test_a_query_may_come_octet_by_octet(server) -> None:
    query = dns.message.make_query("www.example.com.", "AAAA")
    with socket.create_connection(("::1", server.port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in frame(query.to_wire()):
            sock.sendall(bytes((octet,)))
        assert query.is_response(dns.message.from_wire(read_frame(sock)))


def test_garbage_over_tcp_ends_that_connection_and_no_other(server) -> None:
    with (
        socket.create_connection(("::1", server.port), timeout=5) as good,
        socket.create_connection(("::1", server.port), timeout=5) as bad,
    ):
        bad.sendall(b"\x00\x03abc" + b"GET / HTTP/1.1\r\n\r\n")
        assert bad.recv(100) == b""
        query = dns.message.make_query("www.example.com.", "AAAA")
        good.sendall(frame(query.to_wire()))
        assert query.is_response(dns.message.from_wire(read_frame(good)))


def test_a_client_that_never_reads_is_hung_up_on(server) -> None:
    query = frame(dns.message.make_query("www.example.com.", "AAAA").to_wire()) * 200
    with socket.create_connection(("::1", server.port), timeout=5) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        is_hung_up_on = False
        for _ in range(20_000):
            try:
                sock.sendall(query)
            except OSError:
                is_hung_up_on = True
                break
        assert is_hung_up_on
    assert aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::80"]


@pytest.mark.parametrize("role", ["authority", "resolver"])
def test_an_idle_connection_is_closed(role, serve, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(f'version = 1\n[{role}]\nlisten = ["[::1]:0"]\ntcp_idle_s = 0.2\n')
    served = serve("--config", str(config), "--role", role, listen="")
    with socket.create_connection(("::1", served.port), timeout=5) as sock:
        sock.sendall(b"\x00")
        assert sock.recv(1) == b""


def test_connections_from_one_network_are_bounded(serve, zone_file, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\ntcp_per_network = 3\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--config", str(config), listen="")
    socks = [socket.create_connection(("::1", served.port), timeout=5) for _ in range(8)]
    query = frame(dns.message.make_query("www.example.com.", "AAAA").to_wire())
    alive = 0
    for sock in socks:
        try:
            sock.sendall(query)
            alive += bool(read_frame(sock))
        except OSError:
            pass
        sock.close()
    assert alive == 3


def test_random_packets_do_not_stop_the_server(server) -> None:
    chance = random.Random(4)
    good = dns.message.make_query("www.example.com.", "AAAA", want_dnssec=True).to_wire()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for number in range(4000):
            packet = bytearray(good if number % 2 else chance.randbytes(chance.randrange(1, 90)))
            for _ in range(chance.randrange(4)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            sock.sendto(packet, ("::1", server.port))
    assert aaaa(server.udp("www.example.com.", "AAAA")) == ["2001:db8::80"]
    assert len(server.workers()) == 1


def test_every_query_is_an_event_in_its_stream(server, until) -> None:
    server.udp("www.example.com.", "AAAA")
    server.tcp("x.dyn.example.com.", "AAAA")

    def events() -> list[dict[str, object]]:
        shown = subprocess.run(
            [
                sys.executable,
                "-m",
                "quada",
                "tail",
                "--json",
                "--no-follow",
                "--state-dir",
                str(server.state_dir),
                "--role",
                "authoritative",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        found = [json.loads(line) for line in shown.stdout.splitlines()]
        return found if len(found) == 2 else []

    first, second = until(events)
    assert (first["qname"], first["transport"], first["family"]) == ("www.example.com.", "udp", 6)
    assert (second["provenance"], second["transport"]) == (["native", "wildcard"], "tcp")
    assert second["zone"] == "example.com."


def test_event_lines_are_written_where_configured(serve, zone_file, tmp_path, until) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\n[events]\njsonl = "events.jsonl"\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--config", str(config), listen="")
    served.udp("www.example.com.", "AAAA")
    assert served.stop() == 0
    line = json.loads((served.state_dir / "events.jsonl").read_text().splitlines()[-1])
    assert line["role"] == "authoritative"


def test_every_query_is_in_the_event_store_and_answers_sql(server) -> None:
    for _ in range(3):
        server.udp("www.example.com.", "AAAA")
    server.udp("none.www.example.com.", "AAAA")
    assert server.stop() == 0
    sql = "SELECT qname, rcode, family, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC"
    shown = subprocess.run(
        [sys.executable, "-m", "quada", "logs", "query", sql, "--json", "--state-dir", str(server.state_dir)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(shown.stdout) == [
        {"qname": "www.example.com.", "rcode": "NOERROR", "family": 6, "n": 3},
        {"qname": "none.www.example.com.", "rcode": "NXDOMAIN", "family": 6, "n": 1},
    ]


def test_status_tells_zones_and_workers(server) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "quada", "status", "--json", "--state-dir", str(server.state_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(shown.stdout)
    assert [(one["zone"], one["serial"]) for one in found["zones"]] == [("example.com.", 1)]
    assert 0 < time.time() - found["zones"][0]["loaded_at"] < 60
    assert len(found["workers"]) == 1


def test_a_bad_zone_file_stops_the_start_with_its_place(zone_file, tmp_path) -> None:
    zone_file.write_text(ZONE + "bad AAAA not-an-address\n")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "quada",
            "serve",
            "--zone",
            f"example.com={zone_file}",
            "--listen",
            "[::1]:0",
            "--state-dir",
            str(tmp_path / "s"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 2
    assert f"{zone_file}:9:" in ran.stderr


def test_an_address_in_use_is_said_with_its_remedy(server, zone_file, tmp_path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "quada",
                "serve",
                "--zone",
                f"example.com={zone_file}",
                "--listen",
                f"[::1]:{taken.getsockname()[1]}",
                "--state-dir",
                str(tmp_path / "s"),
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ran.returncode == 2
    assert "choose another port" in ran.stderr


def test_encrypted_listeners_answer_kdig(serve, zone_file, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\nlisten_tls = ["[::1]:0"]\n'
        'listen_https = ["[::1]:0"]\nlisten_quic = ["[::1]:0"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--config", str(config), listen="")
    ports = [line.split()[0].rpartition(":")[2] for line in served.listening]
    for port, option in zip(ports[1:], ("+tls", "+https", "+quic"), strict=True):
        ran = subprocess.run(
            ["kdig", "@::1", "-p", port, option, "www.example.com", "AAAA", "+short"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert ran.stdout.strip() == "2001:db8::80", (option, ran.stdout, ran.stderr)


def test_https_tells_of_http3_and_speaks_it_over_both_families(serve, zone_file, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten_https = ["[::1]:0", "127.0.0.1:0"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--config", str(config), listen="")
    chain = served.state_dir / "tls/chain.pem"
    query = dns.message.make_query("www.example.com.", "AAAA", id=0).to_wire()
    trust = ssl.create_default_context(cafile=str(chain))

    async def ask(port: int, host: str) -> str:
        certificate = Certificate(chain, chain.with_name("key.pem"))
        async with connected(
            port, certificate, Http3Client, "h3", host=host, name="localhost"
        ) as client:
            _, body = await client.fetch("POST", "/dns-query", query, "application/dns-message")
            return dns.message.from_wire(body).answer[0][0].address

    for line, host in zip(served.listening, ("::1", "127.0.0.1"), strict=True):
        assert line.endswith("HTTPS and HTTP/3")
        port = int(line.split()[0].rpartition(":")[2])
        shown = f"[{host}]" if ":" in host else host
        with httpx.Client(verify=trust, http2=True) as client:
            asked = client.get(
                f"https://{shown}:{port}/dns-query", extensions={"sni_hostname": "localhost"}
            )
        told = asked.headers["alt-svc"]
        assert told == f'h3=":{port}"; ma=86400'
        assert asyncio.run(ask(port, host)) == "2001:db8::80"


def test_a_certificate_that_lacks_a_name_clients_are_told_is_said_at_start(
    serve, zone_file, tmp_path, certificate
) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten_tls = ["[::1]:0"]\n[tls]\ncertificate = "{certificate.chain}"\n'
        f'key = "{certificate.key}"\nnames = ["ns1.example.com", "2001:db8::53"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--config", str(config), listen="")
    said = served.log.read_text()
    assert "does not cover" in said
    assert "2001:db8::53" in said
    assert "ns1.example.com" not in said


def test_without_history_no_collector_runs(serve, zone_file, tmp_path) -> None:
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[events]\nhistory_days = 0\n[[zone]]\nname = "example.com"\nfile = "{zone_file}"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    assert served.children() == served.workers()
    assert aaaa(served.udp("www.example.com.", "AAAA")) == ["2001:db8::80"]


def test_rate_limiting_slips_and_drops_for_one_network(serve, zone_file, tmp_path) -> None:
    """Loopback is exempt, so the limit is asked of an address of another prefix, if there is one."""
    found = subprocess.run(
        ["ip", "-6", "-o", "addr", "show", "dev", "lo"], capture_output=True, text=True
    ).stdout
    if os.geteuid() or "2001:db8:77::1" in found:
        pytest.skip("needs root to add an address to the loopback interface")
    subprocess.run(["ip", "addr", "add", "2001:db8:77::1/128", "dev", "lo"], check=True)
    try:
        served = serve("--zone", f"example.com={zone_file}", listen="[2001:db8:77::1]:0")
        query = dns.message.make_query("www.example.com.", "AAAA").to_wire()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("2001:db8:77::1", 0))
            sock.settimeout(0.5)
            until_s = int(time.time()) + 1
            while time.time() < until_s:
                time.sleep(0.01)
            for _ in range(400):
                sock.sendto(query, ("2001:db8:77::1", served.port))
            whole = cut = 0
            try:
                while True:
                    flags = sock.recv(4096)[2]
                    cut, whole = cut + bool(flags & 2), whole + (not flags & 2)
            except TimeoutError:
                pass
        assert whole < 300
        assert cut > 20
        assert whole + cut < 400
    finally:
        subprocess.run(["ip", "addr", "del", "2001:db8:77::1/128", "dev", "lo"], check=True)
