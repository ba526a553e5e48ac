"""A whole server that signs: enabled while it runs, killed and started again, verified by CLI."""

import json
import subprocess
import sys
import time

import dns.flags
import dns.message
import dns.rdatatype
import pytest

ZONE = """$ORIGIN example.com.
$TTL 300
@ IN SOA ns1 host 10 3600 900 1209600 300
@ IN NS ns1
@ IN NS ns2
ns1 IN AAAA 2001:db8::53
ns1 IN A 192.0.2.53
ns2 IN AAAA 2001:db8::54
ns2 IN A 192.0.2.54
www IN AAAA 2001:db8::1
www IN A 192.0.2.1
*.wild IN AAAA 2001:db8::3
"""


def quada(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "quada", *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def zone_file(tmp_path):
    path = tmp_path / "example.com.zone"
    path.write_text(ZONE)
    return path


def has_rrsig(served, name: str, rdtype: str) -> bool:
    answer = served.udp(name, rdtype, want_dnssec=True)
    kinds = {rrset.rdtype for rrset in (*answer.answer, *answer.authority)}
    return dns.rdatatype.RRSIG in kinds


def soa(served) -> int:
    return served.udp("example.com", "SOA").answer[0][0].serial


def test_a_zone_is_signed_while_it_serves(serve, until, zone_file):
    served = serve("--role", "authority", "--zone", f"example.com={zone_file}", workers=2)
    assert not has_rrsig(served, "www.example.com", "AAAA")
    told = quada("dnssec", "enable", "example.com", "--state-dir", served.state_dir)
    assert "sign the zone with CSK" in told
    until(lambda: has_rrsig(served, "www.example.com", "AAAA"))
    for name, rdtype in (
        ("www.example.com", "TXT"),
        ("no.example.com", "AAAA"),
        ("x.wild.example.com", "AAAA"),
    ):
        assert has_rrsig(served, name, rdtype)
    assert soa(served) == 11


def test_an_edit_of_a_signed_zone_is_signed_too(serve, until, zone_file):
    served = serve("--role", "authority", "--zone", f"example.com={zone_file}")
    quada("dnssec", "enable", "example.com", "--nsec3", "--state-dir", served.state_dir)
    zone_file.write_text(ZONE.replace(" 10 3600", " 20 3600") + "new IN AAAA 2001:db8::9\n")
    until(lambda: soa(served) == 20)
    assert has_rrsig(served, "new.example.com", "AAAA")


def test_a_killed_server_comes_back_signed_with_the_same_keys(serve, until, zone_file):
    arguments = ("--role", "authority", "--zone", f"example.com={zone_file}")
    served = serve(*arguments)
    quada("dnssec", "enable", "example.com", "--ksk-zsk", "--state-dir", served.state_dir)
    until(lambda: has_rrsig(served, "www.example.com", "AAAA"))
    keys = {str(key) for key in served.udp("example.com", "DNSKEY").answer[0]}
    serial = soa(served)
    served.process.kill()
    served.process.wait(10)
    again = serve(*arguments, "--state-dir", str(served.state_dir))
    assert {str(key) for key in again.udp("example.com", "DNSKEY").answer[0]} == keys
    assert soa(again) > serial


def test_status_plan_and_ds_tell_where_a_zone_stands(serve, zone_file):
    served = serve("--role", "authority", "--zone", f"example.com={zone_file}")
    place = ("--state-dir", served.state_dir)
    quada("dnssec", "enable", "example.com", *place)
    (status,) = json.loads(quada("dnssec", "status", "--json", *place))
    assert status["keys"][0]["state"] == "active"
    assert status["server"]["held"][0]["what"].startswith("ask the parent for DS")
    plan = json.loads(quada("dnssec", "plan", "example.com", "--json", *place))
    first = plan["steps"][0]
    assert first["what"].startswith("ask the parent for DS")
    assert first["at_s"] > time.time() + 600
    assert "is not to have DS now" in quada("dnssec", "ds", "example.com", *place, code=1)


def test_faults_say_what_to_do(tmp_path, zone_file):
    told = quada("dnssec", "status", "--state-dir", tmp_path / "none", code=2)
    assert "no zone is signed here" in told
    place = ("--state-dir", tmp_path / "state")
    told = quada("dnssec", "enable", "example.com", "--algorithm", "rsamd5", *place, code=2)
    assert "ecdsap256sha256" in told
    assert "takes effect at its start" in quada("dnssec", "enable", "example.com", *place)
    assert "signed are: example.com." in quada("dnssec", "plan", "other.org", *place, code=2)
    assert "no rollover is under way" in quada(
        "dnssec", "rollover", "example.com", "--cancel", *place, code=2
    )


def test_a_zone_signed_elsewhere_moves_here_with_its_key(serve, tmp_path, zone_file):
    stem = subprocess.run(
        ["dnssec-keygen", "-q", "-a", "13", "-f", "KSK", "example.com."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    place = ("--state-dir", tmp_path / "state0")
    quada("dnssec", "enable", "example.com", "--key-file", tmp_path / stem, *place)
    served = serve("--role", "authority", "--zone", f"example.com={zone_file}")
    (key,) = served.udp("example.com", "DNSKEY").answer[0]
    text = (tmp_path / f"{stem}.key").read_text()
    assert str(key).split()[-1][:20] in text.replace(" ", "")
    tag = stem.rpartition("+")[2].lstrip("0")
    assert f"IN DS {tag} 13 2" in quada("dnssec", "ds", "example.com", *place)
