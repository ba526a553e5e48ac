"""What a link tells: messages octet by octet, captures, configurations, judgement."""

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.doctor.link import Link, judge_link, make_link, matrix, merge, read_capture, read_config
from quada.doctor.link.endpoints import designated_of
from quada.doctor.link.facts import Encrypted, Lease, Offered, Prefix, Router
from quada.doctor.link.messages import Heard, compose_request, parse_advert, parse_dhcpv6
from quada.doctor.observation import Exchange
from quada.wire.faults import DataFault

NAME = b"\x03dot\x07example\x03org\x00"
RESOLVER = ipaddress.IPv6Address("2001:db8::53").packed


def advert(*options: bytes, flags: int = 0, lifetime: int = 1800) -> bytes:
    return (
        b"\x86\x00\xab\xcd\x40"
        + bytes([flags])
        + lifetime.to_bytes(2, "big")
        + bytes(8)
        + b"".join(options)
    )


def option(kind: int, data: bytes) -> bytes:
    data += bytes(-(len(data) + 2) % 8)
    return bytes([kind, (len(data) + 2) // 8]) + data


def codes(link: Link, verdict: str = "FAIL") -> set[str]:
    return {one.code for one in judge_link(link) if one.verdict == verdict}


def test_every_option_of_an_advertisement_is_read():
    pref64 = ((600 // 8) << 3 | 0).to_bytes(2, "big") + ipaddress.IPv6Address("64:ff9b::").packed[
        :12
    ]
    dnr = (
        b"\x00\x05"
        + (900).to_bytes(4, "big")
        + len(NAME).to_bytes(2, "big")
        + NAME
        + b"\x00\x10"
        + RESOLVER
    )
    router = parse_advert(
        advert(
            option(
                3,
                b"\x40\xc0"
                + struct.pack(">III", 86400, 14400, 0)
                + ipaddress.IPv6Address("2001:db8:1::").packed,
            ),
            option(5, b"\x00\x00" + (1400).to_bytes(4, "big")),
            option(7, b"\x00\x00" + (30_000).to_bytes(4, "big")),
            option(25, b"\x00\x00" + (90).to_bytes(4, "big") + RESOLVER),
            option(31, b"\x00\x00" + (90).to_bytes(4, "big") + NAME),
            option(37, b"https://portal.example.org/"),
            option(38, pref64),
            option(144, dnr),
            flags=0xC0,
        ),
        "fe80::1",
    )
    assert router == Router(
        "fe80::1", True, True, 1800, 1400, 30, "https://portal.example.org/",
        [Prefix("2001:db8:1::", 64, True, True, 86400, 14400)],
        [Offered(("2001:db8::53",), 90)], [Offered(("dot.example.org.",), 90)],
        [Offered(("64:ff9b::/96",), 600)], [Encrypted("dot.example.org.", ("2001:db8::53",), 5)],
    )  # fmt: skip


@pytest.mark.parametrize(("code", "length"), list(enumerate((96, 64, 56, 48, 40, 32))))
def test_pref64_has_six_lengths(code, length):
    body = (8 << 3 | code).to_bytes(2, "big") + ipaddress.IPv6Address("2001:db8::").packed[:12]
    found = parse_advert(advert(option(38, body)), "fe80::1").pref64
    assert found == [Offered((f"2001:db8::/{length}",), 64)]


@pytest.mark.parametrize(
    ("octets", "source", "hops", "said"),
    [
        (advert(), "2001:db8::1", 255, "not link-local"),
        (advert(), "fe80::1", 64, "hop limit is 64"),
        (advert()[:12], "fe80::1", 255, "shorter than 16"),
        (advert(b"\x05\x00" + bytes(6)), "fe80::1", 255, "impossible length"),
        (advert(b"\x05\x02" + bytes(6)), "fe80::1", 255, "impossible length"),
        (advert(option(25, bytes(14))), "fe80::1", 255, "option 25"),
        (advert(option(31, bytes(6) + b"\xc0\x0c")), "fe80::1", 255, "compressed"),
        (advert(option(3, bytes(6))), "fe80::1", 255, "octets where 32"),
    ],
)  # fmt: skip
def test_what_hosts_would_drop_is_told(octets, source, hops, said):
    router = parse_advert(octets, source, hops)
    assert any(said in fault for fault in router.faults), router.faults
    assert "link-ra-invalid" in codes(Link("x", routers=[router]))


def reply(kind: int, *options: tuple[int, bytes]) -> bytes:
    return bytes([kind, 1, 2, 3]) + b"".join(
        code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for code, data in options
    )


def test_dhcpv6_is_read_and_asked():
    address = ipaddress.IPv6Address("2001:db8::1000").packed
    identity = bytes(12) + reply(0, (5, address + bytes(8)))[4:]
    dnr = (
        b"\x00\x01"
        + len(NAME).to_bytes(2, "big")
        + NAME
        + b"\x00\x10"
        + RESOLVER
        + b"\x00\x01\x00\x04\x03dot"
    )
    lease = parse_dhcpv6(reply(2, (3, identity), (23, RESOLVER), (24, NAME), (144, dnr)), "fe80::2")
    assert lease == Lease(
        "fe80::2", True, ["2001:db8::1000"], ["2001:db8::53"], ["dot.example.org."],
        [Encrypted("dot.example.org.", ("2001:db8::53",), 1, b"\x00\x01\x00\x04\x03dot")],
    )  # fmt: skip
    assert parse_dhcpv6(compose_request(11, b"abc", b"\x00\x04" + bytes(16)), "fe80::2") is None
    none = parse_dhcpv6(reply(2, (3, bytes(12) + reply(0, (13, b"\x00\x02"))[4:])), "fe80::2")
    assert none is not None
    assert none.status == "NoAddrsAvail"
    cut = parse_dhcpv6(reply(7, (23, RESOLVER))[:-3], "fe80::2")
    assert cut is not None
    assert cut.faults


@given(st.binary(max_size=400), st.integers(0, 255))
def test_no_message_breaks_the_reading(octets, hops):
    parse_advert(octets, "fe80::1", hops)
    parse_advert(advert() + octets, "fe80::1", hops)
    parse_dhcpv6(octets, "fe80::1")
    parse_dhcpv6(b"\x07abc" + octets, "fe80::1")
    judge_link(make_link("x", [Heard("ra", "fe80::1", (advert() + octets).hex()),
                               Heard("dhcpv6", "fe80::1", (b"\x02abc" + octets).hex())]))  # fmt: skip


def frame(payload: bytes, protocol: int, tags: bytes = b"") -> bytes:
    source = ipaddress.IPv6Address("fe80::1").packed
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 255)
    return (
        bytes(12)
        + tags
        + b"\x86\xdd"
        + head
        + source
        + ipaddress.IPv6Address("ff02::1").packed
        + payload
    )


def pcap(frames: list[tuple[float, bytes]], order: str = "<") -> bytes:
    octets = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for at, one in frames:
        octets += (
            struct.pack(f"{order}IIII", int(at), round(at % 1 * 1e6), len(one), len(one)) + one
        )
    return octets


def pcapng(frames: list[tuple[float, bytes]]) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    octets = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    octets += block(1, struct.pack("<HHI", 1, 0, 65535) + struct.pack("<HHB3x", 9, 1, 9))
    for at, one in frames:
        ticks = round(at * 1e9)
        octets += block(
            6, struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(one), len(one)) + one
        )
    return octets


FRAMES = [
    (100.0, frame(advert(option(25, bytes(6) + RESOLVER)), 58)),
    (
        130.5,
        frame(advert(option(25, b"\x00\x00\x00\x00\x00\x5a" + RESOLVER)), 58, b"\x81\x00\x00\x05"),
    ),
    (131.0, frame(struct.pack(">HHHH", 547, 546, 0, 0) + reply(7, (23, RESOLVER)), 17)),
    (132.0, frame(struct.pack(">HHHH", 546, 547, 0, 0) + reply(11), 17)),
    (133.0, b"\xff" * 60),
]


@pytest.mark.parametrize(
    "octets", [pcap(FRAMES), pcap(FRAMES, ">"), pcapng(FRAMES)], ids=["le", "be", "ng"]
)
def test_captures_of_every_form_say_the_same(octets):
    heard = read_capture(octets)
    assert [one.kind for one in heard] == ["ra", "ra", "dhcpv6"]
    link = make_link("capture", heard)
    assert [(one.interval_s, one.resolvers) for one in link.routers] == [
        (30, [Offered(("2001:db8::53",), 90)])
    ]
    assert [one.resolvers for one in link.leases] == [["2001:db8::53"]]
    for cut in range(0, len(octets), 7):
        if cut >= 4:
            read_capture(octets[:cut])


def test_other_files_are_no_captures():
    with pytest.raises(DataFault, match="neither pcap nor pcapng"):
        read_capture(b"hello")


@given(st.binary(max_size=300))
def test_no_capture_breaks_the_reading(octets):
    read_capture(pcap(FRAMES)[:24] + octets)
    read_capture(pcapng(FRAMES)[:60] + octets)


RADVD = """
# comment
interface eth0 {
    AdvSendAdvert on; AdvOtherConfigFlag on; MaxRtrAdvInterval 60; AdvLinkMTU 1200;
    prefix 2001:db8:1::/64 { AdvAutonomous on; AdvValidLifetime infinity; };
    prefix 2001:db8:2::/56 { };
    RDNSS 2001:db8::53 2001:db8::54 { AdvRDNSSLifetime 30; };
    DNSSL example.com { };
    nat64prefix 64:ff9b::/96 { AdvValidLifetime 1800; };
};
interface eth1 { AdvSendAdvert off; };
"""


def test_radvd_is_read_and_judged():
    link = read_config(RADVD, "radvd.conf")
    assert [one.place for one in link.routers] == ["radvd.conf:3"]
    assert codes(link) == {"link-mtu", "link-prefix", "rdnss-lifetime"}
    assert link.routers[0].lifetime_s == 180
    assert link.routers[0].pref64 == [Offered(("64:ff9b::/96",), 1800)]
    link.pref64_found = ["2001:db8:64::/96"]
    assert "pref64" in codes(link)
    link.pref64_found = ["64:ff9b::/96"]
    assert "pref64" in codes(link, "PASS")


@pytest.mark.parametrize(
    ("text", "said"),
    [("interface eth0 {", "never closed"), ("interface eth0 { } }", "closes nothing"),
     ("interface eth0 " + "{ a " * 20, "too deep"), ("hello", "no configuration"),
     ('{"Dhcp6": ', "kea-dhcp6"), ("[" * 100_000, "no configuration"),
     ('{"a":' * 100_000, "kea-dhcp6")],
)  # fmt: skip
def test_broken_configurations_are_refused_with_a_reason(text, said):
    with pytest.raises(DataFault, match=said):
        read_config(text, "x")


@given(st.text(max_size=300), st.sampled_from(["interface x {", '{"Dhcp6": {', "dhcp-range=", ""]))
def test_no_configuration_breaks_the_reading(text, head):
    with contextlib.suppress(DataFault):
        judge_link(read_config(head + text, "x"))


@pytest.mark.parametrize(
    ("mode", "flags", "is_autonomous", "leases"),
    [("2001:db8::,ra-only", (False, False), True, 0), ("2001:db8::,ra-stateless", (False, True), True, 1),
     ("2001:db8::10,2001:db8::99,slaac", (True, True), True, 2),
     ("2001:db8::10,2001:db8::99,64,12h", (True, True), False, 2)],
)  # fmt: skip
def test_dnsmasq_modes_are_those_of_its_manual(mode, flags, is_autonomous, leases):
    link = read_config(f"enable-ra\ndhcp-range={mode}\nra-param=eth0,high,30,900\n", "dnsmasq.conf")
    router = link.routers[0]
    assert (router.is_managed, router.is_other) == flags
    assert router.prefixes[0].is_autonomous == is_autonomous
    assert (router.interval_s, router.lifetime_s) == (30, 900)
    assert len(link.leases) == leases
    assert router.addresses == ["::"]  # dnsmasq names itself
    assert not codes(link)


def test_dnsmasq_without_dns_offers_none():
    link = read_config("port=0\nenable-ra\ndhcp-range=2001:db8::,ra-stateless\n", "dnsmasq.conf")
    assert codes(link) == {"o-bit-trap", "dhcpv6-dns"}


def test_kea_options_come_from_the_nearest_scope():
    text = """{ // comment
      "Dhcp6": { "option-data": [ { "name": "dns-servers", "data": "2001:db8::1, 2001:db8::2" } ],
        "shared-networks": [ { "option-data": [ { "code": 23, "data": "2001:db8::3" } ],
          "subnet6": [ { "subnet": "2001:db8:1::/64" } ] } ], # comment with "quotes"
        "subnet6": [ { "subnet": "2001:db8:2::/64", "pools": [ { "pool": "2001:db8:2::/80" } ] } ] } }"""
    link = read_config(text, "kea.conf")
    assert [(one.is_stateful, one.resolvers) for one in link.leases] == [
        (False, ["2001:db8::1", "2001:db8::2"]), (True, ["2001:db8::1", "2001:db8::2"]),
        (False, ["2001:db8::3"]),
    ]  # fmt: skip
    assert codes(link, "UNKNOWN") == {"link-router"}
    whole = merge([link, read_config(RADVD, "radvd.conf")])
    assert whole.sees_routers
    assert "rdnss-dhcpv6-differ" in codes(whole, "WARN")


def test_what_was_not_looked_for_is_unknown_and_not_missing():
    managed = Router("fe80::1", is_managed=True)
    fates = {one.client: one for one in matrix(Link("x", routers=[managed]))}
    assert fates["Android"].address == fates["Android"].resolver == "none"
    assert fates["macOS and iOS"].address == fates["macOS and iOS"].resolver == "unknown"
    asked = Link("x", routers=[managed], asked_settings=True, asked_address=True)
    assert {one.resolver for one in matrix(asked)} == {"none"}
    assert codes(asked) == {"o-bit-trap", "dhcpv6-dns"}


def test_routers_that_disagree_and_resolvers_beyond_three():
    one = Router("fe80::1", resolvers=[Offered(("2001:db8::1", "2001:db8::2"), 600)])
    two = Router("fe80::2", is_other=True, resolvers=[Offered(("2001:db8::3", "fe80::53"), 0),
                                                      Offered(("2001:db8::3", "fe80::53"), 600)])  # fmt: skip
    link = Link("x", routers=[one, two])
    assert codes(link, "WARN") >= {
        "link-routers-differ",
        "resolver-count",
        "resolver-scope",
        "rdnss-lifetime",
    }
    assert codes(link, "UNKNOWN") == {"link-resolver"}


@pytest.mark.parametrize(
    ("offer", "verdict"),
    [(Encrypted("dot.example.org.", ("2001:db8::53",), 1, b"\x00\x01\x00\x04\x03dot"), "PASS"),
     (Encrypted("dot.example.org.", ()), "PASS"), (Encrypted("dot.", ("2001:db8::53",)), "FAIL"),
     (Encrypted("dot.example.org.", ("2001:db8::53",), 1, b"\x00\x03\x00\x02\x03\x55"), "WARN")],
)  # fmt: skip
def test_encrypted_resolvers_need_a_name(offer, verdict):
    assert "dnr" in codes(Link("x", routers=[Router("fe80::1", encrypted=[offer])]), verdict)


def answered(transport: str, silence: str = "") -> Exchange:
    return Exchange(
        ".", "x", "2001:db8::53", transport, "designated", ".", "SOA", 9.0, "" if silence else "00",
        silence, 853, "dot.example.org",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("exchanges", "expected"),
    [
        ([], set()),
        ([answered("dot")], {("encrypted-ipv6", "PASS")}),
        ([answered("dot", "timeout")], {("encrypted-dead", "FAIL")}),
        ([answered("dot", "tls")], {("encrypted-certificate", "FAIL")}),
    ],
    ids=["not-asked", "answers", "silent", "another-name"],
)
def test_encrypted_resolvers_that_a_link_tells_of_must_answer_by_their_name(exchanges, expected):
    offer = Encrypted("dot.example.org.", ("2001:db8::53",), 1, b"\x00\x01\x00\x04\x03dot")
    link = Link("x", routers=[Router("fe80::1", encrypted=[offer, offer])], exchanges=exchanges)
    assert [(one.target, one.transport, one.port) for one in designated_of(link)] == [
        ("dot.example.org.", "dot", 853)
    ]
    found = {(one.code, str(one.verdict)) for one in judge_link(link)}
    assert {one for one in found if one[0].startswith("encrypted")} == expected


@pytest.mark.parametrize("params", [b"\x00", b"\x00\x01\x00\x09\x03dot", b"\xff" * 40, b""])
def test_parameters_that_cannot_be_read_lead_to_no_question(params):
    offer = Encrypted("dot.example.org.", ("2001:db8::53",), 1, params)
    assert designated_of(Link("x", routers=[Router("fe80::1", encrypted=[offer])])) == []
