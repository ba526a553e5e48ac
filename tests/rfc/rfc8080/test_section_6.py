"""RFC 8080 6 with errata 4935, and RFC 6605 6.1: example keys, DS and signatures."""

import dns.rdata
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature

EXAMPLES = [
    pytest.param(
        "example.com.",
        "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        "3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
        ("example.com.", "MX", "10 mail.example.com."),
        "MX 15 2 3600 1440021600 1438207200 3613 example.com. "
        "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
        id="ed25519",
    ),
    pytest.param(
        "example.com.",
        "257 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
        "35217 15 2 401781b934e392de492ec77ae2e15d70f6575a1c0bc59c5275c04ebe80c6614c",
        ("example.com.", "MX", "10 mail.example.com."),
        "MX 15 2 3600 1440021600 1438207200 35217 example.com. "
        "zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
        id="ed25519-second",
    ),
    pytest.param(
        "example.net.",
        "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb"
        "krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
        "55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17",
        ("www.example.net.", "A", "192.0.2.1"),
        "A 13 3 3600 20100909100439 20100812100439 55648 example.net. "
        "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
        id="p256",
    ),
]


@pytest.mark.parametrize(("zone", "dnskey", "ds", "rrset", "rrsig"), EXAMPLES)
def test_the_example_ds_and_signature_fit_the_example_key(zone, dnskey, ds, rrset, rrsig):
    key = dns.rdata.from_text("IN", "DNSKEY", dnskey).to_wire()
    assert signature.ds_rdata(names.from_text(zone), key) == wire("DS", ds)
    owner, rdtype, data = rrset
    parsed = signature.parse_rrsig(wire("RRSIG", rrsig))
    number = {"MX": codes.MX, "A": codes.A}[rdtype]
    name, rdata = names.from_text(owner), wire(rdtype, data)
    assert signature.is_valid(key, parsed, name, number, [rdata])
    assert not signature.is_valid(key, parsed, name, number, [rdata[:-1] + b"\x09"])


def wire(rdtype: str, text: str) -> bytes:
    return dns.rdata.from_text("IN", rdtype, text).to_wire()
