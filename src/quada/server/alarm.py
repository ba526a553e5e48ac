"""Alerts about signed zones: bogus outside, or their keys away; raised once, over at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import quada.wire.names as names
from quada.store.alerts import FILE, AlertStore
from quada.telemetry.signals import Signal, State

if TYPE_CHECKING:
    from quada.server.outside import Sight
    from quada.server.plan import Plan

_KIND: Final = "dnssec"
_TOKEN_KIND: Final = "dnssec-token"


class Alarm:
    """Opens and closes the alert of each zone.

    The store is opened for each word, so that no process that is forked shares it.
    """

    def __init__(self, plan: Plan) -> None:
        self._path = plan.state_dir / FILE
        self._receivers = tuple(one.name for one in plan.settings.alert_receiver)

    def raised(self, origin: bytes, sight: Sight, done: str) -> None:
        """Say that a version fails outside, and what was done about it."""
        zone = names.to_text(origin)
        self._note(
            Signal(
                _KIND, zone, State.OPEN, int(time.time()),
                f"{zone} is bogus outside: {sight.why}; {done}", cause="bogus-outside",
                evidence=(f"serial {sight.serial}", sight.why, done),
                next_command=f"quada dnssec status {zone}",
            )
        )  # fmt: skip

    def over(self, origin: bytes) -> None:
        """Say that a version validates, if it was said that one does not."""
        zone = names.to_text(origin)
        if self._path.exists():
            self._note(Signal(_KIND, zone, State.CLOSED, int(time.time()), "over"), is_over=True)

    def token(self, origin: bytes, why: str) -> None:
        """Say why a zone's keys in a token cannot be used now, or with "" that they can."""
        zone, at_s = names.to_text(origin), int(time.time())
        if why:
            self._note(
                Signal(
                    _TOKEN_KIND, zone, State.OPEN, at_s,
                    f"{zone} cannot be signed anew: {why}", cause="token-away", evidence=(why,),
                    next_command="quada dnssec token show",
                )
            )  # fmt: skip
        elif self._path.exists():
            self._note(Signal(_TOKEN_KIND, zone, State.CLOSED, at_s, "over"), is_over=True)

    def _note(self, signal: Signal, *, is_over: bool = False) -> None:
        store = AlertStore.open(self._path)
        try:
            if (signal.key in store.open_keys()) == is_over:
                store.note(signal, int(time.time()), self._receivers)
        finally:
            store.close()
