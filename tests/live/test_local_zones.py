"""What a resolver answers by itself: local zones from files, and where it is reached encrypted."""

from pathlib import Path

import dns.flags
import dns.rcode
import pytest

ZONE = """$TTL 300
@ SOA ns h 1 3600 600 86400 60
@ NS ns
printer AAAA fd00::9
alias CNAME printer
chain CNAME alias
out CNAME www.example.net.
loop CNAME loop
*.wild AAAA fd00::77
a.b.ent TXT "deep"
"""


@pytest.fixture
def served(serve, tmp_path: Path, free_port):
    zone = tmp_path / "home.zone"
    zone.write_text(ZONE)
    config = tmp_path / "quada.toml"
    tls, https, quic = free_port(), free_port(), free_port()
    config.write_text(
        f'version = 1\n[resolver]\nlisten = ["[::1]:0"]\nforward = ["[::1]:1"]\nlocal_zone = ["home.arpa={zone}"]\n'
        f'listen_tls = ["[::1]:{tls}"]\nlisten_https = ["[::1]:{https}"]\nlisten_quic = ["[::1]:{quic}"]\n'
        '[tls]\nnames = ["dns.example.net", "::1"]\n'
    )
    return serve("--role", "resolver", "--config", str(config), listen=""), (tls, https, quic)


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "answer"),
    [("printer", "AAAA", 0, ["fd00::9"]), ("alias", "AAAA", 0, ["printer.home.arpa.", "fd00::9"]),
     ("chain", "AAAA", 0, ["alias.home.arpa.", "printer.home.arpa.", "fd00::9"]), ("printer", "A", 0, []),
     ("none", "AAAA", 3, []), ("x.wild", "AAAA", 0, ["fd00::77"]), ("b.ent", "TXT", 0, []),
     ("out", "AAAA", 0, ["www.example.net."]), ("x.printer", "AAAA", 3, [])],
)  # fmt: skip
def test_local_zones_answer_as_their_own_server_would(served, name, rdtype, rcode, answer) -> None:
    response = served[0].udp(f"{name}.home.arpa.", rdtype)
    assert response.rcode() == rcode
    assert [item.to_text() for rrset in response.answer for item in rrset] == answer
    assert response.flags & dns.flags.RA
    if not answer:
        assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_a_loop_in_a_local_zone_ends(served) -> None:
    assert served[0].udp("loop.home.arpa.", "AAAA").rcode() == dns.rcode.NOERROR


def test_clients_are_told_where_it_is_reached_encrypted(served) -> None:
    response = served[0].udp("_dns.resolver.arpa.", "SVCB")
    tls, https, quic = served[1]
    told = sorted(item.to_text().replace("key7=", "dohpath=") for item in response.answer[0])
    assert told == [
        f'1 dns.example.net. alpn="dot" port="{tls}" ipv6hint="::1"',
        f'2 dns.example.net. alpn="h2,h3" port="{https}" ipv6hint="::1" dohpath="/dns-query{{?dns}}"',
        f'3 dns.example.net. alpn="doq" port="{quic}" ipv6hint="::1"',
    ]
    info = served[0].udp("resolver.arpa.", "RESINFO").answer[0][0].to_text()
    assert "qnamemin" in info
    # Nothing below resolver.arpa is asked of the world.
    assert served[0].udp("other.resolver.arpa.", "AAAA").rcode() == dns.rcode.NXDOMAIN


def test_without_encryption_nothing_is_told(serve, tmp_path: Path) -> None:
    plain = serve("--role", "resolver", "--forward", "[::1]:1")
    response = plain.udp("_dns.resolver.arpa.", "SVCB")
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.answer
