"""Observe recursive resolvers as a client of theirs sees them, or a stranger elsewhere."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import dns.rdatatype
import dns.reversename

from quada.doctor.observation import Observation
from quada.doctor.observe_services import asks_of, read_designated
from quada.doctor.probe import Prober, Wanted
from quada.resolver.dns64 import Prefix, told_prefix
from quada.wire.ask import Transport
from quada.wire.call import Call, CallKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.doctor.observation import Exchange
    from quada.doctor.probe import Steps

RESOLVERS_MAX: Final = 16
_PATIENCE_S: Final = 5.0  # as long as glibc's stub waits (resolv.conf(5))
DEFAULT_NAMES: Final = {
    "secure": ".",
    "bogus": "dnssec-failed.org.",
    "native": "a.root-servers.net.",
}
"""What is asked for where nothing else is said: a signed zone, a broken one, a name with AAAA."""
PURPOSES: Final = {
    "secure": "a signed zone",
    "bogus": "a name whose signatures are broken",
    "native": "a name with AAAA",
    "broken-aaaa": "a name whose AAAA alone fails",
    "signed-four": "a signed name with A and no AAAA",
    "six-only": "a name in a zone that is served over IPv6 alone",
}


class ResolverObserver:
    """Observes resolvers: `resolvers` maps addresses to where they were found, in their order."""

    def __init__(
        self, resolvers: dict[str, str], asked: dict[str, str], now: Callable[[], float],
        port: int = 53,
    ) -> None:  # fmt: skip
        self.stage = ""
        self._resolvers = dict(list(resolvers.items())[:RESOLVERS_MAX])
        self._asked = asked
        self._now = now
        self._prober = Prober({}, now, port, _PATIENCE_S)

    def observe(self) -> Steps[Observation]:
        """Ask each what its clients depend on."""
        made = Observation(
            "resolvers", ".", self._now(), resolvers=self._resolvers, asked=self._asked
        )
        self.stage = "asking every resolver over both transports"
        yield from self._each(made, list(_questions(self._asked)))
        alive = {one.address for one in made.about("plain-udp", "plain-tcp") if one.message}
        self.stage = "looking for encrypted endpoints"
        yield from self._designated(made, alive)
        self.stage = "looking at what DNS64 makes"
        wanted = [
            (".", address, address, Wanted("synthesized-ptr", _reverse(prefix), "PTR", is_rd=True))
            for address, prefixes in told_prefixes(made).items()
            for prefix in prefixes[:1]
        ]
        made.exchanges += yield from self._prober.probe(wanted)
        return made

    def observe_open(self) -> Steps[Observation]:
        """Ask as a stranger: do they recurse for anybody?"""
        made = Observation(
            "resolvers", ".", self._now(), resolvers=self._resolvers, asked=self._asked
        )
        self.stage = "asking every resolver as a stranger"
        name = self._asked.get("native", DEFAULT_NAMES["native"])
        yield from self._each(made, [Wanted("stranger", name, "AAAA", payload=1232, is_rd=True)])
        return made

    def _each(self, made: Observation, questions: list[Wanted]) -> Steps[None]:
        made.exchanges += yield from self._prober.probe(
            [(".", a, a, one) for a in self._resolvers for one in questions]
        )

    def _designated(self, made: Observation, alive: set[str]) -> Steps[None]:
        """Ask the endpoints that a resolver designates (RFC 9462): by name, and by its address."""
        ddr = Wanted("ddr", "_dns.resolver.arpa.", "SVCB", payload=1232, is_rd=True)
        info = Wanted("info", "resolver.arpa.", "RESINFO", payload=1232, is_rd=True)
        made.exchanges += yield from self._prober.probe([(".", a, a, info) for a in sorted(alive)])
        asked = yield from self._prober.probe([(".", a, a, ddr) for a in sorted(alive)])
        made.exchanges += asked
        wanted = []
        for one in asked:
            answer = one.answer
            texts = [item.to_text() for rrset in (answer.answer if answer else ())
                     if rrset.rdtype == dns.rdatatype.SVCB for item in rrset]  # fmt: skip
            for designated in read_designated(texts, one.address):
                # Hints, or the resolver's own address, where the target is not looked up.
                designated.addresses = designated.hinted or [one.address]
                made.designated.append(designated)
                for address, ask in asks_of(designated, "."):
                    wanted.append((".", one.address, address, ask))
                    if address == one.address:
                        own = ask._replace(about="designated-address", name=address)
                        wanted.append((".", one.address, address, own))
        made.exchanges += yield from self._prober.probe(wanted)


def _questions(asked: dict[str, str]) -> list[Wanted]:
    """What each resolver is asked."""
    made = [
        Wanted("plain-udp", ".", "SOA", payload=1232, is_rd=True),
        Wanted("plain-tcp", ".", "SOA", Transport.TCP, 1232, is_rd=True),
        Wanted("ipv4only", "ipv4only.arpa.", "AAAA", payload=1232, is_rd=True),
    ]
    more = {
        "secure": [("secure", "SOA", False)],
        "bogus": [("bogus", "AAAA", False), ("bogus-cd", "AAAA", True)],
        "native": [("native", "AAAA", False)],
        "broken-aaaa": [("broken-aaaa", "AAAA", False)],
        "signed-four": [("signed-four", "AAAA", False), ("signed-four-cd", "AAAA", True)],
        "six-only": [("six-only", "AAAA", False)],
    }
    for purpose, name in asked.items():
        made += [
            Wanted(about, name, qtype, payload=1232, is_rd=True, is_ad=True, is_cd=is_cd,
                   is_do=is_cd)
            for about, qtype, is_cd in more[purpose]
        ]  # fmt: skip
    return made


def told_prefixes(observation: Observation) -> dict[str, list[Prefix]]:
    """Give the NAT64 prefixes that each resolver tells (RFC 7050)."""
    found: dict[str, list[Prefix]] = {}
    for one in observation.about("ipv4only"):
        made = [told_prefix(ipaddress.IPv6Address(text).packed) for text in six_of(one)]
        found[one.address] = list(dict.fromkeys(prefix for prefix in made if prefix is not None))
    return found


def six_of(one: Exchange) -> list[str]:
    """Give the AAAA records of an answer."""
    answer = one.answer
    return [
        item.to_text()
        for rrset in (answer.answer if answer is not None else ())
        if rrset.rdtype == dns.rdatatype.AAAA
        for item in rrset
    ]


def nat64_calls(observation: Observation, v4: str, port: int) -> list[Call]:
    """Give the calls that show whether a NAT64 prefix leads anywhere: a host with IPv4 alone."""
    packed = ipaddress.IPv4Address(v4).packed
    prefixes = {prefix for some in told_prefixes(observation).values() for prefix in some}
    return [
        Call(str(ipaddress.IPv6Address(prefix.synthesize(packed))), port, CallKind.TCP)
        for prefix in sorted(prefixes)
    ]


def _reverse(prefix: Prefix) -> str:
    made = prefix.synthesize(b"\xc0\x00\x00\xaa")
    return dns.reversename.from_address(str(ipaddress.IPv6Address(made))).to_text()
