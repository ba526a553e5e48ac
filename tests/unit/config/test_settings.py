"""Settings: read, refused with line and remedy, and what importers write is among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.config.bind import import_bind
from quada.config.corefile import import_corefile
from quada.config.imported import write_toml
from quada.config.load import known_settings, read_settings
from quada.server.plan import make_plan, read_address
from quada.wire.faults import ConfigFault


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("version = 1\n[server]\nworkerz = 2\n", ":3", "server.workers"),
        ("[authority]\nlisten = '[::1]:53'\n", ":2", "a list"),
        ("[authority]\nrrl_slip = 'two'\n", ":2", "a integer"),
        ("[resolver]\nfamilies = 'ipx'\n", ":2", "ipv6"),
        ("version = 9\n", ":1", "version 1"),
        ("[server\n", ":1", "toml"),
        ("[[zone]]\nname = 'a'\n[[zone]]\nnam = 'b'\n", ":4", "zone[1].name"),
    ],
)
def test_a_wrong_setting_is_refused_with_line_and_remedy(
    text: str, place: str, remedy: str
) -> None:
    with pytest.raises(ConfigFault) as caught:
        read_settings(text, "quada.toml")
    assert f"quada.toml{place}" in str(caught.value)
    assert remedy in str(caught.value)


def test_every_setting_is_documented() -> None:
    for one in known_settings():
        assert one.doc.endswith("."), one.path


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_fault(text: str) -> None:
    try:
        read_settings(text)
    except ConfigFault:
        return


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[::1]:5300", ("::1", 5300)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("192.0.2.1:5", ("192.0.2.1", 5)),
    ],
)
def test_addresses_are_read_ipv6_first(text: str, expected: tuple[str, int]) -> None:
    assert read_address(text) == expected


def test_an_address_with_a_bad_port_is_refused() -> None:
    with pytest.raises(ConfigFault):
        read_address("[::1]:99999")


def test_what_is_imported_from_bind_is_a_configuration_of_ours() -> None:
    imported = import_bind(
        """options { directory "/var/x"; listen-on-v6 { any; }; listen-on port 53 { any; };
        recursion yes; allow-recursion { localhost; 2001:db8::/32; }; forwarders { 2001:db8::53; };
        allow-transfer { none; }; dns64 64:ff9b::/96 { }; rate-limit { responses-per-second 20; }; };
        key k { algorithm hmac-sha256; secret "AAAA"; };
        zone "example.com" { type primary; file "db.example.com"; allow-transfer { key k; };
        also-notify { 2001:db8::2; }; allow-update { key k; }; };
        zone "example.net" { type secondary; primaries { 2001:db8::1; }; file "s"; };
        """
    )
    settings = read_settings(write_toml(imported, "named.conf"))
    plan = make_plan(settings, roles=("authority", "resolver"))
    assert len(plan.zones) == 2
    assert "2001:db8::/32" in settings.resolver.allow


def test_what_is_imported_from_coredns_is_a_configuration_of_ours() -> None:
    imported = import_corefile(
        "example.com:53 {\n file db.example.com\n transfer {\n to *\n }\n log\n errors\n}\n"
        ".:53 {\n forward . 2001:db8::53\n dns64 64:ff9b::/96\n cache\n}\n"
        "corp.test {\n forward corp.test 2001:db8::54\n}\nauto.test {\n auto {\n directory /tmp/none\n }\n}\n"
    )
    make_plan(read_settings(write_toml(imported, "Corefile")), roles=("authority", "resolver"))
