"""RFC 5155 appendix B: which NSEC3 records an authoritative server gives."""

import pytest

ZONE = """
$ORIGIN example.
$TTL 3600
@ SOA ns1 bugs.x.w 1 3600 300 3600000 3600
@ NS ns1
@ NS ns2
@ MX 1 xx
@ NSEC3PARAM 1 0 12 aabbccdd
a NS ns1.a
a NS ns2.a
a DS 58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C
ns1.a A 192.0.2.5
ns2.a A 192.0.2.6
ai A 192.0.2.9
ai HINFO "KLH-10" "ITS"
ai AAAA 2001:db8::f00:baa9
c NS ns1.c
c NS ns2.c
ns1.c A 192.0.2.7
ns2.c A 192.0.2.8
ns1 A 192.0.2.1
ns2 A 192.0.2.2
*.w MX 1 ai
x.w MX 1 xx
x.y.w MX 1 xx
xx A 192.0.2.10
xx HINFO "KLH-10" "TOPS-20"
xx AAAA 2001:db8::f00:baaa
0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG
2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
2vptu5timamqttgl4luu9kg21e0aor3s NSEC3 1 1 12 aabbccdd 35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG
35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 1 12 aabbccdd b4um86eghhds6nea196smvmlo4ors995 NS DS RRSIG
b4um86eghhds6nea196smvmlo4ors995 NSEC3 1 1 12 aabbccdd gjeqe526plbf1g8mklp59enfd789njgi MX RRSIG
gjeqe526plbf1g8mklp59enfd789njgi NSEC3 1 1 12 aabbccdd ji6neoaepv8b5o6k4ev33abha8ht9fgc HINFO A AAAA RRSIG
ji6neoaepv8b5o6k4ev33abha8ht9fgc NSEC3 1 1 12 aabbccdd k8udemvp1j2f7eg6jebps17vp3n8i58h
k8udemvp1j2f7eg6jebps17vp3n8i58h NSEC3 1 1 12 aabbccdd kohar7mbb8dc2ce8a9qvl8hon4k53uhi
kohar7mbb8dc2ce8a9qvl8hon4k53uhi NSEC3 1 1 12 aabbccdd q04jkcevqvmu85r014c7dkba38o0ji5r A RRSIG
q04jkcevqvmu85r014c7dkba38o0ji5r NSEC3 1 1 12 aabbccdd r53bq7cc2uvmubfu5ocmm6pers9tk9en A RRSIG
r53bq7cc2uvmubfu5ocmm6pers9tk9en NSEC3 1 1 12 aabbccdd t644ebqk9bibcna874givr6joj62mlhv MX RRSIG
t644ebqk9bibcna874givr6joj62mlhv NSEC3 1 1 12 aabbccdd 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom HINFO A AAAA RRSIG
"""


@pytest.mark.parametrize(
    ("qname", "rdtype", "rcode", "proofs"),
    [
        ("a.c.x.w.example.", "A", "NXDOMAIN", {"0p9m", "b4um", "35mt"}),  # B.1
        ("ns1.example.", "MX", "NOERROR", {"2t7b"}),  # B.2
        ("y.w.example.", "A", "NOERROR", {"ji6n"}),  # B.2.1
        ("mc.c.example.", "MX", "NOERROR", {"35mt", "0p9m"}),  # B.3
        ("a.z.w.example.", "MX", "NOERROR", {"q04j"}),  # B.4
        ("a.z.w.example.", "AAAA", "NOERROR", {"k8ud", "q04j", "r53b"}),  # B.5
        ("example.", "DS", "NOERROR", {"0p9m"}),  # B.6
    ],
)
def test_the_proofs_are_those_of_the_appendix(
    authority_of, facts, qname, rdtype, rcode, proofs
) -> None:
    found, _, authority = facts(authority_of(example=ZONE)(qname, rdtype, is_do=True))
    assert found == rcode
    assert {owner[:4] for owner in authority if owner.endswith("nsec3")} == proofs


def test_a_hashed_owner_is_no_name(authority_of, facts) -> None:
    """RFC 5155 7.2.8."""
    ask = authority_of(example=ZONE)
    assert facts(ask("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.", "NSEC3"))[0] == "NXDOMAIN"
