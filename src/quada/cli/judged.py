"""How doctor's findings are shown: for people, and as JSON data."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from xml.etree import ElementTree

import typer

from quada.cli.output import printable
from quada.doctor.findings import RULES, Verdict
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.doctor.findings import Finding

Profile = Annotated[
    Path | None, typer.Option(help="TOML that says how bad each finding is, or OFF.")
]
JunitFile = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")]
Every = Annotated[bool, typer.Option("--all", help="Show what passes too.")]
_EVIDENCE_MAX: Final = 8
_SEVERITIES: Final = ("FAIL", "WARN", "INFO", "OFF")
VERDICT_COLORS: Final = {
    Verdict.FAIL: typer.colors.RED, Verdict.WARN: typer.colors.YELLOW,
    Verdict.PASS: typer.colors.GREEN, Verdict.UNKNOWN: typer.colors.MAGENTA,
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


def read_profile(text: str, place: str) -> dict[str, Verdict | None]:
    """Read a profile: `[severity]`, each code as FAIL, WARN, INFO or OFF. Raises: ConfigFault."""
    try:
        table = tomllib.loads(text).get("severity")
    except tomllib.TOMLDecodeError as error:
        raise ConfigFault(f"this is no TOML: {error}", place=place) from error
    if not isinstance(table, dict):
        raise ConfigFault("a profile has a table [severity]", place=place)
    made: dict[str, Verdict | None] = {}
    for code, word in table.items():
        if code not in RULES:
            near = get_close_matches(code, RULES, 1)
            remedy = f"did you mean {near[0]}?" if near else "quada doctor --findings lists them"
            raise ConfigFault(f"there is no finding {code}", place=place, remedy=remedy)
        if word not in _SEVERITIES:
            raise ConfigFault(
                f"{code} is {word!r}", place=place, remedy=f"one of {', '.join(_SEVERITIES)}"
            )
        made[code] = None if word == "OFF" else Verdict(word)
    return made


def junit(found: list[Finding], suite: str) -> str:
    """Write findings as JUnit XML, which test reports of CI systems read: one case a finding.

    FAIL is a failure, UNKNOWN is skipped; what else there is to say is output of the case.
    """
    top = ElementTree.Element("testsuite", {
        "name": _xml(suite), "tests": str(len(found)),
        "failures": str(sum(one.verdict is Verdict.FAIL for one in found)),
        "skipped": str(sum(one.verdict is Verdict.UNKNOWN for one in found)),
    })  # fmt: skip
    for one in found:
        case = ElementTree.SubElement(top, "testcase", {
            "classname": f"quada.{one.rule.group}", "name": _xml(f"{one.code} {one.subject}"),
        })  # fmt: skip
        text = _xml("\n".join((*one.evidence, f"why: {one.rule.why}", f"fix: {one.rule.fix}")))
        if one.verdict is Verdict.FAIL:
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(one.message)})
            failure.text = text
        elif one.verdict is Verdict.UNKNOWN:
            ElementTree.SubElement(case, "skipped", {"message": _xml(one.message)})
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(f"{one.verdict}: {one.message}")
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Take out what XML cannot hold."""
    return "".join(c for c in text if c.isprintable() or c == "\n")
