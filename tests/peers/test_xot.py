"""Transfers over TLS (RFC 9103): from quada to quada, from knotd, and to kdig."""

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from quada.transport.tls import make_certificate

pytestmark = pytest.mark.peers
NAME = "xfr.example.com"
ZONE = "$TTL 60\n@ SOA ns h {serial} 3600 1 86400 60\n@ NS ns\nns AAAA 2001:db8::53\nwww AAAA 2001:db8::{serial}\n"


class Primary:
    """A quada that gives a zone, over TLS to who may."""

    def __init__(self, serve, place: Path, free_port: Callable[[], int]) -> None:
        self.zone, self.ca, self.tls_port = place / "zone", place / "chain.pem", free_port()
        make_certificate(self.ca, place / "key.pem", [NAME], datetime.datetime.now(datetime.UTC))
        self.publish(1)
        config = place / "primary.toml"
        config.write_text(
            f'version = 1\n[authority]\nlisten = ["[::1]:0"]\nlisten_tls = ["[::1]:{self.tls_port}"]\n'
            f'[tls]\ncertificate = "{self.ca}"\nkey = "{place}/key.pem"\n'
            f'[[zone]]\nname = "example.com"\nfile = "{self.zone}"\nallow_transfer = ["::1"]\n'
        )
        self.served = serve("--config", str(config), listen="")

    def publish(self, serial: int) -> None:
        self.zone.write_text(ZONE.format(serial=serial))


def secondary(serve, place: Path, primary: str, ca: Path | str):
    config = place / "secondary.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[::1]:0"]\ntransfer_ca_file = "{ca}"\n'
        f'[[zone]]\nname = "example.com"\nrole = "secondary"\nprimaries = ["{primary}"]\n'
    )
    return serve("--config", str(config), listen="")


def www(served) -> list[str]:
    return [
        item.to_text() for rrset in served.udp("www.example.com.", "AAAA").answer for item in rrset
    ]


@pytest.fixture
def primary(serve, tmp_path: Path, free_port) -> Primary:
    return Primary(serve, tmp_path, free_port)


def test_a_secondary_follows_its_primary_over_tls(
    primary: Primary, serve, tmp_path: Path, until
) -> None:
    kept = secondary(serve, tmp_path, f"tls://[::1]:{primary.tls_port}#{NAME}", primary.ca)
    until(lambda: www(kept) == ["2001:db8::1"], what="the first transfer")
    primary.publish(2)
    subprocess.run(["kill", "-HUP", str(primary.served.process.pid)], check=True)
    until(lambda: www(primary.served) == ["2001:db8::2"], what="the new version")
    kept.stop()
    again = secondary(serve, tmp_path, f"tls://[::1]:{primary.tls_port}#{NAME}", primary.ca)
    until(lambda: www(again) == ["2001:db8::2"], what="the second transfer")


@pytest.mark.parametrize("wrong", ["name", "issuer"])
def test_a_primary_that_cannot_prove_its_name_gives_nothing(
    primary: Primary, serve, tmp_path: Path, until, wrong: str
) -> None:
    name, ca = ("other.example.com", primary.ca) if wrong == "name" else (NAME, "")
    kept = secondary(serve, tmp_path, f"tls://[::1]:{primary.tls_port}#{name}", ca)
    until(lambda: "primary gave no zone" in kept.log.read_text(), what="the refusal in the log")
    assert "certificate verify failed" in kept.log.read_text()
    assert not www(kept)


def test_kdig_transfers_over_tls(primary: Primary) -> None:
    done = subprocess.run(
        ["kdig", "+tls", "@::1", "-p", str(primary.tls_port), f"+tls-ca={primary.ca}", f"+tls-hostname={NAME}",
         "example.com", "AXFR"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert "2001:db8::1" in done.stdout, done.stdout + done.stderr
