"""Response policy from a zone: names and addresses that are answered otherwise, or not at all.

A policy zone is written like any zone (the "RPZ" form of draft-vixie-dnsop-dns-rpz): the owner
below the zone's apex is the trigger, the data is what happens. Compiled once, found by walking
labels.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.wire.records import RRset
    from quada.zones.zone import Node, Zone

_IP: Final = b"rpz-ip"
_CLIENT_IP: Final = b"rpz-client-ip"
_UNSUPPORTED: Final = (b"rpz-nsdname", b"rpz-nsip")
_WILD: Final = b"\x01*\x00"  # CNAME *. : no such data
_PASSTHRU: Final = names.from_text("rpz-passthru.")
_DROP: Final = names.from_text("rpz-drop.")
_TCP_ONLY: Final = names.from_text("rpz-tcp-only.")


class Kind(StrEnum):
    """What a policy does."""

    PASSTHRU = "passthru"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    DROP = "drop"
    TCP_ONLY = "tcp-only"
    CNAME = "cname"
    LOCAL_DATA = "local-data"


class Action(NamedTuple):
    """What happens, and why: the zone and trigger for the event and the EDE text.

    `target` is set for CNAME: where it leads, made whole from the question where it is a wildcard.
    """

    kind: Kind
    zone: bytes
    trigger: bytes
    node: Node = ()
    target: bytes = b""

    def rrset(self, qtype: int) -> RRset | None:
        """Give the local data of a type; None means NODATA."""
        return next((rrset for rrset in self.node if rrset.rdtype == qtype), None)

    @property
    def reason(self) -> str:
        """Say it for the event and the client."""
        trigger, zone = names.to_text(self.trigger), names.to_text(self.zone)
        return f"policy {zone} has {self.kind} for {trigger}"


class Policy:
    """One compiled policy zone."""

    def __init__(self, zone: Zone) -> None:
        """Compile a zone; `ignored` names the triggers that cannot be followed."""
        self.origin = zone.origin
        self.ignored: list[str] = []
        self._names: dict[bytes, Action] = {}
        self._wild: dict[bytes, Action] = {}
        self._addresses: dict[tuple[int, int], dict[int, Action]] = {}
        self._clients: dict[tuple[int, int], dict[int, Action]] = {}
        for owner, node in zone.nodes.items():
            if owner != zone.origin and node:
                self._take(owner, node)

    def _take(self, owner: bytes, node: Node) -> None:
        trigger = owner[: -len(self.origin)] + names.ROOT
        labels = names.split(trigger)
        action = _action(self.origin, trigger, node)
        if labels[-1] in (_IP, _CLIENT_IP):
            net = _read_net(labels[:-1])
            if net is None:
                self.ignored.append(names.to_text(owner))
                return
            octets, length, bits = net
            table = self._addresses if labels[-1] == _IP else self._clients
            table.setdefault((octets, length), {})[bits] = action
        elif labels[-1] in _UNSUPPORTED:
            self.ignored.append(names.to_text(owner))
        elif labels[0] == b"*":
            self._wild[names.parent(trigger)] = action
        else:
            self._names[trigger] = action

    @property
    def has_address_triggers(self) -> bool:
        """True where answers must be looked at, not questions alone."""
        return bool(self._addresses)

    def for_name(self, qname: bytes) -> Action | None:
        """Give what happens to a question: the exact name first, then the nearest wildcard."""
        action = self._names.get(qname)
        name = qname
        while action is None and name != names.ROOT:
            name = names.parent(name)
            action = self._wild.get(name)
        if action is not None and action.target[:2] == b"\x01*":
            whole = qname[:-1] + action.target[2:]
            fits = len(whole) <= names.MAX_NAME_OCTETS
            return action._replace(target=whole) if fits else action._replace(kind=Kind.NXDOMAIN)
        return action

    def for_client(self, address: bytes) -> Action | None:
        """Give what happens to a client's questions (16 or 4 octets)."""
        return _longest(self._clients, address)

    def for_answer(self, addresses: Iterable[bytes]) -> Action | None:
        """Give what happens to an answer with these A or AAAA."""
        if not self._addresses:
            return None
        for address in addresses:
            action = _longest(self._addresses, address)
            if action is not None:
                return action
        return None


def _action(zone: bytes, trigger: bytes, node: Node) -> Action:
    cname = next((rrset for rrset in node if rrset.rdtype == codes.CNAME), None)
    if cname is None:
        return Action(Kind.LOCAL_DATA, zone, trigger, node)
    target = cname.rdatas[0].lower()
    kinds = {
        names.ROOT: Kind.NXDOMAIN,
        _WILD: Kind.NODATA,
        _PASSTHRU: Kind.PASSTHRU,
        _DROP: Kind.DROP,
        _TCP_ONLY: Kind.TCP_ONLY,
    }
    kind = kinds.get(target)
    if kind is None and target == trigger:  # the old way to write passthru
        kind = Kind.PASSTHRU
    return Action(kind, zone, trigger) if kind else Action(Kind.CNAME, zone, trigger, node, target)


def _read_net(labels: list[bytes]) -> tuple[int, int, int] | None:
    """Read `24.0.2.0.192` or `32.zz.db8.2001`: octets of the family, length, bits."""
    try:
        length, parts = int(labels[0]), [label.decode("ascii") for label in reversed(labels[1:])]
        if len(parts) == 4 and "zz" not in parts:
            address: ipaddress.IPv4Address | ipaddress.IPv6Address
            address = ipaddress.IPv4Address(".".join(parts))
        else:
            text = ":".join("" if part == "zz" else part for part in parts)
            # A `zz` at either end stands for `::` there.
            text = f":{text}" if text.startswith(":") else text
            text = f"{text}:" if text.endswith(":") else text
            address = ipaddress.IPv6Address(text)
    except (ValueError, IndexError):
        return None
    size = address.max_prefixlen
    if not 0 < length <= size or int(address) & ((1 << size - length) - 1):
        return None
    return size // 8, length, int(address) >> size - length


def _longest(table: dict[tuple[int, int], dict[int, Action]], address: bytes) -> Action | None:
    bits = int.from_bytes(address, "big")
    size = len(address)
    lengths = sorted((length for octets, length in table if octets == size), reverse=True)
    for length in lengths:
        action = table[size, length].get(bits >> size * 8 - length)
        if action is not None:
            return action
    return None
