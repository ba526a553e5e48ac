"""Configurations of BIND and CoreDNS taken over: the printed ones, real ones, and garbage."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.config.bind import import_bind
from quada.config.corefile import import_corefile
from quada.config.imported import ImportedZone, write_toml
from quada.wire.faults import ConfigFault

SEED_BIND = """options {
directory "/var/cache/bind";
listen-on { any; };
listen-on-v6 { any; };
recursion no;
dnssec-validation auto;
};
zone "example.com" IN {
type master;
file "/etc/bind/zones/db.example.com";
};
zone "8.b.d.0.1.0.0.2.ip6.arpa" IN {
type master;
file "/etc/bind/zones/db.example.com.rev6";
};
"""
SEED_COREFILE = """example.com:53 {
bind ::
file /etc/coredns/db.example.com
log
errors
}
8.b.d.0.1.0.0.2.ip6.arpa:53 {
bind ::
file /etc/coredns/db.example.com.rev6
log
errors
}
"""
REAL_BIND = """
# a comment; with { marks }
acl "trusted" { 2001:db8::/32; 192.0.2.0/24; };  // and another
key "xfer." { algorithm hmac-sha256; secret "c2VjcmV0"; };
options {
    directory "/var/lib/named"; /* a comment
    over lines */
    listen-on-v6 port 5300 { 2001:db8::53; };
    listen-on port 5300 { 192.0.2.53; };
    allow-transfer { trusted; key "xfer."; };
    forwarders { 2001:db8::1 port 5353; 192.0.2.1; };
    dns64 64:ff9b::/96 { clients { any; }; };
    rate-limit { responses-per-second 10; window 5; };
    recursion yes;
};
logging { channel q { file "q.log"; }; };
zone "." { type hint; file "root.hints"; };
zone "example.org" { type secondary; primaries { 2001:db8::54; }; file "s/org"; };
zone "corp.example" { type forward; forward only; forwarders { 2001:db8::99; }; };
view "inside" { match-clients { trusted; }; zone "in.example" { type primary; file "in"; }; };
view "outside" { zone "in.example" { type primary; file "out"; }; };
include "more.conf";
"""


def test_the_printed_bind_configuration_is_taken_whole() -> None:
    imported = import_bind(SEED_BIND)
    assert imported.listen == ["[::]:53", "0.0.0.0:53"]
    assert imported.zones == [
        ImportedZone("example.com", file="/etc/bind/zones/db.example.com"),
        ImportedZone("8.b.d.0.1.0.0.2.ip6.arpa", file="/etc/bind/zones/db.example.com.rev6"),
    ]
    ignored = [line for line in imported.lines if line.fate == "ignored"]
    assert [(line.what, line.place) for line in ignored] == [
        ("dnssec-validation auto", "named.conf:6")
    ]
    assert all(line.reason for line in ignored)


def test_the_printed_corefile_is_taken_whole() -> None:
    imported = import_corefile(SEED_COREFILE)
    assert imported.listen == ["[::]:53"]
    assert [(zone.name, zone.file) for zone in imported.zones] == [
        ("example.com", "/etc/coredns/db.example.com"),
        ("8.b.d.0.1.0.0.2.ip6.arpa", "/etc/coredns/db.example.com.rev6"),
    ]
    assert {line.fate for line in imported.lines} == {"taken", "translated"}


def test_an_ordinary_bind_configuration_is_translated_and_accounted_for() -> None:
    more = 'zone "more.example" { type master; file "more"; allow-update { trusted; }; };'
    imported = import_bind(REAL_BIND, include=lambda path: more)
    zones = {zone.name: zone for zone in imported.zones}
    assert imported.listen == ["[2001:db8::53]:5300", "192.0.2.53:5300"]
    assert list(zones) == ["example.org", "in.example", "more.example"]
    assert zones["example.org"].role == "secondary"
    assert zones["example.org"].primaries == ["2001:db8::54"]
    assert zones["in.example"].file == "/var/lib/named/in"
    assert zones["more.example"].allow_update == ["2001:db8::/32", "192.0.2.0/24"]
    assert zones["more.example"].allow_transfer == ["2001:db8::/32", "192.0.2.0/24", "key xfer."]
    assert imported.resolver["forward"] == [
        "[2001:db8::1]:5353",
        "192.0.2.1",
        "corp.example=2001:db8::99",
    ]
    assert imported.resolver["dns64"] == ["64:ff9b::/96"]
    assert imported.authority == {"rrl_per_second": 10}
    ignored = {line.what for line in imported.lines if line.fate == "ignored"}
    assert ignored >= {"logging", "view inside", "zone .", "rate-limit window", "zone in.example"}
    config = tomllib.loads(write_toml(imported, "named.conf"))
    assert config["key"] == [{"name": "xfer.", "algorithm": "hmac-sha256", "secret": "c2VjcmV0"}]
    assert len(config["zone"]) == 3


def test_an_ordinary_corefile_is_translated_and_accounted_for() -> None:
    imported = import_corefile(
        """
(common) {
    errors
    log . {
        class denial
    }
}
. {
    import common
    forward . 2001:db8::1 192.0.2.1 { max_concurrent 10 }
    dns64 {
        prefix 64:ff9b:1::/96
    }
    cache 30
    template IN A example.net { answer "x" }
}
example.org, example.net:1053 {
    file db.shared   # both
    transfer {
        to 2001:db8::54
    }
}
example.edu {
    secondary { transfer from 2001:db8::55 }
    auto {
        directory /zones db.(.*) {1}
    }
}
"""
    )
    zones = {zone.name: zone for zone in imported.zones}
    assert list(zones) == ["example.org", "example.net", "example.edu"]
    assert zones["example.net"].also_notify == ["2001:db8::54"]
    assert zones["example.edu"].primaries == ["2001:db8::55"]
    assert imported.resolver["forward"] == ["2001:db8::1", "192.0.2.1"]
    assert imported.resolver["dns64"] == ["64:ff9b:1::/96"]
    assert imported.authority == {"zone_directories": ["/zones"]}
    assert "[::]:1053" in imported.listen
    fates = {line.what.split()[0]: line.fate for line in imported.lines}
    assert fates["template"] == "ignored"
    assert fates["errors"] == "translated"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('options { directory "x"; ', "named.conf:1"),
        ('options {\n directory "x\n', "named.conf:2"),
        ('zone "a" { type master }\n;', "named.conf:1"),
        ("};", "named.conf:1"),
        ("/* never closed", "named.conf:1"),
        ("{" * 50, "named.conf"),
    ],
)
def test_broken_configuration_is_a_fault_with_its_line(text: str, place: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        import_bind(text)
    assert caught.value.place == place


words = st.lists(
    st.sampled_from(
        [
            '"x"',
            "{",
            "}",
            ";",
            "zone",
            "options",
            "view",
            "listen-on",
            "port",
            "forward",
            "file",
            "acl",
            "include",
            "(a)",
            "import",
            "bind",
            "key",
            "a:b",
            "\n",
        ]
    ),
    max_size=40,
).map(" ".join)


@given(words | st.text(max_size=60))
def test_garbage_is_taken_or_faulted_and_never_more(text: str) -> None:
    for importer in (import_bind, import_corefile):
        with contextlib.suppress(ConfigFault):
            tomllib.loads(write_toml(importer(text), "x"))
    with contextlib.suppress(ConfigFault):
        import_bind(text, include=lambda path: text)
