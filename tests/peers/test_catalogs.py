"""Catalog zones, made and followed, with real servers on the other side."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

import quada.wire.names as names
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.wire.faults import DataFault
from quada.zones import read_zone
from quada.zones.catalog import make_catalog, members

pytestmark = pytest.mark.peers

SECRET = "c2VjcmV0IGJ5IHdoaWNoIGEgZ3JvdXAgaXMga25vd24="

ZONE = "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::1\nwww AAAA 2001:db8::80\n"


@contextlib.contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def rcode(port: int, qname: str) -> int:
    query = dns.message.make_query(qname, "AAAA")
    return int(dns.query.udp(query, "::1", port=port, timeout=2).rcode())


def test_a_catalog_lists_what_it_was_made_of() -> None:
    zones = {names.from_text("a.example."): "", names.from_text("b.example."): "signed"}
    assert members(make_catalog(names.from_text("catalog.invalid."), zones, 1)) == {
        names.from_text("a.example."): (),
        names.from_text("b.example."): ("signed",),
    }


def test_a_zone_that_is_no_catalog_is_not_followed() -> None:
    with pytest.raises(DataFault):
        members(read_zone(ZONE, names.from_text("example.com.")))


def test_named_follows_our_catalog(serve, tmp_path, free_port, until) -> None:
    store = ZoneStore.open(tmp_path / "state0" / "zones.db")
    first = names.from_text("one.example.")
    store.create(read_zone(ZONE, first), Author("test"), 1)
    port = free_port()
    grouped = tmp_path / "grouped.zone"
    grouped.write_text(ZONE)
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\nallow_transfer = ["::1"]\n'
        f'[[zone]]\nname = "catalog.invalid"\nrole = "catalog"\nalso_notify = ["[::1]:{port}"]\n'
        f'[[zone]]\nname = "grouped.example"\nfile = "{grouped}"\ngroup = "far"\n'
    )
    served = serve("--config", str(config), listen="")
    place = tmp_path / "named"
    place.mkdir(mode=0o777)
    (place / "named.conf").write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }}; recursion no;'
        f" listen-on-v6 port {port} {{ ::1; }}; allow-notify {{ ::1; }};"
        f" catalog-zones {{ zone catalog.invalid default-primaries {{ ::1 port {served.port}; }}"
        " min-update-interval 1; };"
        f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        f'zone catalog.invalid {{ type secondary; file "cat"; primaries {{ ::1 port {served.port}; }}; }};\n'
    )
    with running("named", "-g", "-n", "1", "-c", str(place / "named.conf"), log=tmp_path / "log"):
        until(lambda: rcode(port, "www.one.example.") == 0, within_s=20)
        until(lambda: rcode(port, "www.grouped.example.") == 0, within_s=20)
        store.create(read_zone(ZONE, names.from_text("two.example.")), Author("test"), 2)
        until(lambda: rcode(port, "www.two.example.") == 0, within_s=20)
        store.remove(first, Author("test"), 3)
        until(lambda: rcode(port, "www.one.example.") == dns.rcode.REFUSED, within_s=20)


def test_we_follow_a_catalog_of_knot(serve, tmp_path, free_port, until) -> None:
    place = tmp_path / "knot"
    place.mkdir(mode=0o777)
    theirs = free_port()
    for name in ("one", "two", "far"):
        (place / f"{name}.zone").write_text(f"$ORIGIN {name}.example.\n{ZONE}")

    def write(*zones: str) -> None:
        listed = "".join(
            f"  - domain: {name}.example\n    storage: {place}\n    file: {name}.zone\n"
            f"    acl: {'keyed' if name == 'far' else 'out'}\n"
            "    catalog-role: member\n    catalog-zone: catalog.invalid.\n"
            + (f"    catalog-group: {name}\n" if name == "far" else "")
            for name in zones
        )
        (place / "knot.conf").write_text(
            f"server:\n  listen: ::1@{theirs}\n  rundir: {place}\ndatabase:\n  storage: {place}\n"
            f"key:\n  - id: k.example\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
            "acl:\n  - id: out\n    address: ::1\n    action: transfer\n"
            "  - id: keyed\n    key: k.example\n    action: transfer\n"
            f"zone:\n  - domain: catalog.invalid\n    storage: {place}\n    acl: out\n"
            f"    catalog-role: generate\n{listed}"
        )

    write("one", "two", "far")
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\n'
        f'[[zone]]\nname = "catalog.invalid"\nrole = "catalog"\nprimaries = ["[::1]:{theirs}"]\n'
        '[[group]]\nname = "far"\nkey = "k.example"\n'
        f'[[key]]\nname = "k.example"\nsecret = "{SECRET}"\n'
    )
    with running("knotd", "-c", str(place / "knot.conf"), log=tmp_path / "log"):
        until(lambda: rcode(theirs, "www.one.example.") == 0, within_s=20)
        served = serve("--config", str(config), listen="")
        until(lambda: rcode(served.port, "www.one.example.") == 0, within_s=20)
        until(lambda: rcode(served.port, "www.two.example.") == 0, within_s=20)
        # Its transfer wants the key that its group has.
        until(lambda: rcode(served.port, "www.far.example.") == 0, within_s=20)
