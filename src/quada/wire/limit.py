"""Response rate limiting: how often one network may be sent one answer.

A spoofed source makes a server send to a victim; what gives that away is the same answer going to
the same network again and again. Counting is in two steps, because most traffic is innocent and
must not pay: the listener counts responses per network coarsely in `counts`; only above the limit
is the exact count per network and answer asked for here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

BUCKETS: Final = 65_536  # networks share counters by hash; only the exact count limits anybody
_EXACT_MAX: Final = 50_000  # our choice: (network, answer) pairs counted a second, then forgotten
_LOOPBACK: Final = (bytes(7), b"\x7f\x00\x00")


class Verdict(IntEnum):
    """What to do with a response."""

    SEND = 0
    SLIP = 1  # send it truncated, so that a real client comes back over TCP
    DROP = 2


class LimitSettings(NamedTuple):
    """Responses a second to one network with one answer; 0 means no limit.

    Every `slip`th limited response is sent truncated, the others are dropped (0: all dropped).
    Networks are /56 and /24: an IPv6 customer has at least a /56 (RFC 6177 2). Loopback is exempt.
    """

    per_second: int = 100
    slip: int = 2


class Limiter:
    """Counts per second. `begin` starts a new second."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self.counts = [0] * BUCKETS
        self.limited_count = 0
        self._exact: dict[tuple[bytes, bytes], int] = {}
        self._second = 0

    def begin(self, now_s: int) -> None:
        """Forget the last second."""
        if now_s != self._second:
            self._second = now_s
            self.counts = [0] * BUCKETS
            self._exact.clear()

    def judge(self, network: bytes, response: bytes) -> Verdict:
        """Judge one response to a network over the coarse limit.

        Takes the network's leading octets (7 for IPv6, 3 for IPv4) and the response less its id.
        Responses are the same when flags, counts and question are; for a name that does not exist
        only the end of the response counts, or each random name would be an answer of its own.
        """
        if network in _LOOPBACK or len(response) < 10:
            return Verdict.SEND
        is_nxdomain = response[1] & 0xF == 3
        key = (network, response[:2] + (response[-24:] if is_nxdomain else response[10:60]))
        if len(self._exact) >= _EXACT_MAX:
            self._exact.clear()
        count = self._exact.get(key, 0) + 1
        self._exact[key] = count
        if count <= self.settings.per_second:
            return Verdict.SEND
        self.limited_count += 1
        slip = self.settings.slip
        return Verdict.SLIP if slip and count % slip == 0 else Verdict.DROP


def truncated(response: bytes) -> bytes:
    """Give a response's header and question alone with TC set (RFC 2181 9); both less the id."""
    at = 10
    while at < len(response) and response[at]:
        at += response[at] + 1
    return (
        bytes((response[0] | 0x02, response[1]))
        + b"\x00\x01\x00\x00\x00\x00\x00\x00"
        + response[10 : at + 5]
    )
