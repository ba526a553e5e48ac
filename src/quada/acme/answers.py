"""What the rehearsal CA's parts share: a request that was opened, and an answer to it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.acme.signed import Key, Refusal, payload_data

if TYPE_CHECKING:
    from collections import OrderedDict

KEPT_MAX: Final = 10_000  # our choice: accounts, orders, nonces; the oldest go


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
class Account:
    """One account."""

    number: str
    key: Key
    contact: list[str]
    status: str = "valid"
    orders: list[str] = field(default_factory=list)


class Signed(NamedTuple):
    """A request that was opened: who signed, the account if it was named, the payload."""

    key: Key
    account: Account | None
    payload: bytes

    def data(self) -> dict[str, Any]:
        """The payload as an object."""
        return payload_data(self.payload)

    def must(self) -> Account:
        """Give the account that signed. Raises: Refusal where there is none, or no longer."""
        if self.account is None:
            raise Refusal("malformed", "sign with the account's kid")
        if self.account.status != "valid":
            raise Refusal("unauthorized", "the account was deactivated")
        return self.account

    def own(self, number: str) -> Account:
        """Give the account that signed, which must be the one asked about. Raises: Refusal."""
        account = self.must()
        if account.number != number:
            raise Refusal("unauthorized", "this is another account's")
        return account


def keep(store: OrderedDict[Any, Any], key: Any, value: Any, most: int = KEPT_MAX) -> Any:
    """Put something in, and take the oldest out where there is too much; gives what went."""
    store[key] = value
    return store.popitem(last=False)[1] if len(store) > most else None


def new_number() -> str:
    """Make a number that nobody guesses."""
    return secrets.token_urlsafe(12)


def time_text(seconds: float) -> str:
    """Write a time as ACME does (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
