"""`quada firewall`: nftables rules for what is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quada.cli.doctor import read_text
from quada.cli.output import faults_exit, print_json


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("firewall")(firewall)


def firewall(
    config: Annotated[Path, typer.Option(help="The configuration.")],
    default_drop: Annotated[
        bool, typer.Option("--default-drop", help="Drop everything else that comes in.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is open as JSON.")] = False,
) -> None:
    """Print nftables rules that let in exactly what is configured, over both families.

        quada firewall --config quada.toml --default-drop | nft -f -

    With --default-drop mind your own way in: SSH is none of our services.
    """
    from quada.config.load import read_settings
    from quada.server.firewall import openings, rules
    from quada.server.plan import make_plan

    with faults_exit(as_json=as_json):
        settings = read_settings(read_text(config), str(config))
        roles = ("authority", "resolver")
        opened = openings(make_plan(settings, roles=roles))
        if as_json:
            print_json([one._asdict() for one in opened])
            return
        for line in rules(opened, drops_rest=default_drop):
            typer.echo(line)
