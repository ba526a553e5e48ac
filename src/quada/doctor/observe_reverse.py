"""Observe the reverse names of a domain's IPv6 addresses, and the zones that they are in."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.doctor.probe import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.doctor.observation import Observation
    from quada.doctor.probe import Prober, Steps

    Follow = Callable[[str], Steps[str]]
    Servers = Callable[[str], list[tuple[str, str]]]

_ADDRESSES_MAX: Final = 8
_NIBBLES: Final = 4  # prefixes are cut at multiples of 16 bits more often than elsewhere
TREE: Final = "ip6.arpa."


def observe_reverse(
    prober: Prober, made: Observation, follow: Follow, servers: Servers
) -> Steps[None]:
    """Resolve each PTR and its way back, then ask every server of the zone that it is in.

    `follow` gives the zone that a name is in, `servers` a zone's servers with their addresses.
    """
    addresses = [a for one in made.resolved if one.qtype == "AAAA" for a in one.addresses]
    asked: set[str] = set()
    for address in list(dict.fromkeys(addresses))[:_ADDRESSES_MAX]:
        reverse = f"{ipaddress.ip_address(address).reverse_pointer}."
        zone = yield from follow(reverse)
        if zone.endswith(f".{TREE}"):
            made.covering[address] = zone
            wanted = [
                (zone, server, place, one)
                for server, place in servers(zone)
                for one in _questions(reverse, zone, asked)
            ]
            asked.add(zone)
            made.exchanges += yield from prober.probe(wanted)
        found = yield from prober.resolve("both", reverse, codes.PTR)
        if found.rcode not in ("NOERROR", "NXDOMAIN"):
            continue  # the reverse tree does not answer: nothing is known
        made.pointers[address] = found.addresses
        for pointer in found.addresses[:3]:
            back = yield from prober.resolve("both", pointer, codes.AAAA)
            made.confirmed[pointer] = back.addresses


def _questions(reverse: str, zone: str, asked: set[str]) -> list[Wanted]:
    """What each server of a reverse zone is asked: of names between the zone and the PTR once."""
    between = (len(reverse) - len(zone)) // 2
    made = [Wanted("reverse-ptr", reverse, "PTR", payload=1232)]
    if zone not in asked:
        made += [
            Wanted("reverse-between", reverse[2 * at :], "PTR", payload=1232)
            for at in range(_NIBBLES, between, _NIBBLES)
        ][:_NIBBLES]
    return made
