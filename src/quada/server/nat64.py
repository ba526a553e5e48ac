"""The way to IPv4-only servers from a host that has IPv6 alone: through the network's NAT64.

Where there is a route to IPv4 none of this happens. Where there is none, the network's resolvers
are asked for AAAA of ipv4only.arpa, which only a DNS64 answers, and the answer tells the prefix.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.resolver.dns64 import IPV4ONLY, told_prefix
from quada.transport.client import Client
from quada.wire.ask import Ask, Endpoint, Reply
from quada.wire.faults import MalformedMessage
from quada.wire.skim import skim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.resolver.dns64 import Prefix

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_SERVERS_MAX: Final = 3  # resolv.conf(5): as many as its readers take
_PATIENCE_S: Final = 3.0
_FAR: Final = ("198.41.0.4", 53)  # a root server: nothing is sent, only the route is looked at


def has_ipv4_route() -> bool:
    """Tell whether this host could send to the IPv4 internet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(_FAR)
        except OSError:
            return False
    return True


def read_nameservers(file: Path) -> list[str]:
    """Read the addresses in a file like resolv.conf(5); none where it cannot be read."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]


def system_resolvers(file: Path = _RESOLV_CONF) -> list[str]:
    """Give the addresses of the resolvers this host uses."""
    return read_nameservers(file)[:_SERVERS_MAX]


async def discover_prefix(servers: Iterable[str], port: int = 53) -> Prefix | None:
    """Ask resolvers for the NAT64 prefix (RFC 7050 3); None where none of them knows one."""
    question = IPV4ONLY + codes.AAAA.to_bytes(2, "big") + b"\x00\x01"
    query = b"\x71\x46\x01\x00\x00\x01" + bytes(6) + question
    for server in servers:
        outcome = await Client().perform(Ask(Endpoint(server, port), query, _PATIENCE_S))
        if not isinstance(outcome, Reply):
            continue
        try:
            answer = skim(outcome.message).answer
        except MalformedMessage:
            continue
        told = (
            told_prefix(r.rdata) for r in answer if r.rdtype == codes.AAAA and len(r.rdata) == 16
        )
        found = next((prefix for prefix in told if prefix is not None), None)
        if found is not None:
            return found
    return None
