"""The rehearsal CA, request by request: what it must refuse, and what it must forget."""

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from josepy import b64encode, jwa, jwk

from quada.acme.answers import Answer
from quada.acme.issue import Issuer, make_root
from quada.acme.rehearsal import RehearsalCa
from quada.acme.validate import Problem, Verdict

URL = "https://[::1]:14000"
NOW = 1_795_000_000.0
GOOD = Verdict(None, (), 0.1)


class Client:
    """A client as RFC 8555 has it, with ways to do it wrong."""

    def __init__(self, ca: RehearsalCa) -> None:
        self.ca = ca
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.key = jwk.JWKEC(key=self.secret)
        self.kid = ""

    def post(self, path: str, payload: Any = None, **wrong: Any) -> Answer:
        head = {"alg": "ES256", "nonce": self.ca.nonce(), "url": f"{URL}/{path}"}
        head |= {"kid": self.kid} if self.kid else {"jwk": self.key.public_key().to_json()}
        head |= wrong
        protected = b64encode(json.dumps({k: v for k, v in head.items() if v is not None}).encode())
        body = b64encode(b"" if payload is None else json.dumps(payload).encode())
        text = protected + b"." + body
        signature = b64encode(jwa.ES256.sign(self.secret, text))
        return self.ca.handle("POST", f"/{path}", json.dumps({
            "protected": protected.decode(), "payload": body.decode(), "signature": signature.decode(),
        }).encode())  # fmt: skip

    def register(self) -> None:
        made = self.post(
            "account", {"termsOfServiceAgreed": True, "contact": ["mailto:a@example.com"]}
        )
        assert made.status == 201
        self.kid = made.headers["Location"]

    def order(self, *names: str) -> tuple[str, dict[str, Any]]:
        made = self.post("order", {"identifiers": [{"type": "dns", "value": n} for n in names]})
        assert made.status == 201, made.body
        assert isinstance(made.body, dict)
        return made.headers["Location"].removeprefix(f"{URL}/"), made.body

    def prove(self, order: dict[str, Any], verdict: Verdict = GOOD) -> None:
        for url in order["authorizations"]:
            found = self.post(url.removeprefix(f"{URL}/")).body
            assert isinstance(found, dict)
            asked = self.post(found["challenges"][0]["url"].removeprefix(f"{URL}/"), {})
            assert asked.work is not None
            assert asked.work.key_authorization.startswith(asked.work.token + ".")
            self.ca.settle(asked.work.place, verdict)

    def finalize(self, order: dict[str, Any], *names: str, secret: Any = None) -> Answer:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = builder.add_extension(san, critical=False).sign(
            secret or self.secret, hashes.SHA256()
        )
        csr = b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
        return self.post(order["finalize"].removeprefix(f"{URL}/"), {"csr": csr})


@pytest.fixture(scope="module")
def root():
    return make_root(NOW)


@pytest.fixture
def ca(root) -> RehearsalCa:
    return RehearsalCa(URL, Issuer(*root, "letsencrypt.org", 90), lambda: NOW)


@pytest.fixture
def client(ca: RehearsalCa) -> Client:
    made = Client(ca)
    made.register()
    return made


def kind(answer: Answer) -> str:
    assert isinstance(answer.body, dict)
    return answer.body["type"].rpartition(":")[2]


def test_an_order_ends_in_a_certificate_for_its_names(client: Client) -> None:
    path, order = client.order("www.example.com", "*.example.com")
    assert order["status"] == "pending"
    assert kind(client.finalize(order, "www.example.com", "*.example.com")) == "orderNotReady"
    client.prove(order)
    done = client.finalize(order, "www.example.com", "*.example.com").body
    assert isinstance(done, dict)
    assert done["status"] == "valid"
    chain = client.post(done["certificate"].removeprefix(f"{URL}/"))
    leaf, issuer = x509.load_pem_x509_certificates(str(chain.body).encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"www.example.com", "*.example.com"}
    leaf.verify_directly_issued_by(issuer)
    listed = client.post(f"orders/{client.kid.rpartition('/')[2]}").body
    assert listed == {"orders": [f"{URL}/{path}"]}


def test_a_wildcard_is_proven_by_dns_alone(client: Client) -> None:
    _, order = client.order("*.example.com")
    found = client.post(order["authorizations"][0].removeprefix(f"{URL}/")).body
    assert isinstance(found, dict)
    assert found["wildcard"] is True
    assert found["identifier"]["value"] == "example.com"
    assert [one["type"] for one in found["challenges"]] == ["dns-01"]


def test_a_failed_validation_is_told_with_its_reason(client: Client) -> None:
    path, order = client.order("www.example.com")
    client.prove(order, Verdict(Problem("connection", "2001:db8::1: refused"), (), 1.0))
    found = client.post(path).body
    assert isinstance(found, dict)
    assert found["status"] == "invalid"
    assert found["error"]["detail"] == "2001:db8::1: refused"
    assert kind(client.finalize(order, "www.example.com")) == "orderNotReady"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"nonce": "stranger"}, "badNonce"), ({"url": f"{URL}/other"}, "unauthorized"),
     ({"alg": "HS256"}, "badSignatureAlgorithm"), ({"alg": "none"}, "badSignatureAlgorithm"),
     ({"alg": "ES384"}, "malformed"), ({"kid": f"{URL}/account/none"}, "accountDoesNotExist"),
     ({"kid": None}, "malformed"), ({"jwk": {"kty": "oct", "k": "AAAA"}, "kid": None}, "badPublicKey")],
)  # fmt: skip
def test_what_is_signed_wrong_is_refused(client: Client, wrong: dict[str, Any], said: str) -> None:
    assert kind(client.post("order", {"identifiers": []}, **wrong)) == said


def test_a_nonce_is_good_once(ca: RehearsalCa, client: Client) -> None:
    nonce = ca.nonce()
    assert (
        client.post(
            "order", {"identifiers": [{"type": "dns", "value": "a.example"}]}, nonce=nonce
        ).status
        == 201
    )
    assert kind(client.post("order", {"identifiers": []}, nonce=nonce)) == "badNonce"


def test_strangers_see_nothing_of_others(ca: RehearsalCa, client: Client) -> None:
    path, order = client.order("www.example.com")
    other = Client(ca)
    other.register()
    for there in (
        path,
        order["authorizations"][0].removeprefix(f"{URL}/"),
        order["finalize"].removeprefix(f"{URL}/"),
    ):
        assert other.post(there, {}).status == 404
    assert other.post(client.kid.removeprefix(f"{URL}/"), {}).status == 403


@pytest.mark.parametrize(
    ("name", "said"),
    [("localhost", "rejectedIdentifier"), ("a..example", "rejectedIdentifier"), ("-a.example", "rejectedIdentifier"),
     ("192.0.2.1", "rejectedIdentifier"), ("a." * 200, "rejectedIdentifier"), ("a_b.example", "rejectedIdentifier"),
     ("*.*.example", "rejectedIdentifier")],
)  # fmt: skip
def test_names_that_no_ca_takes(client: Client, name: str, said: str) -> None:
    made = client.post("order", {"identifiers": [{"type": "dns", "value": name}]})
    assert kind(made) == said


def test_requests_for_other_names_or_with_weak_keys_are_refused(client: Client) -> None:
    _, order = client.order("www.example.com")
    client.prove(order)
    assert kind(client.finalize(order, "www.example.com", "more.example.com")) == "badCSR"
    weak = rsa.generate_private_key(65537, 1024)
    assert kind(client.finalize(order, "www.example.com", secret=weak)) == "badCSR"
    assert client.finalize(order, "www.example.com").status == 200


def test_revocation_ends_renewal_time(ca: RehearsalCa, client: Client) -> None:
    _, order = client.order("www.example.com")
    client.prove(order)
    done = client.finalize(order, "www.example.com").body
    assert isinstance(done, dict)
    chain = str(client.post(done["certificate"].removeprefix(f"{URL}/")).body).encode()
    leaf = x509.load_pem_x509_certificate(chain)
    key_id = leaf.extensions.get_extension_for_class(
        x509.AuthorityKeyIdentifier
    ).value.key_identifier
    serial = leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 8) // 8, "big")
    place = f"/renewal/{b64encode(key_id or b'').decode()}.{b64encode(serial).decode()}"
    before = ca.handle("GET", place, b"").body
    assert isinstance(before, dict)
    assert before["suggestedWindow"]["start"] > "2026-12"
    data = {"certificate": b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()}
    assert kind(client.post("revoke", {**data, "reason": 2})) == "badRevocationReason"
    stranger = Client(ca)
    stranger.register()
    assert kind(stranger.post("revoke", data)) == "unauthorized"
    assert client.post("revoke", data).status == 200
    assert kind(client.post("revoke", data)) == "alreadyRevoked"
    after = ca.handle("GET", place, b"").body
    assert isinstance(after, dict)
    assert after["suggestedWindow"]["start"] < before["suggestedWindow"]["start"]
    assert ca.handle("GET", "/renewal/AAAA.AAAA", b"").status == 404


def test_a_key_is_changed_and_the_old_one_is_nobody(ca: RehearsalCa, client: Client) -> None:
    other = Client(ca)
    head = {"alg": "ES256", "jwk": other.key.public_key().to_json(), "url": f"{URL}/key-change"}
    protected = b64encode(json.dumps(head).encode()).decode()
    payload = b64encode(
        json.dumps({"account": client.kid, "oldKey": client.key.public_key().to_json()}).encode()
    ).decode()
    signature = b64encode(jwa.ES256.sign(other.secret, f"{protected}.{payload}".encode())).decode()
    inner = {"protected": protected, "payload": payload, "signature": signature}
    assert client.post("key-change", {**inner, "signature": "AAAA"}).status == 400
    assert client.post("key-change", inner).status == 200
    assert client.post("order", {"identifiers": []}).status == 400
    other.kid = client.kid
    assert other.order("www.example.com")


def test_a_deactivated_account_orders_nothing(client: Client) -> None:
    place = client.kid.removeprefix(f"{URL}/")
    assert client.post(place, {"status": "deactivated"}).status == 200
    assert kind(client.post("order", {"identifiers": []})) == "unauthorized"


@given(
    st.binary(max_size=300),
    st.sampled_from(["account", "order", "revoke", "key-change", "x", "chall/a/b"]),
)
def test_no_request_breaks_it(octets: bytes, path: str) -> None:
    made = RehearsalCa(URL, Issuer(*make_root(NOW), "letsencrypt.org", 90), lambda: NOW)
    assert made.handle("POST", f"/{path}", octets).status in (400, 404)
    assert made.handle("GET", f"/{path}", octets).status in (404, 405)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_no_payload_breaks_it(payload: Any) -> None:
    made = RehearsalCa(URL, Issuer(*_ROOT, "letsencrypt.org", 90), lambda: NOW)
    client = Client(made)
    client.register()
    for path, key in (
        ("order", "identifiers"),
        ("revoke", "certificate"),
        ("account", "contact"),
        ("key-change", "payload"),
    ):
        for value in (payload, {key: payload}, {key: [payload]}):
            assert client.post(path, value).status < 500


_ROOT = make_root(NOW)
