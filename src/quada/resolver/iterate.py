"""Iteration: from the root, or from the nearest thing known, to the answer (RFC 1034 5.3.3).

Everything is a generator that yields an `Ask` and is sent its `Outcome`: no socket, no clock (the
driver sets `now`), no task per question. Whatever a server sends is bounded here: how many servers
are asked for a question, how deep lookups nest, how long chains and referrals grow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import quada.resolver.cache as cache
import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import Cache, Delegation, Word
from quada.resolver.denials import Denials
from quada.resolver.evidence import SEVERITY, Found, found_of, sort_records
from quada.telemetry.event import Validation
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome, Reply, Silence, Transport
from quada.wire.edns import compose_opt
from quada.wire.faults import MalformedMessage
from quada.wire.skim import Skimmed, follow, skim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.resolver.evidence import Want
    from quada.resolver.servers import Servers
    from quada.resolver.validate import Validator
    from quada.wire.records import Record

ASKS_MAX: Final = 64  # our choice: messages sent for one client question, all lookups counted
DEPTH_MAX: Final = 6  # our choice: lookups for lookups (glueless servers, keys)
LINKS_MAX: Final = 16  # CNAMEs followed; BIND's max-query-restarts is 11, Unbound's limit 11
REFERRALS_MAX: Final = 24  # our choice: zone cuts on the way to a name
GLUELESS_MAX: Final = 3  # server names looked up of one delegation (NXNSAttack, CVE-2020-12662)
SERVERS_MAX: Final = 13  # addresses asked of one zone for one question
_MINIMISED_MAX: Final = 10  # RFC 9156 2.3 MAX_MINIMISE_COUNT
_TCP_S: Final = 3.0
EDE_NO_REACHABLE: Final = 22
EDE_NETWORK: Final = 23
_PROOFS: Final = frozenset((codes.SOA, codes.NSEC, codes.NSEC3, codes.RRSIG))

_FOLDED: Final = "changed the question's case"
_CASE_BITS: Final = bytes(0x20 if 0x61 <= octet <= 0x7A else 0 for octet in range(256))

_T = TypeVar("_T")
Steps = Generator[Ask, Outcome, _T]


class Attempt(NamedTuple):
    """One message to a server, for events and `explain`."""

    zone: bytes
    name: bytes
    rdtype: int
    server: str
    transport: Transport
    outcome: str
    took_s: float


@dataclass(slots=True)
class Task:
    """One client question's budget, shared by all lookups made for it, and the account of them."""

    asks_left: int = ASKS_MAX
    depth: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    under_way: set[tuple[bytes, int]] = field(default_factory=set)
    in_hand: dict[tuple[bytes, int], Found] = field(default_factory=dict)


@dataclass(slots=True)
class Resolution:
    """The answer to a question: the chain and its end."""

    rcode: int
    answer: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    validation: Validation = Validation.UNTRIED
    stored_at: float = 0.0
    expires_at: float = 0.0
    ede: int | None = None
    reason: str = ""
    is_stale: bool = False
    is_cached: bool = True


class Failure(NamedTuple):
    """No server gave a usable answer: EDE code and why."""

    ede: int
    reason: str


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
        self._roots = roots
        self._bits = bits
        self._stale_s = stale_s
        self.attempted = attempted

    def resolve(self, qname: bytes, qtype: int, task: Task) -> Steps[Resolution]:
        """Resolve a question, following CNAME and DNAME from zone to zone."""
        made = Resolution(codes.NOERROR, expires_at=float("inf"), stored_at=self.now)
        name = qname
        seen: set[bytes] = set()
        worst = Validation.SECURE
        for _ in range(LINKS_MAX):
            if name in seen:
                return _failed(made, Failure(0, "the chain of CNAMEs is a loop"))
            seen.add(name)
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
            name = last
        return _failed(made, Failure(0, "the chain of CNAMEs is too long"))

    def lookup(self, name: bytes, rdtype: int, task: Task) -> Steps[Word | Failure]:
        """Give one zone's word about a name, from the cache or from its servers, validated."""
        known = self.cache.get(name, rdtype, self.now)
        if known is None and self.validator is not None:
            known = self.denials.find(name, rdtype, self.now)
        if known is not None:
            return known
        if task.asks_left <= 0:
            return Failure(EDE_NO_REACHABLE, "the question needs too many messages")
        if (name, rdtype) in task.under_way or task.depth >= DEPTH_MAX:
            return Failure(EDE_NO_REACHABLE, "lookups depend on one another in a circle")
        task.under_way.add((name, rdtype))
        task.depth += 1
        try:
            found = yield from self._descend(name, rdtype, task)
            if isinstance(found, Failure):
                return found
            word = yield from self._judged(*found, task)
        finally:
            task.depth -= 1
            task.under_way.discard((name, rdtype))
        self.cache.put(word)
        return word

    def _descend(
        self, name: bytes, rdtype: int, task: Task
    ) -> Steps[tuple[Skimmed, Delegation, bytes, int] | Failure]:
        """Follow referrals down to the zone that answers."""
        start = names.parent(name) if rdtype == codes.DS and name != names.ROOT else name
        delegation = self.cache.closest(start, self.now) or self._roots
        extra = 1
        is_minimising = not delegation.is_forward
        for _ in range(REFERRALS_MAX):
            asked, asked_type = name, rdtype
            if is_minimising:
                asked, asked_type = _minimised(name, rdtype, delegation.zone, extra)
            is_whole = asked == name
            response = yield from self._ask_zone(delegation, asked, asked_type, task)
            if isinstance(response, Failure):
                return response
            referral = None if delegation.is_forward else self._referral(response, delegation, name)
            if referral is not None:
                if rdtype == codes.DS and referral.zone == name:
                    # The cut itself: its parent has said all there is about DS (RFC 4035 2.4).
                    return response, delegation, name, rdtype
                self.cache.delegate(referral)
                delegation, extra = referral, 1
                continue
            if is_whole:
                return response, delegation, name, rdtype
            if response.rcode == codes.NXDOMAIN or extra >= _MINIMISED_MAX:
                is_minimising = False  # some servers deny empty non-terminals: ask in full
            else:
                extra += 1
        return Failure(EDE_NO_REACHABLE, "there are too many referrals")

    def _referral(
        self, response: Skimmed, delegation: Delegation, name: bytes
    ) -> Delegation | None:
        """Read a referral: downwards, towards the name, and nothing else (RFC 2181 6)."""
        if response.answer or response.rcode != codes.NOERROR:
            return None
        cut: bytes | None = None
        servers: list[bytes] = []
        ttl = cache.TTL_MAX_S
        for record in response.authority:
            if record.rdtype == codes.SOA:
                return None
            if record.rdtype != codes.NS:
                continue
            is_down = len(record.owner) > len(delegation.zone) and names.is_subdomain(
                record.owner, delegation.zone
            )
            if not is_down or not names.is_subdomain(name, record.owner):
                continue
            if cut is None or record.owner == cut:
                cut = record.owner
                servers.append(record.rdata.lower())
                ttl = min(ttl, record.ttl)
        if cut is None:
            return None
        glue: dict[bytes, list[str]] = {}
        wanted = set(servers)
        for record in response.additional:
            # Glue is believed inside the zone that refers, and only for servers it names.
            if record.owner in wanted and names.is_subdomain(record.owner, delegation.zone):
                address = _address(record)
                if address:
                    glue.setdefault(record.owner, []).append(address)
        return Delegation(
            cut,
            tuple(servers[:SERVERS_MAX]),
            {owner: tuple(addresses) for owner, addresses in glue.items()},
            self.now + max(ttl, 1),
        )

    def _ask_zone(
        self, delegation: Delegation, name: bytes, rdtype: int, task: Task
    ) -> Steps[Skimmed | Failure]:
        """Ask the servers of a zone, one after the other, until one answers usefully."""
        addresses = [a for one in delegation.servers for a in delegation.glue.get(one, ())]
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
            address = order[0]
            tried.add(address)
            answer = yield from self._ask_server(address, delegation, name, rdtype, task)
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
            if family not in self.servers.families or (found and family == 4):
                continue
            word = yield from self.lookup(server, rdtype, task)
            if isinstance(word, Word) and word.validation is not Validation.BOGUS:
                records = follow(word.answer, server, rdtype)[2]
                found += [address for r in records if (address := _address(r))]
        return found

    def _ask_server(
        self, address: str, delegation: Delegation, name: bytes, rdtype: int, task: Task
    ) -> Steps[Skimmed | Failure]:
        """Ask one server: over UDP, over TCP where that is cut, without EDNS where it must be."""
        has_edns = self.servers.has_edns(address)
        to = _endpoint(address)
        transport = to.transport
        for _ in range(3):
            if task.asks_left <= 0:
                return Failure(EDE_NO_REACHABLE, "the question needs too many messages")
            task.asks_left -= 1
            query = self._query(name, rdtype, has_edns=has_edns, is_rd=delegation.is_forward)
            is_udp = transport is Transport.UDP
            wait_s = self.servers.timeout_s(address) if is_udp else _TCP_S
            outcome = yield Ask(to._replace(transport=transport), query, wait_s)
            response = self._heard(outcome, query)
            label = response if isinstance(response, str) else f"rcode {response.rcode}"
            took_s = outcome.rtt_s if isinstance(outcome, Reply) else outcome.elapsed_s
            attempt = Attempt(delegation.zone, name, rdtype, address, transport, label, took_s)
            task.attempts.append(attempt)
            self.attempted(attempt)
            if response == _FOLDED:
                transport = Transport.TCP
                continue
            if isinstance(response, str) and transport is Transport.DOT and not to.name:
                # Encryption by opportunity: where it fails plain DNS is better than none.
                to, transport = Endpoint(to.address), Transport.UDP
                continue
            if isinstance(response, str):
                self.servers.failed(address, took_s, self.now)
                return Failure(EDE_NETWORK, f"{address} {response}")
            self.servers.answered(address, took_s)
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
            if _is_lame(response, delegation):
                return Failure(EDE_NO_REACHABLE, f"{address} does not serve the zone")
            return response
        return Failure(EDE_NETWORK, f"{address} gives no whole answer")

    def _query(self, name: bytes, rdtype: int, *, has_edns: bool, is_rd: bool) -> bytes:
        flags = (codes.RD if is_rd else 0) | codes.CD
        opt = compose_opt(flags=codes.EDNS_DO if self.validator else 0) if has_edns else b""
        return b"".join(
            (
                b"\x00\x00",
                flags.to_bytes(2, "big"),
                b"\x00\x01\x00\x00\x00\x00\x00" + bytes((has_edns,)),
                self._in_random_case(name),
                rdtype.to_bytes(2, "big") + b"\x00\x01",
                opt,
            )
        )

    def _in_random_case(self, name: bytes) -> bytes:
        """Spell a name in random case, which an off-path forger must guess too (0x20)."""
        size = len(name)
        flips = self._bits(8 * size) & int.from_bytes(name.translate(_CASE_BITS), "big")
        return (int.from_bytes(name, "big") ^ flips).to_bytes(size, "big")

    @staticmethod
    def _heard(outcome: Outcome, query: bytes) -> Skimmed | str:
        """Read an outcome: the response, or what was wrong in words."""
        if isinstance(outcome, NoReply):
            detail = f": {outcome.detail}" if outcome.why is Silence.TLS and outcome.detail else ""
            return f"gave no answer ({outcome.why.name.lower()}{detail})"
        try:
            response = skim(outcome.message)
        except MalformedMessage as fault:
            return f"answered garbage ({fault})"
        asked = query[12 : 12 + len(response.qname)]
        if response.qname.lower() != asked.lower():
            return "answered another question"
        # TCP cannot be forged blindly, and some servers fold case: only UDP must echo it.
        if response.qname != asked and outcome.ask.to.transport is Transport.UDP:
            return _FOLDED
        return response

    def _judged(
        self, response: Skimmed, delegation: Delegation, name: bytes, rdtype: int, task: Task
    ) -> Steps[Word]:
        """Keep what the zone may say, validate it, and say how long it holds."""
        zone = delegation.zone

        def may_say(records: Iterable[Record]) -> tuple[Record, ...]:
            return tuple(r for r in records if names.is_subdomain(r.owner, zone))

        answer = may_say(response.answer)
        authority = tuple(r for r in may_say(response.authority) if r.rdtype in _PROOFS)
        clean = response._replace(answer=list(answer), authority=list(authority))
        ttl = _ttl_s(answer, authority, name, rdtype)
        word = Word(name, rdtype, response.rcode, answer, authority, zone, self.now, self.now + ttl)
        if self.validator is None or delegation.is_fixed:
            return word
        found = found_of(clean, is_whole=False)
        # Who asks for keys needs those keys to believe the answer: they are in hand.
        task.in_hand[name, rdtype] = found
        verdict = yield from self._validate(found, zone, task)
        del task.in_hand[name, rdtype]
        if verdict.state is Validation.BOGUS:
            ttl = min(ttl, cache.BOGUS_TTL_S)
        word = word._replace(
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


def _minimised(name: bytes, rdtype: int, zone: bytes, extra: int) -> tuple[bytes, int]:
    """Give as much of a name as the zone's servers need to know (RFC 9156 2)."""
    labels = names.label_count(name) - names.label_count(zone)
    if labels <= extra:
        return name, rdtype
    at = 0
    for _ in range(labels - extra):
        at += name[at] + 1
    return name[at:], codes.A  # RFC 9156 2.1: a common type, so that it does not stand out


@lru_cache(maxsize=10_000)
def _endpoint(address: str) -> Endpoint:
    """Read where to ask: `ADDRESS`, `ADDRESS@PORT`, over TLS `tls+ADDRESS@PORT#NAME`.

    Without a name whoever answers is believed.
    """
    rest = address.removeprefix("tls+")
    is_tls = rest != address
    rest, _, name = rest.partition("#")
    host, _, port = rest.partition("@")
    kind = Transport.DOT if is_tls else Transport.UDP
    return Endpoint(host, int(port or (853 if is_tls else 53)), kind, name)


def _is_lame(response: Skimmed, delegation: Delegation) -> bool:
    """Tell whether a server does not serve the zone: it refers sideways or upwards."""
    if delegation.is_forward or response.answer or response.flags & codes.AA:
        return False
    if response.rcode == codes.NXDOMAIN:
        return False
    owners = [r.owner for r in response.authority if r.rdtype in (codes.NS, codes.SOA)]
    return not any(names.is_subdomain(owner, delegation.zone) for owner in owners) or (
        all(owner == delegation.zone for owner in owners if owner)
        and not any(r.rdtype == codes.SOA for r in response.authority)
    )


def _ttl_s(
    answer: tuple[Record, ...], authority: tuple[Record, ...], name: bytes, rdtype: int
) -> int:
    """Give how long an answer holds: its lowest TTL, or the SOA's negative one (RFC 2308 5)."""
    _, links, found = follow(answer, name, rdtype)
    used = [record.ttl for record in (*links, *found)]
    if found or links:
        return min([cache.TTL_MAX_S, *used])
    soa = next((r for r in authority if r.rdtype == codes.SOA), None)
    if soa is None:
        return cache.FAILURE_TTL_S
    return min(cache.NEGATIVE_TTL_MAX_S, soa.ttl, int.from_bytes(soa.rdata[-4:], "big"))


def _address(record: Record) -> str:
    """Give the address of an AAAA or A record; empty for what is none, or never a server's."""
    size = {codes.AAAA: 16, codes.A: 4}.get(record.rdtype)
    if size is None or len(record.rdata) != size:
        return ""
    address = ipaddress.ip_address(record.rdata)
    if address.is_multicast or address.is_unspecified:
        return ""
    return str(address)
