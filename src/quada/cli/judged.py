"""How doctor's findings are shown: for people, and as JSON data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from quada.cli.output import printable
from quada.doctor.findings import Verdict

if TYPE_CHECKING:
    from quada.doctor.findings import Finding

_EVIDENCE_MAX: Final = 8
VERDICT_COLORS: Final = {
    Verdict.FAIL: typer.colors.RED, Verdict.WARN: typer.colors.YELLOW,
    Verdict.PASS: typer.colors.GREEN, Verdict.UNKNOWN: typer.colors.MAGENTA,
}  # fmt: skip


def finding_data(finding: Finding) -> dict[str, Any]:
    """Give a finding as JSON data."""
    rule = finding.rule
    return {
        "code": finding.code, "group": rule.group, "verdict": str(finding.verdict),
        "subject": finding.subject, "message": finding.message,
        "evidence": list(finding.evidence), "why": rule.why, "fix": rule.fix,
        "source": rule.source,
    }  # fmt: skip


def print_judged(found: list[Finding], *, every: bool) -> None:
    """Print findings for people, with why and what mends them; passes only if asked for."""
    for one in found:
        if one.verdict is Verdict.PASS and not every:
            continue
        verdict = typer.style(f"{one.verdict:8}", fg=VERDICT_COLORS.get(one.verdict))
        typer.echo(f"{verdict}{printable(one.subject)}: {printable(one.message)} [{one.code}]")
        for line in one.evidence[:_EVIDENCE_MAX]:
            typer.echo(f"            {printable(line)}")
        if one.verdict in (Verdict.FAIL, Verdict.WARN):
            typer.echo(f"        why: {one.rule.why} ({one.rule.source})")
            typer.echo(f"        fix: {one.rule.fix}")
    counts = {v: sum(one.verdict is v for one in found) for v in Verdict}
    typer.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
