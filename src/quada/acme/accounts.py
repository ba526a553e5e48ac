"""The rehearsal CA's accounts: made, bound to external ones, changed, forgotten oldest first."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from quada.acme.answers import Account, Answer, Signed, keep, new_number
from quada.acme.signed import Key, Refusal, read_jws, read_key, thumbprint

if TYPE_CHECKING:
    from collections.abc import Mapping


class Accounts:
    """See the module. Takes the CA's URL, and keys of external accounts by their identifiers."""

    def __init__(self, url: str, external: Mapping[str, bytes]) -> None:
        self.url = url
        self._external = external
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._by_key: dict[str, str] = {}

    def find(self, kid: str) -> Account:
        """Give the account of a URL. Raises: Refusal."""
        account = self._accounts.get(kid.rpartition("/")[2])
        if account is None:
            raise Refusal("accountDoesNotExist", "no such account; this CA forgets at restart")
        return account

    def account(self, signed: Signed, number: str) -> Answer:
        """Make, show or change an account (RFC 8555 7.3)."""
        data = signed.data()
        if number:
            account = signed.own(number)
            if "contact" in data:
                account.contact = [str(one)[:200] for one in list(data["contact"])[:10]]
            if data.get("status") == "deactivated":
                account.status = "deactivated"
            return Answer(200, self._data(account))
        known = self._by_key.get(thumbprint(signed.key))
        if known is not None:
            account = self._accounts[known]
            return Answer(200, self._data(account), self._at(known))
        if data.get("onlyReturnExisting"):
            raise Refusal("accountDoesNotExist", "no account has this key")
        self._check_external(data.get("externalAccountBinding"), signed.key)
        contact = data.get("contact", [])
        if not isinstance(contact, list):
            raise Refusal("malformed", "contact must be a list")
        account = Account(new_number(), signed.key, [str(one)[:200] for one in contact[:10]])
        gone = keep(self._accounts, account.number, account)
        if gone is not None:
            self._by_key.pop(thumbprint(gone.key), None)
        self._by_key[thumbprint(signed.key)] = account.number
        return Answer(201, self._data(account), self._at(account.number))

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

    def _data(self, account: Account) -> dict[str, Any]:
        return {
            "status": account.status,
            "contact": account.contact,
            "orders": f"{self.url}/orders/{account.number}",
        }

    def list_orders(self, signed: Signed, number: str) -> Answer:
        """List an account's orders (RFC 8555 7.1.2.1)."""
        account = signed.own(number)
        return Answer(200, {"orders": [f"{self.url}/order/{one}" for one in account.orders]})

    def change_key(self, signed: Signed, _: str) -> Answer:
        """Give an account another key (RFC 8555 7.3.5)."""
        account = signed.must()
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
        return Answer(200, self._data(account))

    def _at(self, number: str) -> dict[str, str]:
        return {"Location": f"{self.url}/account/{number}"}
