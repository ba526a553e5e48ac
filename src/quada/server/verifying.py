"""Whether a firewall lets in what is configured and nothing else, as a vantage point sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.message

from quada.doctor.judge_firewall import Door, judge_firewall
from quada.wire.ask import Ask, Endpoint, Transport
from quada.wire.call import Call, CallKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.doctor import Finding
    from quada.server.firewall import Opening
    from quada.server.looking import Hands

USUAL: Final = (53, 80, 443, 853, 5380, 8053, 8080, 8443, 9153)
"""Ports that must be closed where nothing is configured there: those name servers tend to use."""
_WAIT_S: Final = 2.0


def doors(opened: Iterable[Opening], addresses: list[str], closed: Iterable[int]) -> list[Door]:
    """Give what to try: each opening at each of the host's addresses, then what must be closed."""
    found = {}
    for one in opened:
        for address in [one.address] if one.address else addresses:
            if (":" in address) == (one.family == 6):
                door = Door(address, one.protocol, one.port, one.role)
                found[door[:3]] = door
    for address in addresses:
        for port in closed:
            for protocol in ("udp", "tcp"):
                key = address, protocol, port
                found.setdefault(key, Door(*key, ""))
    return list(found.values())


def verify(tried: list[Door], hands: Hands) -> list[Finding]:
    """Try each door from where the hands are, and judge it."""
    streams = [one for one in tried if one.protocol == "tcp"]
    called = hands.call(
        [Call(one.address, one.port, CallKind.TCP, timeout_s=_WAIT_S) for one in streams]
    )
    packets = [one for one in tried if one.protocol == "udp"]
    query = dns.message.make_query(".", "SOA", flags=0).to_wire()
    # A port of DoQ hears no plain DNS; what QUIC says, be it a refusal, shows that it is open.
    asks = [
        Ask(Endpoint(one.address, one.port, Transport.DOQ if one.port == 853 else Transport.UDP),
            query, _WAIT_S)
        for one in packets
    ]  # fmt: skip
    outcomes = hands.perform(asks)
    return judge_firewall(
        list(zip(streams, called, strict=True)), list(zip(packets, outcomes, strict=True))
    )
