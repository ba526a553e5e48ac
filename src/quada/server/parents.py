"""Looking at the parent: which DS do its servers give, each of them, over IPv6 and over IPv4."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.transport.client import Client
from quada.wire.ask import Ask, Endpoint, Reply, Transport
from quada.wire.edns import compose_opt
from quada.wire.faults import MalformedMessage
from quada.wire.skim import skim
from quada.zones.sighting import Sighting

if TYPE_CHECKING:
    from quada.wire.skim import Skimmed

_TIMEOUT_S: Final = 3.0
MAX_SERVERS: Final = 16  # our choice: the root has thirteen names, nobody has more
_HEAD_CD_RD: Final = b"\x00\x00\x01\x10\x00\x01\x00\x00\x00\x00\x00\x01"


def compose_question(name: bytes, rdtype: int) -> bytes:
    """Compose a query with RD, CD and DO set: data as they are, with their signatures."""
    question = name + rdtype.to_bytes(2, "big") + codes.IN.to_bytes(2, "big")
    return _HEAD_CD_RD + question + compose_opt(flags=codes.EDNS_DO)


async def ask(client: Client, to: Endpoint, name: bytes, rdtype: int) -> Skimmed | None:
    """Ask one server, over TCP where the answer is cut; None where it says nothing of use."""
    for transport in (Transport.UDP, Transport.TCP):
        query = compose_question(name, rdtype)
        outcome = await client.perform(Ask(to._replace(transport=transport), query, _TIMEOUT_S))
        if not isinstance(outcome, Reply):
            return None
        try:
            message = skim(outcome.message)
        except MalformedMessage:
            return None
        if not message.flags & codes.TC:
            return message if message.rcode in (codes.NOERROR, codes.NXDOMAIN) else None
    return None


async def look(origin: bytes, resolvers: tuple[Endpoint, ...]) -> list[Sighting]:
    """Ask every server of a zone's parent for its DS, over both families where they have both.

    Takes the zone, and the resolvers that find the parent's servers.
    """
    client = Client()
    servers = await servers_of_parent(client, origin, resolvers)
    return list(await asyncio.gather(*(_sight(client, origin, name, to) for name, to in servers)))


async def _sight(client: Client, origin: bytes, name: bytes, to: Endpoint) -> Sighting:
    message = await ask(client, to, origin, codes.DS)
    server = f"{names.to_text(name)} ({to.address})"
    if message is None:
        return Sighting(server, to.family, None)
    ds = {r.rdata for r in message.answer if r.owner == origin and r.rdtype == codes.DS}
    return Sighting(server, to.family, frozenset(ds))


async def servers_of_parent(
    client: Client, origin: bytes, resolvers: tuple[Endpoint, ...]
) -> list[tuple[bytes, Endpoint]]:
    """Find the parent's servers: name and address of each, IPv6 first."""
    parent = names.parent(origin)
    targets: list[bytes] = []
    while not targets:
        message = await _first(client, resolvers, parent, codes.NS)
        records = message.answer if message is not None else []
        targets = [r.rdata.lower() for r in records if r.rdtype == codes.NS and r.owner == parent]
        if parent == names.ROOT:
            break
        parent = names.parent(parent)
    out = []
    for target in targets[:MAX_SERVERS]:
        for rdtype in (codes.AAAA, codes.A):
            message = await _first(client, resolvers, target, rdtype)
            out += [
                (target, Endpoint(str(ipaddress.ip_address(r.rdata))))
                for r in (message.answer if message is not None else ())
                if r.rdtype == rdtype and len(r.rdata) in (4, 16)
            ]
    return out


async def _first(
    client: Client, resolvers: tuple[Endpoint, ...], name: bytes, rdtype: int
) -> Skimmed | None:
    for resolver in resolvers:
        message = await ask(client, resolver, name, rdtype)
        if message is not None:
            return message
    return None
