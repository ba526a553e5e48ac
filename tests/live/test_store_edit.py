"""Edits of stored zones reach the wire."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import quada.wire.names as names
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import Change, Record, read_zone


def quada(*arguments: str, ok: int = 0) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "quada", *arguments], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == ok, ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state0"


def texts(message) -> list[str]:
    return [item.to_text() for rrset in message.answer for item in rrset]


def test_a_record_lives_from_command_line_to_wire(serve, state_dir, until) -> None:
    at = ("--state-dir", str(state_dir))
    quada("zone", "add", "example.com", "--ns", "ns1.example.com", "--ns", "ns2.example.net", *at)
    served = serve("--role", "authority")
    quada("record", "add", "example.com", "www", "AAAA", "2001:db8::1", "2001:db8::2", *at)
    until(
        lambda: (
            sorted(texts(served.udp("www.example.com.", "AAAA"))) == ["2001:db8::1", "2001:db8::2"]
        )
    )
    shown = quada("record", "set", "example.com", "www", "AAAA", "2001:db8::3", "--dry-run", *at)
    assert "+ www" in shown
    again = quada("record", "add", "example.com", "www", "AAAA", "2001:db8::1", *at)
    assert "nothing changes" in again
    assert "www        IN AAAA  2001:db8::1" in quada("zone", "export", "example.com", *at)
    quada("record", "remove", "example.com", "www", "AAAA", "2001:db8::1", *at)
    until(lambda: texts(served.udp("www.example.com.", "AAAA")) == ["2001:db8::2"])
    number = quada("zone", "history", "example.com", *at).split()[0]
    quada("zone", "undo", "example.com", number, *at)
    until(lambda: len(texts(served.udp("www.example.com.", "AAAA"))) == 2)
    said = quada("record", "add", "example.com", "www", "CNAME", "x.example.org.", *at, ok=2)
    assert "cname" in said.lower()
    assert len(texts(served.udp("www.example.com.", "AAAA"))) == 2
    quada("zone", "remove", "example.com", "--yes", *at)
    until(lambda: served.udp("www.example.com.", "AAAA").rcode() == 5)


def test_an_edit_of_a_large_zone_is_soon_on_the_wire(serve, state_dir, until) -> None:
    origin = names.from_text("example.com.")
    lines = ["$TTL 300", "@ SOA ns1 h 1 3600 600 86400 60", "@ NS ns1", "ns1 AAAA 2001:db8::1"]
    lines += [f"host{number} AAAA 2001:db8::{number:x}" for number in range(10_000)]
    store = ZoneStore.open(state_dir / "zones.db")
    store.create(read_zone("\n".join(lines) + "\n", origin), Author("test"), 1)
    served = serve("--role", "authority")
    record = Record(names.from_text("new", origin), 28, 300, bytes(16))
    started = time.monotonic()
    store.apply(origin, Change((), (record,)), Author("test"), 2)
    until(lambda: texts(served.udp("new.example.com.", "AAAA")) == ["::"])
    print(f"on the wire after {(time.monotonic() - started) * 1000:.0f} ms")


@pytest.mark.parametrize(
    ("written", "remedy"),
    [("2001:db8:10::1/50", "2001:db8:10::/50"), ("nonsense", "2001:db8:10::/48")],
)
def test_a_prefix_with_host_bits_is_refused_with_the_one_that_was_meant(
    written: str, remedy: str
) -> None:
    assert f"write {remedy}" in quada("reverse", "plan", written, ok=2)
