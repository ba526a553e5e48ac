"""What a link tells its clients: routers, DHCPv6 servers, and what was heard and asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from quada.doctor.observation import Exchange


class Prefix(NamedTuple):
    """One prefix information option (RFC 4861 4.6.2). Lifetimes in seconds."""

    prefix: str
    length: int
    is_autonomous: bool
    is_on_link: bool = True
    valid_s: int = 86_400
    preferred_s: int = 14_400

    @property
    def gives_addresses(self) -> bool:
        """Whether hosts make an address of it (RFC 4862 5.5.3: 64 bits, on every usual link)."""
        return self.is_autonomous and self.length == 64 and self.valid_s > 0


class Offered(NamedTuple):
    """Resolvers, search domains or a NAT64 prefix, and for how many seconds; None is not known."""

    values: tuple[str, ...]
    lifetime_s: int | None = None


class Encrypted(NamedTuple):
    """One encrypted resolver (RFC 9463): its name, addresses, and what its SvcParams say."""

    name: str
    addresses: tuple[str, ...]
    priority: int = 1
    params: bytes = b""


@dataclass(slots=True)
class Router:
    """One router's advertisement. `place` is its link-local address, or where a file says it.

    `interval_s` is the longest time between two of its advertisements, None where nobody knows.
    `faults` are reasons for which hosts drop the message, or a part of it.
    """

    place: str
    is_managed: bool = False
    is_other: bool = False
    lifetime_s: int = 1_800
    mtu: int | None = None
    interval_s: int | None = None
    portal: str = ""
    prefixes: list[Prefix] = field(default_factory=list)
    resolvers: list[Offered] = field(default_factory=list)
    search: list[Offered] = field(default_factory=list)
    pref64: list[Offered] = field(default_factory=list)
    encrypted: list[Encrypted] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """The resolvers that it still offers (RDNSS, RFC 8106 5.1), in its order."""
        return [one for offer in self.resolvers if offer.lifetime_s != 0 for one in offer.values]


@dataclass(slots=True)
class Lease:
    """What a DHCPv6 server gives (RFC 8415): to all who ask, or with an address.

    `is_stateful` is true of an answer to Solicit, false of one to Information-request.
    """

    place: str
    is_stateful: bool = False
    addresses: list[str] = field(default_factory=list)
    resolvers: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    encrypted: list[Encrypted] = field(default_factory=list)
    status: str = ""
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Link:
    """All that is known of a link. `place` is an interface or a file.

    What was not looked for must not be missed: `sees_routers`, and whether DHCPv6 was asked for
    settings (`asked_settings`) and for an address (`asked_address`). `pref64_found` holds what
    RFC 7050 finds at resolvers, None where none was asked; `probes` says how each resolver
    answered, by its address, and `exchanges` how encrypted ones did.
    """

    place: str
    sees_routers: bool = True
    asked_settings: bool = False
    asked_address: bool = False
    routers: list[Router] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    probes: dict[str, str] = field(default_factory=dict)
    pref64_found: list[str] | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def settings(self) -> list[Lease]:
        """Answers to Information-request."""
        return [one for one in self.leases if not one.is_stateful]

    @property
    def addressed(self) -> list[Lease]:
        """Answers to Solicit."""
        return [one for one in self.leases if one.is_stateful]

    @property
    def is_managed(self) -> bool:
        """Whether a router sends hosts to DHCPv6 for addresses, and so for all (RFC 4861 4.2)."""
        return any(one.is_managed for one in self.routers)

    @property
    def is_other(self) -> bool:
        """Whether a router sends hosts to DHCPv6 for settings."""
        return self.is_managed or any(one.is_other for one in self.routers)

    @property
    def has_slaac(self) -> bool:
        """Whether hosts can make addresses themselves."""
        return any(p.gives_addresses for one in self.routers for p in one.prefixes)

    @property
    def rdnss(self) -> list[str]:
        """Resolvers from routers, each once."""
        return list(dict.fromkeys(a for one in self.routers for a in one.addresses))

    def dhcpv6_resolvers(self) -> list[str]:
        """Resolvers that DHCPv6 gives to those whom the routers' flags send there, each once."""
        if not self.is_other:
            return []
        found = [*self.settings, *(self.addressed if self.is_managed else ())]
        return list(dict.fromkeys(address for one in found for address in one.resolvers))
