"""ALIAS as quada and as a real PowerDNS answer it, from the same resolver: the table in docs/alias.md."""

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

pytestmark = pytest.mark.peers

SOA = "test. 30 IN SOA a. b. 1 2 3 4 5"
TARGETS = ("both", "v4only", "chain", "nx", "fail", "silent")
ZONE = (
    "$TTL 600\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns AAAA ::1\n@ MX 10 ns\n"
    "@ ALIAS both.test.\n" + "".join(f"{name} ALIAS {name}.test.\n" for name in TARGETS)
)


class Resolver:
    """A resolver's double: says to each name what its name says, and counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                wire, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            answer = self._answer(dns.message.from_wire(wire))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        made = dns.message.make_response(query)
        made.flags |= dns.flags.RA
        question = query.question[0]
        name = question.name.to_text()
        self.asked[f"{name} {dns.rdatatype.to_text(question.rdtype)}"] += 1
        if name.startswith("silent"):
            return None
        if name.startswith(("fail", "nx")):
            made.set_rcode(dns.rcode.SERVFAIL if name.startswith("fail") else dns.rcode.NXDOMAIN)
        lines = []
        if name.startswith("chain"):
            lines.append(f"{name} 20 IN CNAME both.test.")
            name = "both.test."
        if question.rdtype == dns.rdatatype.A and name.startswith(("both", "v4only")):
            lines.append(f"{name} 40 IN A 192.0.2.1")
        if question.rdtype == dns.rdatatype.AAAA and name.startswith("both"):
            lines.append(f"{name} 40 IN AAAA 2001:db8::1")
        for line in lines:
            owner, ttl, _, rdtype, rdata = line.split(None, 4)
            made.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", rdtype, rdata))
        if not lines and not name.startswith("fail"):
            owner, ttl, _, rdtype, rdata = SOA.split(None, 4)
            made.authority.append(dns.rrset.from_text(owner, int(ttl), "IN", rdtype, rdata))
        return made


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.close()


@pytest.fixture
def powerdns(tmp_path: Path, resolver: Resolver, free_port) -> Iterator[int]:
    port = free_port()
    (tmp_path / "pzone").write_text(f"$ORIGIN example.com.\n{ZONE}")
    (tmp_path / "named.conf").write_text(
        f'zone "example.com" {{ type master; file "{tmp_path}/pzone"; }};\n'
    )
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [
                "pdns_server", "--daemon=no", "--guardian=no", f"--config-dir={tmp_path}",
                f"--socket-dir={tmp_path}", "--launch=bind", "--local-address=::1",
                f"--local-port={port}", f"--bind-config={tmp_path}/named.conf",
                "--expand-alias=yes", f"--resolver=[::1]:{resolver.port}", "--disable-syslog=yes",
                "--outgoing-axfr-expand-alias=yes", "--security-poll-suffix=",
                "--cache-ttl=0", "--query-cache-ttl=0", "--negquery-cache-ttl=0",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + 20
    while ask(port, "example.com", "SOA", 0.5) is None:
        assert server.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield port
    server.terminate()
    server.wait(20)


@pytest.fixture
def quada(serve, tmp_path: Path, resolver: Resolver) -> int:
    (tmp_path / "zone").write_text(ZONE)
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[alias]\nupstream = ["[::1]:{resolver.port}"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{tmp_path}/zone"\n'
    )
    return serve("--role", "authority", "--config", str(config)).port


def ask(port: int, name: str, rdtype: str, wait_s: float = 2.0) -> dns.message.Message | None:
    query = dns.message.make_query(name, rdtype, use_edns=0)
    try:
        return dns.query.udp(query, "::1", wait_s, port)
    except (dns.exception.Timeout, OSError):
        return None


def said(port: int, name: str, rdtype: str = "AAAA") -> str:
    """An answer in words: rcode, addresses with TTL, and whether a SOA says how long it holds."""
    answer = ask(port, f"{name}.example.com", rdtype)
    if answer is None:
        return "silence"
    wanted = dns.rdatatype.from_text(rdtype)
    # What is left of a TTL depends on the second: to the next ten it is what it was.
    found = [f"{r} {-(-s.ttl // 10) * 10}" for s in answer.answer if s.rdtype == wanted for r in s]
    soa = [s for s in answer.authority if s.rdtype == dns.rdatatype.SOA]
    words = [dns.rcode.to_text(answer.rcode()), *found, *(["SOA"] if soa else [])]
    return " ".join(words)


@pytest.mark.parametrize("server", ["quada", "powerdns"])
def test_what_each_says_is_what_the_table_says(
    server: str, resolver: Resolver, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(server)
    found = {name: said(port, name) for name in TARGETS}
    before = resolver.asked["both.test. AAAA"]
    assert said(port, "both") == "NOERROR 2001:db8::1 40"
    again = resolver.asked["both.test. AAAA"] - before
    assert found["both"] == "NOERROR 2001:db8::1 40"
    if server == "quada":
        assert again == 0
        assert found["chain"] == "NOERROR 2001:db8::1 20"
        assert {found[name] for name in ("v4only", "nx", "fail", "silent")} == {"NOERROR SOA"}
        return
    # PowerDNS asks for every query, and an outage of its resolver is one for its clients.
    assert again == 1
    assert found["chain"] == "NOERROR 2001:db8::1 40"  # the CNAME's 20 seconds are not looked at
    assert found["v4only"] == "NOERROR"  # without a SOA nobody may remember it (RFC 2308 5)
    assert (found["nx"], found["fail"], found["silent"]) == ("SERVFAIL", "SERVFAIL", "silence")
