"""Observe: which questions to ask whom, in which order. Gives batches of Asks, takes outcomes.

The order: is this vantage point fit; the delegations from the root down to the name, and those that
the servers' own names need; every parent server for the referral; every server over both families;
our resolver over IPv6 alone, IPv4 alone and both; the reverse names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

import quada.wire.codes as codes
from quada.doctor.cuts import (
    SERVERS_MAX,
    apex_in,
    asked_again,
    cut_above,
    cut_in,
    family_of,
    v6_first,
)
from quada.doctor.observation import Cut, Exchange, Observation
from quada.doctor.observe_reverse import observe_reverse
from quada.doctor.observe_services import observe_encrypted, observe_services
from quada.doctor.observe_sizes import observe_sizes
from quada.doctor.probe import ASKS_MAX, Prober, Steps, Wanted, read_answer
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.resolver.iterate import Iterator

_TRIES: Final = 4  # pairs of servers asked before a zone counts as silent
_DEPTH_MAX: Final = 10
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
        yield from observe_sizes(self._prober, made)
        self.stage = "resolving over each family alone"
        yield from self._resolve_all(made)
        self.stage = "looking at reverse names"
        yield from observe_reverse(self._prober, made, self._follow, self._servers)
        self.stage = "looking for encrypted endpoints and services"
        yield from observe_encrypted(self._prober, made, self._servers(made.zone))
        yield from observe_services(self._prober, made, self._servers(made.zone))
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
            cut = cut_in(answer, candidate, zone)
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
        for server in self._cuts[zone].servers[:SERVERS_MAX]:
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
                self._hosts[server] = sorted(set(found), key=v6_first)
        finally:
            self._under_way.discard(server)

    def _addresses(self, zone: str) -> list[str]:
        cut = self._cuts[zone]
        found: dict[str, None] = {}
        for server in cut.servers:
            for address in (*cut.glue.get(server, ()), *self._hosts.get(server, ())):
                found[address] = None
        usable = [a for a in found if family_of(a) in self._families]
        return sorted(usable, key=v6_first)

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
                again = asked_again(answer, qname, qtype)
                if again is not None:
                    outcome = (yield [self._prober.compose(outcome.ask.to.address, again)])[0]
                    answer = read_answer(outcome)
                if answer is not None and answer.rcode() in (
                    dns.rcode.NOERROR,
                    dns.rcode.NXDOMAIN,
                ):
                    return answer
        return None

    def _follow(self, name: str) -> Steps[str]:
        """Follow referrals towards a name, asking for all of it; gives the zone that it is in.

        Where one server has a zone and the zone above it the cut is not seen: the SOA tells of it.
        """
        zone = "."
        for _ in range(_DEPTH_MAX):
            answer = yield from self._ask_zone(zone, name, "SOA", 0)
            if answer is None:
                break
            cut = cut_above(answer, name, zone)
            apex = apex_in(answer)
            if cut is None and apex != zone and apex.endswith(f".{zone.lstrip('.')}"):
                told = yield from self._ask_zone(zone, apex, "NS", 0)
                cut = cut_in(told, apex, zone) if told is not None else None
            if cut is None:
                break
            self._cuts.setdefault(cut.zone, cut)
            zone = cut.zone
            yield from self._hosts_of(zone, 0)
        return zone

    def _referrals(self, made: Observation) -> Steps[None]:
        if made.zone == "." or self._given is not None:
            return
        parent = self._cuts[made.zone].parent
        wanted = (
            Wanted("referral", made.zone, "NS", payload=1232),
            Wanted("ds", made.zone, "DS", payload=1232, is_do=True),
        )
        servers = self._servers(parent)
        asked = yield from self._probe(
            made, [(parent, server, a, one) for server, a in servers for one in wanted]
        )
        again = Wanted("referral-tcp", made.zone, "NS", Transport.TCP, 1232)
        yield from self._probe(
            made,
            [(parent, one.server, one.address, again) for one in asked
             if one.about == "referral" and one.answer is not None
             and one.answer.flags & dns.flags.TC],
        )  # fmt: skip

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
            Wanted("text-tcp", zone, "TXT", Transport.TCP, 1232, is_do=True),
            Wanted("any-tcp", zone, "ANY", Transport.TCP, 1232, is_do=True),
            Wanted("edns-unknown", zone, "SOA", payload=1232, has_unknown=True),
            Wanted("edns-version", zone, "SOA", payload=1232, version=1),
            Wanted("cds", zone, "CDS", payload=1232, is_do=True),
            Wanted("cdnskey", zone, "CDNSKEY", payload=1232, is_do=True),
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

    def _servers(self, zone: str) -> list[tuple[str, str]]:
        """Give a zone's servers with each address, of families this vantage point can tell of."""
        cut = self._cuts[zone]
        out: dict[tuple[str, str], None] = {}
        for server in cut.servers[:SERVERS_MAX]:
            for address in (*cut.glue.get(server, ()), *self._hosts.get(server, ())):
                if family_of(address) in self._families:
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


def _mixed(name: str) -> str:
    """Write a name in alternating case (draft-vixie-dnsext-dns0x20)."""
    return "".join(c.upper() if at % 2 else c for at, c in enumerate(name))
