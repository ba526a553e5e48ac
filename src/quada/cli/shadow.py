"""`quada shadow`: what a running resolver asked that IPv6 alone does not reach."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json

_OPERATORS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("shadow")(shadow)


def shadow(
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which zones the resolver asked are out of reach over IPv6 alone, and who serves them.

    Exit code 1 where there are some. `quada doctor --from FILE` solves whole dependency graphs.
    """
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        rows = command(state_dir / "control.sock", "shadow")
        if as_json:
            print_json(rows)
        else:
            operators: Counter[str] = Counter()
            for row in rows:
                color = typer.colors.RED if row["verdict"] == "no" else None
                why = "; ".join(f"{one} has {lack}" for one, lack in row["servers"].items() if lack)
                shown = typer.style(f"{row['verdict']:8}", fg=color)
                typer.echo(f"{shown} {row['zone']}  asked {row['asked']} times  {why}".rstrip())
                if row["verdict"] == "no":
                    operators.update({_domain_of(one) for one in row["servers"]})
            for operator, count in operators.most_common(_OPERATORS_SHOWN):
                typer.echo(f"{operator} serves {count} of them")
            bad = sum(row["verdict"] == "no" for row in rows)
            typer.echo(f"{bad} zones asked lately are out of reach over IPv6 alone")
        if any(row["verdict"] == "no" for row in rows):
            raise typer.Exit(FOUND)


def _domain_of(server: str) -> str:
    """Name who runs a server, as far as its name tells: the last two labels."""
    return ".".join(server.rstrip(".").split(".")[-2:])
