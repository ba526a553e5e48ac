"""`quada incident`: the checklist for an IPv6 DNS incident, run in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.api.data import report_data
from quada.cli.doctor import absolute, drive, lab_ranges, observe
from quada.cli.judged import VERDICT_COLORS
from quada.cli.link import look
from quada.cli.output import FOUND, faults_exit, print_json, printable, read_text
from quada.doctor import judge
from quada.doctor.incident import Logged, walk
from quada.doctor.link import judge_link
from quada.doctor.observation import read_observation, write_observation
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.doctor.incident import Report


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("incident")(incident)


def incident(
    name: Annotated[str, typer.Argument(help="The name that fails.")] = "",
    state_dir: Annotated[
        Path | None, typer.Option(help="State directory whose stored events are looked at.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, help="How far back.")] = 60,
    root_hints: Annotated[Path | None, typer.Option(help="Root hints to begin with.")] = None,
    trust_anchor: Annotated[Path | None, typer.Option(help="Trust anchors to validate by.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the observation in a file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Walk over a kept observation.")] = None,
    link: Annotated[
        str, typer.Option(metavar="INTERFACE", help="Look at this link's RA and DHCPv6 too.")
    ] = "",
    lab: Annotated[
        bool, typer.Option("--lab", help="Documentation addresses are well here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Walk the six steps of an IPv6 DNS incident, and name the likely causes.

    Authoritative answers, IPv6 transport, validation, client discovery, fallback masking, blast
    radius: each with what was seen and the commands that show it. Exit code 1 where there is a
    cause.
    """
    from quada.server.looking import read_logged

    with faults_exit(as_json=as_json):
        if replay is not None:
            seen = read_observation(read_text(replay), str(replay))
        elif name:
            observer = observe(root_hints, trust_anchor)
            seen = drive(observer, observer.observe(absolute(name)), shows=not as_json)
        else:
            raise ConfigFault("no name is given", place="NAME", remedy="quada incident example.com")
        if save is not None:
            save.write_text(write_observation(seen))
        findings = judge(seen, ignores=lab_ranges(is_lab=lab))
        findings += judge_link(look(link)) if link else []
        logged = read_logged(state_dir, seen.name, minutes) if state_dir else Logged()
        report = walk(seen, findings, logged)
        if as_json:
            print_json(report_data(report))
        else:
            _print(report)
        if report.causes[0].weight:
            raise typer.Exit(FOUND)


def _print(report: Report) -> None:
    for number, step in enumerate(report.steps, 1):
        verdict = typer.style(f"{step.verdict:8}", fg=VERDICT_COLORS.get(step.verdict))
        typer.echo(f"{number}. {step.title:22} {verdict}{printable(step.said)}")
        for line in step.evidence[:5]:
            typer.echo(f"     {printable(line)}")
        for command in step.commands:
            typer.echo(f"     $ {command}")
    typer.echo("\nLikely causes:")
    for cause in report.causes[:4]:
        typer.echo(f"- {cause.code}: {printable(cause.why)}")
        typer.echo(f"    {cause.action}")
