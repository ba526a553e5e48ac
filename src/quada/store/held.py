"""Zone keys in a token: opened when one is first needed, and anew after the token was away.

One process's sessions; calls wait for each other. A PIN that was refused is not tried again until
its file says another, for tokens lock themselves after a few.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from quada.store.token import Token
from quada.wire.faults import ConfigFault, DataFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_T = TypeVar("_T")
_TRIES: Final = 2  # a session that has died with its token is opened anew once


class TokenAway(DataFault):
    """A zone's key is in a token that cannot be used now."""

    code = "token-away"


class TokenPlace(NamedTuple):
    """Where zone keys are: the token's library and label, and the file with its PIN."""

    module: Path
    label: str
    pin_file: Path


class HeldKeys:
    """The keys of one token. Every method raises TokenAway where it cannot be used."""

    def __init__(self, place: TokenPlace) -> None:
        self.place = place
        self._token: Token | None = None
        self._signers: dict[str, Callable[[bytes], bytes]] = {}
        self._refused_pin = ""
        self._lock = threading.Lock()

    def make(self, label: str, algorithm: int, flags: int) -> bytes:
        """Make a key; give its DNSKEY. Raises: DataFault where the label is taken."""

        def work(token: Token) -> bytes:
            token.make_key(label, algorithm)
            return token.dnskey(label, flags)

        return self._perform(work)

    def sign(self, label: str, octets: bytes) -> bytes:
        """Sign with a key. Raises: DataFault where the token has none of that name."""

        def work(token: Token) -> bytes:
            signer = self._signers.get(label)
            if signer is None:
                signer = self._signers[label] = token.signer(label)
            return signer(octets)

        return self._perform(work)

    def missing(self, labels: Iterable[str]) -> str:
        """Say why keys of these names cannot be used now; "" where all are there."""
        try:
            gone = self._perform(lambda token: [one for one in labels if not token.has_key(one)])
        except TokenAway as fault:
            return fault.message
        return f"the token {self.place.label} has no key {', '.join(gone)}" if gone else ""

    def close(self) -> None:
        """End the session: before a fork, and at the end."""
        with self._lock:
            self._drop()

    def _perform(self, work: Callable[[Token], _T]) -> _T:
        why = ""
        with self._lock:
            for _ in range(_TRIES):
                try:
                    if self._token is None:
                        self._token = self._open()
                    return work(self._token)
                except _faults() as fault:
                    why = getattr(fault, "message", "") or repr(fault)
                    self._drop()
        raise TokenAway(
            f"the token {self.place.label} cannot be used: {why}", place=str(self.place.module),
            remedy="bring it back; until then signatures that are there go on serving",
        )  # fmt: skip

    def _open(self) -> Token:
        try:
            pin = self.place.pin_file.read_text(encoding="ascii", errors="replace").strip()
        except OSError as error:
            raise ConfigFault(
                f"the PIN cannot be read: {error.strerror}", place=str(self.place.pin_file)
            ) from error
        if pin and pin == self._refused_pin:
            raise ConfigFault("the PIN was refused, and is not tried again",
                              place=str(self.place.pin_file))  # fmt: skip
        try:
            return Token(self.place.module, self.place.label, pin)
        except ConfigFault as fault:
            if type(fault.__cause__).__name__.startswith("Pin"):
                self._refused_pin = pin
            raise

    def _drop(self) -> None:
        self._signers.clear()
        token, self._token = self._token, None
        if token is not None:
            try:
                token.close()
            except _faults():
                pass  # it died with its token


def _faults() -> tuple[type[Exception], ...]:
    """Give what a token may fail with; without the library it cannot be opened at all."""
    try:
        from pkcs11.exceptions import PKCS11Error
    except ImportError:
        return (ConfigFault,)
    error: Any = PKCS11Error
    return ConfigFault, error
