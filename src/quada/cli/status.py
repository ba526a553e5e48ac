"""`quada status`, `quada reload`, `quada stop`: a running server, asked and told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("status")(status)
    app.command("reload")(reload)
    app.command("stop")(stop)


def status(
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell what runs: listeners, workers, zones and serials, counts."""
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        found = command(state_dir / "control.sock", "status")
        if as_json:
            print_json(found)
            return
        up_s = time.time() - found["started_at"]
        typer.echo(f"quada runs as {found['pid']}, up {up_s:.0f} s, restarts {found['restarts']}")
        for address in found["listening"]:
            typer.echo(f"  listens on {address}")
        for worker in found["workers"]:
            typer.echo(f"  worker {worker['pid']}")
        for zone in found["zones"]:
            typer.echo(f"  zone {zone['zone']} serial {zone['serial']}")
        for zone, why in found["refused"].items():
            typer.echo(f"  refused {zone}: {why}")
        typer.echo(f"  events written {found['events']['written']}")


def reload(
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read zone files again now; exit code 1 where one was refused."""
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        found = command(state_dir / "control.sock", "reload")
        if as_json:
            print_json(found)
        else:
            for zone in found["reloaded"]:
                typer.echo(f"reloaded {zone}")
            for zone, why in found["refused"].items():
                typer.echo(f"refused {zone}: {why}", err=True)
        if found["refused"]:
            raise typer.Exit(FOUND)


def stop(state_dir: StateDir = Path("var")) -> None:
    """End a running server."""
    from quada.server.control import command

    with faults_exit():
        command(state_dir / "control.sock", "stop")
