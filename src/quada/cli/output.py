"""What every verb prints alike: JSON, faults, findings, and the exit codes.

Exit codes: 0 all is well, 1 problems were found, 2 the command was wrong or a fault stopped it.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import typer
import typer.core

import quada.wire.names as names
from quada.wire.faults import ConfigFault, DataFault, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from quada.zones.rules import Finding

FOUND: Final = 1
FAILED: Final = 2


@contextlib.contextmanager
def faults_exit(*, as_json: bool = False) -> Iterator[None]:
    """Turn a fault into one clear line on standard error (or JSON) and exit code 2."""
    try:
        yield
    except Fault as fault:
        if as_json:
            print_json({"fault": fault_data(fault)})
        else:
            typer.echo(f"quada: {fault}", err=True)
        raise typer.Exit(FAILED) from None


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fault_data(fault: Fault) -> dict[str, str]:
    """Give a fault as JSON data."""
    return {
        "code": fault.code,
        "message": fault.message,
        "place": fault.place,
        "remedy": fault.remedy,
    }


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings for people: what and where, then why, the fix, and the source."""
    for finding in findings:
        color = {"error": typer.colors.RED, "warning": typer.colors.YELLOW}.get(finding.severity)
        severity = typer.style(str(finding.severity), fg=color)
        where = f"{finding.place}: " if finding.place else ""
        typer.echo(f"{where}{severity}: {finding.message} [{finding.code}]")
        typer.echo(f"    why: {finding.rule.why} ({finding.rule.rfc})")
        typer.echo(f"    fix: {finding.fix}")


def zone_name(text: str) -> bytes:
    """Read a zone's name from the command line, with or without its closing dot."""
    try:
        return names.from_text(text).lower()
    except DataFault as fault:
        raise DataFault(fault.message, place=text, remedy="write a name as example.com") from fault


def printable(text: str) -> str:
    """Make text that strangers chose harmless to a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def with_default(verb: str) -> type[typer.core.TyperGroup]:
    """Make a group of verbs in which what names none means one: `quada doctor example.com`."""

    class Group(typer.core.TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if not args or args[0] not in self.commands:
                args = [verb, *args]
            return super().parse_args(ctx, args)

    return Group


def read_text(path: Path) -> str:
    """Read a file. Raises: ConfigFault."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"cannot read it: {error}", place=str(path)) from error
