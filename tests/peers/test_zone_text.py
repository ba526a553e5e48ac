"""Zone text beside BIND and ldns: what we read and write, they read alike."""

import subprocess
from pathlib import Path

import pytest

import quada.wire.names as names
from quada.store.files import load_zone_file, write_zone_file
from quada.wire.faults import DataFault
from quada.zones import diff

pytestmark = pytest.mark.peers
ORIGIN = names.from_text("example.com.")
TEXT = r"""$TTL 1h30m
@ IN SOA ns1 dns.example.com. ( 2026010101 ; serial
        1h 15m 2w 5m )
  NS ns1
  NS ns2.example.net.
  MX 10 mail
  CAA 0 issue "letsencrypt.org; validationmethods=dns-01"
  TXT "a;b (c)" d\;e "q\"\200"
ns1 60 AAAA 2001:db8::53
 IN 60 A 192.0.2.53
mail IN AAAA ::ffff:192.0.2.1
_x._tcp SRV 1 2 443 mail
www HTTPS 1 . alpn=h2,h3 ipv6hint=2001:db8::1 ipv4hint=192.0.2.1
host SSHFP 1 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789
n NAPTR 100 50 "s" "http" "" x
l LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
u TYPE65534 \# 4 c0000201
\*\.odd\032name TXT x
$GENERATE 1-3 h$ AAAA 2001:db8::$
$ORIGIN sub
a AAAA 2001:db8::a
$ORIGIN example.com.
c NS ns.c
ns.c AAAA 2001:db8::c
"""


def compiled(path: Path) -> list[str]:
    """Give BIND's canonical form of a zone file."""
    out = path.with_suffix(".canonical")
    command = ["named-compilezone", "-q", "-k", "ignore", "-i", "none", "-o", out, "example.com"]
    subprocess.run([*command, path], check=True, timeout=60)
    return out.read_text().splitlines()


def test_bind_reads_our_text_as_it_reads_the_original(tmp_path: Path) -> None:
    original, ours = tmp_path / "original.zone", tmp_path / "ours.zone"
    original.write_text(TEXT)
    write_zone_file(ours, load_zone_file(original, ORIGIN))
    assert compiled(ours) == compiled(original)


def test_we_read_what_bind_and_ldns_write(tmp_path: Path) -> None:
    original = tmp_path / "original.zone"
    original.write_text(TEXT)
    zone = load_zone_file(original, ORIGIN)
    compiled(original)
    assert diff(zone, load_zone_file(original.with_suffix(".canonical"), ORIGIN)) == ((), ())
    ours = tmp_path / "ours.zone"
    write_zone_file(ours, zone)
    text = subprocess.run(
        ["ldns-read-zone", ours], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    (tmp_path / "ldns.zone").write_text(text)
    assert diff(zone, load_zone_file(tmp_path / "ldns.zone", ORIGIN)) == ((), ())


HEAD = "$TTL 300\n@ SOA ns1 h 1 3600 900 1209600 300\n@ NS ns1\nns1 AAAA 2001:db8::1\n"


@pytest.mark.parametrize(
    ("line", "is_good"),
    [
        ("a AAAA 2001:db8::1", True),
        ("a IN 1D AAAA 2001:db8::1", True),
        ("a AAAA 2001:db8::g", False),
        ("a AAAA 2001:db8::1::2", False),
        ("a AAAA 192.0.2.1", False),
        ("a A 192.0.2", False),
        ("a A 192.0.2.256", False),
        ("a MX mail", False),
        ("a TXT", False),
        ("a TXT " + "x" * 256, False),
        ("a TXT (x\ny)", True),
        ("a TXT (x", False),
        ("a TXT x)", False),
        ('a TXT "x', False),
        ("a..b TXT x", False),
        ("x" * 64 + " TXT x", False),
        ("a TYPE65534 \\# 2 abcd", True),
        ("a TYPE65534 \\# 3 abcd", False),
        ("a AAAA \\# 16 20010db8000000000000000000000001", True),
        ("a BOGUS x", False),
        ("a 5x TXT x", False),
        ("$TTL", False),
        ("$GENERATE 3-1 a$ AAAA ::$", False),
        ("$GENERATE 1-3 ${0,3,n}.r PTR a$", True),
        ("a \\300 TXT x", False),
        ("a CNAME b c", False),
        ("a SRV 1 1 65536 b", False),
        ("a DS 1 13 2 zz", False),
    ],
)
def test_bind_and_we_agree_on_what_is_a_record(tmp_path: Path, line: str, is_good: bool) -> None:
    path = tmp_path / "z"
    path.write_text(HEAD + line + "\n")
    try:
        load_zone_file(path, ORIGIN)
        ours = True
    except DataFault:
        ours = False
    command = ["named-checkzone", "-q", "-k", "ignore", "-i", "none", "example.com", path]
    theirs = subprocess.run(command, check=False, timeout=60).returncode == 0
    assert (ours, theirs) == (is_good, is_good)
