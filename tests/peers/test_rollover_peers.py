"""Every step of every rollover under other people's eyes: delv, unbound, dnssec-verify, ldns."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from quada.zones.keys import KeyRole
from quada.zones.keystate import Method
from quada.zones.signing import SigningPolicy
from quada.zones.write import write_zone

pytestmark = pytest.mark.peers

TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
ns.example. 3600 IN AAAA 2001:db8::53
www.example. 3600 IN AAAA 2001:db8::1
www.example. 3600 IN A 192.0.2.1
alias.example. 3600 IN CNAME www.example.
*.wild.example. 3600 IN AAAA 2001:db8::3
a.empty.example. 3600 IN TXT "x"
old.example. 3600 IN DNAME example.
plain.example. 3600 IN NS ns.plain.example.
ns.plain.example. 3600 IN AAAA 2001:db8::54
safe.example. 3600 IN NS ns.safe.example.
safe.example. 3600 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.safe.example. 3600 IN AAAA 2001:db8::55
"""
# Positive, NODATA, NXDOMAIN, alias, wildcard, wildcard NODATA, empty non-terminal, DNAME, the DS of
# a secure and of an insecure delegation, the keys.
QUESTIONS = [
    ("www.example", "AAAA"),
    ("www.example", "A"),
    ("www.example", "TXT"),
    ("nothing.example", "AAAA"),
    ("alias.example", "AAAA"),
    ("x.wild.example", "AAAA"),
    ("x.wild.example", "TXT"),
    ("empty.example", "AAAA"),
    ("www.old.example", "AAAA"),
    ("safe.example", "DS"),
    ("plain.example", "DS"),
    ("example", "DNSKEY"),
]
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
  harden-algo-downgrade: yes
  qname-minimisation: no
  trust-anchor: "{anchor}"
remote-control:
  control-enable: no
stub-zone:
  name: "example"
  stub-addr: ::1@{server}
"""


class Judges:
    """The other people: one server of ours with whatever version was published last."""

    def __init__(self, tmp_path, serve, free_port, until) -> None:
        self.place = tmp_path
        self.zone = tmp_path / "example.zone"
        self.serve, self.free_port, self.until = serve, free_port, until
        self.served = None
        self.serial = 0
        self.count = 0

    def judge(self, version, ds) -> None:
        self.zone.write_text("\n".join(write_zone(version, is_portable=True)) + "\n")
        if not ds:
            return
        # -z: with CSKs alone, BIND wants to be told that no key is a ZSK.
        self.run("dnssec-verify", "-z", "-o", "example.", self.zone)
        self.run("ldns-verify-zone", self.zone)
        self.put(version.serial)
        anchors = [
            f"{int.from_bytes(d[:2], 'big')} {d[2]} {d[3]} {d[4:].hex()}" for d in sorted(ds)
        ]
        self.ask_delv(anchors)
        self.ask_unbound(anchors)
        self.count += 1

    def put(self, serial: int) -> None:
        if self.served is None:
            self.served = self.serve("--role", "authority", "--zone", f"example={self.zone}")
        else:
            state_dir = str(self.served.state_dir)
            self.run(sys.executable, "-m", "quada", "reload", "--state-dir", state_dir)

        def is_served() -> bool:
            answer = self.served.udp("example.", "SOA")
            return bool(answer.answer) and answer.answer[0][0].serial == serial

        self.until(is_served)

    def ask_delv(self, anchors: list[str]) -> None:
        file = self.place / "anchors.conf"
        parts = [a.split(" ", 3) for a in anchors]
        lines = [f'example. static-ds {t} {a} {d} "{h}";' for t, a, d, h in parts]
        file.write_text("trust-anchors { " + " ".join(lines) + " };\n")
        for name, rdtype in QUESTIONS:
            told = self.run(
                "delv", "@::1", "-p", str(self.served.port), "-a", file, "+root=example.",
                name, rdtype,
            )  # fmt: skip
            assert "; fully validated" in told or "; negative response, fully validated" in told, (
                name,
                rdtype,
                told,
            )

    def ask_unbound(self, anchors: list[str]) -> None:
        port = self.free_port()
        conf = self.place / "unbound.conf"
        made = UNBOUND.format(
            place=self.place, port=port, server=self.served.port, anchor=f"example. DS {anchors[0]}"
        )
        rest = "".join(f'  trust-anchor: "example. DS {a}"\n' for a in anchors[1:])
        conf.write_text(made.replace("remote-control:", f"{rest}remote-control:"))
        process = subprocess.Popen(["unbound", "-c", conf], stderr=subprocess.DEVNULL)
        try:
            for name, rdtype in QUESTIONS:
                query = dns.message.make_query(name, rdtype, want_dnssec=True)

                def answered(query=query):
                    return dns.query.udp(query, "::1", port=port, timeout=0.3)

                answer = self.until(answered)
                assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), (name, rdtype)
                assert answer.flags & dns.flags.AD, (name, rdtype, answer.to_text())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

    def run(self, *command) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def judges(tmp_path, serve, free_port, until):
    judges = Judges(tmp_path, serve, free_port, until)
    yield judges
    with contextlib.suppress(AttributeError):
        judges.served.stop()


ROLLOVERS = {
    "zsk": ({"has_csk": False}, [KeyRole.ZSK], 13),
    "ksk-double-signature": ({"has_csk": False}, [KeyRole.KSK], 13),
    "ksk-double-ds": ({"has_csk": False, "method": Method.DOUBLE_DS}, [KeyRole.KSK], 13),
    "csk": ({"has_csk": True}, [KeyRole.CSK], 13),
    "algorithm-csk": ({"has_csk": True}, [KeyRole.CSK], 15),
    "algorithm-pair": ({"has_csk": False}, [KeyRole.KSK, KeyRole.ZSK], 8),
}


@pytest.mark.parametrize(("policy", "roles", "algorithm"), ROLLOVERS.values(), ids=ROLLOVERS)
def test_others_validate_every_answer_class_at_every_step(
    drill, make_zone, judges, policy, roles, algorithm
):
    """Versions of the last two simulated days, all within the signatures' life at real time."""
    made = drill(
        content=make_zone(TEXT, "example."),
        start_s=int(time.time()) - 40 * 3600,
        algorithm=13,
        **policy,
    )
    if roles == [KeyRole.KSK]:
        made.signing_policy = SigningPolicy(has_nsec3=True)
    made.published = judges.judge
    made.policy = made.policy._replace(algorithm=algorithm)
    for role in roles:
        made.bring(role)
    made.run(18)
    assert all(ring.is_staying for ring in made.state.rings)
    assert judges.count >= 3
