"""Iteration: from the root, or from the nearest thing known, to the answer (RFC 1034 5.3.3).

Everything is a generator that yields an `Ask` and is sent its `Outcome`: no socket, no clock (the
driver sets `now`), no task per question. Whatever a server sends is bounded here: how many servers
are asked for a question, how deep lookups nest, how long chains and referrals grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import quada.resolver.cache as cache
import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import Cache, Delegation, Word
from quada.resolver.denials import Denials
from quada.resolver.evidence import SEVERITY, Found, found_of, sort_records
from quada.resolver.heard import (
    FOLDED,
    SERVERS_MAX,
    address_of,
    compose_query,
    hear,
    is_lame,
    minimised,
    referral_of,
    ttl_of,
)
from quada.resolver.roots import roots_of
from quada.resolver.shadow import Shadow
from quada.resolver.task import Attempt, Failure, Resolution, Shot, Steps, Task
from quada.telemetry.event import Validation
from quada.wire.ask import ENCRYPTED, Ask, Endpoint, Outcome, Reply, Transport, read_endpoint
from quada.wire.skim import Skimmed, follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.resolver.dns64 import Prefix
    from quada.resolver.evidence import Want
    from quada.resolver.servers import Probe, Servers
    from quada.resolver.validate import Validator

DEPTH_MAX: Final = 6  # our choice: lookups for lookups (glueless servers, keys)
LINKS_MAX: Final = 16  # CNAMEs followed; BIND's max-query-restarts is 11, Unbound's limit 11
REFERRALS_MAX: Final = 24  # our choice: zone cuts on the way to a name
GLUELESS_MAX: Final = 3  # server names looked up of one delegation (NXNSAttack, CVE-2020-12662)
_MINIMISED_MAX: Final = 10  # RFC 9156 2.3 MAX_MINIMISE_COUNT
_TCP_S: Final = 3.0
EDE_NO_REACHABLE: Final = 22
EDE_NETWORK: Final = 23
_PROOFS: Final = frozenset((codes.SOA, codes.NSEC, codes.NSEC3, codes.RRSIG))


class Iterator:
    """Resolves questions. `now` is to be set before each step; `bits` gives random bits."""

    def __init__(
        self,
        roots: Delegation,
        *,
        answers: Cache,
        servers: Servers,
        validator: Validator | None,
        bits: Callable[[int], int],
        stale_s: float = 86_400,
        attempted: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self.now = 0.0
        self.cache = answers
        self.servers = servers
        self.validator = validator
        self.denials = Denials()
        self.shadow = Shadow()
        self.nat64: Prefix | None = None  # set where IPv4 servers are reached through it alone
        self._proved: tuple[tuple[bytes, int, float] | None, Word | None] = (None, None)
        self._roots = roots
        self._bits = bits
        self._stale_s = stale_s
        self.attempted = attempted

    def zone_of(self, name: bytes) -> bytes:
        """Name the zone whose servers would be asked for a name, as far as is known."""
        found = self.cache.closest(name, self.now)
        return names.ROOT if found is None else found.zone

    def prime(self, task: Task) -> Steps[float | None]:
        """Ask the root's servers who they are; gives until when that holds, or None.

        RFC: 8109 3. An answer that is bogus, or names no address in a family we use, is left alone.
        """
        known = self.cache.closest(names.ROOT, self.now)
        if known is not None and known.is_fixed:
            return float("inf")  # everything is forwarded: the root is not ours to ask
        found = yield from self._descend(names.ROOT, codes.NS, task)
        if isinstance(found, Failure):
            return None
        response, delegation = found
        word = self._word(response, delegation, names.ROOT, codes.NS)
        if self.validator is not None:
            word = yield from self._judged(word, response, task)
        made = roots_of((*word.answer, *response.additional))
        for server in made.servers[: GLUELESS_MAX if not made.glue else 0]:
            if found_addresses := (yield from self._addresses_of(server, task)):
                made.glue[server] = tuple(found_addresses)
        addresses = self._through(made.addresses())
        if word.validation is Validation.BOGUS or self.servers.first(addresses, self.now) is None:
            return None
        self.cache.delegate(made._replace(expires_at=word.expires_at))
        return word.expires_at

    def probe(self, probe: Probe, task: Task) -> Steps[None]:
        """Ask a server that failed whether it is well again."""
        address, zone = probe.address, probe.zone
        known = Delegation(zone, (), {}, 0.0, is_forward=probe.is_forward)
        yield from self._ask_server(address, known, zone, codes.SOA, task, None)

    def resolve(self, qname: bytes, qtype: int, task: Task) -> Steps[Resolution]:
        """Resolve a question, following CNAME and DNAME from zone to zone."""
        made = Resolution(codes.NOERROR, expires_at=float("inf"), stored_at=self.now)
        name = qname
        seen: set[bytes] = set()
        worst = Validation.SECURE
        links_left = LINKS_MAX
        while links_left > 0:
            word = yield from self.lookup(name, qtype, task)
            if isinstance(word, Failure):
                stale = self.cache.stale(name, qtype, self.now, self._stale_s)
                if stale is None:
                    return _failed(made, word)
                word, made.is_stale = stale, True
                made.ede, made.reason = word.ede, word.reason
            made.stored_at = min(made.stored_at, word.stored_at)
            made.is_cached &= word.stored_at < self.now
            made.expires_at = min(made.expires_at, word.expires_at)
            made.answer += word.answer
            made.rcode, made.authority = word.rcode, list(word.authority)
            if SEVERITY[word.validation] >= SEVERITY[worst]:
                worst = word.validation
                made.ede, made.reason = word.ede or made.ede, word.reason or made.reason
            last, links, found = follow(word.answer, name, qtype)
            if found or not links or qtype in (codes.CNAME, codes.ANY):
                made.validation = worst
                return made
            owners = {link.owner for link in links}
            if len(owners) < len(links) or not owners.isdisjoint(seen):
                return _failed(made, Failure(0, "the chain of CNAMEs is a loop"))
            seen |= owners
            links_left -= len(links)
            name = last
        return _failed(made, Failure(0, "the chain of CNAMEs is too long"))

    def recall(self, name: bytes, rdtype: int) -> Word | None:
        """Give what is known of a name without asking: kept, or denied by what was proved."""
        known = self.cache.get(name, rdtype, self.now)
        if known is None and self.validator is not None:
            # A listener asks before a lookup does, in the same moment: proving once is enough.
            question = (name, rdtype, self.now)
            if self._proved[0] != question:
                self._proved = question, self.denials.find(name, rdtype, self.now)
            known = self._proved[1]
        return known

    def lookup(self, name: bytes, rdtype: int, task: Task) -> Steps[Word | Failure]:
        """Give one zone's word about a name, from the cache or from its servers, validated."""
        known = self.recall(name, rdtype)
        if known is not None:
            return known
        if task.asks_left <= 0:
            return Failure(EDE_NO_REACHABLE, "the question needs too many messages")
        if (name, rdtype) in task.under_way or task.depth >= DEPTH_MAX:
            return Failure(EDE_NO_REACHABLE, "lookups depend on one another in a circle")
        task.under_way.add((name, rdtype))
        task.depth += 1
        try:
            found: tuple[Skimmed, Delegation] | Failure | None = None
            shot = self._aim(name, rdtype)
            if shot is not None:
                outcome = yield shot.ask
                found = self._hit(shot, outcome, name, rdtype, task)
                missed = Shot(shot.delegation, shot.address, shot.ask, outcome)
                shot = missed if found is None else None
            if found is None:
                found = yield from self._descend(name, rdtype, task, shot)
            if isinstance(found, Failure):
                return found
            response, delegation = found
            word = self._word(response, delegation, name, rdtype)
            if self.validator is not None and not delegation.is_fixed:
                word = yield from self._judged(word, response, task)
        finally:
            task.depth -= 1
            task.under_way.discard((name, rdtype))
        self.cache.put(word)
        return word

    def _aim(self, name: bytes, rdtype: int) -> Shot | None:
        """Make the one query that most lookups need: of a server of the name's own zone, at once.

        None where more has to be found out first. What comes back decides whether it was that easy.
        """
        if rdtype == codes.DS:
            return None
        delegation = self.cache.closest(name, self.now)
        if delegation is None:
            return None
        is_rd = delegation.is_forward
        if not is_rd and name != delegation.zone and names.parent(name) != delegation.zone:
            return None  # minimisation asks for less first
        addresses = self._through(delegation.addresses())
        address = self.servers.first(addresses, self.now)
        if address is None:
            return None
        self.servers.pass_over(addresses, delegation.zone, self.now, is_forward=is_rd)
        to = read_endpoint(address)
        if to.transport is not Transport.UDP:
            return None
        return Shot(delegation, address, self._ask(to, address, name, rdtype, is_rd=is_rd))

    def _hit(
        self, shot: Shot, outcome: Outcome, name: bytes, rdtype: int, task: Task
    ) -> tuple[Skimmed, Delegation] | None:
        """Give the answer if it is one, and nothing more has to be asked; else None."""
        is_brief = self.validator is None  # proofs are for those who validate
        response = hear(outcome, shot.ask.query, name, is_brief=is_brief)
        if (
            isinstance(response, str)
            or response.flags & codes.TC
            or response.rcode not in (codes.NOERROR, codes.NXDOMAIN)
            or is_lame(response, shot.delegation)
        ):
            return None
        if not shot.delegation.is_forward and referral_of(
            response, shot.delegation, name, self.now
        ):
            return None
        task.asks_left -= 1
        self._note(task, shot.delegation, shot.address, name, rdtype, outcome, response)
        return response, shot.delegation

    def _descend(
        self,
        name: bytes,
        rdtype: int,
        task: Task,
        missed: Shot | None = None,
    ) -> Steps[tuple[Skimmed, Delegation] | Failure]:
        """Follow referrals down to the zone that answers.

        Takes a shot that was no plain hit, whose question is not asked again.
        """
        start = names.parent(name) if rdtype == codes.DS and name != names.ROOT else name
        delegation = self.cache.closest(start, self.now) or self._roots
        extra = 1
        is_minimising = not delegation.is_forward
        for _ in range(REFERRALS_MAX):
            asked, asked_type = name, rdtype
            if is_minimising:
                asked, asked_type = minimised(name, rdtype, delegation.zone, extra)
            is_whole = asked == name
            response = yield from self._ask_zone(delegation, asked, asked_type, task, missed)
            missed = None
            if isinstance(response, Failure):
                return response
            referral = None
            if not delegation.is_forward:
                referral = referral_of(response, delegation, name, self.now)
            if referral is not None:
                if rdtype == codes.DS and referral.zone == name:
                    # The cut itself: its parent has said all there is about DS (RFC 4035 2.4).
                    return response, delegation
                self.cache.delegate(referral)
                delegation, extra = referral, 1
                continue
            if is_whole:
                return response, delegation
            if response.rcode == codes.NXDOMAIN or extra >= _MINIMISED_MAX:
                is_minimising = False  # some servers deny empty non-terminals: ask in full
            else:
                extra += 1
        return Failure(EDE_NO_REACHABLE, "there are too many referrals")

    def _ask_zone(
        self,
        delegation: Delegation,
        name: bytes,
        rdtype: int,
        task: Task,
        missed: Shot | None,
    ) -> Steps[Skimmed | Failure]:
        """Ask the servers of a zone, one after the other, until one answers usefully."""
        addresses = self._through(delegation.addresses())
        tried: set[str] = set()
        last = Failure(EDE_NO_REACHABLE, f"no server of {names.to_text(delegation.zone)} has an "
                       "address in a family that works")  # fmt: skip
        glueless = [one for one in delegation.servers if one not in delegation.glue]
        glueless_left = GLUELESS_MAX
        for _ in range(SERVERS_MAX):
            order = [a for a in self.servers.order(addresses, self.now) if a not in tried]
            if not order and glueless and glueless_left:
                glueless_left -= 1
                addresses += yield from self._addresses_of(glueless.pop(0), task)
                continue
            if not order:
                return last
            address = order[0] if missed is None else missed.address
            if not tried and missed is None:
                zone, is_forward = delegation.zone, delegation.is_forward
                self.servers.pass_over(order, zone, self.now, is_forward=is_forward)
            tried.add(address)
            answer = yield from self._ask_server(address, delegation, name, rdtype, task, missed)
            missed = None
            if isinstance(answer, Skimmed):
                return answer
            last = answer
            if task.asks_left <= 0:
                return Failure(EDE_NO_REACHABLE, "the question needs too many messages")
        return last

    def _addresses_of(self, server: bytes, task: Task) -> Steps[list[str]]:
        """Look up a server's addresses, AAAA first, in the families we use."""
        found: list[str] = []
        for family, rdtype in ((6, codes.AAAA), (4, codes.A)):
            is_used = family in self.servers.families or self.nat64 is not None
            if not is_used or (found and family == 4):
                continue
            word = yield from self.lookup(server, rdtype, task)
            if isinstance(word, Word) and word.validation is not Validation.BOGUS:
                records = follow(word.answer, server, rdtype)[2]
                found += [address for r in records if (address := address_of(r))]
        return self._through(found)

    def _through(self, addresses: list[str]) -> list[str]:
        """Put IPv4 addresses into the NAT64 prefix where that is the way to them (RFC 6052 2)."""
        if self.nat64 is None:
            return addresses
        return [a if ":" in a else self.nat64.through(a) for a in addresses]

    def _ask_server(
        self,
        address: str,
        delegation: Delegation,
        name: bytes,
        rdtype: int,
        task: Task,
        missed: Shot | None,
    ) -> Steps[Skimmed | Failure]:
        """Ask one server: over UDP, over TCP where that is cut, without EDNS where it must be."""
        has_edns = self.servers.has_edns(address)
        to = read_endpoint(address)
        transport = to.transport
        is_rd = delegation.is_forward
        for _ in range(3):
            if task.asks_left <= 0:
                return Failure(EDE_NO_REACHABLE, "the question needs too many messages")
            task.asks_left -= 1
            outcome: Outcome
            if missed is not None and missed.outcome is not None:
                ask, outcome, missed = missed.ask, missed.outcome, None
            else:
                if to.transport is not transport:
                    to = to._replace(transport=transport)
                ask = self._ask(to, address, name, rdtype, is_rd=is_rd, has_edns=has_edns)
                outcome = yield ask
            response = hear(outcome, ask.query, name)
            took_s = self._note(task, delegation, address, name, rdtype, outcome, response)
            if response == FOLDED:
                transport = Transport.TCP
                continue
            if isinstance(response, str) and transport in ENCRYPTED and not to.name:
                # Encryption by opportunity: where it fails plain DNS is better than none.
                to, transport = Endpoint(to.address), Transport.UDP
                continue
            if isinstance(response, str):
                self.servers.failed(address, took_s, self.now)
                return Failure(EDE_NETWORK, f"{address} {response}")
            if response.flags & codes.TC and transport is Transport.UDP:
                transport = Transport.TCP
                continue
            if response.rcode == codes.FORMERR and has_edns and response.edns is None:
                has_edns = False
                continue
            if response.rcode not in (codes.NOERROR, codes.NXDOMAIN):
                return Failure(EDE_NO_REACHABLE, f"{address} answered rcode {response.rcode}")
            if not has_edns and self.servers.has_edns(address):
                self.servers.refused_edns(address)
            if is_lame(response, delegation):
                return Failure(EDE_NO_REACHABLE, f"{address} does not serve the zone")
            return response
        return Failure(EDE_NETWORK, f"{address} gives no whole answer")

    def _ask(
        self,
        to: Endpoint,
        address: str,
        name: bytes,
        rdtype: int,
        *,
        is_rd: bool,
        has_edns: bool | None = None,
    ) -> Ask:
        if has_edns is None:
            has_edns = self.servers.has_edns(address)
        query = compose_query(
            name, rdtype, self._bits(8 * len(name)),
            has_edns=has_edns, is_do=self.validator is not None, is_rd=is_rd,
        )  # fmt: skip
        is_udp = to.transport is Transport.UDP
        return Ask(to, query, self.servers.timeout_s(address) if is_udp else _TCP_S)

    def _note(
        self,
        task: Task,
        delegation: Delegation,
        address: str,
        name: bytes,
        rdtype: int,
        outcome: Outcome,
        response: Skimmed | str,
    ) -> float:
        """Note what a server did, for later choices, events and `explain`; gives seconds."""
        took_s = outcome.rtt_s if isinstance(outcome, Reply) else outcome.elapsed_s
        heard = response if isinstance(response, str) else response.rcode
        transport = outcome.ask.to.transport
        attempt = Attempt(delegation.zone, name, rdtype, address, transport, heard, took_s)
        task.attempts.append(attempt)
        self.attempted(attempt)
        if not isinstance(response, str):
            self.servers.answered(address, took_s)
            self.shadow.note(delegation)
        return took_s

    def _word(self, response: Skimmed, delegation: Delegation, name: bytes, rdtype: int) -> Word:
        """Keep what the zone may say, and say how long it holds."""
        zone, now = delegation.zone, self.now
        answer = tuple(
            r for r in response.answer if r.owner == name or names.is_subdomain(r.owner, zone)
        )
        authority = tuple(
            r
            for r in response.authority
            if r.rdtype in _PROOFS and names.is_subdomain(r.owner, zone)
        )
        ttl = ttl_of(answer, authority, name, rdtype)
        return Word(name, rdtype, response.rcode, answer, authority, zone, now, now + ttl)

    def _judged(self, word: Word, response: Skimmed, task: Task) -> Steps[Word]:
        """Validate an answer."""
        clean = response._replace(answer=list(word.answer), authority=list(word.authority))
        found = found_of(clean, is_whole=False)
        # Who asks for keys needs those keys to believe the answer: they are in hand.
        task.in_hand[word.name, word.rdtype] = found
        verdict = yield from self._validate(found, word.zone, task)
        del task.in_hand[word.name, word.rdtype]
        ttl = word.expires_at - word.stored_at
        if verdict.state is Validation.BOGUS:
            ttl = min(ttl, cache.BOGUS_TTL_S)
        word = word._replace(
            stored_at=self.now,
            expires_at=self.now + ttl,
            validation=verdict.state,
            ede=verdict.ede,
            reason=verdict.reason,
        )
        self.denials.learn(word, verdict.rrsets)
        return word

    def _validate(self, found: Found, zone: bytes, task: Task) -> Steps[Any]:
        """Drive the validator: what it wants is looked up, in the same budget."""
        assert self.validator is not None
        conversation = self.validator.validate(found, int(self.now), zone)
        try:
            wants = next(conversation)
            while True:
                given = []
                for want in wants:
                    found_one = yield from self._wanted(want, task)
                    given.append(found_one)
                wants = conversation.send(tuple(given))
        except StopIteration as end:
            return end.value

    def _wanted(self, want: Want, task: Task) -> Steps[Found | None]:
        """Look up keys or DS, without validating them here: that is the conversation's business."""
        in_hand = task.in_hand.get((want.name, want.rdtype))
        if in_hand is not None:
            return in_hand
        known = self.cache.get(want.name, want.rdtype, self.now)
        if known is None:
            if (want.name, want.rdtype) in task.under_way or task.depth >= 3 * DEPTH_MAX:
                return None
            task.under_way.add((want.name, want.rdtype))
            task.depth += 1
            try:
                found = yield from self._descend(want.name, want.rdtype, task)
            finally:
                task.depth -= 1
                task.under_way.discard((want.name, want.rdtype))
            if isinstance(found, Failure):
                return None
            return found_of(found[0], is_whole=False)
        return Found(
            want.name,
            want.rdtype,
            known.rcode,
            sort_records(known.answer),
            sort_records(known.authority),
            False,
        )


def _failed(made: Resolution, failure: Failure) -> Resolution:
    made.rcode = codes.SERVFAIL
    made.answer, made.authority = [], []
    made.validation = Validation.INDETERMINATE
    made.ede, made.reason = failure.ede, failure.reason
    made.expires_at = made.stored_at + cache.FAILURE_TTL_S
    return made
