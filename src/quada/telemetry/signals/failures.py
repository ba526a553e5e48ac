"""`aaaa-servfail`: AAAA fails where A beside it does not (CHECKS.md 4.2).

One signal for the smallest scope: a zone, one part of the clients' network, or all.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
from quada.telemetry.event import Cause
from quada.telemetry.signals.cluster import locate, net_of, site_of
from quada.telemetry.signals.minute import Minute, Minutes, ZoneMinute, zone_of
from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.signal import Signal, State, closed
from quada.telemetry.signals.statistic import fisher

if TYPE_CHECKING:
    from collections.abc import Callable

KIND: Final = "aaaa-servfail"
_WINDOW: Final = 5
_RATE_MIN: Final = 0.02
_TRIES_MIN: Final = 50
_NETS_MIN: Final = 3
_P_MAX: Final = 1e-4
_SUSPECT: Final = 0.25
_ALL: Final = "*"
_ONE_ZONE: Final = 0.8  # of the failures, that make it the zone's
_ONE_NAME: Final = 0.8  # of the failures, that make it the name's
_SITE_FAILED_MIN: Final = 5
_SITE_RATE_MIN: Final = 0.5  # where few ask, only what fails by and large is a site's
_SITE_P_MAX: Final = 0.01  # that its A fail alike
_ELSEWHERE_P_MAX: Final = 1e-6  # that AAAA elsewhere fail alike
_SITES_MAX: Final = 50  # judged in a minute; of more, those with most failures


class _Pair(NamedTuple):
    """AAAA, and A as its control."""

    six: ZoneMinute
    four: ZoneMinute


class Failures:
    """Judges one role's failures."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._openings = Openings()

    def resume(self, scope: str) -> None:
        """Take a failing scope on."""
        self._openings.resume(scope)

    def judge(self, minutes: Minutes, at: int) -> list[Signal]:
        """Judge the minute that is over.

        All zones together come first: where they fail, the signal is of the one zone or site that
        holds most failures, or of all. Only else is each zone and site looked at by itself.
        """
        failing = self._failing(minutes, at)
        is_open, is_over = self._openings.step(failing)
        out = [self._signal(scope, failing[scope], at) for scope in is_open]
        return out + [closed(KIND, f"{self._role}/{scope}", at) for scope in is_over]

    def _failing(self, minutes: Minutes, at: int) -> dict[str, _Pair]:
        window = minutes.span(at, 2 * _WINDOW)
        suspects = _suspects(window)
        held = [scope for scope in self._openings.scopes if "/" in scope]
        if not suspects and not held:
            return {}
        zones = {zone for minute in minutes.span(at, _WINDOW) for zone, _ in minute.zones}
        whole = _scope(minutes, at, _ALL)
        long = _Pair(_gather(window, _ALL, codes.AAAA), _gather(window, _ALL, codes.A))
        at_site = _failing_site(long, suspects | set(held))
        if held and not _fails(_elsewhere(long, held[0]), 1):
            # A site that is open keeps what is its own, as failures come and go.
            return {s: pair for s, pair in at_site.items() if s in held}
        if _fails(whole, 1):
            most = Counter(zone_of(name) for _, name in whole.six.failed).most_common(1)[0]
            named = next((z for z in zones if most[0] == z or most[0].endswith(f".{z}")), most[0])
            if most[1] >= _ONE_ZONE * len(whole.six.failed):
                return {named: _scope(minutes, at, named)}
            is_one = any(not _fails(_elsewhere(long, site), 1) for site in at_site)
            return at_site if is_one else {_ALL: whole}
        failing = {
            zone: pair
            for zone in zones & suspects
            if _fails(pair := _scope(minutes, at, zone), len(zones))
        }
        return failing or at_site

    def _signal(self, scope: str, pair: _Pair, at: int) -> Signal:
        six, four = pair
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
            where = locate((client for client, _ in six.attempts), six.failed.values()).text()
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


def _failing_site(whole: _Pair, suspects: set[str]) -> dict[str, _Pair]:
    """Give the site, of those suspected, whose AAAA fail by and large while its A do not."""
    counts = Counter(site_of(client) for client in whole.six.failed.values())
    known = [(site, n) for site, n in counts.most_common() if site in suspects]
    sites = [site for site, n in known[:_SITES_MAX] if n >= _SITE_FAILED_MIN]
    for site in sites:
        pair = _at_site(whole, site)
        if _fails_at_site(pair, whole):
            return {site: pair}
    return {}


def _at_site(whole: _Pair, site: str) -> _Pair:
    return _Pair(*(_only(part, lambda client: site_of(client) == site) for part in whole))


def _elsewhere(whole: _Pair, site: str) -> _Pair:
    return _Pair(*(_only(part, lambda client: site_of(client) != site) for part in whole))


def _only(whole: ZoneMinute, fits: Callable[[str], bool]) -> ZoneMinute:
    """Give the part of some clients."""
    part = ZoneMinute()
    part.attempts = {attempt for attempt in whole.attempts if fits(attempt[0])}
    part.failed = {attempt: client for attempt, client in whole.failed.items() if fits(client)}
    part.causes = whole.causes
    part.evidence = [line for line in whole.evidence if fits(line.partition(" ")[0])]
    return part


def _scope(minutes: Minutes, at: int, scope: str) -> _Pair:
    """Gather AAAA and A of a scope: over five minutes, or ten where few ask."""
    for count in (_WINDOW, 2 * _WINDOW):
        window = minutes.span(at, count)
        pair = _Pair(_gather(window, scope, codes.AAAA), _gather(window, scope, codes.A))
        if len(pair.six.attempts) >= _TRIES_MIN * 2:
            break
    return pair


def _fails(pair: _Pair, scopes: int) -> bool:
    six, four = pair
    tries, bad = len(six.attempts), len(six.failed)
    if tries < _TRIES_MIN or bad / tries < _RATE_MIN or not _are_many(six):
        return False
    return fisher(bad, tries, len(four.failed), len(four.attempts)) < _P_MAX / max(1, scopes)


def _fails_at_site(pair: _Pair, whole: _Pair) -> bool:
    """Whether AAAA fails here by and large, unlike A here and unlike AAAA elsewhere."""
    six, four = pair
    tries, bad = len(six.attempts), len(six.failed)
    if bad < _SITE_FAILED_MIN or bad < _SITE_RATE_MIN * tries or not _are_many(six):
        return False
    others, others_bad = len(whole.six.attempts) - tries, len(whole.six.failed) - bad
    return (
        fisher(bad, tries, len(four.failed), len(four.attempts)) < _SITE_P_MAX
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
