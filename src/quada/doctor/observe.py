"""Observe: which questions to ask whom, in which order. Gives batches of Asks, takes outcomes.

The order: is this vantage point fit; the delegations from the root down to the name, and those that
the servers' own names need; every parent server for the referral; every server over both families;
our resolver over IPv6 alone, IPv4 alone and both; the reverse names.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

import quada.wire.codes as codes
from quada.doctor.observation import Cut, Exchange, Observation, offered
from quada.doctor.observe_services import observe_encrypted, observe_services
from quada.doctor.probe import ASKS_MAX, Prober, Steps, Wanted, read_answer
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.resolver.iterate import Iterator

_TRIES: Final = 4  # pairs of servers asked before a zone counts as silent
_DEPTH_MAX: Final = 10
_SERVERS_MAX: Final = 32
_ADDRESSES_MAX: Final = 8
_SIZED_MAX: Final = 8
_OUTSIDE: Final = "iana.org."
"""A name that no server of the domain is responsible for."""


class Start(NamedTuple):
    """Where to begin: the root's servers and addresses, as hints give them."""

    servers: dict[str, list[str]]


class Observer:
    """Observes one domain after another, sharing what is known of the zones above.

    Takes where to begin, resolvers for `ipv6`, `ipv4` and `both` families, and the clock. `stage`
    tells what is under way, for people who wait.
    """

    def __init__(
        self,
        start: Start,
        resolvers: dict[str, Iterator],
        now: Callable[[], float],
        *,
        given: Cut | None = None,
        port: int = 53,
    ) -> None:
        self.stage = ""
        self._start = start
        self._now = now
        self._given = given
        self._resolvers = resolvers
        self._port = port
        self._prober = Prober(resolvers, now, port)
        self._families = {6, 4}
        self._cuts: dict[str, Cut] = {}
        self._hosts: dict[str, list[str]] = {}
        self._aliases: dict[str, str] = {}
        self._none: set[str] = set()
        self._under_way: set[str] = set()

    def beside(self) -> Observer:
        """Make an observer for another name that shares what is known of zones and servers."""
        made = Observer(self._start, self._resolvers, self._now, given=self._given, port=self._port)
        made._families = self._families
        made._cuts, made._hosts = self._cuts, self._hosts
        made._aliases, made._none = self._aliases, self._none
        return made

    def observe(self, name: str) -> Steps[Observation]:
        """Observe a domain; its name absolute and lower-cased."""
        made = Observation(name, ".", self._now())
        self.stage = "looking at this machine's own reach"
        yield from self._vantage(made)
        self.stage = "following the delegations"
        made.zone = yield from self._descend(name, 0)
        self.stage = "asking every parent server"
        yield from self._referrals(made)
        self.stage = "asking every server over both families"
        yield from self._servers_of(made)
        self.stage = "finding which message sizes arrive"
        yield from self._sizes(made)
        self.stage = "resolving over each family alone"
        yield from self._resolve_all(made)
        self.stage = "looking at reverse names"
        yield from self._reverse(made)
        self.stage = "looking for encrypted endpoints and services"
        yield from observe_encrypted(self._prober, made, self._servers(made.zone))
        yield from observe_services(self._prober, made)
        made.cuts, made.hosts, made.aliases = self._cuts, self._hosts, self._aliases
        return made

    def crawl(self, name: str) -> Steps[Observation]:
        """Learn only what the dependency graph of a name needs."""
        made = Observation(name, ".", self._now())
        if not self._cuts:
            yield from self._vantage(made)
        made.zone = yield from self._descend(name, 0)
        made.cuts, made.hosts, made.aliases = self._cuts, self._hosts, self._aliases
        return made

    @property
    def ask_count(self) -> int:
        """How many questions were asked."""
        return self._prober.ask_count

    def _probe(
        self, made: Observation, wanted: list[tuple[str, str, str, Wanted]]
    ) -> Steps[list[Exchange]]:
        noted = yield from self._prober.probe(wanted)
        made.exchanges += noted
        return noted

    def _vantage(self, made: Observation) -> Steps[None]:
        self._cuts.setdefault(
            ".", Cut(".", "", list(self._start.servers), dict(self._start.servers))
        )
        self._hosts.update(self._start.servers)
        addresses = [a for found in self._start.servers.values() for a in found]
        chosen = [a for a in addresses if ":" in a][:3] + [a for a in addresses if ":" not in a][:3]
        asked = yield from self._probe(
            made, [(".", "", a, Wanted("vantage", ".", "SOA")) for a in chosen]
        )
        for family in (6, 4):
            if not any(one.is_good for one in asked if one.family == family):
                self._families.discard(family)

    def _descend(self, name: str, depth: int) -> Steps[str]:
        """Follow the delegations down to a name; gives the zone it is in."""
        zone = "."
        labels = dns.name.from_text(name).labels
        for count in range(2, len(labels) + 1):
            candidate = dns.name.Name(labels[-count:]).to_text().lower()
            if self._given is not None and candidate == self._given.zone:
                self._cuts.setdefault(candidate, replace(self._given, parent=zone))
            if candidate in self._cuts:
                zone = candidate
                yield from self._hosts_of(zone, depth)
                continue
            if candidate in self._none:
                continue
            answer = yield from self._ask_zone(zone, candidate, "NS", depth)
            if answer is None or answer.rcode() == dns.rcode.NXDOMAIN:
                break
            cut = _cut_in(answer, candidate, zone)
            if cut is None:
                self._none.add(candidate)
                continue
            self._cuts[candidate] = cut
            zone = candidate
            yield from self._hosts_of(zone, depth)
        return zone

    def _hosts_of(self, zone: str, depth: int) -> Steps[None]:
        if depth >= _DEPTH_MAX:
            return
        for server in self._cuts[zone].servers[:_SERVERS_MAX]:
            yield from self._host(server, depth + 1)

    def _host(self, server: str, depth: int) -> Steps[None]:
        """Learn a server's addresses from its own zone; a circle is left where it closes."""
        if server in self._hosts or server in self._under_way:
            return
        self._under_way.add(server)
        try:
            zone = yield from self._descend(server, depth)
            found: list[str] = []
            is_answered = False
            for qtype in ("AAAA", "A"):
                answer = yield from self._ask_zone(zone, server, qtype, depth)
                is_answered = is_answered or answer is not None
                for rrset in answer.answer if answer is not None else ():
                    if rrset.rdtype == dns.rdatatype.CNAME:
                        self._aliases[server] = rrset[0].to_text().lower()
                    elif rrset.rdtype == dns.rdatatype.from_text(qtype):
                        found += [item.to_text() for item in rrset]
            if is_answered:
                self._hosts[server] = sorted(set(found), key=_v6_first)
        finally:
            self._under_way.discard(server)

    def _addresses(self, zone: str) -> list[str]:
        cut = self._cuts[zone]
        found: dict[str, None] = {}
        for server in cut.servers:
            for address in (*cut.glue.get(server, ()), *self._hosts.get(server, ())):
                found[address] = None
        usable = [a for a in found if _family(a) in self._families]
        return sorted(usable, key=_v6_first)

    def _ask_zone(
        self, zone: str, qname: str, qtype: str, depth: int
    ) -> Steps[dns.message.Message | None]:
        """Ask a zone's servers, one of each family at a time; the first that is of use counts."""
        if not self._addresses(zone) and depth < _DEPTH_MAX:
            yield from self._hosts_of(zone, depth)
        addresses = self._addresses(zone)
        sixes = [a for a in addresses if ":" in a]
        fours = [a for a in addresses if ":" not in a]
        for at in range(_TRIES):
            pair = sixes[at : at + 1] + fours[at : at + 1]
            if not pair or self._prober.ask_count >= ASKS_MAX:
                return None
            asks = [self._prober.compose(a, Wanted("", qname, qtype, payload=1232)) for a in pair]
            outcomes = yield asks
            self._prober.ask_count += len(asks)
            for outcome in outcomes:
                answer = read_answer(outcome)
                again = _again(answer, qname, qtype)
                if again is not None:
                    outcome = (yield [self._prober.compose(outcome.ask.to.address, again)])[0]
                    answer = read_answer(outcome)
                if answer is not None and answer.rcode() in (
                    dns.rcode.NOERROR,
                    dns.rcode.NXDOMAIN,
                ):
                    return answer
        return None

    def _referrals(self, made: Observation) -> Steps[None]:
        if made.zone == "." or self._given is not None:
            return
        parent = self._cuts[made.zone].parent
        wanted = Wanted("referral", made.zone, "NS", payload=1232)
        servers = self._servers(parent)
        yield from self._probe(made, [(parent, server, a, wanted) for server, a in servers])

    def _servers_of(self, made: Observation) -> Steps[None]:
        zone, name = made.zone, made.name
        probes = [
            Wanted("soa-udp", zone, "SOA"),
            Wanted("soa-tcp", zone, "SOA", Transport.TCP),
            Wanted("edns", zone, "SOA", payload=512),
            Wanted("large-1232", zone, "DNSKEY", payload=1232, is_do=True),
            Wanted("large-tcp", zone, "DNSKEY", Transport.TCP, 1232, is_do=True),
            Wanted("size-4096", zone, "DNSKEY", payload=4096, is_do=True),
            Wanted("size-4096", zone, "TXT", payload=4096, is_do=True),
            Wanted("ns", zone, "NS", payload=1232),
            Wanted("aaaa", name, "AAAA", payload=1232, is_do=True),
            Wanted("a", name, "A", payload=1232, is_do=True),
            Wanted("https", name, "HTTPS", payload=1232),
            Wanted("case", _mixed(zone), "SOA"),
            Wanted("recursion", _OUTSIDE, "A", is_rd=True),
            Wanted("transfer", zone, "AXFR", Transport.TCP),
        ]
        servers = self._servers(zone)
        yield from self._probe(
            made, [(zone, server, a, wanted) for server, a in servers for wanted in probes]
        )

    def _sizes(self, made: Observation) -> Steps[None]:
        """Where an answer is lost that a larger offer allows, find from which offer on.

        Two rounds, each of several sizes at once: the bound is known to 64 octets after two waits.
        """
        lost = [
            one for one in made.about("size-4096") if not one.message and one.silence == "timeout"
        ][:_SIZED_MAX]
        bounds = [(1232, 4096)] * len(lost)
        for count in (6, 6):
            wanted = []
            for one, (low, high) in zip(lost, bounds, strict=True):
                step = max(1, (high - low) // (count + 1))
                wanted += [
                    (one.zone, one.server, one.address,
                     Wanted(f"size-{low + step * at}", one.qname, one.qtype,
                            payload=low + step * at, is_do=True))
                    for at in range(1, count + 1)
                ]  # fmt: skip
            asked = yield from self._probe(made, wanted)
            for at in range(len(lost)):
                mine = asked[at * count : (at + 1) * count]
                arrived = [offered(seen) for seen in mine if seen.message]
                dropped = [offered(seen) for seen in mine if not seen.message]
                low, high = bounds[at]
                low = max([low, *(size for size in arrived if size < min(dropped, default=high))])
                bounds[at] = low, min([high, *(size for size in dropped if size > low)])

    def _servers(self, zone: str) -> list[tuple[str, str]]:
        """Give a zone's servers with each address, of families this vantage point can tell of."""
        cut = self._cuts[zone]
        out: dict[tuple[str, str], None] = {}
        for server in cut.servers[:_SERVERS_MAX]:
            for address in (*cut.glue.get(server, ()), *self._hosts.get(server, ())):
                if _family(address) in self._families:
                    out[server, address] = None
        return list(out)

    def _resolve_all(self, made: Observation) -> Steps[None]:
        for kind, qtype in (
            ("both", codes.AAAA),
            ("both", codes.A),
            ("ipv6", codes.AAAA),
            ("ipv4", codes.AAAA),
        ):
            family = {"ipv6": 6, "ipv4": 4}.get(kind)
            if family is None or family in self._families:
                made.resolved.append((yield from self._prober.resolve(kind, made.name, qtype)))

    def _reverse(self, made: Observation) -> Steps[None]:
        addresses = [a for one in made.resolved if one.qtype == "AAAA" for a in one.addresses]
        for address in list(dict.fromkeys(addresses))[:_ADDRESSES_MAX]:
            reverse = f"{ipaddress.ip_address(address).reverse_pointer}."
            found = yield from self._prober.resolve("both", reverse, codes.PTR)
            if found.rcode not in ("NOERROR", "NXDOMAIN"):
                continue  # the reverse tree does not answer: nothing is known
            made.pointers[address] = found.addresses
            for pointer in found.addresses[:3]:
                back = yield from self._prober.resolve("both", pointer, codes.AAAA)
                made.confirmed[pointer] = back.addresses


def _again(answer: dns.message.Message | None, qname: str, qtype: str) -> Wanted | None:
    """Say how to ask a server once more: over TCP what was cut, without EDNS who knows none."""
    if answer is not None and answer.flags & dns.flags.TC:
        return Wanted("", qname, qtype, Transport.TCP, 1232)
    if answer is not None and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        return Wanted("", qname, qtype)
    return None


def _cut_in(answer: dns.message.Message, candidate: str, parent: str) -> Cut | None:
    """Find the delegation in an answer for NS: a referral, or an answer of who serves both."""
    for section in (answer.answer, answer.authority):
        for rrset in section:
            owner = rrset.name.to_text().lower()
            if rrset.rdtype != dns.rdatatype.NS or owner != candidate:
                continue
            servers = sorted(item.target.to_text().lower() for item in rrset)
            glue: dict[str, list[str]] = {}
            for extra in answer.additional:
                host = extra.name.to_text().lower()
                if host in servers and extra.rdtype in (dns.rdatatype.AAAA, dns.rdatatype.A):
                    glue.setdefault(host, []).extend(item.to_text() for item in extra)
            ordered = {host: sorted(found, key=_v6_first) for host, found in glue.items()}
            return Cut(candidate, parent, servers[:_SERVERS_MAX], ordered)
    return None


def _mixed(name: str) -> str:
    """Write a name in alternating case (draft-vixie-dnsext-dns0x20)."""
    return "".join(c.upper() if at % 2 else c for at, c in enumerate(name))


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _v6_first(address: str) -> tuple[bool, str]:
    return ":" not in address, address
