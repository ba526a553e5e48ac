"""`quada pool`: pools of a running server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json

app = typer.Typer(help="Pools of addresses.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="pool")


@app.callback()
def pool() -> None:
    """Hold the verbs."""


@app.command("status")
def status(
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the health of every member; exit code 1 where one is out."""
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        members = command(state_dir / "control.sock", "status")["pools"]
        if as_json:
            print_json(members)
        else:
            for one in members:
                word = "healthy" if one["is_healthy"] else "OUT"
                since = f" for {time.time() - one['since']:.0f} s" if one["since"] else ""
                typer.echo(
                    f"{one['pool']}\t{one['address']}\t{word}{since}\t"
                    f"{one['took_ms']} ms\t{one['detail']}"
                )
        if not all(one["is_healthy"] for one in members):
            raise typer.Exit(FOUND)
