"""`quada compare`: a zone beside what a provider exports of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quada.cli.doctor import read_text
from quada.cli.output import FOUND, faults_exit, print_json, printable, zone_name
from quada.cli.stored import StateDir, stored_zone
from quada.store.files import load_zone_file
from quada.zones.compare import compare as compare_zone
from quada.zones.compare import of_zone, read_export

_WORDS = {
    "missing": "missing there", "extra": "only there", "values": "other values",
    "ttl": "another TTL", "alias": "an alias there",
}  # fmt: skip


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("compare")(compare)


def compare(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    export: Annotated[Path, typer.Argument(help="Route 53's or Cloud DNS's JSON, or a zone file.")],
    file: Annotated[
        Path | None, typer.Option(help="Our side: a zone file instead of the store.")
    ] = None,
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a zone with what a provider exports of it: what is missing there, AAAA first.

    Exit code 1 where they differ.
    """
    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        ours = load_zone_file(file, origin) if file else stored_zone(state_dir, origin)[1]
        text = read_text(export)
        if text.lstrip().startswith(("{", "[")):
            theirs = read_export(text, origin, str(export))
        else:
            theirs = of_zone(load_zone_file(export, origin))
        found = compare_zone(ours, theirs)
        if as_json:
            print_json([one._asdict() for one in found])
        for one in found if not as_json else ():
            sides = " | ".join(part for part in (one.ours, one.theirs) if part)
            typer.echo(printable(f"{one.rdtype:6} {one.owner} {_WORDS[one.kind]}: {sides}"))
        if found:
            raise typer.Exit(FOUND)
