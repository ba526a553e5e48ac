"""Encrypted resolvers that a link tells of (RFC 9463), as what is asked of each."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

import quada.wire.names as names
from quada.doctor.observation import Observation
from quada.doctor.observe_services import asks_of, read_designated
from quada.doctor.probe import Prober
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.doctor.link.facts import Encrypted, Link
    from quada.doctor.observation import Designated
    from quada.doctor.probe import Steps

_ASKED_MAX: Final = 16  # our choice


def designated_of(link: Link) -> list[Designated]:
    """Give the endpoints that routers and DHCPv6 tell of with addresses, each once.

    Where there is a name alone, clients look for more by DNS (RFC 9463 3.1.6): that is left out.
    """
    told = [one for router in link.routers for one in router.encrypted]
    told += [one for lease in link.leases for one in lease.encrypted]
    made: list[Designated] = []
    for one in dict.fromkeys(told):
        for endpoint in read_designated(_text(one), link.place) if one.addresses else ():
            endpoint.addresses = list(one.addresses)
            if endpoint not in made:
                made.append(endpoint)
    return made


def ask_endpoints(link: Link, now: Callable[[], float]) -> Steps[Observation]:
    """Ask each endpoint at each address; its certificate must prove the name that was told.

    A link-local address is asked on the link's interface.
    """
    made = Observation("link", ".", now(), designated=designated_of(link))
    wanted = [
        (".", one.server, _zoned(address, link.place), ask)
        for one in made.designated
        for address, ask in asks_of(one, ".")
    ]
    made.exchanges += yield from Prober({}, now).probe(wanted[:_ASKED_MAX])
    return made


def _zoned(address: str, interface: str) -> str:
    is_local = ipaddress.IPv6Address(address).is_link_local
    return f"{address}%{interface}" if is_local else address


def _text(one: Encrypted) -> list[str]:
    """Give what was told as SVCB data; nothing where it cannot be read."""
    try:
        octets = one.priority.to_bytes(2, "big") + names.from_text(one.name) + one.params
        data = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SVCB, octets, 0, len(octets))
    except (dns.exception.DNSException, DataFault, ValueError):
        return []
    return [data.to_text()]
