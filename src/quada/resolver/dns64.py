"""DNS64: AAAA made from A, for clients that have IPv6 only (RFC 6147, prefixes RFC 6052).

Two steps, both pure: `judge` looks at how the AAAA lookup ended and says keep, filter or
synthesize; `synthesize` takes how the A lookup ended. What is made is marked, and a failed AAAA
lookup is never hidden without a word: by default it stays a failure.
"""

from __future__ import annotations

import ipaddress
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.telemetry.event import Provenance, Validation
from quada.wire.faults import ConfigFault
from quada.wire.records import RRset

if TYPE_CHECKING:
    from collections.abc import Iterable

EDE_SYNTHESIZED: Final = 29  # IANA "Extended DNS Error Codes": Synthesized
PREFIX_LENGTHS: Final = (32, 40, 48, 56, 64, 96)  # RFC 6052 2.2
NO_SOA_TTL_S: Final = 600  # RFC 6147 5.1.7, where the negative answer had no SOA
MAX_ADDRESSES: Final = 64  # our choice: A records times prefixes in one answer
_U_OCTET: Final = 8  # bits 64 to 71 stay zero (RFC 6052 2.2)
MAPPED: Final = "::ffff:0:0/96"  # RFC 6147 5.1.4: never an answer

IPV4ONLY: Final = names.from_text("ipv4only.arpa.")
IPV4ONLY_ADDRESSES: Final = (b"\xc0\x00\x00\xaa", b"\xc0\x00\x00\xab")  # RFC 7050 2.2
IPV4ONLY_TTL_S: Final = 86_400
_IP6_ARPA: Final = names.from_text("ip6.arpa.")
_IN_ADDR_ARPA: Final = names.from_text("in-addr.arpa.")


class Net(NamedTuple):
    """An address prefix as integers, of either family."""

    octets: int
    bits: int
    mask: int

    def holds(self, address: bytes) -> bool:
        """Tell whether an address of 16 or 4 octets lies in the prefix."""
        return (
            len(address) == self.octets and int.from_bytes(address, "big") & self.mask == self.bits
        )


def read_net(text: str, place: str = "dns64") -> Net:
    """Read `2001:db8::/32` or `192.0.2.0/24`. Raises ConfigFault."""
    try:
        net = ipaddress.ip_network(text)
    except ValueError as fault:
        raise ConfigFault(f"{text!r} is not an address prefix: {fault}", place=place) from None
    return Net(net.max_prefixlen // 8, int(net.network_address), int(net.netmask))


class Prefix(NamedTuple):
    """A NAT64 prefix: its 16 octets, zero behind its length, and the length in bits."""

    octets: bytes
    length: int

    def synthesize(self, ipv4: bytes) -> bytes:
        """Put an IPv4 address into the prefix (RFC 6052 2.2)."""
        out = bytearray(self.octets)
        at = self.length // 8
        for octet in ipv4:
            at += at == _U_OCTET
            out[at] = octet
            at += 1
        return bytes(out)

    def through(self, address: str) -> str:
        """Give in words the address by which an IPv4 address in words is reached."""
        ipv4 = ipaddress.IPv4Address(address).packed
        return str(ipaddress.IPv6Address(self.synthesize(ipv4)))

    def extract(self, ipv6: bytes) -> bytes | None:
        """Give the IPv4 address in a synthesized one; None for an address not of this prefix."""
        at = self.length // 8
        if ipv6[:at] != self.octets[:at]:
            return None
        out = bytearray()
        for _ in range(4):
            at += at == _U_OCTET
            out.append(ipv6[at])
            at += 1
        ipv4 = bytes(out)
        return ipv4 if self.synthesize(ipv4) == ipv6 else None

    def __str__(self) -> str:
        return f"{ipaddress.IPv6Address(self.octets)}/{self.length}"


def read_prefix(text: str, place: str = "dns64.prefix") -> Prefix:
    """Read a NAT64 prefix such as `64:ff9b::/96`. Raises ConfigFault with the lengths that fit."""
    try:
        net = ipaddress.IPv6Network(text)
    except ValueError as fault:
        raise ConfigFault(f"{text!r} is not an IPv6 prefix: {fault}", place=place) from None
    if net.prefixlen not in PREFIX_LENGTHS:
        lengths = ", ".join(f"/{length}" for length in PREFIX_LENGTHS)
        raise ConfigFault(
            f"{text} has a length that NAT64 does not know", place=place, remedy=f"use {lengths}"
        )
    octets = net.network_address.packed
    if octets[_U_OCTET]:
        raise ConfigFault(
            f"{text} sets bits 64 to 71", place=place, remedy="they must be zero (RFC 6052 2.2)"
        )
    return Prefix(octets, net.prefixlen)


class OnFailure(StrEnum):
    """What becomes of a name whose AAAA lookup failed."""

    KEEP = "servfail"  # the failure is the answer
    SYNTHESIZE = "synthesize"  # RFC 6147 5.1.2, marked as masking


class Rule(NamedTuple):
    """Who gets DNS64, with which prefixes, for which names. The first that fits a client rules.

    `clients` empty means everybody. Of `only` and `never` the longest name that holds the question
    decides; `only` empty means every name. `excluded` are AAAA that count as absent, `never_from`
    A that nothing is made of. `withholds_secure` gives a client that set DO the signed NODATA.
    """

    prefixes: tuple[Prefix, ...]
    clients: tuple[Net, ...] = ()
    only: frozenset[bytes] = frozenset()
    never: frozenset[bytes] = frozenset()
    excluded: tuple[Net, ...] = (read_net(MAPPED),)
    never_from: tuple[Net, ...] = ()
    on_failure: OnFailure = OnFailure.KEEP
    withholds_secure: bool = False

    def fits_name(self, qname: bytes) -> bool:
        """Tell whether names are synthesized at or below this one."""
        name = qname
        while True:
            if name in self.never:
                return False
            if name in self.only:
                return True
            if name == names.ROOT:
                return not self.only
            name = names.parent(name)


def choose(rules: Iterable[Rule], client: bytes) -> Rule | None:
    """Give the rule for a client address (16 or 4 octets); None where it gets no DNS64."""
    for rule in rules:
        if not rule.clients or any(net.holds(client) for net in rule.clients):
            return rule
    return None


class Looked(NamedTuple):
    """How a lookup ended: rcode, the RRset at the end of the chain, and what validation said.

    `negative_ttl` is what the SOA allows a negative answer. A lookup that got no answer at all has
    rcode SERVFAIL (RFC 6147 5.1.3).
    """

    rcode: int
    rrset: RRset | None = None
    validation: Validation = Validation.UNTRIED
    negative_ttl: int | None = None


class Choice(Enum):
    """What to do with an AAAA lookup's outcome."""

    KEEP = "keep"  # answer with it, as it is
    FILTER = "filter"  # answer with the AAAA in `Judged.rrset`
    SYNTHESIZE = "synthesize"  # look A up, then `synthesize`


class Judged(NamedTuple):
    """The choice; whether synthesis would hide a failure; the reason in words for the event."""

    choice: Choice
    reason: str
    is_masking: bool = False
    rrset: RRset | None = None


def judge(rule: Rule, qname: bytes, aaaa: Looked, *, is_do: bool, is_cd: bool) -> Judged:
    """Judge the outcome of an AAAA lookup for a client that the rule fits.

    RFC: 6147 5.1 and 5.5
    Deviation: 5.1.2 and 5.1.3 treat a failure as an empty answer; by default we keep it, because a
    client that is given a made-up address never learns that the real one is broken.
    """
    if not rule.fits_name(qname):
        return Judged(Choice.KEEP, "the rule leaves this name out")
    if is_do and is_cd:  # RFC 6147 5.5, third case: the client validates itself
        return Judged(Choice.KEEP, "the client set DO and CD and validates itself")
    if aaaa.validation is Validation.BOGUS:
        return Judged(Choice.KEEP, "AAAA is bogus, and bogus is never synthesized over")
    if aaaa.rcode == codes.NXDOMAIN:
        return Judged(Choice.KEEP, "there is no such name")
    if aaaa.rcode != codes.NOERROR:
        if rule.on_failure is OnFailure.KEEP:
            return Judged(Choice.KEEP, "the AAAA lookup failed, and failures are kept")
        return Judged(Choice.SYNTHESIZE, "the AAAA lookup failed; synthesis masks that", True)
    if aaaa.rrset is not None:
        return _judge_present(rule, aaaa.rrset)
    return _judge_absent(rule, aaaa, is_do=is_do)


def _judge_present(rule: Rule, rrset: RRset) -> Judged:
    kept = tuple(r for r in rrset.rdatas if not any(net.holds(r) for net in rule.excluded))
    if len(kept) == len(rrset.rdatas):
        return Judged(Choice.KEEP, "the name has AAAA of its own")
    if kept:  # RFC 6147 5.1.4: each record by itself
        reason = "excluded AAAA are left out"
        return Judged(Choice.FILTER, reason, rrset=rrset._replace(rdatas=kept))
    return Judged(Choice.SYNTHESIZE, "every AAAA of the name is excluded")


def _judge_absent(rule: Rule, aaaa: Looked, *, is_do: bool) -> Judged:
    if is_do and rule.withholds_secure and aaaa.validation is Validation.SECURE:
        return Judged(Choice.KEEP, "the absence of AAAA is signed, and the client set DO")
    return Judged(Choice.SYNTHESIZE, "the name has no AAAA")


class Made(NamedTuple):
    """A synthesized answer: AAAA, what the event says of it, and the EDE text for the client.

    It carries no signature, and AD must be clear (RFC 6147 5.5).
    """

    rrset: RRset
    provenance: Provenance
    ede_text: str
    is_masking: bool


def synthesize(rule: Rule, aaaa: Looked, a: Looked, *, is_masking: bool = False) -> Made | None:
    """Make AAAA from A; None where there is nothing to make, and the AAAA outcome is the answer.

    (Less excluded AAAA: a name that has no others then has none.)
    Bogus A make nothing. The TTL is the lesser of the A's and the negative answer's.
    RFC: 6147 5.1.6 and 5.1.7
    """
    if a.rrset is None or a.rcode != codes.NOERROR or a.validation is Validation.BOGUS:
        return None
    fit = [
        r for r in a.rrset.rdatas if len(r) == 4 and not any(n.holds(r) for n in rule.never_from)
    ]
    made = tuple(prefix.synthesize(ipv4) for prefix in rule.prefixes for ipv4 in fit)
    if not made:
        return None
    limit = NO_SOA_TTL_S if aaaa.negative_ttl is None else aaaa.negative_ttl
    sources = ", ".join(str(ipaddress.IPv4Address(ipv4)) for ipv4 in fit[:4])
    text = f"DNS64 {', '.join(str(prefix) for prefix in rule.prefixes)} from {sources}"
    if is_masking:
        text = f"{text}; the AAAA lookup failed"
    rrset = RRset(codes.AAAA, min(a.rrset.ttl, limit), made[:MAX_ADDRESSES])
    return Made(rrset, Provenance.DNS64, text, is_masking)


# --------------------------------------------------------------- names that DNS64 answers itself


def ipv4only(rule: Rule, qname: bytes, qtype: int) -> Looked | None:
    """Answer for ipv4only.arpa and below, the name by which hosts find the prefix.

    Gives None for other names, and for DS, which belongs to the parent zone.
    RFC: 7050 3, 8880 7.1
    """
    if not names.is_subdomain(qname, IPV4ONLY) or qtype == codes.DS:
        return None
    if qname != IPV4ONLY:
        return Looked(codes.NXDOMAIN, negative_ttl=IPV4ONLY_TTL_S)
    if qtype == codes.A:
        return Looked(codes.NOERROR, RRset(codes.A, IPV4ONLY_TTL_S, IPV4ONLY_ADDRESSES))
    if qtype == codes.AAAA:
        made = tuple(p.synthesize(ipv4) for p in rule.prefixes for ipv4 in IPV4ONLY_ADDRESSES)
        return Looked(codes.NOERROR, RRset(codes.AAAA, IPV4ONLY_TTL_S, made))
    return Looked(codes.NOERROR, negative_ttl=IPV4ONLY_TTL_S)


def told_prefix(address: bytes) -> Prefix | None:
    """Give the NAT64 prefix that an AAAA of ipv4only.arpa tells (16 octets); None for none.

    RFC: 7050 3
    """
    for length in reversed(PREFIX_LENGTHS):
        kept = length // 8
        prefix = Prefix(address[:kept] + bytes(16 - kept), length)
        if prefix.extract(address) in IPV4ONLY_ADDRESSES:
            return prefix
    return None


def ptr_target(rule: Rule, qname: bytes) -> bytes | None:
    """Give the in-addr.arpa name that a synthesized address's PTR question stands for.

    The answer is a CNAME to it (RFC 6147 5.3.1, second way). None for other names; ipv4only.arpa
    itself for its own addresses (RFC 8880 7.1).
    """
    ipv6 = _reverse_address(qname)
    if ipv6 is None:
        return None
    for prefix in rule.prefixes:
        ipv4 = prefix.extract(ipv6)
        if ipv4 is not None:
            labels = [str(octet).encode() for octet in reversed(ipv4)]
            return names.join([*labels, *names.split(_IN_ADDR_ARPA)])
    return None


def _reverse_address(qname: bytes) -> bytes | None:
    """Give the address of a whole ip6.arpa name."""
    if len(qname) != 64 + len(_IP6_ARPA) or not qname.endswith(_IP6_ARPA):
        return None
    nibbles = qname[1:64:2]
    if qname[0:64:2] != b"\x01" * 32:
        return None
    try:
        return bytes.fromhex(nibbles[::-1].decode("ascii"))
    except ValueError:
        return None


def prefixes_in(rdatas: Iterable[bytes]) -> list[Prefix]:
    """Find NAT64 prefixes in AAAA of ipv4only.arpa, as a host does (RFC 7050 3)."""
    out: list[Prefix] = []
    for ipv6 in rdatas:
        for length in PREFIX_LENGTHS:
            prefix = Prefix(ipv6[: length // 8] + bytes(16 - length // 8), length)
            if prefix.extract(ipv6) in IPV4ONLY_ADDRESSES and prefix not in out:
                out.append(prefix)
    return out
