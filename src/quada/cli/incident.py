"""`quada incident`: the checklist for an IPv6 DNS incident, run in order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quada.cli.doctor import LAB_RANGES, absolute, drive, make_observer, read_text
from quada.cli.judged import VERDICT_COLORS
from quada.cli.link import look
from quada.cli.output import FOUND, faults_exit, print_json, printable
from quada.doctor import judge
from quada.doctor.incident import Logged, walk
from quada.doctor.link import judge_link
from quada.doctor.observation import read_observation, write_observation
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.doctor.incident import Report

_ROWS_MAX: Final = 200_000


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
    with faults_exit(as_json=as_json):
        if replay is not None:
            seen = read_observation(read_text(replay), str(replay))
        elif name:
            observer = make_observer(root_hints, trust_anchor, None)
            seen = drive(observer, observer.observe(absolute(name)), shows=not as_json)
        else:
            raise ConfigFault("no name is given", place="NAME", remedy="quada incident example.com")
        if save is not None:
            save.write_text(write_observation(seen))
        findings = judge(seen, ignores=LAB_RANGES if lab else frozenset())
        findings += judge_link(look(link)) if link else []
        logged = read_logged(state_dir, seen.name, minutes) if state_dir else Logged()
        report = walk(seen, findings, logged)
        if as_json:
            print_json(data(report))
        else:
            _print(report)
        if report.causes[0].weight:
            raise typer.Exit(FOUND)


def read_logged(state_dir: Path, name: str, minutes: int) -> Logged:
    """Read what stored events say of a name. Raises: ReachFault where there are none."""
    from quada.store.seam import ask

    since_ns = time.time_ns() - minutes * 60 * 1_000_000_000
    _, rows = ask(
        state_dir / "history",
        "SELECT qtype, client, max(CASE WHEN rcode = 'SERVFAIL' THEN 1 ELSE 0 END) FROM events"
        " WHERE kind = 'query' AND qname = ? AND qtype IN ('AAAA', 'A') AND at_ns > ?"
        " AND client IS NOT NULL GROUP BY qtype, client",
        [name, since_ns],
        rows_max=_ROWS_MAX,
    )
    labels = name.rstrip(".").split(".")
    zones = [".".join(labels[at:]) + "." for at in range(len(labels))]
    _, upstream = ask(
        state_dir / "history",
        "SELECT upstream_family, count(*), sum(CASE WHEN rcode IS NOT NULL AND"
        " (cause IS NULL OR cause <> 'reachability') THEN 1 ELSE 0 END) FROM events"
        " WHERE kind = 'upstream' AND at_ns > ? AND upstream_family IS NOT NULL"
        f" AND (qname = ? OR zone IN ({', '.join('?' * len(zones))})) GROUP BY upstream_family",
        [since_ns, name, *zones],
    )

    def of(qtype: str, *, is_failed: bool) -> tuple[str, ...]:
        return tuple(c for kind, c, bad in rows if kind == qtype and (bad or not is_failed))

    return Logged(
        minutes=minutes,
        six=of("AAAA", is_failed=False),
        six_failed=of("AAAA", is_failed=True),
        four=of("A", is_failed=False),
        four_failed=of("A", is_failed=True),
        upstream={int(family): (int(n), int(good)) for family, n, good in upstream},
    )


def data(report: Report) -> dict[str, Any]:
    """Give a report as JSON data."""
    return {
        "name": report.name,
        "steps": [{**step._asdict(), "verdict": str(step.verdict)} for step in report.steps],
        "causes": [cause._asdict() for cause in report.causes],
    }


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
