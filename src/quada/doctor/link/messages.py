"""The messages of a link: router advertisements (RFC 4861) and DHCPv6 (RFC 8415).

What is wrong inside a message is told, never raised: hosts drop such messages in silence, so a
person must hear of it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import quada.wire.names as names
from quada.doctor.link.facts import Encrypted, Lease, Link, Offered, Prefix, Router
from quada.wire.faults import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOLICITATION: Final = b"\x85\x00\x00\x00\x00\x00\x00\x00"  # the kernel fills in the checksum
ROUTER_ADVERT: Final = 134
ALL_ROUTERS: Final = "ff02::2"
ALL_DHCP: Final = "ff02::1:2"
CLIENT_PORT: Final = 546
SERVER_PORT: Final = 547
SOLICIT, ADVERTISE, REPLY, INFORMATION_REQUEST = 1, 2, 7, 11
_OPTIONS_MAX: Final = 256  # our choice: more in one message is an attack
_WANTED: Final = (23, 24, 144)
_PREF64_LENGTHS: Final = (96, 64, 56, 48, 40, 32)  # RFC 8781 4
_STATUS: Final = {1: "UnspecFail", 2: "NoAddrsAvail", 3: "NoBinding", 4: "NotOnLink"}


@dataclass(slots=True)
class Heard:
    """One message as it came: from whom, to whom, when (Unix seconds), with which hop limit.

    `kind` is `ra` or `dhcpv6`; `octets` are the ICMPv6 or the UDP payload, in hex.
    """

    kind: str
    source: str
    octets: str
    at: float = 0.0
    hop_limit: int = 255
    is_multicast: bool = False


def make_link(place: str, heard: Iterable[Heard], **known: Any) -> Link:
    """Make a link of what was heard on it; of each router the last word counts."""
    link = Link(place, **known)
    routers: dict[str, Router] = {}
    last: dict[str, float] = {}
    leases: dict[tuple[str, bool], Lease] = {}
    for one in sorted(heard, key=lambda one: one.at):
        octets = bytes.fromhex(one.octets)
        if one.kind == "ra":
            router = parse_advert(octets, one.source, one.hop_limit)
            before = routers.get(one.source)
            if before is not None and router.interval_s is None:
                router.interval_s = before.interval_s
            if one.is_multicast and one.source in last:
                gap = round(one.at - last[one.source])
                router.interval_s = max(gap, router.interval_s or 0) or None
            if one.is_multicast:
                last[one.source] = one.at
            routers[one.source] = router
        else:
            lease = parse_dhcpv6(octets, one.source)
            if lease is not None:
                leases[one.source, lease.is_stateful] = lease
    link.routers, link.leases = list(routers.values()), list(leases.values())
    return link


def parse_advert(octets: bytes, source: str, hop_limit: int = 255) -> Router:
    """Parse a router advertisement: the ICMPv6 message from its type on. Never raises."""
    router = Router(source)
    address = ipaddress.IPv6Address(source)
    if not address.is_link_local:
        router.faults.append("its source is not link-local (RFC 4861 6.1.2)")
    if hop_limit != 255:
        router.faults.append(f"its hop limit is {hop_limit}, not 255 (RFC 4861 6.1.2)")
    if len(octets) < 16 or octets[0] != ROUTER_ADVERT or octets[1]:
        router.faults.append("it is shorter than 16 octets, or of another type or code")
        return router
    flags = octets[5]
    router.is_managed, router.is_other = bool(flags & 0x80), bool(flags & 0x40)
    router.lifetime_s = int.from_bytes(octets[6:8], "big")
    at = 16
    for _ in range(_OPTIONS_MAX):
        if at >= len(octets):
            break
        size = octets[at + 1] * 8 if at + 1 < len(octets) else 0
        if not size or at + size > len(octets):
            router.faults.append(f"an option at octet {at} has an impossible length")
            break
        option = octets[at : at + size]
        try:
            _advert_option(router, option)
        except (MalformedMessage, ValueError, IndexError) as error:
            router.faults.append(f"option {option[0]} cannot be read: {error}")
        at += size
    return router


def _advert_option(router: Router, option: bytes) -> None:
    kind = option[0]
    if kind == 3:
        _need(option, 32)
        router.prefixes.append(
            Prefix(
                _address(option[16:32]), option[2], bool(option[3] & 0x40), bool(option[3] & 0x80),
                int.from_bytes(option[4:8], "big"), int.from_bytes(option[8:12], "big"),
            )
        )  # fmt: skip
    elif kind == 5:
        _need(option, 8)
        router.mtu = int.from_bytes(option[4:8], "big")
    elif kind == 7:  # RFC 6275 7.3, in milliseconds
        _need(option, 8)
        router.interval_s = -(-int.from_bytes(option[4:8], "big") // 1000)
    elif kind == 25:
        _need(option, 24)
        if (len(option) - 8) % 16:
            raise MalformedMessage("its length is even (RFC 8106 5.3.1)")
        router.resolvers.append(Offered(_addresses(option[8:]), _lifetime(option)))
    elif kind == 31:
        router.search.append(Offered(tuple(_domains(option[8:])), _lifetime(option)))
    elif kind == 37:
        router.portal = option[2:].rstrip(b"\0").decode("ascii")
    elif kind == 38:
        _need(option, 16)
        scaled = int.from_bytes(option[2:4], "big")
        length = _PREF64_LENGTHS[scaled & 7]
        prefix = f"{_address(option[4:16] + bytes(4))}/{length}"
        router.pref64.append(Offered((prefix,), (scaled >> 3) * 8))
    elif kind == 144:
        _need(option, 16)
        router.encrypted.append(_encrypted(option[2:4] + option[8:], is_advert=True))


def compose_request(kind: int, transaction: bytes, duid: bytes) -> bytes:
    """Compose Information-request or Solicit. `transaction` is 3 octets, `duid` ours.

    Nothing is taken: a Solicit without Rapid Commit and Request reserves no address.
    """
    wanted = b"".join(code.to_bytes(2, "big") for code in _WANTED)
    options = [(6, wanted), (8, bytes(2)), (1, duid)]
    if kind == SOLICIT:
        options.append((3, transaction + b"\x01" + bytes(8)))
    return bytes([kind]) + transaction + b"".join(
        code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for code, data in options
    )  # fmt: skip


def parse_dhcpv6(octets: bytes, source: str) -> Lease | None:
    """Parse an Advertise or Reply; None for another message. Never raises."""
    if len(octets) < 4 or octets[0] not in (ADVERTISE, REPLY):
        return None
    lease = Lease(source, is_stateful=octets[0] == ADVERTISE)
    try:
        for code, data in _dhcp_options(octets[4:]):
            if code == 3:
                lease.is_stateful = True
                _identity(lease, data[12:])
            elif code == 13:
                lease.status = _status(data)
            elif code == 23:
                lease.resolvers += _addresses(data)
            elif code == 24:
                lease.search += _domains(data)
            elif code == 144:
                lease.encrypted.append(_encrypted(data))
    except (MalformedMessage, ValueError, IndexError) as error:
        lease.faults.append(f"it cannot be read: {error}")
    return lease


def _identity(lease: Lease, options: bytes) -> None:
    for code, data in _dhcp_options(options):
        if code == 5:
            lease.addresses.append(_address(data[:16]))
        elif code == 13:
            lease.status = _status(data)


def _dhcp_options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(_OPTIONS_MAX):
        if at >= len(octets):
            return
        code, size = int.from_bytes(octets[at : at + 2], "big"), octets[at + 2 : at + 4]
        end = at + 4 + int.from_bytes(size, "big")
        if len(size) < 2 or end > len(octets):
            raise MalformedMessage(f"option {code} is longer than the message")
        yield code, octets[at + 4 : end]
        at = end


def _status(data: bytes) -> str:
    code = int.from_bytes(data[:2], "big")
    return "" if not code else _STATUS.get(code, f"status {code}")


def _encrypted(data: bytes, *, is_advert: bool = False) -> Encrypted:
    """Priority, name, addresses, parameters (RFC 9463 4.1; in adverts they are counted, 6.1)."""
    priority, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    found = list(_domains(data[4 : 4 + size]))
    if len(found) != 1 or 4 + size > len(data):
        raise MalformedMessage("its authentication domain name is not one name")
    addresses, rest = _counted(data[4 + size :])
    params = _counted(rest)[0] if is_advert else rest
    return Encrypted(found[0], _addresses(addresses), priority, params)


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """Take a field that its length in 2 octets precedes; gives it and the rest."""
    end = 2 + int.from_bytes(data[:2], "big")
    if end > max(2, len(data)):
        raise MalformedMessage("a field is longer than the option")
    return data[2:end], data[end:]


def compose_encrypted(one: Encrypted) -> bytes:
    """Compose a DHCPv6 option 144's data: what servers must be told to send (RFC 9463 4.1)."""
    name = names.from_text(one.name)
    addresses = b"".join(ipaddress.IPv6Address(address).packed for address in one.addresses)
    return (
        one.priority.to_bytes(2, "big")
        + len(name).to_bytes(2, "big") + name
        + len(addresses).to_bytes(2, "big") + addresses
        + one.params
    )  # fmt: skip


def _need(option: bytes, size: int) -> None:
    if len(option) < size:
        raise MalformedMessage(f"{len(option)} octets where {size} are needed")


def _lifetime(option: bytes) -> int:
    return int.from_bytes(option[4:8], "big")


def _address(octets: bytes) -> str:
    return str(ipaddress.IPv6Address(octets))


def _addresses(octets: bytes) -> tuple[str, ...]:
    if len(octets) % 16:
        raise MalformedMessage("its addresses are no multiple of 16 octets")
    return tuple(_address(octets[at : at + 16]) for at in range(0, len(octets), 16))


def _domains(octets: bytes) -> Iterator[str]:
    """Names without compression, one after another, zeros as padding (RFC 1035 3.1)."""
    at = 0
    while at < len(octets) and octets[at]:
        end = at
        while octets[end]:
            if octets[end] > 63:
                raise MalformedMessage("a name is compressed")
            end += octets[end] + 1
        yield names.to_text(octets[at : end + 1])
        at = end + 1
