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
    from quada.api.pools import read_pools
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        rows = command(state_dir / "control.sock", "status")["pools"]
        pools = read_pools(rows)
        if as_json:
            print_json(rows)
        else:
            for pool in pools:
                for one in pool.members:
                    word = "healthy" if one.is_healthy else "OUT"
                    word += "" if one.is_known else " (now UNKNOWN)"
                    since = f" for {time.time() - one.since:.0f} s" if one.since else ""
                    typer.echo(
                        f"{pool.name}\t{one.address}\t{word}{since}\t{one.took_ms} ms\t{one.detail}"
                    )
        if not all(pool.is_well for pool in pools):
            raise typer.Exit(FOUND)
