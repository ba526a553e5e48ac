"""How sure counts make one: Fisher's exact test, Wilson's interval, and how far above the usual."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_VAIN_MIN: Final = 5 * 1440  # minutes: 0.2 alarms in vain a scope and day


def fisher(bad: int, tries: int, other_bad: int, other_tries: int) -> float:
    """Give the one-sided probability of so many failures here if both failed alike (Fisher).

    Exact by log-factorials; for counts too large for that, the normal approximation.
    """
    # What was tried before a window may fail in it.
    bad, other_bad = min(bad, tries), min(other_bad, other_tries)
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


def surprise(bad: int, tries: int, usual: float) -> float:
    """Give the log-likelihood ratio of the share seen against a usual one that it is above.

    The largest over windows that end now is a generalized likelihood ratio test that looks every
    minute (Lai 1995, window-limited): it alarms as soon as there is evidence enough, whatever the
    effect, where a fixed window waits until it is full.
    """
    if not tries or bad <= usual * tries:
        return 0.0
    good, share = tries - bad, bad / tries
    there = good * math.log((1 - share) / (1 - usual)) if good else 0.0
    return bad * math.log(share / usual) + there


def alarm_at(scopes: int = 1) -> float:
    """Give the surprise at which one of so many scopes alarms in vain once in five days at most.

    A likelihood ratio of whatever length exceeds e^h with a chance of e^-h (Ville), and each minute
    begins one a scope.
    """
    return math.log(_VAIN_MIN * max(1, scopes))


def fitting(tries: int) -> float:
    """Give what a surprise gains at most because its share is fitted to what is seen.

    That much above `alarm_at` the bound holds for it too: a mixture over all shares is a likelihood
    ratio, and of so many tries no smaller than the fitted one by more (Krichevsky and Trofimov).
    """
    return 0.5 * math.log(tries) + math.log(2)


def wilson(good: int, count: int) -> tuple[float, float]:
    """Give the 95% interval of a share (Wilson)."""
    z = 1.96
    share, size = good / count, count + z * z
    middle = (share * count + z * z / 2) / size
    half = z * math.sqrt(share * (1 - share) * count + z * z / 4) / size
    return middle - half, middle + half


def above_usual(count: float, usual: Sequence[float]) -> float:
    """Give by how many deviations a count is above earlier ones of equal windows.

    Their spread is taken as at least that of a Poisson count: retries come in bursts, and so spread
    more (a negative binomial), never less.
    """
    mean = sum(usual) / len(usual)
    spread = sum((one - mean) ** 2 for one in usual) / len(usual)
    return (count - mean) / math.sqrt(max(spread, mean, 1.0))


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
