"""The resolver behind its listeners: who may ask, what is known, what must be found out.

The way of a query: the listener finds the packet in `answers` (same second, same packet); else
`answer` checks the client, ages what it composed before, or composes from the cache; else the
question is Deferred, its lookup is driven by the server room, and `finish` composes the outcome.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.resolver.dns64 as dns64
import quada.telemetry.event as event
import quada.wire.codes as codes
import quada.wire.edns as edns
import quada.wire.names as names
from quada.resolver.cache import FAILURE_TTL_S
from quada.resolver.composed import Recursed, bare_answer, cause_of, compose_answer
from quada.resolver.dns64 import Choice, Looked
from quada.resolver.local import LocalZones
from quada.resolver.policy import Kind
from quada.resolver.task import Resolution, Task
from quada.telemetry.event import (
    Cause,
    Provenance,
    Validation,
)
from quada.wire.age import aged, ttl_offsets
from quada.wire.ask import Transport
from quada.wire.faults import MalformedMessage
from quada.wire.limit import Limiter, LimitSettings
from quada.wire.question import Question, parse_question
from quada.wire.records import Record, RRset
from quada.wire.respond import Answered, Deferred, peer_address
from quada.wire.skim import follow

if TYPE_CHECKING:
    from quada.resolver.iterate import Iterator
    from quada.resolver.policy import Action, Policy
    from quada.resolver.task import Steps
    from quada.zones import Zone

_ANSWERS_MAX: Final = 32_768
_EDE_OTHER: Final = 0
_EDE_FORGED: Final = 4  # RFC 8914 4.5
_EDE_STALE: Final = 3
_EDE_STALE_NXDOMAIN: Final = 19
_EDE_BLOCKED: Final = 15
_EDE_PROHIBITED: Final = 18
_EDE_SYNTHESIZED: Final = 29  # IANA registry, "Synthesized"
_PREFETCH_SHARE: Final = 0.1
LOCAL_NETWORKS: Final = ("::1/128", "fe80::/10", "127.0.0.0/8", "169.254.0.0/16")
_LOCALHOST: Final = names.from_text("localhost.")
_INVALID: Final = names.from_text("invalid.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings:
    """What a resolver is told once. `allow` are prefixes; `dns64` rules, the first that fits."""

    allow: tuple[str, ...] = LOCAL_NETWORKS
    dns64: tuple[dns64.Rule, ...] = ()
    udp_payload_octets: int = edns.UDP_PAYLOAD_OCTETS
    limit: LimitSettings = field(default_factory=lambda: LimitSettings(0))
    local: tuple[Zone, ...] = ()  # zones answered from files (see LocalZones)
    worker: int = 0


class Recursion(NamedTuple):
    """Deferred work: a question to be resolved. Equal ones are resolved once."""

    question: Question

    @property
    def key(self) -> tuple[bytes, int, bool]:
        """What makes two questions the same lookup."""
        is_cd = bool(self.question.flags & codes.CD)
        return self.question.qname, self.question.qtype, is_cd


class _Kept(NamedTuple):
    """A composed answer: where its TTLs lie, the second it was made in, until when it holds."""

    answered: Answered
    ttl_offsets: tuple[int, ...]
    at_s: int
    until: float


class Recursor:
    """The Responder of the recursive role. One per worker."""

    def __init__(
        self, settings: ResolverSettings, iterator: Iterator, policy: Policy | None = None
    ) -> None:
        self.settings = settings
        self.iterator = iterator
        self.policy = policy
        self.answers: dict[bytes, Answered] = {}
        self.limiter = Limiter(settings.limit) if settings.limit.per_second else None
        self.is_trusted = False
        self.fault_count = 0
        self.wants_again: list[tuple[bytes, int]] = []
        self._local = LocalZones(settings.local)
        self._allowed = [ipaddress.ip_network(text, strict=False) for text in settings.allow]
        self.clients: set[bytes] = set()
        self._strangers: set[bytes] = set()
        self._kept: dict[bytes, _Kept] = {}
        self._now_s = 0

    def begin(self, now_ns: int) -> None:
        """Take the time; composed answers hold for the second in which their TTL is right."""
        self.iterator.now = now_ns / 1e9
        now_s = now_ns // 1_000_000_000
        if now_s != self._now_s:
            self._now_s = now_s
            self.answers.clear()
            if self.limiter is not None:
                self.limiter.begin(now_s)

    def answer(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        """Answer one query (see Responder)."""
        try:
            kept = self._kept.get(packet[2:])
            if kept is not None and transport is Transport.UDP and self._may(peer):
                again = self._again(packet, kept)
                if again is not None:
                    return again
            return self._answer(packet, peer, transport)
        except MalformedMessage:
            return bare_answer(packet, transport, codes.FORMERR, self.settings.worker)
        except Exception:  # a bug of ours may cost one answer, never the server
            self.fault_count += 1
            return bare_answer(packet, transport, codes.SERVFAIL, self.settings.worker)

    def recurse(self, question: Question, client: bytes, task: Task) -> Steps[Recursed]:
        """Resolve a client's question: policy, iteration, DNS64."""
        is_cd = bool(question.flags & codes.CD)
        action = self.policy.for_name(question.qname) if self.policy else None
        if action is not None and action.kind is not Kind.PASSTHRU:
            return self._by_policy(question, action)
        rule = dns64.choose(self.settings.dns64, client) if self.settings.dns64 else None
        if rule is not None:
            special = dns64.ipv4only(rule, question.qname, question.qtype)
            if special is not None:
                return _of_looked(question, special, self.iterator.now)
            if question.qtype == codes.PTR:
                target = dns64.ptr_target(rule, question.qname)
                if target is not None:
                    return (yield from self._synthesized_ptr(question, target, task))
        resolution = yield from self.iterator.resolve(question.qname, question.qtype, task)
        recursed = Recursed(resolution, ede=resolution.ede, ede_text=resolution.reason)
        if resolution.is_stale:
            recursed.provenance |= Provenance.STALE
            recursed.ede = _EDE_STALE_NXDOMAIN if resolution.rcode == 3 else _EDE_STALE
        elif resolution.is_cached:
            recursed.provenance |= Provenance.CACHED
        if rule is not None and question.qtype == codes.AAAA:
            is_do = question.edns is not None and question.edns.is_do
            return (
                yield from self._dns64(question, recursed, rule, task, is_do=is_do, is_cd=is_cd)
            )
        return recursed

    def finish(
        self, question: Question, recursed: Recursed, transport: Transport, took_us: int
    ) -> Answered:
        """Compose what a recursion came to."""
        return self._compose(question, recursed, transport, took_us=took_us)

    def limited(self, question: Question, reason: str, transport: Transport) -> Answered:
        """Answer SERVFAIL to a question that found no seat, saying why."""
        failed = Recursed(
            Resolution(codes.SERVFAIL), ede=_EDE_OTHER, ede_text=reason, cause=Cause.LIMIT
        )
        return self._compose(question, failed, transport, cause=Cause.LIMIT)

    def coded(self, deferred: Deferred, rcode: int) -> Answered:
        """Answer a deferred query with an rcode alone."""
        return bare_answer(deferred.packet, deferred.transport, rcode, self.settings.worker)

    def _answer(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        if len(packet) < 12 or packet[2] & 0x80:
            return bare_answer(packet, transport, codes.FORMERR, self.settings.worker)
        if packet[2] >> 3 & 0xF != codes.QUERY:
            return bare_answer(packet, transport, codes.NOTIMP, self.settings.worker)
        question = parse_question(packet)
        if not self._may(peer):
            made = Recursed(Resolution(codes.REFUSED), ede=_EDE_PROHIBITED)
            return self._compose(question, made, transport, cause=event.Cause.ACCESS)
        opt = question.edns
        if opt is not None and opt.version:
            return self._compose(question, Recursed(Resolution(codes.BADVERS)), transport)
        if question.qclass != codes.IN or question.qtype in (codes.AXFR, codes.IXFR):
            return self._compose(question, Recursed(Resolution(codes.REFUSED)), transport)
        if question.qtype == codes.OPT or question.has_tsig:
            raise MalformedMessage("not a question for a resolver")
        special = self._special(question)
        if special is not None:
            return self._compose(question, special, transport)
        known = self._known(question, peer)
        if known is None:
            if not question.flags & codes.RD:
                refused = Recursed(Resolution(codes.REFUSED), ede=20)
                return self._compose(question, refused, transport)
            return Deferred(packet, peer, transport, Recursion(question))
        answered = self._compose(question, known, transport)
        if transport is Transport.UDP and not (opt and opt.options):
            self._keep(packet, answered, known.resolution)
        return answered

    def _compose(
        self,
        question: Question,
        recursed: Recursed,
        transport: Transport,
        *,
        took_us: int = 0,
        cause: int = 0,
    ) -> Answered:
        return compose_answer(
            question, recursed, transport, now=self.iterator.now,
            payload_octets=self.settings.udp_payload_octets, worker=self.settings.worker,
            took_us=took_us, cause=cause,
        )  # fmt: skip

    def forget(self) -> None:
        """Forget what was composed: the cache behind it has changed."""
        self.answers.clear()
        self._kept.clear()

    def _keep(self, packet: bytes, answered: Answered, resolution: Resolution) -> None:
        """Keep an answer for the same packet: as it is for this second, to be aged for later."""
        for table in (self.answers, self._kept):
            if len(table) >= _ANSWERS_MAX:
                table.clear()
        self.answers[packet[2:]] = answered
        now, until = self.iterator.now, _refresh_at(resolution)
        if until > now + 1:
            offsets = ttl_offsets(packet[:2] + answered[0])
            self._kept[packet[2:]] = _Kept(answered, offsets, int(now), until)

    def _again(self, packet: bytes, kept: _Kept) -> Answered | None:
        """Give an answer composed in an earlier second; None where it should be looked up anew."""
        if self.iterator.now >= kept.until:
            del self._kept[packet[2:]]
            return None
        response, tail = kept.answered
        elapsed_s = int(self.iterator.now) - kept.at_s
        message = aged(packet[:2] + response, kept.ttl_offsets, elapsed_s)
        answered = self.answers[packet[2:]] = message[2:], tail
        return answered

    def _known(self, question: Question, peer: bytes) -> Recursed | None:
        """Answer from the cache, where nothing has to be asked. Notes what should be refreshed."""
        is_plain = self.policy is None and not self.settings.dns64
        if is_plain and self.iterator.recall(question.qname, question.qtype) is None:
            return None
        recursion = self.recurse(question, peer_address(peer), Task(asks_left=0, depth=-1))
        try:
            next(recursion)
        except StopIteration as end:
            recursed: Recursed = end.value
            resolution = recursed.resolution
            is_fresh = not resolution.is_stale and resolution.rcode != codes.SERVFAIL
            if not is_fresh:
                return None
            if self.iterator.now > _refresh_at(resolution):
                self.wants_again.append((question.qname, question.qtype))
            return recursed
        return None

    def _may(self, peer: bytes) -> bool:
        client = peer_address(peer)
        if client in self.clients:
            return True
        if client in self._strangers:
            return False
        address = ipaddress.ip_address(client)
        may = any(address.version == n.version and address in n for n in self._allowed)
        known = self.clients if may else self._strangers
        if len(known) >= _ANSWERS_MAX:
            known.clear()
        known.add(client)
        return may

    def _special(self, question: Question) -> Recursed | None:
        """Names that never leave the machine (RFC 6761 6.3 and 6.4), and local zones."""
        qname, qtype = question.qname, question.qtype
        found = self._local.find(qname, qtype)
        if found is not None:
            known = Resolution(found[0], stored_at=self.iterator.now)
            known.answer, known.authority = found[1], found[2]
            known.expires_at = known.stored_at + FAILURE_TTL_S
            return Recursed(known, Provenance.POLICY)
        if qname.endswith(_INVALID) and names.is_subdomain(qname, _INVALID):
            return Recursed(Resolution(codes.NXDOMAIN), Provenance.POLICY)
        if not (qname.endswith(_LOCALHOST) and names.is_subdomain(qname, _LOCALHOST)):
            return None
        rdata = {codes.AAAA: bytes(15) + b"\x01", codes.A: b"\x7f\x00\x00\x01"}.get(qtype)
        made = Resolution(codes.NOERROR, stored_at=self.iterator.now)
        made.expires_at = made.stored_at + 10_800
        if rdata is not None:
            made.answer = [Record(qname, qtype, 10_800, rdata)]
        return Recursed(made, Provenance.POLICY)

    def _by_policy(self, question: Question, action: Action) -> Recursed:
        made = Resolution(codes.NOERROR, stored_at=self.iterator.now)
        made.expires_at = made.stored_at + FAILURE_TTL_S
        if action.kind is Kind.NXDOMAIN:
            made.rcode = codes.NXDOMAIN
        elif action.kind is Kind.LOCAL_DATA:
            rrset = action.rrset(question.qtype)
            if rrset is not None:
                made.answer = [
                    Record(question.qname, rrset.rdtype, rrset.ttl, r) for r in rrset.rdatas
                ]
        elif action.kind is Kind.CNAME:
            made.answer = [Record(question.qname, codes.CNAME, FAILURE_TTL_S, action.target)]
        ede = _EDE_FORGED if made.answer else _EDE_BLOCKED
        return Recursed(made, Provenance.POLICY, ede, action.reason, action)

    def _dns64(
        self,
        question: Question,
        recursed: Recursed,
        rule: dns64.Rule,
        task: Task,
        *,
        is_do: bool,
        is_cd: bool,
    ) -> Steps[Recursed]:
        aaaa = _looked(recursed.resolution, question.qname, codes.AAAA)
        judged = dns64.judge(rule, question.qname, aaaa, is_do=is_do, is_cd=is_cd)
        if judged.choice is Choice.KEEP:
            return recursed
        if judged.choice is Choice.FILTER and judged.rrset is not None:
            _replace_end(recursed.resolution, question.qname, judged.rrset)
            return recursed
        a = yield from self.iterator.resolve(question.qname, codes.A, task)
        made = dns64.synthesize(
            rule, aaaa, _looked(a, question.qname, codes.A), is_masking=judged.is_masking
        )
        if made is None:
            return recursed
        a.rcode, a.authority, a.validation = codes.NOERROR, [], Validation.INSECURE
        _replace_end(a, question.qname, made.rrset)
        masked = cause_of(recursed) if made.is_masking else Cause.NONE
        return Recursed(a, made.provenance, _EDE_SYNTHESIZED, made.ede_text, cause=masked)

    def _synthesized_ptr(self, question: Question, target: bytes, task: Task) -> Steps[Recursed]:
        """RFC 6147 5.3.1: a CNAME to the name under in-addr.arpa, and what is there."""
        found = yield from self.iterator.resolve(target, codes.PTR, task)
        found.answer.insert(0, Record(question.qname, codes.CNAME, 300, target))
        return Recursed(found, Provenance.DNS64, _EDE_SYNTHESIZED, "PTR of a synthesized address")


def _refresh_at(resolution: Resolution) -> float:
    """Give when an answer that is asked for should be fetched again, before it expires."""
    life_s = resolution.expires_at - resolution.stored_at
    return resolution.expires_at - _PREFETCH_SHARE * life_s


def _looked(resolution: Resolution, qname: bytes, rdtype: int) -> Looked:
    """Put a resolution as DNS64 wants it."""
    _last, _, found = follow(resolution.answer, qname, rdtype)
    rrset = None
    if found:
        ttl = min(record.ttl for record in found)
        rrset = RRset(rdtype, ttl, tuple(record.rdata for record in found))
    soa = next((r for r in resolution.authority if r.rdtype == codes.SOA), None)
    negative = min(soa.ttl, int.from_bytes(soa.rdata[-4:], "big")) if soa else None
    return Looked(resolution.rcode, rrset, resolution.validation, negative)


def _replace_end(resolution: Resolution, qname: bytes, rrset: RRset) -> None:
    """Put an RRset in place of what stands at the end of the chain."""
    last, links, _ = follow(resolution.answer, qname, codes.A)
    if last == qname:
        last, links, _ = follow(resolution.answer, qname, codes.AAAA)
    made = [Record(last, rrset.rdtype, rrset.ttl, rdata) for rdata in rrset.rdatas]
    resolution.answer = [*links, *made]


def _of_looked(question: Question, looked: Looked, now: float) -> Recursed:
    made = Resolution(looked.rcode, stored_at=now, expires_at=now + 3600)
    if looked.rrset is not None:
        made.answer = [
            Record(question.qname, looked.rrset.rdtype, looked.rrset.ttl, rdata)
            for rdata in looked.rrset.rdatas
        ]
    return Recursed(made, Provenance.DNS64)
