"""Our signatures under their eyes, theirs under ours: BIND's and ldns's signers and verifiers."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.telemetry.event import Validation
from quada.zones.keys import KeyRole, make_key
from quada.zones.sign import sign
from quada.zones.signing import SigningPolicy
from quada.zones.write import write_zone

pytestmark = pytest.mark.peers

TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
example. 3600 IN MX 10 Mail.Example.
example. 3600 IN TXT "a" "b c"
example. 3600 IN CAA 0 issue "ca.example"
ns.example. 3600 IN AAAA 2001:db8::53
www.example. 600 IN AAAA 2001:db8::1
www.example. 600 IN AAAA 2001:db8::2
www.example. 3600 IN A 192.0.2.1
www.example. 3600 IN HTTPS 1 . alpn=h2 ipv6hint=2001:db8::1
_sip._tcp.example. 60 IN SRV 1 2 5060 WWW.example.
n.example. 60 IN NAPTR 1 2 "u" "sip" "!x!y!" Target.example.
alias.example. 3600 IN CNAME WWW.example.
*.wild.example. 3600 IN AAAA 2001:db8::3
a.empty.example. 3600 IN TXT "x"
old.example. 3600 IN DNAME example.
plain.example. 3600 IN NS ns.plain.example.
ns.plain.example. 3600 IN AAAA 2001:db8::54
safe.example. 3600 IN NS ns.safe.example.
safe.example. 3600 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.safe.example. 3600 IN AAAA 2001:db8::55
"""
ALGORITHMS = {8: "RSASHA256", 13: "ECDSAP256SHA256", 14: "ECDSAP384SHA384", 15: "ED25519"}
QUESTIONS = [
    ("www.example.", codes.AAAA),
    ("www.example.", codes.TXT),
    ("example.", codes.MX),
    ("_sip._tcp.example.", codes.SRV),
    ("n.example.", 35),
    ("alias.example.", codes.AAAA),
    ("x.wild.example.", codes.AAAA),
    ("x.wild.example.", codes.TXT),
    ("nothing.example.", codes.AAAA),
    ("empty.example.", codes.AAAA),
    ("www.old.example.", codes.AAAA),
    ("safe.example.", codes.DS),
    ("plain.example.", codes.DS),
]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ALGORITHMS.get)
@pytest.mark.parametrize("chain", ["nsec", "nsec3", "opt-out"])
def test_bind_and_ldns_verify_what_we_sign(tmp_path, make_zone, make_keys, algorithm, chain):
    policy = SigningPolicy(has_nsec3=chain != "nsec", has_opt_out=chain == "opt-out")
    origin = names.from_text("example.")
    keys = [make_key(origin, role, algorithm) for role in (KeyRole.KSK, KeyRole.ZSK)]
    state = sign(None, make_zone(TEXT, "example."), make_keys(keys), policy, int(time.time()))
    zone = tmp_path / "example.zone"
    zone.write_text("\n".join(write_zone(state.signed, is_portable=True)) + "\n")
    run("dnssec-verify", "-o", "example.", zone, cwd=tmp_path)
    run("ldns-verify-zone", zone, cwd=tmp_path)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ALGORITHMS.get)
@pytest.mark.parametrize("chain", ["nsec", "nsec3"])
@pytest.mark.parametrize("signer", ["dnssec-signzone", "ldns-signzone"])
def test_we_validate_what_bind_and_ldns_sign(
    tmp_path, make_zone, empty_world, algorithm, chain, signer
):
    (tmp_path / "example.zone").write_text(TEXT)
    name = ALGORITHMS[algorithm]
    size = ["-b", "2048"] if algorithm == 8 else []
    ksk, zsk = (
        run("dnssec-keygen", "-q", "-a", name, *size, *flags, "example.", cwd=tmp_path).strip()
        for flags in (["-f", "KSK"], [])
    )
    if signer == "dnssec-signzone":
        nsec3 = ["-3", "-", "-H", "0"] if chain == "nsec3" else []
        run(signer, "-S", "-o", "example.", "-f", "out", *nsec3, "example.zone", cwd=tmp_path)
    else:
        nsec3 = ["-n", "-t", "0"] if chain == "nsec3" else []
        run(signer, "-o", "example.", "-f", "out", *nsec3, "example.zone", zsk, ksk, cwd=tmp_path)
    signed = make_zone((tmp_path / "out").read_text(), "example.")
    empty_world.put(signed)
    ds = run("dnssec-dsfromkey", "-2", f"{ksk}.key", cwd=tmp_path).split()[3:]
    head = int(ds[0]).to_bytes(2, "big") + bytes((int(ds[1]), int(ds[2])))
    empty_world.anchors = {signed.origin: (head + bytes.fromhex("".join(ds[3:])),)}
    empty_world.now_s = int(time.time())
    for qname, qtype in QUESTIONS:
        verdict = empty_world.verdict(qname, qtype)
        assert verdict.state is Validation.SECURE, (qname, qtype, verdict)
