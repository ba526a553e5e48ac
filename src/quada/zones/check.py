"""Zone rules, all of them: run over a zone version before it serves.

The rules live in one file a topic (`check_shape`, `check_address`, `check_reverse`,
`check_dnssec`); `rules` has what they are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.zones import check_address, check_dnssec, check_reverse, check_shape
from quada.zones.rules import RULES, Finding, Policy, Rule, Severity, Subject, rrsets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.zones.read import Note
    from quada.zones.zone import Zone

_CHECKS: Final = (
    check_shape.check_apex,
    check_shape.check_neighbours,
    check_address.check_delegations,
    check_address.check_targets,
    check_address.check_families,
    check_address.check_aliases,
    check_reverse.check_nibbles,
    check_reverse.check_agreement,
    check_dnssec.check_dnssec,
    check_shape.check_mail,
    check_shape.check_spelling,
)
_REFUSING: Final = (
    check_shape.check_apex,
    check_shape.check_neighbours,
    check_address.check_aliases,
)
_ORDER: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
MAX_FINDINGS: Final = 1000
"""Findings kept of one rule. Our choice because a million of the same tell nothing more."""


def check_zone(
    zone: Zone,
    others: Iterable[Zone] = (),
    *,
    now_s: int | None = None,
    policy: Policy | None = None,
    notes: Iterable[Note] = (),
) -> list[Finding]:
    """Check a zone version against every rule.

    Takes: other zones of the house, in which targets, forward and reverse names are looked up; the
    time in seconds of the Unix epoch, without which nothing is said of signature times and date
    serials; the house's policy; and what only the zone's text told (`Reading.notes`).
    Gives: findings, errors first.
    """
    known = {other.origin: other for other in others}
    subject = Subject(zone, known, _cuts(zone), now_s, policy or Policy())
    counts: dict[str, int] = {}
    findings = [RULES[n.code].at(n.owner, n.rdtype, n.message, place=n.place) for n in notes]
    for check in _CHECKS:
        for finding in check(subject):
            count = counts[finding.code] = counts.get(finding.code, 0) + 1
            if count <= MAX_FINDINGS:
                findings.append(finding)
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    return findings


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Give the findings that keep a version from replacing the one that serves."""
    return [finding for finding in findings if finding.rule.refuses]


def refusals_of(zone: Zone) -> list[Finding]:
    """Give them by the checks that can refuse alone: a load or an edit waits for no more."""
    subject = Subject(zone, {}, _cuts(zone), None, Policy())
    found = refusals(finding for check in _REFUSING for finding in check(subject))
    return found[:MAX_FINDINGS]


def _cuts(zone: Zone) -> frozenset[bytes]:
    return frozenset(owner for owner, _ in rrsets(zone, codes.NS) if owner != zone.origin)


def rules() -> list[Rule]:
    """Give every rule, by code."""
    return [RULES[code] for code in sorted(RULES)]


def reference() -> str:
    """Write the reference of all rules as a page (`docs/reference/checks.md`)."""
    lines = [
        "# Zone rules",
        "",
        "Made from the code: run `quada check rules --markdown` after changing a rule.",
        "",
        "| code | severity | refuses | why | fix | source |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r.code}` | {r.severity} | {'yes' if r.refuses else ''} | {r.why} | {r.fix}"
        f" | {r.rfc} |"
        for r in rules()
    ]
    return "\n".join(lines) + "\n"
