"""What a worker does off the hot path: wait for lookups, refuse or run what the store must see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import quada.wire.codes as codes
from quada.authority import Lookup, Notified
from quada.server.deliver import AliasAsked, AliasNews, AliasWanted, ZoneNotified
from quada.server.zonework import ZoneWork
from quada.telemetry.event import parse_peer
from quada.wire.respond import Deferred

if TYPE_CHECKING:
    from quada.authority import Authority
    from quada.server.channel import Channel
    from quada.server.plan import Plan
    from quada.transport.exchange import Pending

_WAITING_MAX: Final = 10_000  # our choice: clients that wait for a lookup at once; more get stale
_REPORT_S: Final = 1.0


class Errands:
    """A worker's deferred work. `defer` is what listeners call."""

    def __init__(self, plan: Plan, authority: Authority, channel: Channel) -> None:
        self._plan = plan
        self._authority = authority
        self._channel = channel
        self._zone_work = ZoneWork(plan, authority)
        self._waiting: dict[bytes, list[tuple[Deferred, Pending, asyncio.TimerHandle]]] = {}
        self._waiting_count = 0

    def defer(self, deferred: Deferred, pending: Pending) -> None:
        """Take over what the authority could not answer at once."""
        work: Any = deferred.work
        if isinstance(work, Lookup):
            self._await_lookup(deferred, pending, work.wanted.targets)
        elif isinstance(work, Notified):
            client = parse_peer(deferred.peer)
            self._channel.send(ZoneNotified(work.origin, client[0] if client else ""))
            pending.send(*self._authority.coded(deferred, codes.NOERROR))
        else:
            self._zone_work.start(deferred, pending)

    def delivered(self, delivery: Any) -> None:
        """Wake those who waited for what has come."""
        if not isinstance(delivery, AliasNews):
            return
        for target in {expansion.target for expansion in delivery.expansions}:
            for deferred, pending, timer in self._waiting.pop(target, []):
                timer.cancel()
                self._waiting_count -= 1
                answered = self._authority.settle(deferred, is_last=False)
                if isinstance(answered, Deferred):
                    self.defer(answered, pending)
                else:
                    pending.send(*answered)

    async def report(self) -> None:
        """Tell the supervisor now and then which ALIAS targets are in use."""
        while True:
            await asyncio.sleep(_REPORT_S)
            aliases = self._authority.book.aliases
            if aliases is not None and aliases.asked:
                self._channel.send(AliasAsked(tuple(aliases.asked)))
                aliases.asked.clear()

    def _await_lookup(
        self, deferred: Deferred, pending: Pending, targets: tuple[bytes, ...]
    ) -> None:
        self._channel.send(AliasWanted(targets))
        target = targets[0]
        if self._waiting_count >= _WAITING_MAX:
            self._give_up(deferred, pending)
            return
        loop = asyncio.get_running_loop()
        entry: list[Any] = [deferred, pending]
        timer = loop.call_later(
            self._plan.alias.budget_s, lambda: self._overdue(target, deferred, pending)
        )
        self._waiting.setdefault(target, []).append((entry[0], entry[1], timer))
        self._waiting_count += 1

    def _overdue(self, target: bytes, deferred: Deferred, pending: Pending) -> None:
        waiting = self._waiting.get(target, [])
        for entry in waiting:
            if entry[0] is deferred:
                waiting.remove(entry)
                self._waiting_count -= 1
                break
        if not waiting:
            self._waiting.pop(target, None)
        self._give_up(deferred, pending)

    def _give_up(self, deferred: Deferred, pending: Pending) -> None:
        """The budget is spent: what there is, stale or empty, now."""
        answered = self._authority.settle(deferred, is_last=True)
        if isinstance(answered, Deferred):
            answered = self._authority.coded(deferred, codes.SERVFAIL)
        pending.send(*answered)
