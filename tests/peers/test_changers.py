"""Programs that change zones by DNS update and PowerDNS's API: certbot's plugins and octodns-bind."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from peers.test_rehearsal import Rehearsal, rehearse, verify  # noqa: F401

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]

CERTBOT = Path.home() / ".cache/quada-peers/certbot/bin/certbot"
NAME = "www.example.com"
SECRET = "c2l4dGVlbiBvY3RldHMgYW5kIHNpeHRlZW4gbW9yZSE="
KEY = f"""[[key]]
name = "changer"
secret = "{SECRET}"
[[zone]]
name = "example.com"
allow_update = ["key:changer"]
allow_transfer = ["key:changer"]
"""
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ CAA 0 issue "ca.example"
ns1 AAAA 2001:db8::53
mail AAAA 2001:db8::25
"""


@pytest.mark.parametrize("plugin", ["dns-rfc2136", "dns-powerdns"])
def test_certbots_plugin_proves_a_name_and_takes_the_proof_away(
    serve_web,
    until,
    rehearse: Callable[..., Rehearsal],  # noqa: F811
    tmp_path: Path,
    plugin: str,
) -> None:
    if not CERTBOT.exists():
        pytest.skip("tests/peers/install.sh installs certbot with plugins, and here it is not")
    web = serve_web(TEXT, KEY)
    port = web.served.port
    until(lambda: web.served.udp("example.com.", "SOA").answer, what="served")
    lines = {
        "dns-rfc2136": {
            "server": "::1", "port": port, "name": "changer.", "secret": SECRET,
            "algorithm": "HMAC-SHA256",
        },
        "dns-powerdns": {"api_url": web.url, "api_key": web.token},
    }[plugin]  # fmt: skip
    word = plugin.replace("-", "_")
    settings = tmp_path / "plugin.ini"
    settings.write_text("".join(f"{word}_{key} = {value}\n" for key, value in lines.items()))
    settings.chmod(0o600)
    ca = rehearse("--resolver", f"::1#{port}", "--issuer", "ca.example")
    place = tmp_path / "certbot"
    done = subprocess.run(
        [CERTBOT, "certonly", "--authenticator", plugin, f"--{plugin}-credentials", settings,
         f"--{plugin}-propagation-seconds", "1", "--server", ca.url, "-d", NAME, "-n", "--agree-tos",
         "-m", "a@example.com", "--config-dir", place, "--work-dir", place, "--logs-dir", place],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(ca.root), "NO_PROXY": "*"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + web.served.log.read_text()
    chain = (place / "live" / NAME / "fullchain.pem").read_bytes()
    verify(chain, ca.root.read_bytes(), NAME)
    gone = lambda: web.served.udp(f"_acme-challenge.{NAME}.", "TXT").rcode() == 3  # noqa: E731
    until(gone, what="the challenge taken away")


def test_octodns_bind_brings_a_zone_to_what_its_file_says_over_ipv6(
    serve_web, tmp_path: Path, until
) -> None:
    web = serve_web(TEXT, KEY)
    until(lambda: web.served.udp("example.com.", "SOA").answer, what="served")
    zones = tmp_path / "zones"
    zones.mkdir()
    (zones / "example.com.yaml").write_text(
        "'':\n  - type: NS\n    value: ns1.example.com.\n"
        "  - type: CAA\n    value: {flags: 0, tag: issue, value: ca.example}\n"
        "mail:\n  type: AAAA\n  value: 2001:db8::26\n"
        "ns1:\n  type: AAAA\n  value: 2001:db8::53\n"
        "www:\n  - type: AAAA\n    values: [2001:db8::80, 2001:db8::81]\n"
        "  - type: TXT\n    value: with a space\n"
    )
    config = tmp_path / "octodns.yaml"
    config.write_text(
        "manager: {max_workers: 1}\nproviders:\n"
        "  files:\n    class: octodns.provider.yaml.YamlProvider\n"
        f"    directory: {zones}\n    enforce_order: false\n"
        "  quada:\n    class: octodns_bind.Rfc2136Provider\n"
        f"    host: '::1'\n    port: {web.served.port}\n    ipv6: true\n"
        f"    key_name: changer.\n    key_secret: {SECRET}\n    key_algorithm: hmac-sha256\n"
        "zones:\n  example.com.:\n    sources: [files]\n    targets: [quada]\n"
    )

    def sync() -> str:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "octodns-sync"), f"--config-file={config}", "--doit", "--force"],
            capture_output=True, text=True, timeout=100, check=False, env={"PATH": "/usr/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Create" in sync()
    answer = until(lambda: web.served.udp("www.example.com.", "AAAA").answer, what="www served")
    assert sorted(item.to_text() for item in answer[0]) == ["2001:db8::80", "2001:db8::81"]
    assert "2001:db8::26" in str(web.served.udp("mail.example.com.", "AAAA"))
    assert "No changes were planned" in sync()
