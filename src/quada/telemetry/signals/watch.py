"""The watch: minutes in, signals out.

Each judge looks at a window of minutes of one role:
1. is the input fit at all (`blind`);
2. `aaaa-servfail`: AAAA fails where A does not, by zone, with its cause and place;
3. `aaaa-share`: fewer AAAA questions than usual beside A;
4. `ipv6-fallback`: servers that are asked over IPv6 in vain while IPv4 answers.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import re
from collections import Counter, deque
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import quada.wire.codes as codes
from quada.telemetry.event import Cause, Role
from quada.telemetry.signals.cluster import UNSURE, locate
from quada.telemetry.signals.minute import Minute, ZoneMinute, zone_of
from quada.telemetry.signals.signal import Signal, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.telemetry.event import Event

_Key = TypeVar("_Key")

_WINDOW: Final = 5
_WATERMARK_S: Final = 30  # events may come that late
_LATE_MAX_S: Final = 600
_HISTORY_MIN: Final = 60  # minutes before anything is compared with what is usual
_HISTORY_MAX: Final = 7 * 1440
_BLIND_SHARE: Final = 0.2  # events lost, of all, that make a minute unfit
_CLOSE_AFTER: Final = 10
_SCOPES_MAX: Final = 500

# aaaa-servfail
_RATE_MIN: Final = 0.02
_TRIES_MIN: Final = 50
_NETS_MIN: Final = 3
_P_MAX: Final = 1e-4
_OPEN_OF: Final = 2  # of the last three minutes
_ALL: Final = "*"
_ONE_ZONE: Final = 0.8  # of the failures, that make it the zone's
_ONE_NAME: Final = 0.8  # of the failures, that make it the name's

# aaaa-share
_SHARE_TRIES_MIN: Final = 120
_SHARE_NETS_MIN: Final = 5
_DRIFT: Final = 1.5
_ALARM: Final = 8.0
_DROP_MIN: Final = 0.35
_SPREAD_MIN: Final = 0.04

# ipv6-fallback
_SERVER_TRIES_MIN: Final = 20
_SERVER_WINDOW: Final = 10
_BAD_BELOW: Final = 0.8
_GOOD_ABOVE: Final = 0.95


class Watch:
    """Judges the events of one or several servers, roles apart."""

    def __init__(self) -> None:
        self.open: dict[str, Signal] = {}
        self._roles: dict[Role, _RoleWatch] = {}
        self._judged_until = 0
        self._lost: dict[int, int] = {}

    def resume(self, signals: Iterable[Signal]) -> None:
        """Take on what was open when an earlier watch ended, to close it when it is over."""
        for signal in signals:
            self.open[signal.key] = signal
            name, _, scope = signal.scope.partition("/")
            if signal.kind == "aaaa-servfail" and name.upper() in Role.__members__:
                role = Role[name.upper()]
                watch = self._roles.setdefault(role, _RoleWatch(role))
                watch.resume(scope)

    def feed(self, events: Iterable[Event]) -> None:
        """Take events; those that come ten minutes late are left out."""
        for event in events:
            role = event.role or Role.RECURSIVE
            watch = self._roles.get(role)
            if watch is None:
                watch = self._roles[role] = _RoleWatch(role)
            at_s = event.at_ns // 1_000_000_000
            if at_s // 60 * 60 >= self._judged_until:
                watch.minute(at_s // 60).add(event)

    def lose(self, count: int, now_s: int) -> None:
        """Note events that were lost before they could be seen."""
        minute = now_s // 60
        self._lost[minute] = self._lost.get(minute, 0) + count
        for old in [at for at in self._lost if at < minute - 60]:
            del self._lost[old]

    def judge(self, now_s: int) -> list[Signal]:
        """Judge every whole minute up to now; gives the signals that opened, changed or closed."""
        out: list[Signal] = []
        ready = (now_s - _WATERMARK_S) // 60
        first = self._judged_until // 60 or min(
            (at for watch in self._roles.values() for at in watch.minutes), default=ready
        )
        for minute in range(max(first, ready - _LATE_MAX_S // 60), ready):
            for watch in self._roles.values():
                out += self._changes(watch.judge(minute, self._lost.get(minute, 0)))
        self._judged_until = max(self._judged_until, ready * 60)
        return out

    def _changes(self, found: list[Signal]) -> list[Signal]:
        changed = []
        for signal in found:
            before = self.open.get(signal.key)
            if signal.state is State.CLOSED:
                if before is not None:
                    del self.open[signal.key]
                    changed.append(signal._replace(since=before.since))
            elif before is None:
                if len(self.open) < _SCOPES_MAX:
                    self.open[signal.key] = signal
                    changed.append(signal)
            elif (before.cause, before.where) != (signal.cause, signal.where):
                if signal.where == UNSURE:  # fewer failures now do not make unknown what was known
                    signal = signal._replace(where=before.where)
                self.open[signal.key] = signal._replace(since=before.since)
                if _word(before.where) != _word(signal.where) or before.cause != signal.cause:
                    changed.append(self.open[signal.key])
        return changed


class _RoleWatch:
    """One role's minutes and histories."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.minutes: dict[int, Minute] = {}
        self._name = role.name.lower()
        self._share: deque[tuple[int, float]] = deque(maxlen=_HISTORY_MAX)
        self._sum = 0.0
        self._failing: dict[str, deque[bool]] = {}
        self._quiet: dict[str, int] = {}
        self._volume: deque[int] = deque(maxlen=1440)

    def minute(self, at: int) -> Minute:
        """Give the minute to count in."""
        found = self.minutes.get(at)
        if found is None:
            found = self.minutes[at] = Minute()
            for old in [one for one in self.minutes if one < at - _SERVER_WINDOW - 30]:
                del self.minutes[old]
        return found

    def resume(self, scope: str) -> None:
        """Take a failing scope on."""
        self._failing[scope] = deque([True] * 3, maxlen=3)

    def judge(self, at: int, lost: int) -> list[Signal]:
        """Judge the minute that is over."""
        now = self.minutes.get(at) or Minute()
        usual = median(self._volume) if len(self._volume) >= _HISTORY_MIN else None
        is_starved = usual is not None and usual >= 50 and now.event_count < usual / 5
        is_lossy = lost > _BLIND_SHARE * max(now.event_count, 1)
        self._volume.append(now.event_count)
        window = self._span(at, _WINDOW)
        found = []
        if is_starved or is_lossy:
            why = "events are being lost" if is_lossy else "far fewer events come than usual"
            found.append(
                Signal("blind", self._name, State.BLIND, at * 60, f"cannot judge: {why}",
                       f"{now.event_count} events in the minute, usually {usual or 0:.0f};"
                       f" {lost} lost",
                       next_command="quada status")
            )  # fmt: skip
            return found
        found.append(self._closed("blind", self._name, at))
        found += self._judge_failures(at)
        found += self._judge_share(window, at)
        found += self._judge_fallback(at)
        return found

    def _span(self, at: int, count: int) -> list[Minute]:
        """Give the last minutes, up to one."""
        return [self.minutes[one] for one in range(at - count + 1, at + 1) if one in self.minutes]

    def _judge_failures(self, at: int) -> list[Signal]:
        """AAAA that fails while A beside it does not: one signal for the smallest scope.

        All zones together come first: where they fail, the signal is of the one zone that holds
        most failures, or of all. Only else is each zone looked at by itself.
        """
        zones = {zone for minute in self._span(at, _WINDOW) for zone, _ in minute.zones}
        whole = self._scope(at, _ALL)
        failing: dict[str, _Pair] = {}
        if self._fails(whole, 1):
            most = Counter(zone_of(name) for _, name in whole.six.failed).most_common(1)[0]
            named = next((z for z in zones if most[0] == z or most[0].endswith(f".{z}")), most[0])
            is_one = most[1] >= _ONE_ZONE * len(whole.six.failed)
            failing[named if is_one else _ALL] = whole
        else:
            for zone in zones:
                pair = self._scope(at, zone)
                if self._fails(pair, len(zones)):
                    failing[zone] = pair
        out = []
        for scope in {*failing, *self._failing}:
            recent = self._failing.setdefault(scope, deque(maxlen=3))
            recent.append(scope in failing)
            key = f"{self._name}/{scope}"
            if scope in failing and sum(recent) >= _OPEN_OF:
                pair = self._scope(at, scope)
                out.append(self._failure_signal(scope, pair, at))
            if self._has_been_quiet(key, is_failing=scope in failing):
                out.append(self._closed("aaaa-servfail", key, at))
                del self._failing[scope]
        return out

    def _scope(self, at: int, scope: str) -> _Pair:
        """Gather AAAA and A of a scope: over five minutes, or ten where few ask."""
        for count in (_WINDOW, 2 * _WINDOW):
            window = self._span(at, count)
            pair = _Pair(_gather(window, scope, codes.AAAA), _gather(window, scope, codes.A))
            if len(pair.six.attempts) >= _TRIES_MIN * 2:
                break
        return pair

    def _has_been_quiet(self, key: str, *, is_failing: bool) -> bool:
        self._quiet[key] = 0 if is_failing else self._quiet.get(key, 0) + 1
        if self._quiet[key] < _CLOSE_AFTER:
            return False
        del self._quiet[key]
        return True

    @staticmethod
    def _fails(pair: _Pair, scopes: int) -> bool:
        six, four = pair
        tries, bad = len(six.attempts), len(six.failed)
        if tries < _TRIES_MIN or bad / tries < _RATE_MIN:
            return False
        if len({_net(client) for client in six.failed.values()}) < _NETS_MIN:
            return False  # one broken client
        name_count = Counter(name for _, name in six.failed).most_common(1)[0][1]
        if name_count >= _ONE_NAME * bad:
            return False  # one broken name is its owner's, and no failure of a zone
        return fisher(bad, tries, len(four.failed), len(four.attempts)) < _P_MAX / max(1, scopes)

    def _failure_signal(self, scope: str, pair: _Pair, at: int) -> Signal:
        six, four = pair
        tries, bad = len(six.attempts), len(six.failed)
        known = [(cause, n) for cause, n in six.causes.most_common() if cause is not Cause.UNKNOWN]
        cause = known[0][0] if known else Cause.UNKNOWN
        place = locate((client for client, _ in six.attempts), six.failed.values())
        names = sorted({name for _, name in six.failed})[:1]
        what = "every zone" if scope == _ALL else scope
        return Signal(
            "aaaa-servfail", f"{self._name}/{scope}", State.OPEN, at * 60,
            f"AAAA of {what} fails for {bad} of {tries} attempts",
            f"A fails for {len(four.failed)} of {len(four.attempts)}",
            cause.name.lower(), place.text(), tuple(six.evidence[:5]),
            f"quada doctor {(names or [scope])[0]}",
        )  # fmt: skip

    def _judge_share(self, window: list[Minute], at: int) -> list[Signal]:
        """Fewer AAAA questions beside A than usual: a one-sided cumulative sum."""
        six = set().union(*(minute.attempts[codes.AAAA] for minute in window)) if window else set()
        four = set().union(*(minute.attempts[codes.A] for minute in window)) if window else set()
        tries = len(six) + len(four)
        nets = {_net(client) for client, _ in four}
        if tries < _SHARE_TRIES_MIN or len(nets) < _SHARE_NETS_MIN:
            return []
        share = math.log((len(six) + 0.5) / (len(four) + 0.5))
        baseline = self._baseline(at)
        key = f"aaaa-share/{self._name}"
        if baseline is None:
            self._share.append((at, share))
            return []
        usual, spread, is_sure = baseline
        z = (share - usual) / max(spread, math.sqrt(4 / tries), _SPREAD_MIN)
        self._sum = max(0.0, self._sum - z - _DRIFT)
        is_low = usual - share >= _DROP_MIN
        if self._sum > _ALARM and is_low:
            self._quiet[key] = 0
            self._sum = min(self._sum, 4 * _ALARM)
            missing = {_net(c) for c, _ in four} - {_net(c) for c, _ in six}
            return [
                Signal("aaaa-share", self._name, State.OPEN, at * 60,
                       f"AAAA questions fell to {math.exp(share):.2f} for each A",
                       f"usually {math.exp(usual):.2f}" + ("" if is_sure else ", by one day alone"),
                       "clients ask less", f"{len(missing)} networks ask A alone"
                       if missing else "everywhere", (), "quada tail a not aaaa")
            ]  # fmt: skip
        # What is judged abnormal must not become usual.
        if self._sum <= _ALARM / 2:
            self._share.append((at, share))
        self._quiet[key] = self._quiet.get(key, 0) + 1 if z > -_DRIFT else 0
        if self._quiet[key] >= _CLOSE_AFTER:
            self._sum = 0.0
            return [self._closed("aaaa-share", self._name, at)]
        return []

    def _baseline(self, at: int) -> tuple[float, float, bool] | None:
        """Give what is usual, how it spreads, and whether several days say so."""
        if len(self._share) < _HISTORY_MIN:
            return None
        same = [
            share
            for minute, share in self._share
            if at - minute > 720 and abs((at - minute + 15) % 1440 - 15) <= 15
        ]
        is_sure = len(same) >= 3 * 20
        values = (
            same if is_sure else [share for minute, share in self._share if at - minute <= 1440]
        )
        if len(values) < _HISTORY_MIN // 2:
            values = [share for _, share in self._share]
        usual = median(values)
        spread = 1.4826 * median(abs(value - usual) for value in values)
        return usual, spread, is_sure

    def _judge_fallback(self, at: int) -> list[Signal]:
        """Servers whose IPv6 address is asked in vain while IPv4 of their zone answers."""
        if self.role is not Role.RECURSIVE:
            return []
        spans = [self._servers(at, count) for count in (3, _WINDOW, _SERVER_WINDOW)]
        found = (
            self._server_signal(address, spans, at) for address in spans[-1].tries if ":" in address
        )
        return [signal for signal in found if signal is not None]

    def _servers(self, at: int, count: int) -> _Servers:
        """Put the upstream tries of some minutes together."""
        made = _Servers({}, {}, {})
        for minute in self._span(at, count):
            for address, counts in minute.servers.items():
                _count(made.tries, address, counts)
            for family, counts in minute.families.items():
                _count(made.families, family, counts)
            made.zones.update(minute.server_zone)
        return made

    def _server_signal(self, address: str, spans: list[_Servers], at: int) -> Signal | None:
        """Judge a server by the shortest span in which it was asked often enough."""
        for seen in spans:
            count, good = seen.tries.get(address, (0, 0))
            if count >= _SERVER_TRIES_MIN:
                break
        else:
            return None
        zone = seen.zones.get(address, "?")
        low, high = wilson(good, count)
        there, answered = seen.families.get((zone, 4), (0, 0))
        if high < _BAD_BELOW and there and answered / there >= _GOOD_ABOVE:
            return Signal(
                "ipv6-fallback", address, State.OPEN, at * 60,
                f"{address} of {zone} answered {good} of {count} over IPv6",
                f"IPv4 of {zone} answered {answered} of {there}", "reachability", zone, (),
                f"quada doctor {zone}",
            )  # fmt: skip
        return self._closed("ipv6-fallback", address, at) if low > 0.9 else None

    @staticmethod
    def _closed(kind: str, scope: str, at: int) -> Signal:
        return Signal(kind, scope, State.CLOSED, at * 60, "over")


def fisher(bad: int, tries: int, other_bad: int, other_tries: int) -> float:
    """Give the one-sided probability of so many failures here if both failed alike (Fisher).

    Exact by log-factorials; for counts too large for that, the normal approximation.
    """
    total, all_bad = tries + other_tries, bad + other_bad
    if not other_tries:
        return 1.0  # without a control nothing can be said
    if total > 20_000:
        share = all_bad / total
        deviation = math.sqrt(share * (1 - share) * (1 / tries + 1 / other_tries)) or 1e-9
        z = (bad / tries - other_bad / other_tries) / deviation
        return 0.5 * math.erfc(z / math.sqrt(2))
    whole = _log_choose(total, tries)
    return min(
        1.0,
        sum(
            math.exp(_log_choose(all_bad, k) + _log_choose(total - all_bad, tries - k) - whole)
            for k in range(bad, min(all_bad, tries) + 1)
            if tries - k <= total - all_bad
        ),
    )


def wilson(good: int, count: int) -> tuple[float, float]:
    """Give the 95% interval of a share (Wilson)."""
    z = 1.96
    share, size = good / count, count + z * z
    middle = (share * count + z * z / 2) / size
    half = z * math.sqrt(share * (1 - share) * count + z * z / 4) / size
    return middle - half, middle + half


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class _Servers(NamedTuple):
    """Upstream tries and answers: by server, by zone and family, and each server's zone."""

    tries: dict[str, list[int]]
    families: dict[tuple[str, int], list[int]]
    zones: dict[str, str]


class _Pair(NamedTuple):
    """AAAA, and A as its control."""

    six: ZoneMinute
    four: ZoneMinute


def _gather(window: list[Minute], scope: str, qtype: int) -> ZoneMinute:
    """Put a scope's minutes together."""
    whole = ZoneMinute()
    for minute in window:
        for (zone, rdtype), part in minute.zones.items():
            if rdtype != qtype or scope not in (_ALL, zone):
                continue
            whole.attempts |= part.attempts
            whole.failed |= part.failed
            whole.causes += part.causes
            whole.evidence += part.evidence
    return whole


def _count(table: dict[_Key, list[int]], key: _Key, counts: list[int]) -> None:
    held = table.setdefault(key, [0, 0])
    held[0] += counts[0]
    held[1] += counts[1]


def _word(where: str) -> str:
    """Give the verdict of a place without its counts, which change every minute."""
    return re.sub(r" \(\d+ of \d+\)", "", where)


@functools.lru_cache(maxsize=65_536)
def _net(client: str) -> str:
    """Give the network a client counts under: /64, or /24."""
    if ":" in client:
        return str(ipaddress.ip_network((client.partition("%")[0], 64), strict=False))
    return client.rpartition(".")[0]
