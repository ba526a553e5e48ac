"""RFC 4035 appendix B: what an authoritative server answers for the signed zone of appendix A.

The zone is that of the appendix with its keys and signatures; of the signatures only those are here that
some answer of appendix B carries. Two differences to the RFC are meant, and are written at the places where
they are: apex NS do not come along with every answer, and neither do addresses that nobody asked for
(`minimal_responses`).
"""

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

TIMES = "20040509183619 20040409183619"
ZSK = (
    "AQOy1bZVvpPqhg4j7EJoM9rI3ZmyEx2OzDBVrZy/lvI5CQePxXHZS4i8dANH4DX3tbHol61ek8EFMcsGXxKciJFHyhl94C+N"
    "wILQdzsUlSFovBZsyl/NX6yEbtw/xN9ZNcrbYvgjjZ/UVPZIySFNsgEYvh0z2542lzMKR4Dh8uZffQ=="
)
DATA = f"""
@ SOA ns1 bugs.x.w 1081539377 3600 300 3600000 3600
@ NS ns1
@ NS ns2
@ MX 1 xx
@ NSEC a NS SOA MX RRSIG NSEC DNSKEY
@ DNSKEY 256 3 5 {ZSK}
a NS ns1.a
a NS ns2.a
a DS 57855 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B
a NSEC ai NS DS RRSIG NSEC
ns1.a A 192.0.2.5
ns2.a A 192.0.2.6
ai A 192.0.2.9
ai HINFO "KLH-10" "ITS"
ai AAAA 2001:db8::f00:baa9
ai NSEC b A HINFO AAAA RRSIG NSEC
b NS ns1.b
b NS ns2.b
b NSEC ns1 NS RRSIG NSEC
ns1.b A 192.0.2.7
ns2.b A 192.0.2.8
ns1 A 192.0.2.1
ns1 NSEC ns2 A RRSIG NSEC
ns2 A 192.0.2.2
ns2 NSEC *.w A RRSIG NSEC
*.w MX 1 ai
*.w NSEC x.w MX RRSIG NSEC
x.w MX 1 xx
x.w NSEC x.y.w MX RRSIG NSEC
x.y.w MX 1 xx
x.y.w NSEC xx MX RRSIG NSEC
xx A 192.0.2.10
xx HINFO "KLH-10" "TOPS-20"
xx AAAA 2001:db8::f00:baaa
xx NSEC @ A HINFO AAAA RRSIG NSEC
"""
SIGNATURES = {
    ("@", "SOA", 1): "ONx0k36rcjaxYtcNgq6iQnpNV5+drqYAsC9h7TSJaHCqbhE67Sr6aH2xDUGcqQWu/n0UVzrFvkgO9ebarZ0GWDKcuwlM6eNB5SiX2K74l5LWDA7S/Un/IbtDq4Ay8NMNLQI7Dw7n4p8/rjkBjV7j86HyQgM5e7+miRAz8V01b0I=",
    ("@", "NS", 1): "gl13F00f2U0R+SWiXXLHwsMY+qStYy5k6zfdEuivWc+wd1fmbNCyql0Tk7lHTX6UOxc8AgNf4ISFve8XqF4q+o9qlnqIzmppU3LiNeKT4FZ8RO5urFOvoMRTbQxW3U0hXWuggE4g3ZpsHv480HjMeRaZB/FRPGfJPajngcq6Kwg=",
    ("@", "NSEC", 1): "O0k558jHhyrC97ISHnislm4kLMW48C7U7cBmFTfhke5iVqNRVTB1STLMpgpbDIC9hcryoO0VZ9ME5xPzUEhbvGnHd5sfzgFVeGxr5Nyyq4tWSDBgIBiLQUv1ivy29vhXy7WgR62dPrZ0PWvmjfFJ5arXf4nPxp/kEowGgBRzY/U=",
    ("a", "DS", 2): "oXIKit/QtdG64J/CB+Gi8dOvnwRvqrto1AdQoRkAN15FP3iZ7suB7gvTBmXzCjL7XUgQVcoHkdhyCuzp8W9qJHgRUSwKKkczSyuL64nhgjuDEML8l9wlWVsl7PR2VnZduM9bLyBhaaPmRKX/Fm+v6ccF2EGNLRiY08kdkz+XHHo=",
    ("b", "NSEC", 2): "GNuxHn844wfmUhPzGWKJCPY5ttEX/RfjDoOx9ueK1PtYkOWKOOdiJ/PJKCYB3hYX+858dDWSxb2qnV/LSTCNVBnkm6owOpysY97MVj5VQEWs0lm9tFoqjcptQkmQKYPrwUnCSNwvvclSF1xZvhRXgWT7OuFXldoCG6TfVFMs9xE=",
    ("ai", "A", 2): "pAOtzLP2MU0tDJUwHOKE5FPIIHmdYsCgTb5BERGgpnJluA9ixOyf6xxVCgrEJW0WNZSsJicdhBHXfDmAGKUajUUlYSAH8tS4ZnrhyymIvk3uArDu2wfT130e9UHnumaHHMpUTosKe22PblOy6zrTpg9FkS0XGVmYRvOTNYx2HvQ=",
    ("ai", "AAAA", 2): "nLcpFuXdT35AcE+EoafOUkl69KB+/e56XmFKkewXG2IadYLKAOBIoR5+VoQV3XgTcofTJNsh1rnF6Eav2zpZB3byI6yo2bwY8MNkr4A7cL9TcMmDwV/hWFKsbGBsj8xSCN/caEL2CWY/5XP2sZM6QjBBLmukH30+w1z3h8PUP2o=",
    ("ns1", "A", 2): "F1C9HVhIcs10cZU09G5yIVfKJy5yRQQ3qVet5pGhp82pzhAOMZ3K22JnmK4c+IjUeFp/to06im5FVpHtbFisdjyPq84bhTv8vrXt5AB1wNB++iAqvIfdgW4sFNC6oADb1hK8QNauw9VePJhKv/iVXSYC0b7mPSU+EOlknFpVECs=",
    ("ns1", "NSEC", 2): "I4hj+Kt6+8rCcHcUdolks2S+Wzri9h3fHas81rGN/eILdJHN7JpV6lLGPIh/8fIBkfvdyWnBjjf1q3O7JgYO1UdI7FvBNWqaaEPJK3UkddBqZIaLi8Qr2XHkjq38BeQsbp8X0+6h4ETWSGT8IZaIGBLryQWGLw6Y6X8dqhlnxJM=",
    ("ns2", "A", 2): "V7cQRw1TR+knlaL1z/psxlS1PcD37JJDaCMqQo6/u1qFQu6x+wuDHRH22Ap9ulJPQjFwMKOuyfPGQPC8KzGdE3vt5snFEAoE1Vn3mQqtu7SO6amIjk13Kj/jyJ4nGmdRIc/3cM3ipXFhNTKqrdhx8SZ0yy4ObIRzIzvBFLiSS8o=",
    ("*.w", "MX", 2): "OMK8rAZlepfzLWW75Dxd63jy2wswESzxDKG2f9AMN1CytCd10cYISAxfAdvXSZ7xujKAtPbctvOQ2ofO7AZJ+d01EeeQTVBPq4/6KCWhqe2XTjnkVLNvvhnc0u28aoSsG0+4InvkkOHknKxw4kX18MMR34i8lC36SR5xBni8vHI=",
    ("*.w", "NSEC", 2): "r/mZnRC3I/VIcrelgIcteSxDhtsdlTDt8ng9HSBlABOlzLxQtfgTnn8f+aOwJIAFe1Ee5RvU5cVhQJNP5XpXMJHfyps8tVvfxSAXfahpYqtx91gsmcV/1V9/bZAG55CefP9cM4Z9Y9NT9XQ8s1InQ2UoIv6tJEaaKkP701j8OLA=",
    ("x.w", "MX", 3): "Il2WTZ+Bkv+OytBx4LItNW5mjB4RCwhOO8y1XzPHZmZUTVYL7LaA63f6T9ysVBzJRI3KRjAPH3U1qaYnDoN1DrWqmi9RJe4FoObkbcdm7P3Ikx70ePCoFgRz1Yq+bVVXCvGuAU4xALv3W/Y1jNSlwZ2mSWKHfxFQxPtLj8s32+k=",
    ("x.y.w", "NSEC", 4): "OvE6WUzN2ziieJcvKPWbCAyXyP6ef8cr6CspArVSTzKSquNwbezZmkU7E34o5lmb6CWSSSpgxw098kNUFnHcQf/LzY2zqRomubrNQhJTiDTXa0ArunJQCzPjOYq5t0SLjm6qp6McJI1AP5VrQoKqJDCLnoAlcPOPKAm/jJkn3jk=",
    ("xx", "A", 2): "kBF4YxMGWF0D8r0cztL+2fWWOvN1U/GYSpYP7SoKoNQ4fZKyk+weWGlKLIUM+uE1zjVTPXoa0Z6WG0oZp46rkl1EzMcdMgoaeUzzAJ2BMq+YVdxG9IK1yZkYGY9AgbTOGPoAgbJyO9EPULsxkbIDV6GPPSZVusnZU6OMgdgzHV4=",
    ("xx", "AAAA", 2): "Zzj0yodDxcBLnnOIwDsuKo5WqiaK24DlKg9CaGaxDFiKgKobUj2jilYQHpGFn2poFRetZd4zulyQkssz2QHrVrPuTMS22knudCiwP4LWpVTrU4zfeA+rDz9stmSBP/4PekH/x2IoAYnwctd/xS9cL2QgW7FChw16mzlkH6/vsfs=",
}  # fmt: skip
ZONE = "$ORIGIN example.\n$TTL 3600\n" + DATA + "".join(
    f"{owner} RRSIG {rdtype} 5 {labels} 3600 {TIMES} 38519 example. {octets}\n"
    for (owner, rdtype, labels), octets in SIGNATURES.items()
)  # fmt: skip
SOA, APEX_NSEC = ("example. SOA", "example. NSEC")
# Query; flags; rcode; answer; authority; additional. After each RRset comes its signature, with "+".
EXAMPLES = {
    "B.1 answer": (
        "x.w.example. MX", True, "NOERROR", ["x.w.example. MX+"],
        # The RFC adds the apex NS, signed: nobody needs it.
        [],
        # The RFC adds the addresses of xx, ns1 and ns2.
        [],
    ),
    "B.2 name error": (
        "ml.example. A", True, "NXDOMAIN", [],
        ["example. SOA+", "b.example. NSEC+", "example. NSEC+"], [],
    ),
    "B.3 no data": (
        "ns1.example. MX", True, "NOERROR", [], ["example. SOA+", "ns1.example. NSEC+"], [],
    ),
    "B.4 referral to a signed zone": (
        "mc.a.example. MX", False, "NOERROR", [], ["a.example. NS", "a.example. DS+"],
        ["ns1.a.example. A", "ns2.a.example. A"],
    ),
    "B.5 referral to an unsigned zone": (
        "mc.b.example. MX", False, "NOERROR", [], ["b.example. NS", "b.example. NSEC+"],
        ["ns1.b.example. A", "ns2.b.example. A"],
    ),
    "B.6 wildcard": (
        # The RFC adds the apex NS, and the addresses of ai.
        "a.z.w.example. MX", True, "NOERROR", ["a.z.w.example. MX+"], ["x.y.w.example. NSEC+"], [],
    ),
    "B.7 wildcard without data": (
        "a.z.w.example. AAAA", True, "NOERROR", [],
        ["example. SOA+", "x.y.w.example. NSEC+", "*.w.example. NSEC+"], [],
    ),
    "B.8 DS at the child": (
        "example. DS", True, "NOERROR", [], ["example. SOA+", "example. NSEC+"], [],
    ),
}  # fmt: skip


def names_of(section: list[dns.rrset.RRset]) -> list[str]:
    signed = {(rr.name, rr.covers) for rr in section if rr.rdtype == dns.rdatatype.RRSIG}
    return sorted(
        f"{rr.name} {dns.rdatatype.to_text(rr.rdtype)}" + "+" * ((rr.name, rr.rdtype) in signed)
        for rr in section
        if rr.rdtype != dns.rdatatype.RRSIG
    )


@pytest.fixture(scope="module")
def ask(authority_of):
    return authority_of(example=ZONE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_answer_is_that_of_the_appendix(ask, example: str) -> None:
    query, is_authoritative, rcode, answer, authority, additional = EXAMPLES[example]
    message = ask(*query.split(), is_do=True)
    assert bool(message.flags & dns.flags.AA) is is_authoritative
    assert dns.rcode.to_text(message.rcode()) == rcode
    assert names_of(message.answer) == sorted(answer)
    assert names_of(message.authority) == sorted(authority)
    assert names_of(message.additional) == sorted(additional)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_signature_given_is_the_published_one_and_holds(ask, example: str) -> None:
    message = ask(*EXAMPLES[example][0].split(), is_do=True)
    apex = dns.name.from_text("example.")
    keys = {apex: dns.rrset.from_text(apex, 3600, "IN", "DNSKEY", f"256 3 5 {ZSK}")}
    seen = 0
    for section in (message.answer, message.authority):
        for rrset in section:
            signatures = [
                one for one in section if one.name == rrset.name and one.covers == rrset.rdtype
            ]
            for one in signatures:
                seen += 1
                assert "".join(str(one[0]).split()[8:]) in SIGNATURES.values()
                dns.dnssec.validate(
                    rrset, one, keys, now=1083000000, policy=dns.dnssec.allow_all_policy
                )
    assert seen
