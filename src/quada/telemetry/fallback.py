"""Fallbacks among upstream attempts: asked over IPv6 in vain, then answered over IPv4.

Exact where every attempt is seen (our own resolver, dnstap); where events are sampled, fewer are
seen than there were.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.telemetry.event import Cause, Kind

if TYPE_CHECKING:
    from quada.telemetry.event import Event

_WAITING_MAX: Final = 20_000  # questions that wait for their IPv4 attempt
_WITHIN_NS: Final = 10_000_000_000  # our choice: longer than resolvers go on with one question


class Fallback(NamedTuple):
    """One fallback. `cost_us` is what the vain IPv6 attempts took, in microseconds."""

    at_ns: int
    source: str
    zone: str | None
    server: str
    cost_us: int


class _Vain(NamedTuple):
    at_ns: int
    server: str
    cost_us: int


def is_unanswered(event: Event) -> bool:
    """Whether an upstream attempt got no answer at all."""
    return event.rcode is None or event.cause is Cause.REACHABILITY


class Fallbacks:
    """Pairs vain IPv6 attempts with the IPv4 attempt that answered the same question."""

    def __init__(self) -> None:
        self._vain: OrderedDict[tuple[str, str, int | None], _Vain] = OrderedDict()

    def feed(self, event: Event) -> Fallback | None:
        """Take an event; gives the fallback that it completes."""
        if event.kind is not Kind.UPSTREAM or event.qname is None or event.client is None:
            return None
        key = event.source, event.qname, event.qtype
        vain = self._vain.get(key)
        if vain is not None and event.at_ns - vain.at_ns > _WITHIN_NS:
            del self._vain[key]
            vain = None
        if event.family == 6 and is_unanswered(event):
            cost_us = (event.duration_us or 0) + (vain.cost_us if vain else 0)
            self._vain[key] = _Vain(event.at_ns, event.client, cost_us)
            self._vain.move_to_end(key)
            if len(self._vain) > _WAITING_MAX:
                self._vain.popitem(last=False)
            return None
        if vain is None or is_unanswered(event):
            return None
        del self._vain[key]
        if event.family == 6:
            return None  # another IPv6 server answered
        return Fallback(event.at_ns, event.source, event.zone, vain.server, vain.cost_us)
