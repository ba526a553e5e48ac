"""Where our resolver is reached encrypted, as clients are told: DDR (RFC 9462), DNR (RFC 9463)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.names as names
from quada.doctor.link.facts import Encrypted
from quada.server.plan import is_address
from quada.wire.ask import Transport
from quada.zones import read_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.server.plan import Plan
    from quada.zones import Zone

_INFO: Final = ("qnamemin", "exterr=3,4,6-12,15,18-20,22,23,29")  # RFC 9606 5; codes we give
_ALPN: Final[dict[Transport, tuple[str, ...]]] = {
    Transport.DOT: ("dot",), Transport.DOH: ("h2",), Transport.DOQ: ("doq",),
}  # fmt: skip
_PATH: Final = "/dns-query{?dns}"
_EVERYWHERE: Final = frozenset(("::", "0.0.0.0"))


class Way(NamedTuple):
    """One way to reach the resolver: by what name, protocol, port, at which addresses."""

    priority: int
    name: str
    alpn: tuple[str, ...]
    port: int
    addresses: tuple[str, ...]

    @property
    def is_http(self) -> bool:
        """Whether it is DoH, which has a path (RFC 9461 5)."""
        return "h2" in self.alpn

    def params(self) -> bytes:
        """SvcParams on the wire, without hints (RFC 9460 2.2; RFC 9463 allows none)."""
        alpn = b"".join(bytes([len(one)]) + one.encode() for one in self.alpn)
        values = [(1, alpn), (3, self.port.to_bytes(2, "big"))]
        if self.is_http:
            values.append((7, _PATH.encode()))
        return b"".join(
            key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for key, value in values
        )


def ways(plan: Plan) -> Iterator[Way]:
    """Give the ways to each encrypted listener, by each name of the certificate.

    A listener at every address is reached at those that `tls.names` holds.
    """
    told = [text for text in plan.settings.tls.names if is_address(text)]
    priority = 0
    for listen in plan.resolver_listen:
        alpn = _ALPN.get(listen.transport)
        if alpn is None:
            continue
        if listen.has_http3:
            alpn += ("h3",)
        host = listen.address.host.partition("%")[0]
        addresses = told if host in _EVERYWHERE else [host]
        for name in plan.certificate_names:
            priority += 1
            yield Way(priority, f"{name}.", alpn, listen.address.port, tuple(addresses))


def told(plan: Plan) -> list[str]:
    """Give the names and addresses that clients expect in the certificate.

    Beside `tls.names`: where DDR sends them, and the plain addresses that they ask for it at, which
    they look for before they believe it (RFC 9462 4.2).
    """
    found = list(plan.settings.tls.names)
    for way in ways(plan):
        found += way.addresses
        found += [
            listen.address.host.partition("%")[0]
            for listen in plan.resolver_listen
            if listen.transport is Transport.UDP and listen.address.host not in _EVERYWHERE
        ]
    return list(dict.fromkeys(found))


def designation(plan: Plan) -> Zone:
    """Make `resolver.arpa`: where this resolver is reached encrypted, and what it can do.

    Without encrypted listeners or a name to authenticate it is there and empty, so that nobody
    asks the world for it. RFC: 9462 4 and 6.4, 9606 5
    """
    lines = [
        "@ 10800 SOA localhost. nobody.invalid. 1 3600 1200 604800 10800",
        "@ 10800 NS localhost.",
        f"@ 7200 RESINFO {' '.join(_INFO)}",
    ]
    found = list(ways(plan))
    for way in found:
        hints = "".join(
            f" {key}={','.join(some)}"
            for key, some in (
                ("ipv6hint", [a for a in way.addresses if ":" in a]),
                ("ipv4hint", [a for a in way.addresses if ":" not in a]),
            )
            if some
        )
        path = f" dohpath={_PATH}" if way.is_http else ""
        lines.append(
            f"_dns 7200 SVCB {way.priority} {way.name} alpn={','.join(way.alpn)} port={way.port}"
            f"{hints}{path}"
        )
    if not found:
        # The name is there, so that SVCB gets NODATA (RFC 9462 6.4).
        lines.append('_dns 7200 TXT "no encrypted listener"')
    return read_zone("\n".join(lines) + "\n", names.from_text("resolver.arpa."))


def encrypted(plan: Plan) -> list[Encrypted]:
    """Give the same as DHCPv6 options, for those ways that have an IPv6 address (RFC 9463 3.1)."""
    return [
        Encrypted(way.name, six, way.priority, way.params())
        for way in ways(plan)
        for six in (tuple(a for a in way.addresses if ":" in a),)
        if six
    ]
