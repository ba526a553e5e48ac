"""`quada shadow`: which of many names would not resolve over IPv6 alone, and whose fault it is."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quada.cli.output import FOUND, faults_exit, print_json, printable, read_text
from quada.doctor import Graph

if TYPE_CHECKING:
    from quada.doctor import Observer

_OPERATORS: Final = 5


def shadow(
    file: Annotated[Path | None, typer.Argument(help="Names, one a line.")] = None,
    root_hints: Annotated[Path | None, typer.Option(help="Root hints to begin with.")] = None,
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say of each name whether it would resolve over IPv6 alone, and if not, whose fault that is.

    Without a file: which zones the running resolver asked that IPv6 alone does not reach.

    Exit code 1 where a name that resolves would not over IPv6 alone.
    """
    from quada.cli.doctor import observe

    with faults_exit(as_json=as_json):
        if file is None:
            _print_asked(state_dir, as_json=as_json)
            return
        print_shadow(file, observe(root_hints, None), as_json=as_json)


def print_shadow(file: Path, observer: Observer, *, as_json: bool) -> None:
    """Follow all names, sharing what is known, and print a row for each, and who must act."""
    from quada.cli.doctor import absolute
    from quada.server.looking import crawl_all

    lines = (line.split("#")[0].strip() for line in read_text(file).splitlines())
    names = list(dict.fromkeys(absolute(line) for line in lines if line))
    shows = sys.stderr.isatty() and not as_json

    def tell(done: int) -> None:
        if shows:
            typer.echo(f"\r{done} of {len(names)} names", nl=done == len(names), err=True)

    graph = Graph.of(asyncio.run(crawl_all(observer, names, tell)))
    six, both = graph.reachable((6,)), graph.reachable((6, 4))
    known: dict[str, dict[str, Any]] = {}
    rows = []
    for name in names:
        zone = graph.zone_of(name)
        if zone not in known:
            known[zone] = _row(graph, zone, is_six=zone in six, is_any=zone in both)
        rows.append({"name": name, **known[zone]})
    bad = [row for row in rows if row["verdict"] == "no"]
    acting = Counter(one for row in bad for one in row["operators"])
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            word = row["verdict"]
            color = {"no": typer.colors.RED, "yes": typer.colors.GREEN}.get(word)
            said = printable(f"{row['name']}  {'; '.join(row['broken'])}".rstrip())
            typer.echo(f"{typer.style(f'{word:8}', fg=color)} {said}")
        typer.echo(f"{len(bad)} of {len(rows)} names would not resolve over IPv6 alone")
        for operator, count in acting.most_common(_OPERATORS):
            typer.echo(f"  {count} of them wait for the operator of {printable(operator)}")
    if bad:
        raise typer.Exit(FOUND)


def _print_asked(state_dir: Path, *, as_json: bool) -> None:
    """Show what a running resolver learnt of the zones it asked."""
    from quada.server.control import command

    rows = command(state_dir / "control.sock", "shadow")
    bad = [row for row in rows if row["verdict"] == "no"]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            why = "; ".join(f"{one} has {lack}" for one, lack in row["servers"].items() if lack)
            color = typer.colors.RED if row["verdict"] == "no" else None
            said = printable(f"{row['zone']}  asked {row['asked']} times  {why}".rstrip())
            typer.echo(f"{typer.style(format(row['verdict'], '8'), fg=color)} {said}")
        typer.echo(f"{len(bad)} zones asked lately are out of reach over IPv6 alone")
    if bad:
        raise typer.Exit(FOUND)


def _row(graph: Graph, zone: str, *, is_six: bool, is_any: bool) -> dict[str, Any]:
    """Say how a zone stands; all names in it stand alike."""
    broken = [] if is_six else graph.broken(zone, 6)
    cuts = [] if is_six else [sorted(cut) for cut in graph.cuts(zone, 6)]
    return {
        "verdict": "yes" if is_six else "no" if is_any else "neither",
        "broken": [f"{one.zone}: {', '.join(one.reasons)}" for one in broken],
        "cuts": cuts,
        "operators": sorted({graph.operator_of(server) for cut in cuts for server in cut}),
    }
