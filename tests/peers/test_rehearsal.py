"""certbot and lego, unchanged, against the rehearsal CA; our own orders against it and Pebble."""

import contextlib
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.transport.tls import make_certificate
from quada.zones import read_zone

pytestmark = pytest.mark.peers
NAME = "www.example.com"


@dataclass
class Rehearsal:
    """A running rehearsal CA."""

    port: int
    root: Path
    http_port: int
    https_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"https://[::1]:{self.port}/dir"


@pytest.fixture(scope="module")
def rehearse(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Callable[..., Rehearsal]]:
    """Give a rehearsal CA with these options; tests with the same options share one."""
    running: list[subprocess.Popen[bytes]] = []
    known: dict[tuple[str, ...], Rehearsal] = {}

    def start(*options: str) -> Rehearsal:
        if options in known:
            return known[options]
        port, http_port, https_port = free_port(), free_port(), free_port()
        tmp_path = tmp_path_factory.mktemp("rehearsal")
        place, log = tmp_path / "ca", tmp_path / "ca.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "quada", "acme", "ca", "--listen", f"[::1]:{port}", "--lab",
                 "--state-dir", str(place), "--http-port", str(http_port),
                 "--https-port", str(https_port), *options],
                stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        running.append(process)
        wait_for(lambda: "rehearsal CA ready" in log.read_text(), log)
        wait_for(lambda: is_open(port), log)
        known[options] = Rehearsal(port, place / "root.pem", http_port, https_port, log)
        return known[options]

    yield start
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        assert process.wait(15) in (0, -signal.SIGTERM)


def wait_for(condition: Callable[[], object], log: Path, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("::1", port), timeout=1):
        return True
    return False


def certbot(
    ca: Rehearsal, place: Path, *options: str, at: str = "::1"
) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["certbot", "certonly", "--standalone", "--http-01-address", at, "--http-01-port",
         str(ca.http_port), "--server", ca.url, "-d", NAME, "-n", "--agree-tos", "-m", "a@example.com",
         "--config-dir", str(place), "--work-dir", str(place), "--logs-dir", str(place), *options],
        capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(ca.root)},
    )  # fmt: skip


def lego(ca: Rehearsal, place: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["lego", "--server", ca.url, "--path", str(place), "-a", "-m", "b@example.com", "-d", NAME,
         *arguments],
        capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "LEGO_CA_CERTIFICATES": str(ca.root)},
    )  # fmt: skip


def verify(chain: bytes, root: bytes, name: str = NAME) -> x509.Certificate:
    """Verify a chain as a client does, and give its leaf."""
    leaf, *others = x509.load_pem_x509_certificates(chain)
    store = Store(x509.load_pem_x509_certificates(root))
    PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(leaf, others)
    return leaf


def test_certbot_over_ipv6_gets_a_certificate(rehearse, tmp_path: Path) -> None:
    ca = rehearse("--resolve", f"{NAME}=::1")
    done = certbot(ca, tmp_path / "certbot")
    assert done.returncode == 0, done.stdout + done.stderr + ca.log.read_text()
    chain = (tmp_path / "certbot" / "live" / NAME / "fullchain.pem").read_bytes()
    leaf = verify(chain, ca.root.read_bytes())
    assert "TEST" in leaf.issuer.rfc4514_string()


@contextlib.contextmanager
def somebody_else(port: int) -> Iterator[None]:
    """Another web server, at ::1: it knows no token."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with Server(("::1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_an_aaaa_that_points_elsewhere_is_refused_and_a_dead_one_is_not(
    rehearse, tmp_path: Path
) -> None:
    ca = rehearse("--resolve", f"{NAME}=::1", "--resolve", f"{NAME}=127.0.0.1")
    with somebody_else(ca.http_port):
        refused = certbot(ca, tmp_path / "certbot", at="127.0.0.1")
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "unauthorized" in said
    assert "::1: http://www.example.com/.well-known/acme-challenge/" in said
    assert "status 404" in said
    # Nobody at all over IPv6 is a failure to connect: IPv4 is tried, as Let's Encrypt does.
    taken = certbot(ca, tmp_path / "certbot", at="127.0.0.1")
    assert taken.returncode == 0, taken.stdout + taken.stderr


def test_lego_by_tls_alpn_renews_and_revokes(rehearse, tmp_path: Path) -> None:
    ca = rehearse("--resolve", f"{NAME}=::1")
    tls = ("--tls", "--tls.port", f"[::1]:{ca.https_port}")
    for verbs in (("run",), ("renew", "--days", "120", "--no-random-sleep")):
        done = lego(ca, tmp_path, *tls, *verbs)
        assert done.returncode == 0, done.stderr + ca.log.read_text()
    first = verify((tmp_path / "certificates" / f"{NAME}.crt").read_bytes(), ca.root.read_bytes())
    done = lego(ca, tmp_path, *tls, "revoke", "--keep")
    assert done.returncode == 0, done.stderr
    again = lego(ca, tmp_path, *tls, "revoke", "--keep")
    assert "alreadyRevoked" in again.stderr
    assert first.serial_number


def test_an_external_account_is_asked_for(rehearse, tmp_path: Path) -> None:
    secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    (tmp_path / "hmac").write_text(secret)
    ca = rehearse("--resolve", f"{NAME}=::1", "--external", f"kid-1={tmp_path / 'hmac'}")
    without = lego(ca, tmp_path / "a", "--tls", "--tls.port", f"[::1]:{ca.https_port}", "run")
    assert without.returncode != 0
    wrong = lego(ca, tmp_path / "b", "--tls", "--tls.port", f"[::1]:{ca.https_port}",
                 "--eab", "--kid", "kid-1", "--hmac", secret[:-4] + "AAAA", "run")  # fmt: skip
    assert wrong.returncode != 0
    right = lego(ca, tmp_path / "c", "--tls", "--tls.port", f"[::1]:{ca.https_port}",
                 "--eab", "--kid", "kid-1", "--hmac", secret, "run")  # fmt: skip
    assert right.returncode == 0, right.stderr


ZONE = """$TTL 60
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ CAA 0 issue "letsencrypt.org"
ns1 AAAA ::1
"""


@pytest.fixture(scope="module")
def own_port(free_port: Callable[[], int]) -> int:
    """The port of the server that orders: the same for all, so that they share a CA."""
    return free_port()


@pytest.fixture
def ordering(serve, tmp_path: Path, free_port: Callable[[], int]):
    """Start a server whose certificate is ordered; gives it and its DoT port."""

    def start(port: int, directory: str, ca_file: Path, challenge: str, http_port: int):
        store = ZoneStore.open(tmp_path / "state0" / "zones.db")
        store.create(read_zone(ZONE, b"\x07example\x03com\x00"), Author("test"), 1)
        store.close()
        tls_port = free_port()
        config = tmp_path / "quada.toml"
        config.write_text(
            f'version = 1\n[authority]\nlisten = ["[::1]:{port}"]\nlisten_tls = ["[::1]:{tls_port}"]\n'
            '[tls]\nnames = ["ns1.example.com", "::1"]\n'
            f'[acme]\ndirectory = "{directory}"\naccept_terms = true\nca_file = "{ca_file}"\n'
            f'challenge = "{challenge}"\nhttp_listen = ["[::1]:{http_port}"]\nsettle_s = 0.0\n'
        )
        return serve("--config", str(config), listen=""), tls_port

    return start


def shown(port: int) -> x509.Certificate:
    """The certificate that a TLS server shows."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("::1", port), timeout=5) as raw, context.wrap_socket(raw) as tls:
        octets = tls.getpeercert(binary_form=True)
    assert octets is not None
    return x509.load_der_x509_certificate(octets)


def arrives(port: int, log: Path, said: str) -> x509.Certificate:
    """Wait until a DoT server that runs shows a certificate of an issuer."""
    wait_for(lambda: said in shown(port).issuer.rfc4514_string(), log, 60)
    return shown(port)


@pytest.mark.parametrize("challenge", ["dns-01", "http-01"])
def test_our_own_certificate_is_ordered_and_served_without_a_restart(
    rehearse, ordering, own_port, tmp_path: Path, challenge: str
) -> None:
    port = own_port
    ca = rehearse("--resolver", f"::1#{port}")
    served, tls_port = ordering(port, ca.url, ca.root, challenge, ca.http_port)
    before = shown(tls_port)
    assert before.issuer == before.subject
    pids = served.workers()
    leaf = arrives(tls_port, served.log, "quada rehearsal issuer")
    assert served.workers() == pids
    chain = (served.state_dir / "tls" / "chain.pem").read_bytes()
    assert verify(chain, ca.root.read_bytes(), "ns1.example.com") == leaf
    assert (served.state_dir / "tls" / "key.pem").stat().st_mode & 0o077 == 0
    assert (served.state_dir / "tls" / "account.json").stat().st_mode & 0o077 == 0
    # What was published for the CA is gone again.
    assert not served.udp("_acme-challenge.ns1.example.com.", "TXT").answer
    assert served.stop() == 0


def test_what_the_ca_refuses_leaves_the_old_certificate_and_is_said(
    rehearse, ordering, free_port
) -> None:
    port = free_port()
    ca = rehearse("--resolver", f"::1#{port}", "--issuer", "other.example")
    served, tls_port = ordering(port, ca.url, ca.root, "dns-01", ca.http_port)
    wait_for(lambda: "no certificate" in served.log.read_text(), served.log)
    said = served.log.read_text()
    assert "CAA of example.com allows letsencrypt.org, not other.example" in said
    assert shown(tls_port).issuer == shown(tls_port).subject
    assert served.udp("ns1.example.com.", "AAAA").answer


def test_a_certificate_is_renewed_before_it_ends(rehearse, ordering, free_port) -> None:
    port = free_port()
    ca = rehearse("--resolver", f"::1#{port}", "--days", "0.00015")  # 13 seconds
    served, tls_port = ordering(port, ca.url, ca.root, "dns-01", ca.http_port)
    first = arrives(tls_port, served.log, "quada rehearsal issuer")
    wait_for(lambda: shown(tls_port) != first, served.log, 30)
    # Both times are the CA's: what this machine has to do beside says nothing.
    assert shown(tls_port).not_valid_before_utc < first.not_valid_after_utc


@pytest.mark.parametrize("challenge", ["dns-01", "http-01"])
def test_pebble_takes_our_orders(ordering, free_port, tmp_path: Path, challenge: str) -> None:
    port, acme_port, manage_port, http_port = free_port(), free_port(), free_port(), free_port()
    chain, key = tmp_path / "pebble.pem", tmp_path / "pebble.key"
    make_certificate(chain, key, ["localhost", "::1"], datetime.now(UTC))
    config = tmp_path / "pebble.json"
    config.write_text(json.dumps({"pebble": {
        "listenAddress": f"[::1]:{acme_port}", "managementListenAddress": f"[::1]:{manage_port}",
        "certificate": str(chain), "privateKey": str(key), "httpPort": http_port, "tlsPort": free_port(),
        "ocspResponderURL": "", "externalAccountBindingRequired": False,
    }}))  # fmt: skip
    log = tmp_path / "pebble.log"
    with log.open("wb") as output:
        pebble = subprocess.Popen(
            ["pebble", "-config", str(config), "-dnsserver", f"[::1]:{port}"], stdout=output,
            stderr=output, env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5"},
        )  # fmt: skip
    try:
        wait_for(lambda: is_open(acme_port), log)
        served, tls_port = ordering(
            port, f"https://[::1]:{acme_port}/dir", chain, challenge, http_port
        )
        leaf = arrives(tls_port, served.log, "Pebble")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["ns1.example.com"]
        assert served.stop() == 0
    finally:
        pebble.terminate()
        pebble.wait(10)
