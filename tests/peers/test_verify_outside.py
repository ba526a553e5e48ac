"""`quada dnssec verify` through unbound: the zone whose AAAA alone is damaged is seen as such."""

import json
import subprocess
import sys
import time

import dns.dnssec
import dns.message
import dns.query
import dns.rdata
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.zones.keys import KeyRole, make_key
from quada.zones.sign import sign
from quada.zones.signing import SigningPolicy
from quada.zones.write import write_zone

pytestmark = pytest.mark.peers

TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
ns.example. 3600 IN AAAA 2001:db8::53
www.example. 3600 IN AAAA 2001:db8::1
www.example. 3600 IN A 192.0.2.1
"""
NSD = """
server:
  ip-address: ::1@{port}
  username: ""
  chroot: ""
  zonesdir: "{place}"
  database: ""
  pidfile: "{place}/nsd.pid"
  logfile: "{place}/nsd.log"
  xfrdfile: "{place}/xfrd.state"
  zonelistfile: "{place}/zone.list"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: example
  zonefile: example.zone
"""
UNBOUND = """
server:
  directory: "{place}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "{place}/unbound.log"
  interface: ::1@{port}
  do-daemonize: no
  do-not-query-localhost: no
  access-control: ::1 allow
  module-config: "validator iterator"
  ede: yes
  trust-anchor-file: "{place}/anchor"
remote-control:
  control-enable: no
stub-zone:
  name: "example"
  stub-addr: ::1@{server}
"""


@pytest.fixture
def damaged_world(tmp_path, make_zone, make_keys, free_port, until):
    """Give the port of an unbound that validates a zone whose AAAA does not fit its signature."""
    origin = names.from_text("example.")
    key = make_key(origin, KeyRole.CSK)
    state = sign(
        None, make_zone(TEXT, "example."), make_keys([key]), SigningPolicy(), int(time.time())
    )
    www = names.from_text("www.example.")
    node = tuple(
        rrset._replace(rdatas=(rrset.rdatas[0][:-1] + b"\x02",))
        if rrset.rdtype == codes.AAAA
        else rrset
        for rrset in state.signed.nodes[www]
    )
    zone = state.signed.replaced({www: node})
    (tmp_path / "example.zone").write_text("\n".join(write_zone(zone, is_portable=True)) + "\n")
    ds = dns.rdata.from_wire("IN", "DS", key.ds(), 0, len(key.ds())).to_text()
    (tmp_path / "anchor").write_text(f"example. IN DS {ds}\n")
    server, port = free_port(), free_port()
    (tmp_path / "nsd.conf").write_text(NSD.format(place=tmp_path, port=server))
    (tmp_path / "unbound.conf").write_text(UNBOUND.format(place=tmp_path, port=port, server=server))
    processes = [
        subprocess.Popen(["nsd", "-d", "-c", tmp_path / "nsd.conf"], stderr=subprocess.DEVNULL),
        subprocess.Popen(["unbound", "-c", tmp_path / "unbound.conf"], stderr=subprocess.DEVNULL),
    ]
    for at in (server, port):
        query = dns.message.make_query("example", "SOA")
        until(lambda at=at, query=query: dns.query.udp(query, "::1", port=at, timeout=0.3).answer)
    yield port, tmp_path / "anchor"
    for process in processes:
        process.terminate()
        process.wait(10)


def test_damaged_aaaa_beside_good_a_is_told_apart_from_trouble_on_the_way(damaged_world):
    port, anchor = damaged_world
    done = subprocess.run(
        [
            *(sys.executable, "-m", "quada", "dnssec", "verify", "www.example"),
            *("--resolver", f"[::1]:{port}", "--anchor", str(anchor), "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    rows = {row["type"]: row for row in report["rows"]}
    assert (rows["AAAA"]["state"], rows["AAAA"]["our_ede"]) == ("bogus", 6)
    assert (rows["AAAA"]["rcode"], rows["AAAA"]["rcode_cd"]) == ("SERVFAIL", "NOERROR")
    assert (rows["A"]["state"], rows["A"]["rcode"], rows["A"]["ad"]) == ("secure", "NOERROR", True)
    assert report["verdict"].startswith("AAAA fails while A, SOA is well")


def quada(*arguments: object) -> str:
    command = [sys.executable, "-m", "quada", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_version_is_called_done_once_a_validating_resolver_has_it(
    tmp_path, serve, free_port, until
):
    port, zone = free_port(), tmp_path / "example.zone"
    zone.write_text(TEXT.replace("3600 IN", "1 IN"))
    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[authority]\nlisten = ["[::1]:0"]\n'
        f'[dnssec]\nverify_with = ["[::1]:{port}"]\ntick_s = 0.3\nparent_check_s = 3600\n'
        f'[[zone]]\nname = "example"\nfile = "{zone}"\n'
    )
    state_dir = tmp_path / "state0"
    quada("dnssec", "enable", "example", "--state-dir", state_dir)
    served = serve("--config", str(config), listen="")
    (dnskey,) = served.udp("example.", "DNSKEY").answer[0]
    ds = dns.dnssec.make_ds("example.", dnskey, "SHA256")
    (tmp_path / "anchor").write_text(f"example. IN DS {ds.to_text()}\n")
    (tmp_path / "unbound.conf").write_text(
        UNBOUND.format(place=tmp_path, port=port, server=served.port)
    )
    tag = dns.dnssec.key_id(dnskey)
    quada("dnssec", "seen", "example", "--tag", tag, "--state-dir", state_dir)

    def outside() -> dict:
        told = quada("dnssec", "status", "example", "--json", "--state-dir", state_dir)
        return json.loads(told)[0]["server"]["outside"]

    until(lambda: outside() and outside()["state"] == "pending", what="no resolver yet")
    unbound = subprocess.Popen(
        ["unbound", "-c", tmp_path / "unbound.conf"], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: outside()["state"] == "verified", within_s=30, what="verified outside")
    finally:
        unbound.terminate()
        unbound.wait(10)
