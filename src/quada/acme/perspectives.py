"""Validation from several places of the network, and when they agree, as Boulder counts them.

RFC: none; CA/Browser Forum Baseline Requirements 3.2.2.9 ask for it.
"""

from __future__ import annotations

from typing import NamedTuple

from quada.acme.validate import Problem, Verdict

WANTED = 3
"""Boulder asks no fewer remote perspectives than these."""
_MANY = 6


class Seen(NamedTuple):
    """What one remote perspective came to."""

    name: str
    verdict: Verdict


def allowed_failures(count: int) -> int:
    """How many remote perspectives may fail: one of two to five, two of more (Boulder's `va`)."""
    return 2 if count >= _MANY else 1 if count > 1 else 0


def agree(primary: Verdict, remote: list[Seen]) -> Verdict:
    """Give the end of a validation: the primary's own, unless too many others fail.

    Deviation: Boulder also wants the successes in two regions of address registries; where a
    perspective stands is not known here.
    """
    if primary.problem is not None:
        return primary
    failed = [one for one in remote if one.verdict.problem is not None]
    if len(failed) <= allowed_failures(len(remote)):
        return primary
    first = failed[0]
    assert first.verdict.problem is not None
    detail = f"During secondary validation, from {first.name}: {first.verdict.problem.detail}"
    hops = (*primary.hops, *first.verdict.hops)
    return Verdict(Problem(first.verdict.problem.kind, detail), hops, primary.seconds)
