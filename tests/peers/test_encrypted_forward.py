"""Forwarding over TLS, HTTPS and QUIC to real servers: by name or by opportunity, and never in the
clear where that was forbidden."""

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest

from quada.transport.kept import padded
from quada.transport.tls import make_certificate

pytestmark = pytest.mark.peers


class Unbound:
    """An unbound with a zone of its own, over TLS, HTTPS and in the clear."""

    def __init__(self, place: Path, tls_port: int, https_port: int, port: int, name: str) -> None:
        self.place, self.port = place, port
        self.addresses = {
            "tls": f"tls://[::1]:{tls_port}",
            "https": f"https://[::1]:{https_port}/dns-query",
        }
        self.ca = place / "chain.pem"
        make_certificate(self.ca, place / "key.pem", [name], datetime.datetime.now(datetime.UTC))
        config = place / "unbound.conf"
        config.write_text(
            f"server:\n interface: ::1@{port}\n interface: ::1@{tls_port}\n tls-port: {tls_port}\n"
            f' interface: ::1@{https_port}\n https-port: {https_port}\n http-endpoint: "/dns-query"\n'
            f' tls-service-key: "{place}/key.pem"\n tls-service-pem: "{self.ca}"\n do-daemonize: no\n'
            f' use-syslog: no\n chroot: ""\n username: ""\n pidfile: "{place}/pid"\n directory: "{place}"\n'
            ' local-zone: "example.test." static\n local-data: "www.example.test. AAAA 2001:db8::80"\n'
            ' local-data: "www.example.test. A 192.0.2.80"\n'
            + "".join(
                f' local-data: "h{n}.example.test. AAAA 2001:db8::{n:x}"\n' for n in range(1, 200)
            )
        )
        self.process = subprocess.Popen(
            ["unbound", "-d", "-c", str(config)], stderr=subprocess.DEVNULL
        )


@pytest.fixture
def unbound(tmp_path: Path, free_port: Callable[[], int], until) -> Iterator[Unbound]:
    assert shutil.which("unbound")
    place = tmp_path / "unbound"
    place.mkdir()
    made = Unbound(place, free_port(), free_port(), free_port(), "dot.example.test")

    def is_up() -> bool:
        query = dns.message.make_query("www.example.test.", "AAAA")
        return bool(dns.query.udp(query, "::1", port=made.port, timeout=1).answer)

    until(is_up, what="unbound")
    yield made
    made.process.terminate()
    made.process.wait(10)


def resolver(serve, tmp_path: Path, forward: str, ca: Path | str = ""):
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[resolver]\nlisten = ["[::1]:0"]\ndnssec = false\nforward = ["{forward}"]\nforward_ca_file = "{ca}"\n'
    )
    return serve("--role", "resolver", "--config", str(config), listen="")


@pytest.mark.parametrize("scheme", ["tls", "https"])
def test_a_forwarder_that_proves_its_name_is_used(
    unbound: Unbound, serve, tmp_path: Path, scheme: str
) -> None:
    served = resolver(serve, tmp_path, f"{unbound.addresses[scheme]}#dot.example.test", unbound.ca)
    answer = served.udp("www.example.test.", "AAAA")
    assert answer.answer[0][0].to_text() == "2001:db8::80"
    for n in range(1, 200):
        assert (
            served.udp(f"h{n}.example.test.", "AAAA").answer[0][0].to_text() == f"2001:db8::{n:x}"
        )
    assert served.udp("none.example.test.", "AAAA").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("scheme", "wrong"), [("tls", "name"), ("tls", "issuer"), ("https", "name")]
)
def test_one_that_does_not_is_refused_and_nothing_goes_in_the_clear(
    unbound: Unbound, serve, tmp_path: Path, wrong: str, scheme: str
) -> None:
    name, ca = ("other.example.test", unbound.ca) if wrong == "name" else ("dot.example.test", "")
    served = resolver(serve, tmp_path, f"{unbound.addresses[scheme]}#{name}", ca)
    answer = served.udp("www.example.test.", "AAAA", use_edns=True)
    assert answer.rcode() == dns.rcode.SERVFAIL
    texts = [str(one.text) for one in answer.options if isinstance(one, dns.edns.EDEOption)]
    assert any("tls" in text for text in texts), texts


def test_by_opportunity_anybody_is_believed_and_a_failure_goes_on_in_the_clear(
    unbound: Unbound, serve, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    served = resolver(serve, tmp_path, unbound.addresses["tls"])
    assert served.udp("www.example.test.", "AAAA").answer
    served.stop()
    # Nobody speaks TLS there, and nobody DNS at port 53 of ::1 either: the failure names the last try.
    closed = resolver(serve, tmp_path, f"tls://[::1]:{free_port()}")
    assert closed.udp("www.example.test.", "AAAA").rcode() == dns.rcode.SERVFAIL


def test_a_name_without_encryption_is_refused_at_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quada", "serve", "--role", "resolver", "--listen", "[::1]:0", "--forward",
         "[::1]:53#dot.example.test", "--state-dir", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "has a name and no encryption" in done.stderr


ZONE = """$TTL 300
@ SOA ns host 1 3600 600 86400 60
@ NS ns
ns AAAA 2001:db8::53
www AAAA 2001:db8::80
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, its key and a zone in one place."""
    place = tmp_path_factory.mktemp("pair")
    make_certificate(
        place / "chain.pem",
        place / "key.pem",
        ["dns.example.test"],
        datetime.datetime.now(datetime.UTC),
    )
    (place / "zone").write_text(ZONE)
    return place


def named(place: Path, port: int) -> list[str]:
    config = place / "named.conf"
    config.write_text(
        f'options {{ directory "{place}"; pid-file none; recursion no; listen-on {{ none; }};\n'
        f" listen-on-v6 port {port} tls own http own {{ ::1; }}; }};\n"
        f'tls own {{ cert-file "{place}/chain.pem"; key-file "{place}/key.pem"; }};\n'
        'http own { endpoints { "/dns-query"; }; };\ncontrols { };\n'
        f'zone "example.test" {{ type primary; file "{place}/zone"; }};\n'
    )
    return ["named", "-g", "-c", str(config)]


def coredns(place: Path, port: int) -> list[str]:
    config = place / "Corefile"
    config.write_text(
        f"quic://example.test:{port} {{\n bind ::1\n tls {place}/chain.pem {place}/key.pem\n"
        f" file {place}/zone example.test\n}}\n"
    )
    return [str(BUILT / "coredns"), "-conf", str(config)]


BUILT = Path.home() / ".cache/quada-peers/bin"
PEERS = {"named": (named, "https"), "coredns": (coredns, "quic")}


@pytest.mark.parametrize("peer", PEERS)
def test_other_servers_are_asked_as_they_speak(
    pair: Path, serve, tmp_path: Path, free_port, until, peer: str
) -> None:
    command, scheme = PEERS[peer]
    port = free_port()
    arguments = command(pair, port)
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{peer} is not there: tests/peers/install.sh builds it where there is Go 1.24")
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        to = f"{scheme}://[::1]:{port}#dns.example.test"
        served = resolver(serve, tmp_path, to, pair / "chain.pem")

        until(lambda: served.udp("www.example.test.", "AAAA").answer, what=peer)
        assert served.udp("none.example.test.", "AAAA").rcode() == dns.rcode.NXDOMAIN
    finally:
        process.terminate()
        process.wait(10)


def test_our_own_server_is_forwarded_to_over_quic_and_across_its_restart(
    pair: Path, serve, tmp_path: Path, free_port, until
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten_quic = ["[::1]:{free_port()}"]\n'
        f'[tls]\ncertificate = "{pair}/chain.pem"\nkey = "{pair}/key.pem"\n'
        f'[[zone]]\nname = "example.test"\nfile = "{pair}/zone"\n'
    )
    first = serve("--config", str(config), listen="")
    # The first of two addresses is dead: the other is asked.
    name = "#dns.example.test"
    to = f'quic://[::1]:{free_port()}{name}", "quic://[::1]:{first.port}{name}'
    served = resolver(serve, tmp_path, to, pair / "chain.pem")
    assert served.udp("www.example.test.", "AAAA").answer
    assert served.udp("none.example.test.", "AAAA").rcode() == dns.rcode.NXDOMAIN
    first.stop()
    serve("--config", str(config), listen="")
    numbers = iter(range(1000))
    until(
        lambda: served.udp(f"n{next(numbers)}.example.test.", "AAAA").rcode() == dns.rcode.NXDOMAIN,
        what="the restarted server",
    )


@pytest.mark.parametrize("name", ["a.example.", "a" * 60 + ".example.test.", "example."])
def test_queries_are_padded_to_blocks(name: str) -> None:
    query = dns.message.make_query(name, "AAAA", use_edns=0, payload=1232).to_wire()
    made = padded(query)
    assert len(made) % 128 == 0
    message = dns.message.from_wire(made)
    assert message.question[0].name.to_text() == name
    assert message.options[0].otype == dns.edns.OptionType.PADDING
    plain = dns.message.make_query(name, "AAAA", use_edns=-1).to_wire()
    assert padded(plain) == plain
