"""`quada explain`, `flush` and `distrust`: a running resolver's reasons, memory and trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import faults_exit, print_json

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("explain")(explain)
    app.command("flush")(flush)
    app.command("distrust")(distrust)


def explain(
    name: Annotated[str, typer.Argument(help="The question's name.")],
    rdtype: Annotated[str, typer.Argument(metavar="TYPE", help="Its type.")] = "AAAA",
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say how the resolver comes to an answer: every server asked, over which family, and why."""
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        absolute = name if name.endswith(".") else f"{name}."
        found = command(state_dir / "control.sock", "explain", name=absolute, rdtype=rdtype)
        if as_json:
            print_json(found)
            return
        for number, step in enumerate(found.get("steps", ()), 1):
            typer.echo(
                f"{number:3} {step['asked']} of {step['zone']} asked {step['server']} over "
                f"{step['transport']}, IPv{step['family']}: {step['outcome']}, {step['took_ms']} ms"
            )
        if not found.get("steps"):
            typer.echo("    nothing was asked: it was in the cache, or is local")
        typer.echo(f"{found['rcode']}, {found.get('validation', '')}, "
                   f"{'+'.join(found.get('provenance') or [])}")  # fmt: skip
        for line in found.get("answer", ()):
            typer.echo(f"    {line}")
        if found.get("reason"):
            typer.echo(f"    {found['reason']}")


def flush(
    name: Annotated[str, typer.Argument(help="Name to forget.")],
    subtree: Annotated[bool, typer.Option("--subtree", help="And everything below it.")] = False,
    state_dir: StateDir = Path("var"),
) -> None:
    """Have the resolver forget a name."""
    from quada.server.control import command

    with faults_exit():
        absolute = name if name.endswith(".") else f"{name}."
        command(state_dir / "control.sock", "flush", name=absolute, is_subtree=subtree)


def distrust(
    name: Annotated[str, typer.Argument(help="Name below which not to validate.")] = "",
    minutes: Annotated[int, typer.Option(min=1, max=10_080, help="For how long.")] = 60,
    end: Annotated[bool, typer.Option("--end", help="Validate again from now on.")] = False,
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Have the resolver not validate a zone for a while (RFC 7646), or list where it does not."""
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        arguments: dict[str, object] = {}
        if name:
            absolute = name if name.endswith(".") else f"{name}."
            arguments = {"name": absolute, "for_s": 0 if end else minutes * 60}
        held = command(state_dir / "control.sock", "distrust", **arguments)
        if as_json:
            print_json(held)
            return
        for zone, left_s in sorted(held.items()):
            typer.echo(f"{zone} is not validated for another {left_s // 60} min")
        if not held:
            typer.echo("everything is validated")
