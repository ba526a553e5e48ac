"""Forwarding over TLS: to unbound, by name or by opportunity, and never in the clear where it was forbidden."""

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

from quada.transport.dot import padded
from quada.transport.tls import make_certificate

pytestmark = pytest.mark.peers


class Unbound:
    """An unbound with a zone of its own, over TLS and in the clear, that logs what it is asked."""

    def __init__(self, place: Path, tls_port: int, port: int, name: str) -> None:
        self.place, self.tls_port, self.port = place, tls_port, port
        self.ca = place / "chain.pem"
        make_certificate(self.ca, place / "key.pem", [name], datetime.datetime.now(datetime.UTC))
        config = place / "unbound.conf"
        config.write_text(
            f"server:\n interface: ::1@{port}\n interface: ::1@{tls_port}\n tls-port: {tls_port}\n"
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
    made = Unbound(place, free_port(), free_port(), "dot.example.test")

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


def test_a_forwarder_that_proves_its_name_is_used(unbound: Unbound, serve, tmp_path: Path) -> None:
    served = resolver(
        serve, tmp_path, f"tls://[::1]:{unbound.tls_port}#dot.example.test", unbound.ca
    )
    answer = served.udp("www.example.test.", "AAAA")
    assert answer.answer[0][0].to_text() == "2001:db8::80"
    for n in range(1, 200):
        assert (
            served.udp(f"h{n}.example.test.", "AAAA").answer[0][0].to_text() == f"2001:db8::{n:x}"
        )
    assert served.udp("none.example.test.", "AAAA").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("wrong", ["name", "issuer"])
def test_one_that_does_not_is_refused_and_nothing_goes_in_the_clear(
    unbound: Unbound, serve, tmp_path: Path, wrong: str
) -> None:
    name, ca = ("other.example.test", unbound.ca) if wrong == "name" else ("dot.example.test", "")
    served = resolver(serve, tmp_path, f"tls://[::1]:{unbound.tls_port}#{name}", ca)
    answer = served.udp("www.example.test.", "AAAA", use_edns=True)
    assert answer.rcode() == dns.rcode.SERVFAIL
    texts = [str(one.text) for one in answer.options if isinstance(one, dns.edns.EDEOption)]
    assert any("tls" in text for text in texts), texts


def test_by_opportunity_anybody_is_believed_and_a_failure_goes_on_in_the_clear(
    unbound: Unbound, serve, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    served = resolver(serve, tmp_path, f"tls://[::1]:{unbound.tls_port}")
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
