"""The rehearsal CA: ACME's server side (RFC 8555), for certificates that nobody trusts.

Requests are octets, answers are values; what must be validated is given back as work and settled
later. All that clients can make grow is bounded, oldest first.
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from quada.acme.challenges import KINDS
from quada.acme.orders import URN, problem_data, read_identifier, read_request
from quada.acme.signed import (
    ALGORITHMS,
    Key,
    Refusal,
    payload_data,
    public_octets,
    read_jws,
    read_key,
    thumbprint,
    unbase64,
)
from quada.wire.faults import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.acme.issue import Issuer
    from quada.acme.validate import Verdict

_KEPT_MAX: Final = 10_000  # our choice: accounts, orders, nonces; the oldest go
_NAMES_MAX: Final = 100
_ORDER_S: Final = 86_400
_STATUS: Final = {
    "accountDoesNotExist": 400, "alreadyRevoked": 400, "badCSR": 400, "badNonce": 400,
    "badPublicKey": 400, "badRevocationReason": 400, "badSignatureAlgorithm": 400,
    "externalAccountRequired": 403, "malformed": 400, "orderNotReady": 403,
    "rejectedIdentifier": 403, "unauthorized": 403, "unsupportedIdentifier": 403,
    "notFound": 404, "methodNotAllowed": 405,
}  # fmt: skip


class Work(NamedTuple):
    """A challenge to validate; settle it with its `place`."""

    place: tuple[str, int]
    kind: str
    name: str
    token: str
    key_authorization: str


class Answer(NamedTuple):
    """What to send: a JSON body, or PEM text; and what to validate now."""

    status: int
    body: dict[str, Any] | str | None = None
    headers: dict[str, str] = {}  # noqa: RUF012
    work: Work | None = None


@dataclass(slots=True)
class _Account:
    number: str
    key: Key
    contact: list[str]
    status: str = "valid"
    orders: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Challenge:
    kind: str
    token: str
    status: str = "pending"
    problem: dict[str, Any] | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    validated: str = ""


@dataclass(slots=True)
class _Authorization:
    number: str
    account: str
    name: str
    expires: float
    challenges: list[_Challenge]
    status: str = "pending"


@dataclass(slots=True)
class _Order:
    number: str
    account: str
    names: list[str]
    authorizations: list[str]
    expires: float
    certificate: str = ""


class RehearsalCa:
    """See the module.

    Takes the URL it is reached at, who issues, the clock (Unix seconds), and keys of external
    accounts (RFC 8555 7.3.4) by their identifiers where those are asked for.
    """

    def __init__(
        self,
        url: str,
        issuer: Issuer,
        now: Callable[[], float],
        external: dict[str, bytes] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._issuer = issuer
        self._now = now
        self._external = external or {}
        self._nonces: OrderedDict[str, None] = OrderedDict()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._by_key: dict[str, str] = {}
        self._orders: OrderedDict[str, _Order] = OrderedDict()
        self._authorizations: OrderedDict[str, _Authorization] = OrderedDict()
        self._certificates: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._owners: OrderedDict[int, str] = OrderedDict()
        self._revoked: OrderedDict[int, None] = OrderedDict()

    def nonce(self) -> str:
        """Make a nonce, good once."""
        made = secrets.token_urlsafe(16)
        _keep(self._nonces, made, None)
        return made

    def handle(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request for a path below the CA's URL. Never raises for what a client sends."""
        try:
            return self._handle(method, path, body)
        except Refusal as refusal:
            return self._refused(refusal.kind, refusal.detail)

    def settle(self, place: tuple[str, int], verdict: Verdict) -> None:
        """Note how a validation ended."""
        authorization = self._authorizations.get(place[0])
        if authorization is None or authorization.status != "pending":
            return
        challenge = authorization.challenges[place[1]]
        challenge.records = [
            {"url": hop.url, "addressesResolved": list(hop.addresses), "addressUsed": hop.address,
             "isFallback": hop.is_fallback}
            for hop in verdict.hops
        ]  # fmt: skip
        if verdict.problem is None:
            challenge.status = authorization.status = "valid"
            challenge.validated = _time(self._now())
        else:
            challenge.status = authorization.status = "invalid"
            challenge.problem = problem_data(verdict.problem)

    def _handle(self, method: str, path: str, body: bytes) -> Answer:
        kind, _, number = path.strip("/").partition("/")
        if kind == "dir" and method == "GET":
            return Answer(200, self._directory())
        if kind == "nonce" and method in ("GET", "HEAD"):
            return Answer(200 if method == "HEAD" else 204, None, {"Cache-Control": "no-store"})
        if kind == "renewal" and method == "GET":
            return self._renewal(number)
        verbs: dict[str, Callable[[_Signed, str], Answer]] = {
            "account": self._account, "orders": self._list_orders, "order": self._order,
            "finalize": self._finalize, "authz": self._authorization,
            "chall": self._challenge, "cert": self._certificate, "revoke": self._revoke,
            "key-change": self._change_key,
        }  # fmt: skip
        if kind not in verbs:
            raise Refusal("notFound", f"there is no {path}")
        if method != "POST":
            raise Refusal("methodNotAllowed", "ask with POST-as-GET (RFC 8555 6.3)")
        signed = self._open(body, f"{self.url}/{path.lstrip('/')}")
        return verbs[kind](signed, number)

    def _directory(self) -> dict[str, Any]:
        paths = {
            "newNonce": "nonce", "newAccount": "account", "newOrder": "order",
            "revokeCert": "revoke", "keyChange": "key-change", "renewalInfo": "renewal",
        }  # fmt: skip
        return {
            **{key: f"{self.url}/{path}" for key, path in paths.items()},
            "meta": {
                "termsOfService": f"{self.url}/terms",
                "website": f"{self.url}/",
                "caaIdentities": [self._issuer.name],
                "externalAccountRequired": bool(self._external),
            },
        }

    def _open(self, body: bytes, url: str) -> _Signed:
        """Check a request's signature, URL and nonce (RFC 8555 6.2 to 6.5)."""
        jws = read_jws(body)
        account = None
        if "kid" in jws.head:
            account = self._accounts.get(str(jws.head["kid"]).rpartition("/")[2])
            if account is None:
                raise Refusal("accountDoesNotExist", "no such account; this CA forgets at restart")
            key = account.key
        else:
            key = read_key(jws.head["jwk"])
        jws.verify(key)
        head = jws.head
        if head.get("url") != url:
            raise Refusal("unauthorized", f"the header's url is {head.get('url')!r}, not {url}")
        # Only who could sign may use a nonce up.
        if self._nonces.pop(str(head.get("nonce")), True) is not None:
            raise Refusal("badNonce", "the nonce is unknown or was used")
        return _Signed(key, account, jws.payload)

    def _account(self, signed: _Signed, number: str) -> Answer:
        data = signed.data()
        if number:
            account = self._own(signed, number)
            if "contact" in data:
                account.contact = [str(one)[:200] for one in list(data["contact"])[:10]]
            if data.get("status") == "deactivated":
                account.status = "deactivated"
            return Answer(200, self._account_data(account))
        known = self._by_key.get(thumbprint(signed.key))
        if known is not None:
            account = self._accounts[known]
            return Answer(200, self._account_data(account), self._at("account", known))
        if data.get("onlyReturnExisting"):
            raise Refusal("accountDoesNotExist", "no account has this key")
        self._check_external(data.get("externalAccountBinding"), signed.key)
        contact = data.get("contact", [])
        if not isinstance(contact, list):
            raise Refusal("malformed", "contact must be a list")
        account = _Account(_number(), signed.key, [str(one)[:200] for one in contact[:10]])
        gone = _keep(self._accounts, account.number, account)
        if gone is not None:
            self._by_key.pop(thumbprint(gone.key), None)
        self._by_key[thumbprint(signed.key)] = account.number
        return Answer(201, self._account_data(account), self._at("account", account.number))

    def _check_external(self, binding: Any, key: Key) -> None:
        if not self._external:
            return
        if not isinstance(binding, dict):
            raise Refusal("externalAccountRequired", "bind an external account (RFC 8555 7.3.4)")
        try:
            bound = read_jws(json.dumps(binding).encode(), algorithms=("HS256",))
            inner = read_key(json.loads(bound.payload))
            bound.verify_secret(self._external.get(str(bound.head.get("kid")), b""))
        except (Refusal, ValueError) as error:
            raise Refusal("unauthorized", "the external account's binding is wrong") from error
        if thumbprint(inner) != thumbprint(key):
            raise Refusal("unauthorized", "the external account's binding is of another key")

    def _account_data(self, account: _Account) -> dict[str, Any]:
        return {
            "status": account.status,
            "contact": account.contact,
            "orders": f"{self.url}/orders/{account.number}",
        }

    def _own(self, signed: _Signed, number: str) -> _Account:
        account = self._must(signed)
        if account.number != number:
            raise Refusal("unauthorized", "this is another account's")
        return account

    def _must(self, signed: _Signed) -> _Account:
        if signed.account is None:
            raise Refusal("malformed", "sign with the account's kid")
        if signed.account.status != "valid":
            raise Refusal("unauthorized", "the account was deactivated")
        return signed.account

    def _list_orders(self, signed: _Signed, number: str) -> Answer:
        account = self._own(signed, number)
        return Answer(200, {"orders": [f"{self.url}/order/{one}" for one in account.orders]})

    def _order(self, signed: _Signed, number: str) -> Answer:
        account = self._must(signed)
        if number:
            order = self._find_order(account, number)
            return Answer(200, self._order_data(order), self._at("order", number))
        names = [read_identifier(one) for one in _list(signed.data(), "identifiers")]
        if not names or len(names) > _NAMES_MAX:
            raise Refusal("malformed", f"an order has 1 to {_NAMES_MAX} identifiers")
        expires = self._now() + _ORDER_S
        order = _Order(_number(), account.number, list(dict.fromkeys(names)), [], expires)
        for name in order.names:
            kinds = ("dns-01",) if name.startswith("*.") else KINDS
            challenges = [_Challenge(kind, secrets.token_urlsafe(32)) for kind in kinds]
            made = _Authorization(_number(), account.number, name, expires, challenges)
            _keep(self._authorizations, made.number, made, _KEPT_MAX * 10)
            order.authorizations.append(made.number)
        _keep(self._orders, order.number, order)
        account.orders = [*account.orders[-99:], order.number]
        return Answer(201, self._order_data(order), self._at("order", order.number))

    def _find_order(self, account: _Account, number: str) -> _Order:
        order = self._orders.get(number)
        if order is None or order.account != account.number:
            raise Refusal("notFound", "no such order of this account")
        return order

    def _order_status(self, order: _Order) -> str:
        if order.certificate:
            return "valid"
        found = [self._authorizations.get(one) for one in order.authorizations]
        states = {"invalid" if one is None else one.status for one in found}
        if states & {"invalid", "deactivated"} or order.expires < self._now():
            return "invalid"
        return "ready" if states == {"valid"} else "pending"

    def _order_data(self, order: _Order) -> dict[str, Any]:
        data: dict[str, Any] = {
            "status": self._order_status(order),
            "expires": _time(order.expires),
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{self.url}/authz/{one}" for one in order.authorizations],
            "finalize": f"{self.url}/finalize/{order.number}",
        }
        if order.certificate:
            data["certificate"] = f"{self.url}/cert/{order.certificate}"
        if data["status"] == "invalid":
            found = [self._authorizations.get(one) for one in order.authorizations]
            problems = [c.problem for one in found if one for c in one.challenges if c.problem]
            if problems:
                data["error"] = problems[0]
        return data

    def _authorization(self, signed: _Signed, number: str) -> Answer:
        found = self._find_authorization(signed, number)
        if signed.payload and signed.data().get("status") == "deactivated":
            found.status = "deactivated"
        data: dict[str, Any] = {
            "status": found.status,
            "expires": _time(found.expires),
            "identifier": {"type": "dns", "value": found.name.removeprefix("*.")},
            "challenges": [self._challenge_data(found, at) for at in range(len(found.challenges))],
        }
        if found.name.startswith("*."):
            data["wildcard"] = True
        return Answer(200, data)

    def _find_authorization(self, signed: _Signed, number: str) -> _Authorization:
        account = self._must(signed)
        found = self._authorizations.get(number)
        if found is None or found.account != account.number:
            raise Refusal("notFound", "no such authorization of this account")
        return found

    def _challenge(self, signed: _Signed, place: str) -> Answer:
        number, _, at = place.partition("/")
        found = self._find_authorization(signed, number)
        if not at.isdecimal() or int(at) >= len(found.challenges):
            raise Refusal("notFound", "no such challenge")
        challenge = found.challenges[int(at)]
        work = None
        if signed.payload and challenge.status == "pending" and found.status == "pending":
            challenge.status = "processing"
            work = Work((number, int(at)), challenge.kind, found.name, challenge.token,
                        f"{challenge.token}.{thumbprint(signed.key)}")  # fmt: skip
        headers = {"Link": f'<{self.url}/authz/{number}>;rel="up"'}
        return Answer(200, self._challenge_data(found, int(at)), headers, work)

    def _challenge_data(self, found: _Authorization, at: int) -> dict[str, Any]:
        challenge = found.challenges[at]
        data: dict[str, Any] = {
            "type": challenge.kind,
            "url": f"{self.url}/chall/{found.number}/{at}",
            "status": challenge.status,
            "token": challenge.token,
        }
        if challenge.validated:
            data["validated"] = challenge.validated
        if challenge.problem is not None:
            data["error"] = challenge.problem
        if challenge.records:
            data["validationRecord"] = challenge.records
        return data

    def _finalize(self, signed: _Signed, number: str) -> Answer:
        order = self._find_order(self._must(signed), number)
        status = self._order_status(order)
        if status != "ready":
            raise Refusal("orderNotReady", f"the order is {status}")
        try:
            request = x509.load_der_x509_csr(unbase64(str(signed.data().get("csr", ""))))
            wanted, key = read_request(request)
        except (ValueError, MalformedMessage) as error:
            raise Refusal("badCSR", f"the request cannot be taken: {error}") from error
        if wanted != set(order.names):
            raise Refusal("badCSR", f"the request is for {', '.join(sorted(wanted))}")
        serial, chain = self._issuer.issue(key, order.names, self._now())
        _keep(self._owners, serial, order.account)
        order.certificate = _number()
        _keep(self._certificates, order.certificate, (order.account, chain))
        return Answer(200, self._order_data(order), self._at("order", number))

    def _certificate(self, signed: _Signed, number: str) -> Answer:
        account = self._must(signed)
        found = self._certificates.get(number)
        if found is None or found[0] != account.number:
            raise Refusal("notFound", "no such certificate of this account")
        return Answer(200, found[1], {"Content-Type": "application/pem-certificate-chain"})

    def _revoke(self, signed: _Signed, _: str) -> Answer:
        data = signed.data()
        try:
            leaf = x509.load_der_x509_certificate(unbase64(str(data.get("certificate", ""))))
        except (ValueError, MalformedMessage) as error:
            raise Refusal("malformed", "this is no certificate") from error
        if not self._issuer.is_ours(leaf):
            raise Refusal("notFound", "this CA did not issue it")
        mine = signed.account is not None and (
            self._owners.get(leaf.serial_number) == signed.account.number
        )
        own_key = public_octets(signed.key) == leaf.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if not (mine or own_key):
            raise Refusal("unauthorized", "sign with the account or the certificate's key")
        reason = data.get("reason", 0)
        if reason not in (0, 1, 3, 4, 5):
            raise Refusal("badRevocationReason", f"reason {reason} is not taken")
        if leaf.serial_number in self._revoked:
            raise Refusal("alreadyRevoked", "it was revoked before")
        _keep(self._revoked, leaf.serial_number, None)
        return Answer(200)

    def _change_key(self, signed: _Signed, _: str) -> Answer:
        account = self._must(signed)
        jws = read_jws(signed.payload)
        key = read_key(jws.head.get("jwk"))
        jws.verify(key)
        inner = jws.data()
        is_right = (
            inner.get("account") == f"{self.url}/account/{account.number}"
            and thumbprint(read_key(inner.get("oldKey"))) == thumbprint(account.key)
            and jws.head.get("url") == f"{self.url}/key-change"
        )
        if not is_right or thumbprint(key) in self._by_key:
            raise Refusal("malformed", "account, old key or url are wrong, or the key is in use")
        self._by_key.pop(thumbprint(account.key), None)
        account.key = key
        self._by_key[thumbprint(key)] = account.number
        return Answer(200, self._account_data(account))

    def _renewal(self, identifier: str) -> Answer:
        """When to renew (RFC 9773 4.2): from two thirds of the lifetime on; at once if revoked."""
        try:
            key_id, _, serial = identifier.partition(".")
            number = int.from_bytes(unbase64(serial), "big")
            is_ours = unbase64(key_id) == self._issuer.key_id
        except MalformedMessage:
            is_ours = False
            number = 0
        issued = self._issuer.lifetime(number) if is_ours else None
        if issued is None:
            raise Refusal("notFound", "this CA did not issue it, or has forgotten it")
        begin, end = issued
        first = self._now() - 1 if number in self._revoked else begin + (end - begin) * 2 / 3
        window = {"start": _time(first - 1), "end": _time(first + (end - begin) / 50)}
        return Answer(200, {"suggestedWindow": window}, {"Retry-After": "21600"})

    def _at(self, kind: str, number: str) -> dict[str, str]:
        return {"Location": f"{self.url}/{kind}/{number}"}

    def _refused(self, kind: str, detail: str) -> Answer:
        status = _STATUS[kind]
        is_acme = kind not in ("notFound", "methodNotAllowed")
        data = {"type": f"{URN}{kind if is_acme else 'malformed'}", "detail": detail,
                "status": status}  # fmt: skip
        if kind == "badSignatureAlgorithm":
            data["algorithms"] = list(ALGORITHMS)
        return Answer(status, data, {"Content-Type": "application/problem+json"})


class _Signed(NamedTuple):
    """A request that was opened: who signed, the account if it was named, the payload."""

    key: Key
    account: _Account | None
    payload: bytes

    def data(self) -> dict[str, Any]:
        """The payload as an object."""
        return payload_data(self.payload)


def _list(data: dict[str, Any], key: str) -> list[Any]:
    found = data.get(key)
    if not isinstance(found, list):
        raise Refusal("malformed", f"{key} must be a list")
    return found


def _keep(store: OrderedDict[Any, Any], key: Any, value: Any, most: int = _KEPT_MAX) -> Any:
    """Put something in, and take the oldest out where there is too much; gives what went."""
    store[key] = value
    return store.popitem(last=False)[1] if len(store) > most else None


def _number() -> str:
    return secrets.token_urlsafe(12)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
