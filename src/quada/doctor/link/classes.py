"""What each class of client makes of a link: where its address and its resolvers come from.

Android and ChromeOS take resolvers from RDNSS alone and no address from DHCPv6 (openwrt/odhcpd#86);
Windows since 10 1703, systemd-networkd, NetworkManager, macOS and iOS take both, and use DHCPv6
where the M or O flag says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from quada.doctor.link.facts import Link


class ClientClass(NamedTuple):
    """A class of clients, and what it takes from where."""

    name: str
    takes_rdnss: bool
    takes_dhcpv6_settings: bool
    takes_dhcpv6_address: bool


class Fate(NamedTuple):
    """How a class fares. Sources are `SLAAC`, `RDNSS`, `DHCPv6`, `none`, or `unknown`."""

    client: str
    address: str
    resolver: str
    resolvers: tuple[str, ...]

    @property
    def is_stranded(self) -> bool:
        """Whether it has an IPv6 address and no IPv6 resolver, or no address where others do."""
        return self.resolver == "none" or self.address == "none"


CLASSES: Final = (
    ClientClass("Android", True, False, False),
    ClientClass("ChromeOS", True, False, False),
    ClientClass("Windows 10 1703 and later", True, True, True),
    ClientClass("Windows before 10 1703", False, True, True),
    ClientClass("Linux (systemd-networkd, NetworkManager)", True, True, True),
    ClientClass("macOS and iOS", True, True, True),
)


def matrix(link: Link) -> list[Fate]:
    """Say of each class of clients how it fares on a link."""
    return [_fate(one, link) for one in CLASSES]


def _fate(client: ClientClass, link: Link) -> Fate:
    address = resolver = "none"
    if link.has_slaac:
        address = "SLAAC"
    elif client.takes_dhcpv6_address and link.is_managed:
        if any(one.addresses for one in link.addressed):
            address = "DHCPv6"
        elif not link.asked_address:
            address = "unknown"
    elif not link.sees_routers:
        address = "unknown"
    found: list[str] = []
    sources = []
    if client.takes_rdnss and link.rdnss:
        found += link.rdnss
        sources.append("RDNSS")
    if client.takes_dhcpv6_settings and link.dhcpv6_resolvers():
        found += link.dhcpv6_resolvers()
        sources.append("DHCPv6")
    asked = link.asked_settings or (link.is_managed and link.asked_address)
    if sources:
        resolver = " and ".join(sources)
    elif not link.sees_routers or (
        client.takes_dhcpv6_settings and link.is_other and not asked and not link.leases
    ):
        resolver = "unknown"
    return Fate(client.name, address, resolver, tuple(dict.fromkeys(found)))
