"""What is known of other servers: how fast they answer, and whether a family works.

IPv6 is asked first. A server that does not answer is left for last, and so is a family in which
nothing answers: a dead family costs a short wait once. Whether they are well again is found out by
probes that no client waits for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SERVERS_MAX: Final = 50_000  # our choice: about 10 MiB
_FIRST_RTT_S: Final = 0.12  # our choice for a server never asked over IPv4
_HEAD_START_S: Final = 0.06  # our choice; Happy Eyeballs gives IPv6 50 ms (RFC 8305 8)
_TIMEOUT_MIN_S: Final = 0.2
_TIMEOUT_MAX_S: Final = 1.5
_BACKOFF_S: Final = 2.0
_BACKOFF_MAX_S: Final = 300.0
_FAMILY_FAILURES: Final = 6  # failures in a row, of different servers, that make a family dead
_FAMILY_REST_S: Final = 30.0
_DUE_MAX: Final = 1_000


@dataclass(slots=True)
class Server:
    """One address: smoothed round trip in seconds, failures in a row, when to try again."""

    rtt_s: float
    failures: int = 0
    again_at: float = 0.0
    has_edns: bool = True


@dataclass(slots=True)
class Family:
    """One family: failures in a row, rests it was sent to without an answer since, and its cost.

    A family that rests is asked where there is no other, and tried again at `again_at`.
    """

    failures: int = 0
    again_at: float = 0.0
    rests: int = 0
    fallback_count: int = 0
    fallback_s: float = 0.0


class Probe(NamedTuple):
    """An address that failed and may be well again, and a zone that it serves."""

    address: str
    zone: bytes
    is_forward: bool


class Servers:
    """Knowledge of all servers of a resolver, bounded. Takes the families it may use: 6, 4."""

    def __init__(self, families: tuple[int, ...] = (6, 4)) -> None:
        self.families = {family: Family() for family in families}
        self._known: OrderedDict[str, Server] = OrderedDict()
        self._failing_count = 0
        self._due: dict[str, Probe] = {}

    def first(self, addresses: Sequence[str], now: float) -> str | None:
        """Give the address to be asked first; None where there is none in our families."""
        if len(addresses) == 1:
            return addresses[0] if family_of(addresses[0]) in self.families else None
        usable = [a for a in addresses if family_of(a) in self.families]
        return min(usable, key=lambda a: self._rank(a, now), default=None)

    def order(self, addresses: Iterable[str], now: float) -> list[str]:
        """Order addresses as they should be asked: living before avoided, then by expected time."""
        usable = [a for a in addresses if family_of(a) in self.families]
        return sorted(usable, key=lambda a: self._rank(a, now))

    def _rank(self, address: str, now: float) -> tuple[bool, bool, bool, float]:
        """Rank an address, the least first.

        IPv6 that was never heard is tried before anything: else a fast IPv4 address would keep it
        from ever being found well.
        """
        server = self._known.get(address)
        is_resting = self.families[family_of(address)].rests > 0
        if server is None:
            return is_resting, False, False, 0.0 if ":" in address else _FIRST_RTT_S
        rtt_s = server.rtt_s - _HEAD_START_S if ":" in address else server.rtt_s
        return is_resting, server.failures > 0, server.again_at > now, rtt_s

    def pass_over(
        self, addresses: Sequence[str], zone: bytes, now: float, *, is_forward: bool
    ) -> None:
        """Note who could be asked about a zone: those due to be tried again are given as probes."""
        if not self._failing_count or len(addresses) < 2:
            return
        for address in addresses:
            family = self.families.get(family_of(address))
            if family is None:
                continue
            server = self._known.get(address)
            is_due = False
            if family.rests:
                is_due = family.again_at <= now
                family.again_at = now + _BACKOFF_S if is_due else family.again_at
            elif server is not None and server.failures:
                is_due = server.again_at <= now
                server.again_at = now + _BACKOFF_S if is_due else server.again_at
            if is_due and len(self._due) < _DUE_MAX:
                self._due[address] = Probe(address, zone, is_forward)

    def take_due(self) -> list[Probe]:
        """Give the probes that are due, once."""
        due = list(self._due.values())
        self._due.clear()
        return due

    def timeout_s(self, address: str) -> float:
        """Give how long to wait for a server before another is asked."""
        server = self._known.get(address)
        if server is None:
            return 0.4
        return min(_TIMEOUT_MAX_S, max(_TIMEOUT_MIN_S, 3 * server.rtt_s) * (1 + server.failures))

    def has_edns(self, address: str) -> bool:
        """Tell whether a server takes EDNS, as far as is known."""
        server = self._known.get(address)
        return server is None or server.has_edns

    def answered(self, address: str, rtt_s: float) -> None:
        """Note an answer."""
        server = self._server(address)
        is_new = server.failures or server.rtt_s == _FIRST_RTT_S
        server.rtt_s = rtt_s if is_new else 0.7 * server.rtt_s + 0.3 * rtt_s
        if server.failures:
            self._failing_count -= 1
        server.failures, server.again_at = 0, 0.0
        family = self.families.get(family_of(address))
        if family is not None:
            family.failures = family.rests = 0

    def failed(self, address: str, waited_s: float, now: float) -> None:
        """Note silence, refusal or garbage."""
        server = self._server(address)
        if not server.failures:
            self._failing_count += 1
        server.failures += 1
        wait_s = min(_BACKOFF_MAX_S, _BACKOFF_S * 2 ** min(server.failures, 8))
        server.again_at = now + wait_s
        family = self.families.get(family_of(address))
        if family is None:
            return
        family.failures += 1
        family.fallback_count += 1
        family.fallback_s += waited_s
        is_dead = family.rests > 0 or family.failures >= _FAMILY_FAILURES
        if is_dead and len(self.families) > 1:
            family.rests += 1
            family.failures = 0
            family.again_at = now + _FAMILY_REST_S * min(family.rests, 10)

    def refused_edns(self, address: str) -> None:
        """Note a server that answers FORMERR to EDNS and does well without (RFC 6891 6.2.2)."""
        self._server(address).has_edns = False

    def _server(self, address: str) -> Server:
        server = self._known.get(address)
        if server is None:
            server = self._known[address] = Server(_FIRST_RTT_S)
            while len(self._known) > _SERVERS_MAX:
                _, gone = self._known.popitem(last=False)
                self._failing_count -= gone.failures > 0
        return server


def family_of(address: str) -> int:
    """Give 6 or 4."""
    return 6 if ":" in address else 4
