"""`aaaa-servfail`: AAAA fails where A beside it does not (CHECKS.md 4.2).

One signal for the smallest scope: a zone, one part of the clients' network, or all.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
from quada.telemetry.event import Cause
from quada.telemetry.signals.cluster import locate, net_of, site_of
from quada.telemetry.signals.minute import Minute, Minutes, ZoneMinute, zone_of
from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import alarm_at, fisher, surprise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

KIND: Final = "aaaa-servfail"
_WINDOW: Final = 5
_RATE_MIN: Final = 0.02
_TRIES_MIN: Final = 50
_NETS_MIN: Final = 3
_P_MAX: Final = 1e-4
_PLAIN_MIN: Final = 4  # failures that a sequential test needs, however sure it is
_PLAIN_ALL_MIN: Final = 12
_PLAIN_RATE: Final = 0.1
_PLAIN_P_MAX: Final = 0.01  # that A fails alike, there
_PLAIN_SHARE_MAX: Final = 0.25  # that A fails, of the share of AAAA that does
_USUAL_MAX: Final = 1440  # minutes
_QUIET: Final = 0.8  # of the minutes: what failed in the others may be an incident itself
_USUAL_MIN: Final = 0.005  # failures of AAAA that are usual anywhere
_SUSPECT: Final = 0.25
_ALL: Final = "*"
_ONE_ZONE: Final = 0.8  # of the failures, that make it the zone's
_ONE_NAME: Final = 0.8  # of the failures, that make it the name's
_SITE_FAILED_MIN: Final = 3
_SITE_RATE_MIN: Final = 0.5  # where few ask, only what fails by and large is a site's
_SITE_P_MAX: Final = 0.06  # that its A fail alike
_ELSEWHERE_P_MAX: Final = 1e-4  # that AAAA elsewhere fail alike
_SITES_MAX: Final = 50  # judged in a minute; of more, those with most failures


class _Pair(NamedTuple):
    """AAAA, and A as its control. `bad_minutes` counts those in which AAAA failed."""

    six: ZoneMinute
    four: ZoneMinute
    bad_minutes: int = 0

    @property
    def is_lasting(self) -> bool:
        """Whether failures are of several minutes."""
        return self.bad_minutes > 1


class Failures:
    """Judges one role's failures."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._openings = Openings()
        self._usual: deque[tuple[int, int]] = deque(maxlen=_USUAL_MAX)

    def resume(self, scope: str) -> None:
        """Take a failing scope on."""
        self._openings.resume(scope)

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over.

        All zones together come first: where they fail, the signal is of the one zone or site that
        holds most failures, or of all. Only else is each zone and site looked at by itself.
        """
        failing = self._failing(minutes, at)
        sure = [scope for scope, pair in failing.items() if pair.is_lasting]
        is_open, is_over = self._openings.step(failing, sure)
        if not failing:
            self._learn(minutes, at)
        window = minutes.span(at, 2 * _WINDOW)
        out = [self._signal(scope, failing[scope], window, at) for scope in is_open]
        return out + [closed(KIND, f"{self._role}/{scope}", at) for scope in is_over]

    def _learn(self, minutes: Minutes, at: int) -> None:
        """Remember what share of AAAA fails where nothing is amiss."""
        for minute in minutes.span(at, 1):
            parts = [part for (_, rdtype), part in minute.zones.items() if rdtype == codes.AAAA]
            tries = sum(len(part.attempts) for part in parts)
            if tries:
                self._usual.append((sum(len(part.failed) for part in parts), tries))

    def _usual_rate(self) -> float:
        """Give the share above which a failure counts as evidence: of the quieter minutes."""
        rates = sorted(self._usual, key=lambda one: one[0] / one[1])
        quiet = rates[: int(len(rates) * _QUIET)]
        tries = sum(count for _, count in quiet)
        rate = sum(bad for bad, _ in quiet) / tries if tries else 0.0
        return min(max(_USUAL_MIN, 2 * rate), _PLAIN_RATE)

    def _failing(self, minutes: Minutes, at: int) -> dict[str, _Pair]:
        window = minutes.span(at, 2 * _WINDOW)
        suspects = _suspects(window)
        held = [scope for scope in self._openings.scopes if "/" in scope]
        if not suspects and not held:
            return {}
        usual = self._usual_rate()
        zones = {zone for minute in minutes.span(at, _WINDOW) for zone, _ in minute.zones}
        at_site = _failing_site(window, suspects | set(held), usual)
        if held and not _fails(_elsewhere(_whole(window), held[0]), 1):
            # A site that is open keeps what is its own, as failures come and go.
            return {s: pair for s, pair in at_site.items() if s in held}
        whole = _failing_pair(window, _ALL, 1, usual)
        if whole is not None:
            most = Counter(zone_of(name) for _, name in whole.six.failed).most_common(1)[0]
            named = next((z for z in zones if most[0] == z or most[0].endswith(f".{z}")), most[0])
            if most[1] >= _ONE_ZONE * len(whole.six.failed):
                pair = _failing_pair(window, named, 1, usual)
                return {named: pair or whole}
            long = _whole(window)
            is_one = any(not _fails(_elsewhere(long, site), 1) for site in at_site)
            return at_site if is_one else {_ALL: whole}
        failing = {}
        for zone in zones & suspects:
            pair = _failing_pair(window, zone, len(zones), usual)
            if pair is not None:
                failing[zone] = pair
        return failing or at_site

    def _signal(self, scope: str, pair: _Pair, window: list[Minute], at: int) -> Signal:
        six, four = pair.six, pair.four
        tries, bad = len(six.attempts), len(six.failed)
        known = [(cause, n) for cause, n in six.causes.most_common() if cause is not Cause.UNKNOWN]
        cause = known[0][0] if known else Cause.UNKNOWN
        names = sorted({name for _, name in six.failed})[:1]
        what, where = f"AAAA of {scope}", ""
        if scope == _ALL:
            what = "AAAA of every zone"
        elif "/" in scope:
            what = f"AAAA asked from {scope}"
            where = f"in one part of the network: {scope} ({bad} of {tries})"
        if not where:
            whole = _gather(window, scope, codes.AAAA)  # more than it took to be sure
            where = locate((client for client, _ in whole.attempts), whole.failed.values()).text()
        return Signal(
            KIND, f"{self._role}/{scope}", State.OPEN, at * 60,
            f"{what} fails for {bad} of {tries} attempts",
            f"A fails for {len(four.failed)} of {len(four.attempts)}",
            cause.name.lower(), where, tuple(six.evidence[:5]),
            f"quada doctor {(names or [scope])[0]}",
        )  # fmt: skip


def _suspects(window: list[Minute]) -> set[str]:
    """Give the scopes that may fail, by counts that take little time; mostly there are none.

    An attempt of two minutes counts twice here, so bounds are lower than those it is judged by.
    """
    tries: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    for minute in window:
        for (zone, rdtype), part in minute.zones.items():
            if rdtype != codes.AAAA:
                continue
            for scope in (zone, _ALL):
                tries[scope] += len(part.attempts)
                bad[scope] += len(part.failed)
            sites.update(site_of(client) for client in part.failed.values())
    found = {scope for scope, count in bad.items() if count > _SUSPECT * _RATE_MIN * tries[scope]}
    for site, count in sites.items():
        there = sum(minute.sites[site] for minute in window)
        if count >= _SITE_FAILED_MIN and count > _SUSPECT * _SITE_RATE_MIN * there:
            found.add(site)
    return found


def _failing_site(window: list[Minute], suspects: set[str], usual: float) -> dict[str, _Pair]:
    """Give the site, of those suspected, whose AAAA fail by and large while its A do not."""
    counts: Counter[str] = Counter()
    for minute in window:
        for (_, rdtype), part in minute.zones.items():
            if rdtype == codes.AAAA:
                counts.update(site_of(client) for client in part.failed.values())
    known = [site for site, n in counts.most_common() if site in suspects and n >= _SITE_FAILED_MIN]
    wanted = set(known[:_SITES_MAX])
    if not wanted:
        return {}
    alarm = alarm_at(len(set().union(*(minute.sites for minute in window))))
    tables = [_by_site(minute, wanted) for minute in reversed(window)]
    for site in known[:_SITES_MAX]:
        spans = _grow(table.get(site) for table in tables)
        others = others_bad = 0
        for minute, pair in zip(reversed(window), spans, strict=True):
            there = minute.sites[site]
            others += sum(minute.sites.values()) - there
            others_bad += _failed_elsewhere(minute, site)
            if _fails_at_site(pair, others, others_bad, usual, alarm):
                return {site: pair}
    return {}


def _by_site(minute: Minute, wanted: set[str]) -> dict[str, _Pair]:
    """Give AAAA and A of a minute for some sites."""
    found = {site: _Pair(ZoneMinute(), ZoneMinute()) for site in wanted}
    for (_, rdtype), part in minute.zones.items():
        touched: dict[str, ZoneMinute] = {}
        for attempt in part.attempts:
            site = site_of(attempt[0])
            if site not in wanted:
                continue
            into = found[site].six if rdtype == codes.AAAA else found[site].four
            into.attempts.add(attempt)
            if attempt in part.failed:
                into.failed[attempt] = attempt[0]
                touched[site] = into
        for site, into in touched.items():
            into.causes += part.causes
            into.evidence += [
                one for one in part.evidence if site_of(one.partition(" ")[0]) == site
            ]
    return found


def _failed_elsewhere(minute: Minute, site: str) -> int:
    return sum(
        site_of(client) != site
        for (_, rdtype), part in minute.zones.items()
        if rdtype == codes.AAAA
        for client in part.failed.values()
    )


def _elsewhere(whole: _Pair, site: str) -> _Pair:
    def fits(client: str) -> bool:
        return site_of(client) != site

    return _Pair(_only(whole.six, fits), _only(whole.four, fits))


def _only(whole: ZoneMinute, fits: Callable[[str], bool]) -> ZoneMinute:
    """Give the part of some clients."""
    part = ZoneMinute()
    part.attempts = {attempt for attempt in whole.attempts if fits(attempt[0])}
    part.failed = {attempt: client for attempt, client in whole.failed.items() if fits(client)}
    part.causes = whole.causes
    part.evidence = [line for line in whole.evidence if fits(line.partition(" ")[0])]
    return part


def _whole(window: list[Minute]) -> _Pair:
    *_, longest = _spans(window, _ALL)
    return longest


def _spans(window: list[Minute], scope: str) -> Iterator[_Pair]:
    """Give AAAA and A of the last minute, of the last two, and so on."""
    return _grow(
        _Pair(_gather([minute], scope, codes.AAAA), _gather([minute], scope, codes.A))
        for minute in reversed(window)
    )


def _grow(minutes: Iterable[_Pair | None]) -> Iterator[_Pair]:
    """Put minutes together, one more each time. What is given grows with the next."""
    whole = _Pair(ZoneMinute(), ZoneMinute())
    for one in minutes:
        if one is not None:
            for part, more in ((whole.six, one.six), (whole.four, one.four)):
                part.attempts |= more.attempts
                part.failed |= more.failed
                part.causes += more.causes
                part.evidence += more.evidence
            whole = whole._replace(bad_minutes=whole.bad_minutes + bool(one.six.failed))
        yield whole


def _failing_pair(window: list[Minute], scope: str, scopes: int, usual: float) -> _Pair | None:
    """Give the shortest span in which a scope fails: plainly at any length, else over five or ten
    minutes."""
    if not _may_fail(window, scope):
        return None
    alarm = alarm_at(scopes)
    *_, longest = _spans(window, scope)
    is_six_alone = _is_six_alone(longest)
    for count, pair in enumerate(_spans(window, scope), 1):
        # What looks like every zone's may be one site's: that takes some more to tell.
        is_many = scope != _ALL or len(pair.six.failed) >= _PLAIN_ALL_MIN
        if is_many and is_six_alone and _fails_plainly(pair, usual, alarm):
            return pair
        is_enough = len(pair.six.attempts) >= _TRIES_MIN * 2
        is_last = count >= len(window)
        if ((count == _WINDOW and is_enough) or is_last) and _fails(pair, scopes):
            return pair._replace(bad_minutes=0)  # weak evidence is looked at twice
    return None


def _may_fail(window: list[Minute], scope: str) -> bool:
    """Whether any span has failures enough to be looked at, by counts that take little time."""
    bad = tries = 0
    for minute in reversed(window):
        for (zone, rdtype), part in minute.zones.items():
            if rdtype == codes.AAAA and scope in (_ALL, zone):
                bad += len(part.failed)
                tries += len(part.attempts)
        if bad >= _PLAIN_MIN and bad > _RATE_MIN / 2 * tries:
            return True
    return False


def _fails_plainly(pair: _Pair, usual: float, alarm: float) -> bool:
    """Whether AAAA fails far more than is usual, and A beside it does not."""
    six, four = pair.six, pair.four
    tries, bad = len(six.attempts), len(six.failed)
    return (
        bad >= _PLAIN_MIN
        and bad >= _PLAIN_RATE * tries
        and surprise(bad, tries, usual) > alarm
        and fisher(bad, tries, len(four.failed), len(four.attempts)) < _PLAIN_P_MAX
        and _is_six_alone(pair)
        and _are_many(six)
    )


def _is_six_alone(pair: _Pair) -> bool:
    """Whether A fails far less. Every minute looks again: where A fails, chance has many turns."""
    six, four = pair.six, pair.four
    bad, tries = len(six.failed), len(six.attempts)
    return len(four.failed) * tries <= _PLAIN_SHARE_MAX * bad * len(four.attempts)


def _fails(pair: _Pair, scopes: int) -> bool:
    six, four = pair.six, pair.four
    tries, bad = len(six.attempts), len(six.failed)
    if tries < _TRIES_MIN or bad / tries < _RATE_MIN or not _are_many(six):
        return False
    return fisher(bad, tries, len(four.failed), len(four.attempts)) < _P_MAX / max(1, scopes)


def _fails_at_site(pair: _Pair, others: int, others_bad: int, usual: float, alarm: float) -> bool:
    """Whether AAAA fails here by and large, unlike A here and unlike AAAA elsewhere."""
    six, four = pair.six, pair.four
    tries, bad = len(six.attempts), len(six.failed)
    if bad < _SITE_FAILED_MIN or bad < _SITE_RATE_MIN * tries or not _are_many(six):
        return False
    return (
        surprise(bad, tries, usual) > alarm
        and fisher(bad, tries, len(four.failed), len(four.attempts)) < _SITE_P_MAX
        and _is_six_alone(pair)  # a zone that is dead over both families fails at sites, too
        and fisher(bad, tries, others_bad, others) < _ELSEWHERE_P_MAX
    )


def _are_many(six: ZoneMinute) -> bool:
    """Whether failures are of more than one client, and of more than one name.

    One broken name is its owner's, and no failure of a zone.
    """
    if len({net_of(client) for client in six.failed.values()}) < _NETS_MIN:
        return False
    most = Counter(name for _, name in six.failed).most_common(1)[0][1]
    return most < _ONE_NAME * len(six.failed)


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
