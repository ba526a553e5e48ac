"""Chromium with our DoH as its only resolver: a name that nobody else knows loads."""

import base64
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quada.transport.tls import Certificate

pytestmark = pytest.mark.peers
PAGE = b"<html><body><p>found by quada</p></body></html>"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Web(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture
def web_port() -> Iterator[int]:
    with Web(("::1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def browse(place: Path, templates: str, pin: str, url: str) -> str:
    """Load a page by headless Chromium that resolves over DoH alone; gives its DOM."""
    profile = place / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    profile.mkdir()
    (profile / "Local State").write_text(
        json.dumps({"dns_over_https": {"mode": "secure", "templates": templates}})
    )
    done = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
         f"--user-data-dir={profile}", f"--ignore-certificate-errors-spki-list={pin}",
         "--virtual-time-budget=8000", "--dump-dom", url],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HOME": str(place)},
    )  # fmt: skip
    return done.stdout


def test_a_name_only_our_resolver_knows_loads(serve, tmp_path: Path, web_port: int) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not there: tests/peers/install.sh installs it")
    zone, config = tmp_path / "zone", tmp_path / "quada.toml"
    zone.write_text(
        "$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns AAAA ::1\npage AAAA ::1\n"
    )
    config.write_text(
        'version = 1\n[resolver]\nlisten_https = ["[::1]:0"]\ndnssec = false\n'
        f'local_zone = ["only.quada.test={zone}"]\n[tls]\nnames = ["::1"]\n'
    )
    served = serve("--role", "resolver", "--config", str(config), listen="")
    made = Certificate(served.state_dir / "tls/chain.pem", served.state_dir / "tls/key.pem")
    public = made.leaf().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(public).digest()).decode()
    templates = f"https://[::1]:{served.port}/dns-query{{?dns}}"
    url = f"http://page.only.quada.test:{web_port}/"
    assert "found by quada" in browse(tmp_path, templates, pin, url)
    # A certificate with another key is not believed, and nobody else is asked.
    other = base64.b64encode(bytes(32)).decode()
    assert "found by quada" not in browse(tmp_path, templates, other, url)
