"""Trust anchor files in every form people have them."""

import dns.rdata
import pytest

import quada.wire.names as names
from quada.resolver.anchors import read_anchors, root_anchors
from quada.wire.faults import DataFault

DS = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
KEY = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
KEY_DS = "55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"
NET = names.from_text("example.net.")


def wire(text: str) -> bytes:
    return dns.rdata.from_text("IN", "DS", text).to_wire()


@pytest.mark.parametrize(
    "text",
    [
        f"example.net. IN DS {KEY_DS}",
        f"; a comment\nexample.net. 3600 IN DNSKEY 257 3 13 {KEY} ; tag",
        f'trust-anchors {{ // BIND\n "example.net." static-key 257 3 13 "{KEY}"; }};',
        f'trust-anchors {{ example.net initial-ds {KEY_DS.replace(" 2 ", " 2 " + chr(34))}"; }};',
        f'trusted-keys {{ example.net. 257 3 13 "{KEY}"; }};',
        f'/* old */ managed-keys {{ "example.net." initial-key 257 3 13 "{KEY}"; }};',
        f'trust-anchor: "example.net. DS {KEY_DS}"',
        f"example.net.\t60\tIN\tDNSKEY\t257 3 13 {KEY} ;{{id = 1}} ;;state=2 [  VALID  ]",
    ],
    ids=["ds", "dnskey", "static-key", "initial-ds", "trusted", "managed", "unbound", "auto"],
)
def test_an_anchor_reads_the_same_in_every_form(text):
    assert read_anchors(text) == {NET: (wire(KEY_DS),)}


def test_keys_that_unbound_does_not_trust_yet_are_left_out():
    text = f"example.net. 60 IN DNSKEY 257 3 13 {KEY} ;;state=1 [ ADDPEND ]\n. IN DS {DS}"
    assert list(read_anchors(text)) == [names.ROOT]


def test_the_built_in_anchors_are_the_roots():
    assert root_anchors()[names.ROOT][0] == wire(DS)
    assert [int.from_bytes(ds[:2], "big") for ds in root_anchors()[names.ROOT]] == [20326, 38696]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no trust anchor"),
        ("; nothing", "no trust anchor"),
        ("example. IN A 192.0.2.1", "neither DS nor DNSKEY"),
        ("\n\nexample. IN DS 1 2 3", "anchors.key:3"),
        ('trust-anchors { . initial-key "x"; };', "cannot read"),
    ],
)
def test_a_file_that_is_none_says_where(text, said):
    with pytest.raises(DataFault, match=said):
        read_anchors(text, "anchors.key")
