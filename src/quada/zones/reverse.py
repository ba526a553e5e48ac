"""Reverse zones made from forward zones and an address plan, and kept in step with them.

ip6.arpa zones are cut at nibbles: a prefix that ends inside a nibble becomes the set of zones that
covers it exactly. In in-addr.arpa a prefix longer than /24 is a classless zone (RFC 2317).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import ConfigFault, DataFault
from quada.wire.records import Record
from quada.zones.check_reverse import reverse_address, reverse_name
from quada.zones.rdata import read_name
from quada.zones.rules import target_of
from quada.zones.zone import Change, Zone, find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Network = IPv6Network | IPv4Network
_TIMERS: Final = (3600, 900, 1209600, 300)  # RFC 1912 2.2, and RFC 2308 5 for the last


class Delegation(NamedTuple):
    """A part of a prefix that somebody else serves."""

    network: Network
    servers: tuple[bytes, ...]


class Prefix(NamedTuple):
    """A prefix we serve the reverse of: its servers, mailbox, TTL, and parts given away."""

    network: Network
    servers: tuple[bytes, ...]
    mailbox: bytes
    ttl_s: int
    delegations: tuple[Delegation, ...]


class Plan(NamedTuple):
    """The address plan: prefixes, and which name the PTR of a shared address carries."""

    prefixes: tuple[Prefix, ...]
    chosen: dict[bytes, bytes]


class Drift(NamedTuple):
    """One difference: `missing`, `stale` or `wrong` PTR; `foreign` ones are kept as they are."""

    kind: str
    zone: bytes
    owner: bytes
    address: bytes
    have: tuple[bytes, ...]
    want: bytes | None


def read_plan(data: dict[str, Any], place: str = "plan") -> Plan:
    """Read a plan from TOML data (docs/reverse.md). Raises: ConfigFault with the key path."""
    prefixes = []
    try:
        for index, entry in enumerate(data["prefix"]):
            at = f"{place}: prefix[{index}]"
            servers = _servers(entry, at)
            mailbox = read_name(str(entry.get("mailbox", "hostmaster")), names.parent(servers[0]))
            given = tuple(
                Delegation(_network(part["network"], at), _servers(part, at))
                for part in entry.get("delegation", ())
            )
            network = _network(entry["network"], at)
            for part in given:
                # Types differ between families, which supernet_of refuses with TypeError.
                if part.network.version != network.version or not part.network.subnet_of(
                    network  # type: ignore[arg-type]
                ):
                    raise ConfigFault(f"{part.network} is not inside {network}", place=at)
            prefixes.append(Prefix(network, servers, mailbox, int(entry.get("ttl", 300)), given))
        chosen = {
            ip_address(address).packed: read_name(str(name), names.ROOT).lower()
            for address, name in data.get("names", {}).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, DataFault) as error:
        raise ConfigFault(
            f"the plan cannot be read: {error}",
            place=place,
            remedy="a plan has [[prefix]] with network and servers",
        ) from error
    return Plan(tuple(prefixes), chosen)


def _network(text: str, place: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigFault(str(error), place=place, remedy="write 2001:db8:10::/48") from error


def _servers(entry: dict[str, Any], place: str) -> tuple[bytes, ...]:
    servers = tuple(read_name(str(name), names.ROOT).lower() for name in entry["servers"])
    if not servers:
        raise ConfigFault("servers is empty", place=place, remedy="name at least two")
    return servers


def zone_names(network: Network) -> list[bytes]:
    """Give the names of the reverse zones that cover a prefix exactly (RFC 3596 2.5, RFC 2317).

    A /50 gives the four /52 zones; 192.0.2.0/26 gives `0/26.2.0.192.in-addr.arpa.`.
    """
    step = 4 if network.version == 6 else 8
    if network.version == 4 and network.prefixlen > 24:
        first = int(network.network_address) & 0xFF
        label = f"{first}/{network.prefixlen}".encode()
        rest = reverse_name(network.network_address.packed)
        return [bytes((len(label),)) + label + names.parent(rest)]
    length = -(-network.prefixlen // step) * step
    drop = (network.max_prefixlen - length) // step
    out = []
    for part in network.subnets(new_prefix=length):
        name = reverse_name(part.network_address.packed)
        for _ in range(drop):
            name = names.parent(name)
        out.append(name)
    return out


def make_zones(plan: Plan, forwards: Iterable[Zone], serial: int) -> list[Zone]:
    """Make every reverse zone of a plan from forward data."""
    wanted = _wanted(plan, list(forwards), {})
    return [
        Zone.build(origin, [*_frame(prefix, origin, serial), *_pointers(prefix, origin, wanted)])
        for prefix in plan.prefixes
        for origin in zone_names(prefix.network)
    ]


def drift(plan: Plan, forwards: Iterable[Zone], reverses: Iterable[Zone]) -> list[Drift]:
    """Compare reverse zones with what the forward zones and the plan ask for."""
    known = list(forwards)
    existing = {zone.origin: zone for zone in reverses}
    wanted = _wanted(plan, known, existing)
    out = []
    for prefix in plan.prefixes:
        for origin in zone_names(prefix.network):
            zone = existing.get(origin) or Zone.build(origin, [])
            want = {r.owner: (r.rdata, a) for r, a in _addressed(prefix, origin, wanted)}
            for owner, (target, address) in want.items():
                rrset = zone.rrset(owner, codes.PTR)
                have = rrset.rdatas if rrset else ()
                if target not in {rdata.lower() for rdata in have}:
                    kind = "wrong" if have else "missing"
                    out.append(Drift(kind, origin, owner, address, have, target))
            out += _stale(zone, want.keys(), known)
    return out


def repair(zone: Zone, drifts: Iterable[Drift], ttl_s: int = 300) -> Zone:
    """Mend a reverse zone: its other records stay, the serial goes one up where anything changed.

    A wrong PTR whose names all lie in our forward zones is replaced; `foreign` ones stay.
    """
    removed: list[Record] = []
    added: list[Record] = []
    for found in drifts:
        if found.zone != zone.origin or found.kind == "foreign":
            continue
        removed += [Record(found.owner, codes.PTR, ttl_s, rdata) for rdata in found.have]
        if found.want is not None:
            added.append(Record(found.owner, codes.PTR, ttl_s, found.want))
    soa = zone.soa
    if not removed and not added:
        return zone
    if soa is not None:
        old = soa.rdatas[0]
        serial = (zone.serial + 1) & 0xFFFFFFFF or 1
        removed.append(Record(zone.origin, codes.SOA, soa.ttl, old))
        new = old[:-20] + serial.to_bytes(4, "big") + old[-16:]
        added.append(Record(zone.origin, codes.SOA, soa.ttl, new))
    return zone.changed(Change(tuple(removed), tuple(added)))


def _stale(zone: Zone, wanted: Iterable[bytes], forwards: list[Zone]) -> Iterator[Drift]:
    """Give PTRs that nothing asks for: stale where their names are ours, foreign elsewhere."""
    wanted = set(wanted)
    for owner, node in zone.nodes.items():
        rrset = find(node, codes.PTR)
        if rrset is None or owner in wanted:
            continue
        targets = [target_of(codes.PTR, rdata) or names.ROOT for rdata in rrset.rdatas]
        is_ours = all(any(names.is_subdomain(t, f.origin) for f in forwards) for t in targets)
        kind = "stale" if is_ours else "foreign"
        yield Drift(kind, zone.origin, owner, reverse_address(owner) or b"", rrset.rdatas, None)


def _wanted(plan: Plan, forwards: list[Zone], existing: dict[bytes, Zone]) -> dict[bytes, bytes]:
    """Choose the PTR name of every address: the plan's word, what is there, the shortest name."""
    owners: dict[bytes, list[bytes]] = {}
    for zone in forwards:
        for owner, node in zone.nodes.items():
            if owner[:2] == b"\x01*":
                continue
            for rdtype in (codes.AAAA, codes.A):
                rrset = find(node, rdtype)
                for rdata in rrset.rdatas if rrset else ():
                    owners.setdefault(rdata, []).append(owner)
    present = {}
    for zone in existing.values():
        for owner, node in zone.nodes.items():
            rrset = find(node, codes.PTR)
            if rrset is not None:
                present[owner] = rrset.rdatas[0].lower()
    out = {}
    for address, candidates in owners.items():
        kept = present.get(reverse_name(address))
        best = min(candidates, key=lambda name: (names.label_count(name), len(name), name))
        out[address] = plan.chosen.get(address) or (kept if kept in candidates else best)
    return out


def _frame(prefix: Prefix, origin: bytes, serial: int) -> Iterator[Record]:
    """Give SOA, NS and delegations of a reverse zone."""
    ttl_s = prefix.ttl_s
    numbers = struct.pack("!IIIII", serial, *_TIMERS)
    yield Record(origin, codes.SOA, ttl_s, prefix.servers[0] + prefix.mailbox + numbers)
    for server in prefix.servers:
        yield Record(origin, codes.NS, ttl_s, server)
    for part in prefix.delegations:
        for name in zone_names(part.network):
            if name == origin or not names.is_subdomain(name, origin):
                continue
            for server in part.servers:
                yield Record(name, codes.NS, ttl_s, server)
            if part.network.version == 4 and part.network.prefixlen > 24:
                # RFC 2317 4: each address of the range is an alias into the delegated zone.
                for address in part.network:
                    owner = reverse_name(address.packed)
                    label = owner[: owner[0] + 1]
                    yield Record(owner, codes.CNAME, ttl_s, label + name)


def _pointers(prefix: Prefix, origin: bytes, wanted: dict[bytes, bytes]) -> Iterator[Record]:
    for record, _ in _addressed(prefix, origin, wanted):
        yield record


def _addressed(
    prefix: Prefix, origin: bytes, wanted: dict[bytes, bytes]
) -> Iterator[tuple[Record, bytes]]:
    """Give the PTRs of one zone with their addresses, less what is delegated."""
    version = prefix.network.version
    is_classless = version == 4 and prefix.network.prefixlen > 24
    for address, target in wanted.items():
        if len(address) != (16 if version == 6 else 4):
            continue
        value = ip_address(address)
        if value not in prefix.network or any(value in p.network for p in prefix.delegations):
            continue
        owner = reverse_name(address)
        if is_classless:
            owner = owner[: owner[0] + 1] + origin
        if names.is_subdomain(owner, origin):
            yield Record(owner, codes.PTR, prefix.ttl_s, target), address
