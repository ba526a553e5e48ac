"""dns-01, tls-alpn-01 and CAA, decided without a network."""

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from quada.acme.challenges import ALPN, txt_value, validation
from quada.acme.preflight import preflight
from quada.acme.validate import Failed, Handshake, Looked, Lookup, Shook, Verdict

NAME, AUTH = "www.example.com", "token.thumb"
BOTH = {(NAME, "AAAA"): Looked(("2001:db8::1", "2001:db8::2")), (NAME, "A"): Looked(("192.0.2.1",))}
NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


def run(
    kind: str,
    known: dict[tuple[str, str], Looked],
    shakes: dict[str, Shook | Failed],
    name: str = NAME,
) -> Verdict:
    steps = validation(kind, name, "token", AUTH, issuer="letsencrypt.org")
    asked = next(steps)
    while True:
        if isinstance(asked, Lookup):
            answer: object = known.get((asked.name, asked.rdtype), Looked())
        else:
            assert isinstance(asked, Handshake)
            assert asked.alpn == ALPN
            answer = shakes[asked.address]
        try:
            asked = steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    ("values", "error", "kind"),
    [((txt_value(AUTH),), "", ""), (("other", txt_value(AUTH)), "", ""), ((), "", "unauthorized"),
     (("other",), "", "unauthorized"), ((), "SERVFAIL", "dns"), ((txt_value(AUTH) + "=",), "", "unauthorized")],
)  # fmt: skip
def test_dns_01(values, error, kind):
    verdict = run("dns-01", {(f"_acme-challenge.{NAME}", "TXT"): Looked(values, error)}, {})
    assert (verdict.problem.kind if verdict.problem else "") == kind


def test_a_long_wrong_txt_is_cut_and_others_are_counted():
    verdict = run("dns-01", {(f"_acme-challenge.{NAME}", "TXT"): Looked(("x" * 300, "y", "z"))}, {})
    assert verdict.problem is not None
    assert "x" * 101 not in verdict.problem.detail
    assert "and 2 more" in verdict.problem.detail


@pytest.mark.parametrize(
    ("caa", "name", "kind"),
    [({"www.example.com": ('0 issue "letsencrypt.org"',)}, NAME, ""),
     ({"example.com": ('0 issue "other.example"',)}, NAME, "caa"),
     ({"www.example.com": ('0 issue "letsencrypt.org"',), "example.com": ('0 issue ";"',)}, NAME, ""),
     ({"example.com": ('0 issue "letsencrypt.org"', '0 issuewild ";"')}, "*.example.com", "caa"),
     ({"example.com": ('128 strange "x"',)}, NAME, "caa")],
)  # fmt: skip
def test_caa_is_looked_at_after_the_challenge(caa, name, kind):
    owner = f"_acme-challenge.{name.removeprefix('*.')}"
    known = {(owner, "TXT"): Looked((txt_value(AUTH),))}
    known |= {(level, "CAA"): Looked(values) for level, values in caa.items()}
    verdict = run("dns-01", known, {}, name)
    assert (verdict.problem.kind if verdict.problem else "") == kind


def look(
    kind: str,
    known: dict[tuple[str, str], Looked],
    shakes: dict[str, Shook | Failed] | None = None,
) -> list[tuple[str, str]]:
    steps = preflight(kind, NAME, issuer="letsencrypt.org", is_reserved=lambda _: False, ports={})
    asked = next(steps)
    while True:
        answer: object
        if isinstance(asked, Lookup):
            answer = known.get((asked.name, asked.rdtype), Looked())
        else:
            assert isinstance(asked, Handshake)
            answer = (shakes or {})[asked.address]
        try:
            asked = steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            return sorted((one.code, one.verdict) for one in end.value)


@pytest.mark.parametrize(
    ("known", "expected"),
    [({(f"_acme-challenge.{NAME}", "TXT"): Looked((txt_value(AUTH),))}, [("txt-found", "PASS")]),
     ({(f"_acme-challenge.{NAME}", "TXT"): Looked(('"quoted"',))}, [("txt-none", "PASS"), ("txt-value", "WARN")]),
     ({}, [("txt-none", "PASS")]),
     ({(f"_acme-challenge.{NAME}", "TXT"): Looked((), "SERVFAIL")}, [("lookup-fails", "FAIL")]),
     ({(f"_acme-challenge.{NAME}.example.com", "TXT"): Looked(("x",))}, [("txt-double", "FAIL"), ("txt-none", "PASS")]),
     ({("example.com", "CAA"): Looked(('0 issue ";"',))}, [("caa", "FAIL"), ("txt-none", "PASS")])],
)  # fmt: skip
def test_before_dns_01(known, expected):
    assert look("dns-01", known) == expected


GREETED, PLAIN = Shook(b"", ALPN, "TLSv1.3", 0.1), Shook(b"", "h2", "TLSv1.3", 0.1)
DEAD = Failed("dial", "refused", 0.1)


@pytest.mark.parametrize(
    ("six", "four", "expected"),
    [(GREETED, GREETED, [("alpn-spoken", "PASS")]),
     (DEAD, GREETED, [("alpn-spoken", "PASS"), ("tls-fails", "WARN")]),
     (DEAD, DEAD, [("tls-fails", "FAIL"), ("tls-fails", "WARN")]),
     (PLAIN, PLAIN, [("alpn-missing", "WARN"), ("alpn-missing", "WARN")]),
     (GREETED, PLAIN, [("alpn-missing", "WARN"), ("alpn-spoken", "PASS"), ("families-differ", "WARN")])],
)  # fmt: skip
def test_before_tls_alpn_01(six, four, expected):
    assert look("tls-alpn-01", BOTH, {"2001:db8::1": six, "192.0.2.1": four}) == expected


def leaf(
    names: list[str],
    auth: str = AUTH,
    *,
    is_critical: bool = True,
    is_marked: bool = True,
    issuer: str = "",
) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "challenge")])
    by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else subject
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
    )
    builder = (
        builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(1))
    )
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
    )
    if is_marked:
        value = b"\x04\x20" + hashlib.sha256(auth.encode()).digest()
        oid = ObjectIdentifier("1.3.6.1.5.5.7.1.31")
        builder = builder.add_extension(
            x509.UnrecognizedExtension(oid, value), critical=is_critical
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("certificate", "alpn", "said"),
    [(leaf([NAME]), ALPN, ""), (leaf([NAME]), "h2", "chose h2"), (leaf([NAME, "b.example"]), ALPN, "is for"),
     (leaf(["other.example"]), ALPN, "is for"), (leaf([NAME], "other.thumb"), ALPN, "another key"),
     (leaf([NAME], is_critical=False), ALPN, "not critical"), (leaf([NAME], is_marked=False), ALPN, "lacks"),
     (leaf([NAME], issuer="somebody"), ALPN, "not self-signed"), (b"garbage", ALPN, "cannot be read")],
)  # fmt: skip
def test_tls_alpn_01_looks_at_the_certificate(certificate, alpn, said):
    known = {(NAME, "AAAA"): Looked(("2001:db8::1",))}
    verdict = run("tls-alpn-01", known, {"2001:db8::1": Shook(certificate, alpn, "TLSv1.3", 0.1)})
    assert said in (verdict.problem.detail if verdict.problem else "")
    assert (verdict.problem is None) == (not said)


def test_tls_alpn_01_tries_ipv4_after_any_failure_over_ipv6():
    good = Shook(leaf([NAME]), ALPN, "TLSv1.3", 0.1)
    for bad in (
        Failed("dial", "refused", 0.1),
        Failed("tls", "alert", 0.1),
        Shook(b"", "", "TLSv1.3", 0.1),
    ):
        verdict = run("tls-alpn-01", BOTH, {"2001:db8::1": bad, "192.0.2.1": good})
        assert verdict.problem is None
        assert [hop.address for hop in verdict.hops] == ["2001:db8::1", "192.0.2.1"]
    verdict = run(
        "tls-alpn-01",
        BOTH,
        {
            "2001:db8::1": Failed("dial", "refused", 0.1),
            "192.0.2.1": Failed("dial", "refused", 0.1),
        },
    )
    assert verdict.problem is not None
    assert verdict.problem.kind == "connection"
    nowhere = run("tls-alpn-01", {}, {})
    assert nowhere.problem is not None
    assert nowhere.problem.kind == "dns"
