"""Firewall rules for what is configured, as nftables reads them.

Each listener opens its port for its own family and address; ICMPv6 is let through as far as IPv6
and DNS cannot do without it: dropping "packet too big" is how large answers disappear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.server.plan import Address, Plan

_PROTOCOLS: Final = {
    Transport.UDP: ("udp", "tcp"), Transport.TCP: ("tcp",), Transport.DOT: ("tcp",),
    Transport.DOH: ("tcp",), Transport.DOQ: ("udp",),
}  # fmt: skip
_ICMPV6: Final = (
    # RFC 4890 4.3.1 and 4.4.1: errors and neighbour discovery must not be dropped.
    "destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem",
    "echo-request", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert",
)  # fmt: skip


class Opening(NamedTuple):
    """One port that is open: for whom it is, family 6 or 4, address (empty is all), protocol."""

    role: str
    family: int
    address: str
    protocol: str
    port: int


def openings(plan: Plan) -> list[Opening]:
    """Give what a run listens to."""
    found = []
    for role, listeners in (
        ("authority", plan.authority_listen), ("resolver", plan.resolver_listen),
    ):  # fmt: skip
        for listen in listeners:
            protocols = _PROTOCOLS[listen.transport] + ("udp",) * listen.has_http3
            found += [_opening(role, listen.address, protocol) for protocol in protocols]
    found += [_opening("api", address, "tcp") for address in plan.api_listen]
    return sorted(set(found), key=lambda one: (-one.family, one.port, one.protocol, one.role))


def rules(opened: list[Opening], *, drops_rest: bool) -> Iterator[str]:
    """Write the rules, a line each; loading them again replaces them whole."""
    policy = "drop" if drops_rest else "accept"
    yield "table inet quada"
    yield "delete table inet quada"
    yield "table inet quada {"
    yield "  chain input {"
    yield f"    type filter hook input priority filter; policy {policy};"
    yield "    ct state established,related accept"
    yield "    iif lo accept"
    yield f"    icmpv6 type {{ {', '.join(_ICMPV6)} }} accept"
    yield "    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept"
    for one in opened:
        family = "ip6" if one.family == 6 else "ip"
        where = f"{family} daddr {one.address} " if one.address else ""
        only = "" if where else f"meta nfproto ipv{one.family} "
        yield f'    {only}{where}{one.protocol} dport {one.port} accept comment "{one.role}"'
    yield "  }"
    yield "}"


def _opening(role: str, address: Address, protocol: str) -> Opening:
    host = address.host.partition("%")[0]
    family = 6 if ":" in host else 4
    return Opening(role, family, "" if host in ("::", "0.0.0.0") else host, protocol, address.port)
