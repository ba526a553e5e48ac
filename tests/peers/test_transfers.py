"""Transfers, NOTIFY, updates and TSIG, both ways, with real servers and clients."""

import base64
import signal
import subprocess
import time

import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.zone
import pytest

import quada.wire.names as names
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import Change, Record, read_zone
from secondaries import SECONDARIES, Tsig, running

pytestmark = pytest.mark.peers

ORIGIN = names.from_text("example.com.")
SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
KEYRING = dns.tsigkeyring.from_text({"transfer": ("hmac-sha256", SECRET)})
ZONE = '$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 AAAA 2001:db8::1\nns2 AAAA 2001:db8::2\n*.w TXT "x"\n'
ZONE += "".join(f"host{number} AAAA 2001:db8::{number:x}\n" for number in range(2000))
KEY = Tsig("transfer", SECRET)
KEY_TABLE = f'[[key]]\nname = "transfer"\nalgorithm = "hmac-sha256"\nsecret = "{SECRET}"\n'


def add(store: ZoneStore, label: str) -> int:
    record = Record(names.from_text(label, ORIGIN), 28, 300, bytes(16))
    return store.apply(ORIGIN, Change((), (record,)), Author("test"), int(time.time())).zone.serial


def soa_serial(port: int) -> int:
    answer = dns.query.udp(
        dns.message.make_query("example.com.", "SOA"), "::1", port=port, timeout=2
    )
    return int(answer.answer[0][0].serial) if answer.answer else 0


def zone_of(port: int, keyring=None) -> dns.zone.Zone:
    transfer = dns.query.xfr(
        "::1", "example.com.", port=port, keyring=keyring, lifetime=30, relativize=False
    )
    return dns.zone.from_xfr(transfer, relativize=False)


@pytest.fixture
def primary(serve, tmp_path, free_port):
    """quada as primary of a stored zone, and the ports its secondaries are to have."""
    state_dir = tmp_path / "state0"
    store = ZoneStore.open(state_dir / "zones.db")
    store.create(read_zone(ZONE, ORIGIN), Author("test"), 1)
    port = free_port()
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[::1]:0"]\n'
        f'allow_transfer = ["key:transfer"]\nallow_update = ["key:transfer"]\n{KEY_TABLE}'
        f'[[zone]]\nname = "example.com"\nalso_notify = ["[::1]:{port}"]\n'
    )
    served = serve("--config", str(config), listen="")
    return served, store, port


@pytest.mark.parametrize("make", SECONDARIES)
def test_real_secondaries_follow_us_by_notify_and_ixfr(primary, tmp_path, until, make) -> None:
    served, store, port = primary
    place = tmp_path / "secondary"
    place.mkdir(mode=0o777)
    with running(make(place, port, served.port, KEY), tmp_path / "log"):
        until(lambda: soa_serial(port) == 1, within_s=30, what="first transfer")
        serial = add(store, "new")
        until(lambda: soa_serial(port) == serial, within_s=30, what="transfer after NOTIFY")
        ours = zone_of(served.port, KEYRING)
        theirs = zone_of(port)
        assert ours == theirs


def test_transfers_are_refused_without_the_key(primary) -> None:
    served, _, _ = primary
    with pytest.raises(dns.query.TransferError):
        zone_of(served.port)
    wrong = dns.tsigkeyring.from_text({"transfer": ("hmac-sha256", base64.b64encode(b"wrong"))})
    with pytest.raises(Exception, match=r"NOTAUTH|not authenticated|signature|BAD"):
        zone_of(served.port, wrong)


def test_ixfr_leads_from_any_serial_to_the_present(primary) -> None:
    served, store, _ = primary
    for label in ("a", "b", "c"):
        last = add(store, label)
    deadline = time.monotonic() + 5
    while soa_serial(served.port) != last and time.monotonic() < deadline:
        time.sleep(0.02)
    ran = subprocess.run(
        ["dig", "-p", str(served.port), "@::1", "example.com", "IXFR=2", "-y", f"hmac-sha256:transfer:{SECRET}", "+noall", "+answer"],
        capture_output=True,
        text=True,
        timeout=20,
    )  # fmt: skip
    lines = [line for line in ran.stdout.splitlines() if line and not line.startswith(";")]
    serials = [int(line.split()[6]) for line in lines if "SOA" in line]
    assert serials[0] == serials[-1] == last  # RFC 1995 4: framed by the present SOA
    assert serials[1] == 2
    assert len(serials) % 2 == 0
    assert len([line for line in lines if "AAAA" in line]) == last - 2


def nsupdate(port: int, *lines: str, key: str = SECRET) -> str:
    ran = subprocess.run(
        ["nsupdate", "-y", f"hmac-sha256:transfer:{key}"],
        input="\n".join([f"server ::1 {port}", "zone example.com", *lines, "send", ""]),
        capture_output=True,
        text=True,
        timeout=30,
    )
    return ran.stderr + ran.stdout


def test_nsupdate_changes_a_zone_and_the_journal_says_who(primary, until) -> None:
    served, store, _ = primary
    assert nsupdate(served.port, "update add dyn.example.com 60 AAAA 2001:db8::77") == ""
    until(lambda: served.udp("dyn.example.com.", "AAAA").answer)
    entry = store.history(ORIGIN)[0]
    assert entry.author.who == "key transfer"
    assert entry.author.place == "::1"
    assert "YXDOMAIN" in nsupdate(
        served.port, "prereq nxdomain dyn.example.com", "update delete dyn.example.com"
    )
    assert served.udp("dyn.example.com.", "AAAA").answer
    assert (
        nsupdate(
            served.port, "prereq yxrrset dyn.example.com AAAA", "update delete dyn.example.com AAAA"
        )
        == ""
    )
    until(lambda: served.udp("dyn.example.com.", "AAAA").rcode() == dns.rcode.NXDOMAIN)


def test_updates_are_refused_without_the_right_key(primary) -> None:
    served, store, _ = primary
    wrong = base64.b64encode(b"wrong" * 8).decode()
    said = nsupdate(served.port, "update add dyn.example.com 60 AAAA 2001:db8::77", key=wrong)
    assert "NOTAUTH" in said or "BADSIG" in said or "expected" in said
    assert len(store.history(ORIGIN)) == 1


def test_the_apex_keeps_its_soa_and_name_servers(primary) -> None:
    served, store, _ = primary
    nsupdate(served.port, "update delete example.com")
    zone = store.zone(ORIGIN)
    assert zone is not None
    assert zone.soa is not None
    assert zone.rrset(ORIGIN, 2) is not None


def test_a_signed_query_gets_a_signed_answer(primary) -> None:
    served, _, _ = primary
    query = dns.message.make_query("www.example.com.", "AAAA")
    query.use_tsig(KEYRING)
    answer = dns.query.udp(query, "::1", port=served.port, timeout=5)
    assert answer.had_tsig


@pytest.mark.parametrize("peer", ["named", "knotd"])
def test_we_follow_a_real_primary(serve, tmp_path, free_port, until, peer) -> None:
    """The primary is asked with TSIG; a new version comes by NOTIFY, and survives a restart."""
    place = tmp_path / "primary"
    place.mkdir(mode=0o777)
    zone_file = place / "zone"
    lines = ZONE.replace("\n@", "\nexample.com.").replace(
        " ns1 host ", " ns1.example.com. host.example.com. "
    )
    zone_file.write_text(lines)
    theirs, ours = free_port(), free_port()
    if peer == "named":
        (place / "named.conf").write_text(
            f'options {{ directory "{place}"; listen-on {{ none; }}; recursion no;'
            f" listen-on-v6 port {theirs} {{ ::1; }}; notify explicit; ixfr-from-differences yes;"
            f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
            f'key transfer {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
            f'zone example.com {{ type primary; file "zone"; also-notify {{ ::1 port {ours}; }};'
            " allow-transfer { key transfer; }; };\n"
        )
        command = ["named", "-g", "-n", "1", "-c", str(place / "named.conf")]
    else:
        (place / "knot.conf").write_text(
            f"server:\n  listen: ::1@{theirs}\n  rundir: {place}\ndatabase:\n  storage: {place}\n"
            f"key:\n  - id: transfer\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
            f"remote:\n  - id: quada\n    address: ::1@{ours}\n"
            "acl:\n  - id: out\n    key: transfer\n    action: transfer\n"
            f"zone:\n  - domain: example.com\n    file: {zone_file}\n    acl: out\n"
            "    notify: quada\n    zonefile-load: difference\n    zonefile-sync: -1\n"
        )
        command = ["knotd", "-c", str(place / "knot.conf")]
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[authority]\nlisten = ["[::1]:{ours}"]\n{KEY_TABLE}'
        f'[[zone]]\nname = "example.com"\nrole = "secondary"\nkey = "transfer"\n'
        f'primaries = ["[::1]:{theirs}"]\n'
    )
    with running(command, tmp_path / "log") as primary_process:
        until(lambda: soa_serial(theirs) == 1, within_s=20)
        served = serve("--config", str(config), listen="")
        until(lambda: soa_serial(ours) == 1, within_s=20, what="first transfer")
        zone_file.write_text(
            lines.replace("host.example.com. 1 ", "host.example.com. 2 ")
            + "fresh.example.com. AAAA 2001:db8::f\n"
        )
        primary_process.send_signal(signal.SIGHUP)
        until(lambda: soa_serial(ours) == 2, within_s=20, what="transfer after NOTIFY")
        assert served.udp("fresh.example.com.", "AAAA").answer
        assert len(served.udp("q.w.example.com.", "TXT").answer) == 1
        served.stop()
    kept = (served.state_dir / "secondary" / "example.com.zone").read_text()
    assert "fresh" in kept
