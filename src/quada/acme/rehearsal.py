"""The rehearsal CA: ACME's server side (RFC 8555), for certificates that nobody trusts.

Requests are octets, answers are values; what must be validated is given back as work and settled
later. All that clients can make grow is bounded, oldest first.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from quada.acme.accounts import Accounts
from quada.acme.answers import KEPT_MAX, Account, Answer, Signed, Work, keep, new_number, time_text
from quada.acme.challenges import KINDS
from quada.acme.issued import Issued
from quada.acme.orders import URN, problem_data, read_identifier, read_request
from quada.acme.signed import (
    ALGORITHMS,
    Refusal,
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

_NAMES_MAX: Final = 100
_ORDER_S: Final = 86_400
_STATUS: Final = {
    "accountDoesNotExist": 400, "alreadyRevoked": 400, "badCSR": 400, "badNonce": 400,
    "badPublicKey": 400, "badRevocationReason": 400, "badSignatureAlgorithm": 400,
    "externalAccountRequired": 403, "malformed": 400, "orderNotReady": 403,
    "rejectedIdentifier": 403, "unauthorized": 403, "unsupportedIdentifier": 403,
    "notFound": 404, "methodNotAllowed": 405,
}  # fmt: skip


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
        self._accounts = Accounts(self.url, self._external)
        self._issued = Issued(issuer, now)
        self._orders: OrderedDict[str, _Order] = OrderedDict()
        self._authorizations: OrderedDict[str, _Authorization] = OrderedDict()

    def nonce(self) -> str:
        """Make a nonce, good once."""
        made = secrets.token_urlsafe(16)
        keep(self._nonces, made, None)
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
            challenge.validated = time_text(self._now())
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
            return self._issued.renewal(number)
        verbs: dict[str, Callable[[Signed, str], Answer]] = {
            "account": self._accounts.account, "orders": self._accounts.list_orders,
            "order": self._order, "finalize": self._finalize, "authz": self._authorization,
            "chall": self._challenge, "cert": self._issued.certificate,
            "revoke": self._issued.revoke, "key-change": self._accounts.change_key,
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

    def _open(self, body: bytes, url: str) -> Signed:
        """Check a request's signature, URL and nonce (RFC 8555 6.2 to 6.5)."""
        jws = read_jws(body)
        account = None
        if "kid" in jws.head:
            account = self._accounts.find(str(jws.head["kid"]))
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
        return Signed(key, account, jws.payload)

    def _order(self, signed: Signed, number: str) -> Answer:
        account = signed.must()
        if number:
            order = self._find_order(account, number)
            return Answer(200, self._order_data(order), self._at("order", number))
        names = [read_identifier(one) for one in _list(signed.data(), "identifiers")]
        if not names or len(names) > _NAMES_MAX:
            raise Refusal("malformed", f"an order has 1 to {_NAMES_MAX} identifiers")
        expires = self._now() + _ORDER_S
        order = _Order(new_number(), account.number, list(dict.fromkeys(names)), [], expires)
        for name in order.names:
            kinds = ("dns-01",) if name.startswith("*.") else KINDS
            challenges = [_Challenge(kind, secrets.token_urlsafe(32)) for kind in kinds]
            made = _Authorization(new_number(), account.number, name, expires, challenges)
            keep(self._authorizations, made.number, made, KEPT_MAX * 10)
            order.authorizations.append(made.number)
        keep(self._orders, order.number, order)
        account.orders = [*account.orders[-99:], order.number]
        return Answer(201, self._order_data(order), self._at("order", order.number))

    def _find_order(self, account: Account, number: str) -> _Order:
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
            "expires": time_text(order.expires),
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

    def _authorization(self, signed: Signed, number: str) -> Answer:
        found = self._find_authorization(signed, number)
        if signed.payload and signed.data().get("status") == "deactivated":
            found.status = "deactivated"
        data: dict[str, Any] = {
            "status": found.status,
            "expires": time_text(found.expires),
            "identifier": {"type": "dns", "value": found.name.removeprefix("*.")},
            "challenges": [self._challenge_data(found, at) for at in range(len(found.challenges))],
        }
        if found.name.startswith("*."):
            data["wildcard"] = True
        return Answer(200, data)

    def _find_authorization(self, signed: Signed, number: str) -> _Authorization:
        account = signed.must()
        found = self._authorizations.get(number)
        if found is None or found.account != account.number:
            raise Refusal("notFound", "no such authorization of this account")
        return found

    def _challenge(self, signed: Signed, place: str) -> Answer:
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

    def _finalize(self, signed: Signed, number: str) -> Answer:
        order = self._find_order(signed.must(), number)
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
        order.certificate = self._issued.issue(key, order.names, order.account)
        return Answer(200, self._order_data(order), self._at("order", number))

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


def _list(data: dict[str, Any], key: str) -> list[Any]:
    found = data.get(key)
    if not isinstance(found, list):
        raise Refusal("malformed", f"{key} must be a list")
    return found
