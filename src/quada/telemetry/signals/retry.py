"""`client-retry`: clients ask again over something else, as those do whose answers are lost.

Two measures, each with a control, since a retry alone is no news (CHECKS.md 4.3 b and c):

- transport: a client repeats a question over a stream within seconds of UDP, though it was not told
  to (no TC). IPv6 clients do so and IPv4 clients do not: large answers are lost over IPv6.
- family: nobody's IPv6 and IPv4 address can be tied together without an inventory, so this is an
  estimate over all clients: names that few ask, asked over IPv6 and within seconds over IPv4. The
  controls are the other direction, and the same with times shifted, which is what chance gives.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.telemetry.event import FLAG_STREAM, Kind
from quada.telemetry.signals.cluster import locate, net_of
from quada.telemetry.signals.minute import KEPT, forget
from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.sample import Sample
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import above_usual, fisher, wilson
from quada.wire import codes
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quada.telemetry.event import Event

KIND: Final = "client-retry"
_WINDOWS: Final = (5, 10)
_WITHIN_NS: Final = 6_000_000_000  # glibc asks the next server after 5 s (resolv.conf(5))
_AFTER_NS: Final = 300_000_000  # sooner are racing stubs, which ask several servers at once
_OPEN_MAX: Final = 20_000
_CLIENTS_MAX: Final = 6_000  # a minute and family; of more a sample
_NAMES_MAX: Final = 6_000  # a minute; of more a sample
_ASKED_MAX: Final = 4  # times a name may be asked in a minute and be one that few ask
_ASKERS_MAX: Final = 4
_COUNT_MIN: Final = 20
_RATE_MIN: Final = 0.03
_NETS_MIN: Final = 3
_RISK_MIN: Final = 3.0
"""Times what IPv4's share may be (95% bound, where there are enough).

Stubs that ask both families at once repeat one of two questions.

Where a log does not tell of TC (BIND's), truncation over both families looks so.
"""
_P_MAX: Final = 1e-4
_HISTORY_MIN: Final = 60
_DEVIATIONS: Final = 5.0
_SHIFTS_S: Final = tuple(sign * step for step in range(17, 187, 17) for sign in (1, -1))
_STREAMS: Final = (Transport.TCP, Transport.DOT, Transport.DOH, Transport.DOQ)


class _Asked(NamedTuple):
    at_ns: int
    family: int
    client: str


class _Minute:
    """What one minute held: clients of first attempts and of retries by family, and rare names."""

    def __init__(self) -> None:
        self.tried: dict[int, list[str]] = {6: [], 4: []}
        self.again: dict[int, list[str]] = {6: [], 4: []}
        self.names: dict[tuple[str, int], list[_Asked]] = {}
        self.sample: Sample[tuple[str, int]] = Sample()
        self.questions: Sample[tuple[str, str, int]] = Sample()
        # Known at its end: who asked for rare names over IPv6, and rare names by family.
        self.rare_tried: list[str] = []
        self.of: dict[int, set[tuple[str, int]]] = {6: set(), 4: set()}

    def end(self) -> None:
        """Leave out the names that many asked."""
        self.names = {key: asked for key, asked in self.names.items() if len(asked) <= _ASKED_MAX}
        self.rare_tried = [
            one.client for asked in self.names.values() for one in asked if one.family == 6
        ]
        for family in (6, 4):
            self.of[family] = {
                key
                for key, asked in self.names.items()
                if any(one.family == family for one in asked)
            }


class _Open(NamedTuple):
    """A question asked over UDP. `is_told` while every answer had TC set."""

    at_ns: int
    is_told: bool


class Retries:
    """Judges one role's clients."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._minutes: dict[int, _Minute] = {}
        self._open: OrderedDict[tuple[str, str, int], _Open] = OrderedDict()
        self._openings = Openings()
        self._usual: deque[tuple[int, int]] = deque(maxlen=1440)

    def memory(self) -> list[list[int]]:
        """Give the retries and attempts over IPv6 that are usual, for `recall`."""
        return [list(one) for one in self._usual]

    def recall(self, memory: Iterable[Sequence[float]]) -> None:
        """Take on what an earlier watch found usual."""
        self._usual.extend((int(again), int(tried)) for again, tried in memory)

    def resume(self, scope: str) -> None:
        """Take on what was open."""
        self._openings.resume(scope)

    def feed(self, event: Event, at: int) -> None:
        """Count a client's question."""
        client, name, qtype = event.client, event.qname, event.qtype
        if event.kind is not Kind.QUERY or client is None or name is None or qtype is None:
            return
        minute = self._minutes.get(at)
        if minute is None:
            minute = self._minutes[at] = _Minute()
            forget(self._minutes, at - KEPT)
        family = 6 if ":" in client else 4
        self._feed_transport(event, minute, (client, name, qtype), family)
        if hash(key := (name, qtype)) & minute.sample.mask:
            return
        asked = minute.names.get(key)
        if asked is None:
            minute.names[key] = [_Asked(event.at_ns, family, client)]
            if len(minute.names) > _NAMES_MAX:
                minute.sample.halve()
                kept = minute.names.items()
                minute.names = {one: who for one, who in kept if minute.sample.still(one)}
        elif len(asked) <= _ASKED_MAX:  # one more than that says that it is popular
            asked.append(_Asked(event.at_ns, family, client))

    def judge(self, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        forget(self._minutes, at - max(_WINDOWS))
        if at in self._minutes:
            self._minutes[at].end()
        judged = {"transport": self._transport(at), "family": self._family(at)}
        found = {scope: signal for scope, signal in judged.items() if signal is not None}
        is_open, is_over = self._openings.step(found)
        out = [found[scope] for scope in is_open]
        return out + [closed(KIND, f"{self._role}/{scope}", at) for scope in is_over]

    def _feed_transport(
        self, event: Event, minute: _Minute, key: tuple[str, str, int], family: int
    ) -> None:
        if hash(key) & minute.questions.mask:
            return
        known = self._open.get(key)
        if known is not None and not 0 <= event.at_ns - known.at_ns <= _WITHIN_NS:
            del self._open[key]
            known = None
        is_told = bool(event.flags & codes.TC)
        if event.transport is Transport.UDP:
            if known is not None:
                self._open[key] = _Open(known.at_ns, known.is_told and is_told)
                return
            self._open[key] = _Open(event.at_ns, is_told)
            self._expire(event.at_ns)
            minute.tried[family].append(key[0])
            if len(minute.tried[family]) > _CLIENTS_MAX or len(self._open) > _OPEN_MAX:
                self._thin(minute)
        elif known is not None and (event.transport in _STREAMS or event.flags & FLAG_STREAM):
            del self._open[key]
            if not known.is_told:
                minute.again[family].append(key[0])

    def _expire(self, now_ns: int) -> None:
        while self._open and now_ns - next(iter(self._open.values())).at_ns > _WITHIN_NS:
            self._open.popitem(last=False)

    def _thin(self, minute: _Minute) -> None:
        """Follow half of the questions from now on, and forget half of what was counted."""
        minute.questions.halve()
        still = minute.questions.still
        self._open = OrderedDict((key, one) for key, one in self._open.items() if still(key))
        for table in (minute.tried, minute.again):
            for family in (6, 4):
                table[family] = table[family][::2]

    def _span(self, at: int, count: int) -> list[_Minute]:
        return [self._minutes[n] for n in range(at - count + 1, at + 1) if n in self._minutes]

    def _transport(self, at: int) -> Signal | None:
        """Judge retries over streams: against those of IPv4 clients, else what is usual."""
        now = self._minutes.get(at) or _Minute()
        usual = list(self._usual)
        signal = None
        for count in _WINDOWS:
            span = self._span(at, count)
            again = [client for minute in span for client in minute.again[6]]
            tried = [client for minute in span for client in minute.tried[6]]
            again4 = sum(len(minute.again[4]) for minute in span)
            tried4 = sum(len(minute.tried[4]) for minute in span)
            if len(again) < _COUNT_MIN or len(again) < _RATE_MIN * len(tried) or not _many(again):
                continue
            if tried4 >= _COUNT_MIN * 2:
                is_odd = fisher(len(again), len(tried), again4, tried4) < _P_MAX
                share4 = wilson(min(again4, tried4), tried4)[1]
            else:
                is_odd = _is_unusual(len(again), len(tried), usual, count)
                share4 = again4 / max(1, tried4)
            if is_odd and len(again) >= _RISK_MIN * share4 * len(tried):
                signal = Signal(
                    KIND, f"{self._role}/transport", State.OPEN, at * 60,
                    f"{len(again)} of {len(tried)} questions over IPv6 UDP were repeated over a"
                    " stream unasked",
                    f"over IPv4 {again4} of {tried4}", "packet size",
                    locate(tried, again).text(), (), "quada tail ipv6 over tcp",
                )  # fmt: skip
                break
        if signal is None:
            self._usual.append((len(now.again[6]), len(now.tried[6])))
        return signal

    def _family(self, at: int) -> Signal | None:
        """Judge names that few ask, asked over IPv6 and then over IPv4."""
        for count in _WINDOWS:
            span = self._span(at, count)
            both = _rare(span)
            again = [client for asked in both for client in _followed(asked, 6)]
            if len(again) < _COUNT_MIN or not _many(again):
                continue
            tried = [client for minute in span for client in minute.rare_tried]
            back = sum(len(_followed(asked, 4)) for asked in both)
            chance = [sum(len(_followed(a, 6, shift)) for a in both) for shift in _SHIFTS_S]
            mean = sum(chance) / len(chance)
            spread = math.sqrt(sum((n - mean) ** 2 for n in chance) / len(chance))
            excess = len(again) - max(mean + _DEVIATIONS * max(spread, 1.0), back)
            # As likely the other way round? Then it is no falling back.
            is_one_way = fisher(len(again), len(again), back, len(again)) < _P_MAX
            if excess > 0 and is_one_way and len(again) - back >= _RATE_MIN * len(tried):
                return Signal(
                    KIND, f"{self._role}/family", State.OPEN, at * 60,
                    f"an estimated {len(again) - max(round(mean), back)} of {len(tried)} questions"
                    " over IPv6 were asked again over IPv4 within seconds",
                    f"the other way round {back}, by chance {mean:.0f}", "reachability",
                    locate(tried, again).text(), (), "quada tail ipv6",
                )  # fmt: skip
        return None


def _is_unusual(again: int, tried: int, usual: list[tuple[int, int]], count: int) -> bool:
    """Compare with earlier minutes of this role, brought to the attempts there are now."""
    if len(usual) < _HISTORY_MIN:
        return False
    windows = [usual[n : n + count] for n in range(0, len(usual) - count + 1, count)]
    rates = [sum(a for a, _ in w) / max(1, sum(t for _, t in w)) for w in windows]
    return above_usual(again, [rate * tried for rate in rates]) > _DEVIATIONS


def _many(clients: Iterable[str]) -> bool:
    return len({net_of(client) for client in clients}) >= _NETS_MIN


def _rare(span: list[_Minute]) -> list[list[_Asked]]:
    """Give, of each name that few ask and both families asked, who asked when, in time's order."""
    six: set[tuple[str, int]] = set().union(*(minute.of[6] for minute in span))
    four: set[tuple[str, int]] = set().union(*(minute.of[4] for minute in span))
    whole = ([one for m in span for one in m.names.get(key, ())] for key in six & four)
    return [sorted(asked) for asked in whole if len({one.client for one in asked}) <= _ASKERS_MAX]


def _followed(asked: list[_Asked], family: int, shift_s: int = 0) -> list[str]:
    """Give who asked over a family and, it seems, then over the other, within seconds.

    Takes by how much to shift the other family's times.
    """
    shift_ns = shift_s * 1_000_000_000
    others = [one.at_ns + shift_ns for one in asked if one.family != family]
    out = []
    for one in asked:
        if one.family == family and others:
            gaps = [n for n in others if _AFTER_NS < n - one.at_ns <= _WITHIN_NS]
            if gaps:
                others.remove(gaps[0])
                out.append(one.client)
    return out
