"""A recursive worker's lookups: one generator a question, driven by what comes back."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import quada.wire.codes as codes
from quada.resolver.explain import explain
from quada.resolver.task import Task
from quada.server.quota import Quota, QuotaSettings, Seat
from quada.telemetry.event import Cause, Kind, Role, compose_peer, compose_tail
from quada.wire.ask import read_endpoint
from quada.wire.question import Question
from quada.wire.respond import peer_address, peer_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.resolver.answer import Recursion, Recursor
    from quada.resolver.composed import Recursed
    from quada.resolver.task import Attempt, Steps
    from quada.transport.exchange import Pending, Sink
    from quada.transport.upstream import Upstream
    from quada.wire.ask import Outcome
    from quada.wire.respond import Deferred

_T = TypeVar("_T")
_PEERS_MAX: Final = 10_000
_PRIME_AGAIN_S: Final = 60.0  # our choice: after nobody answered for the root
_SHADOW_LOOKUPS: Final = 4  # our choice: each half second
_PREFETCH_MAX: Final = 5_000  # our choice: questions under way that leave no room for prefetch


class _Waiter:
    """A client that waits for a question, since when, and the seat it takes."""

    __slots__ = ("deferred", "pending", "seat", "started")

    def __init__(self, deferred: Deferred, pending: Pending, seat: Seat) -> None:
        self.deferred, self.pending, self.seat = deferred, pending, seat
        self.started = time.monotonic()


class _Run(Generic[_T]):
    """One question under way: each outcome is its next step."""

    __slots__ = ("_done", "_recursor", "_steps", "_task", "_upstream")

    def __init__(
        self,
        recursor: Recursor,
        upstream: Upstream,
        steps: Steps[_T],
        task: Task,
        done: Callable[[_T | None, Task], None],
    ) -> None:
        self._recursor, self._upstream, self._steps = recursor, upstream, steps
        self._task, self._done = task, done

    def step(self, outcome: Outcome | None) -> None:
        """Go on with what came, until the next message must be sent."""
        self._recursor.iterator.now = time.time()
        try:
            ask = next(self._steps) if outcome is None else self._steps.send(outcome)
        except StopIteration as end:
            self._done(end.value, self._task)
            return
        except Exception:  # a bug of ours may cost one answer, never the server
            self._recursor.fault_count += 1
            self._done(None, self._task)
            return
        self._upstream.perform(ask, self.step)


class Lookups:
    """Drives recursions. Equal questions share one (single-flight)."""

    def __init__(
        self,
        recursor: Recursor,
        upstream: Upstream,
        sink: Sink,
        quota: QuotaSettings | None = None,
    ) -> None:
        self._recursor = recursor
        self._upstream = upstream
        self._sink = sink
        self._jobs: dict[tuple[bytes, int, bool], list[_Waiter]] = {}
        self._quota = Quota(quota or QuotaSettings(), recursor.iterator.zone_of)
        self._peers: dict[str, bytes] = {}
        self._prime_at = 0.0

    def defer(self, deferred: Deferred, pending: Pending) -> None:
        """Take over a question that is not in the cache."""
        work: Recursion = deferred.work
        key = work.key
        peer = deferred.peer
        client = peer_address(peer)
        seat = self._quota.take(peer_network(peer), work.question.qname)
        if isinstance(seat, str):
            pending.send(*self._recursor.limited(work.question, seat, deferred.transport))
            return
        waiter = _Waiter(deferred, pending, seat)
        waiting = self._jobs.get(key)
        if waiting is not None:
            waiting.append(waiter)
            return
        self._jobs[key] = [waiter]
        self.run(work.question, client, lambda recursed, _: self._answer_all(key, recursed))

    def run(
        self,
        question: Question,
        client: bytes,
        done: Callable[[Recursed | None, Task], None],
    ) -> None:
        """Resolve a question and hand on what came of it; None for a bug of ours."""
        task = Task()
        steps = self._recursor.recurse(question, client, task)
        _Run(self._recursor, self._upstream, steps, task, done).step(None)

    def refresh(self) -> None:
        """Look up again what is asked for and about to expire."""
        wanted, self._recursor.wants_again = self._recursor.wants_again, []
        for qname, qtype in dict.fromkeys(wanted):
            if len(self._jobs) < _PREFETCH_MAX:
                self._recursor.iterator.cache.expire(qname, qtype, time.time())
                question = plain_question(qname, qtype)
                self.run(question, bytes(16), lambda _recursed, _task: None)

    def prime(self) -> None:
        """Ask who serves the root, when it is due (RFC 8109); until then the hints do."""
        now = time.time()
        if now < self._prime_at:
            return
        self._prime_at = now + _PRIME_AGAIN_S
        iterator = self._recursor.iterator
        iterator.now = now
        task = Task()

        def primed(until: float | None, _: Task) -> None:
            if until is not None:
                self._prime_at = until

        _Run(self._recursor, self._upstream, iterator.prime(task), task, primed).step(None)

    def probe(self) -> None:
        """Ask servers that failed whether they are well again."""
        iterator = self._recursor.iterator
        iterator.now = time.time()
        for one in iterator.servers.take_due():
            task = Task()
            steps = iterator.probe(one, task)
            _Run(self._recursor, self._upstream, steps, task, _no_matter).step(None)

    def light_up(self) -> None:
        """Look up a few server addresses that the IPv6-only shadow lacks."""
        iterator = self._recursor.iterator
        unknown = iterator.shadow.unknown(iterator.cache, time.time())
        for server in itertools.islice(unknown, _SHADOW_LOOKUPS):
            question = plain_question(server, codes.AAAA)
            self.run(question, bytes(16), lambda _recursed, _task: None)

    def status(self) -> dict[str, int]:
        """Tell what is under way."""
        return self._quota.status()

    def explain(self, qname: bytes, qtype: int, done: Callable[[dict[str, Any]], None]) -> None:
        """Resolve a question and tell how, step by step."""

        def told(recursed: Recursed | None, task: Task) -> None:
            done(explain(recursed, task) if recursed else {"rcode": "SERVFAIL"})

        self.run(plain_question(qname, qtype), bytes(15) + b"\x01", told)

    def attempted(self, attempt: Attempt) -> None:
        """Log one message to a server as an event of its own."""
        address = read_endpoint(attempt.server).address
        heard = attempt.heard
        is_reply = isinstance(heard, int)
        tail = compose_tail(
            role=Role.RECURSIVE, kind=Kind.UPSTREAM, transport=attempt.transport,
            qname=attempt.name, qtype=attempt.rdtype,
            rcode=heard if isinstance(heard, int) else codes.SERVFAIL,
            duration_us=int(attempt.took_s * 1e6), upstream_family=6 if ":" in address else 4,
            cause=Cause.NONE if is_reply else Cause.REACHABILITY,
            zone_offset=len(attempt.name) - len(attempt.zone)
            if attempt.name.endswith(attempt.zone) else 0xFF,
        )  # fmt: skip
        peer = self._peers.get(address)
        if peer is None:
            if len(self._peers) >= _PEERS_MAX:
                self._peers.clear()
            peer = self._peers[address] = compose_peer(address, 53).ljust(28, b"\x00")
        self._sink.append(time.time_ns().to_bytes(8, "little"), peer, tail)

    def _answer_all(self, key: tuple[bytes, int, bool], recursed: Recursed | None) -> None:
        now = time.monotonic()
        waiters = self._jobs.pop(key, ())
        for waiter in waiters:  # whatever becomes of the answers
            self._quota.leave(waiter.seat)
        for waiter in waiters:
            deferred, pending = waiter.deferred, waiter.pending
            if pending.is_gone:
                continue
            if recursed is None:
                pending.send(*self._recursor.coded(deferred, codes.SERVFAIL))
                continue
            question = deferred.work.question
            took_us = int((now - waiter.started) * 1e6)
            pending.send(*self._recursor.finish(question, recursed, deferred.transport, took_us))


def _no_matter(_: None, __: Task) -> None:
    """Who probes has learnt what there is to learn by the end of it."""


def plain_question(qname: bytes, qtype: int) -> Question:
    """Make a question as our own lookups ask it."""
    octets = qname + qtype.to_bytes(2, "big") + b"\x00\x01"
    return Question(codes.RD, codes.QUERY, qname, qtype, codes.IN, octets, None, False, b"")
