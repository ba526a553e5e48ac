"""What the verbs on stored zones share: the store, the author, how a change is shown."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import quada.wire.names as names
from quada.api.data import change_data
from quada.cli.output import print_json
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.wire.faults import ConfigFault
from quada.zones import write_record

if TYPE_CHECKING:
    from quada.zones import Change, Zone

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]
STORE_FILE = "zones.db"


def open_store(state_dir: Path) -> ZoneStore:
    """Open the zone store of a state directory, and make it where there is none."""
    return ZoneStore.open(state_dir / STORE_FILE)


def stored_zone(state_dir: Path, origin: bytes) -> tuple[ZoneStore, Zone]:
    """Open the store and give a zone of it. Raises: ConfigFault where it is not there."""
    store = open_store(state_dir)
    zone = store.zone(origin)
    if zone is None:
        raise ConfigFault(
            "there is no such zone in the store",
            place=names.to_text(origin),
            remedy=f"`quada zone list --state-dir {state_dir}` shows those there are",
        )
    return store, zone


def author(why: str) -> Author:
    """Say who changes something from the command line."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = f"uid {os.getuid()}"
    return Author(who, "command line", why)


def print_change(change: Change, origin: bytes) -> None:
    """Print a change as lines with - and +."""
    for sign, records, color in (
        ("-", change.removed, typer.colors.RED),
        ("+", change.added, typer.colors.GREEN),
    ):
        for record in records:
            typer.secho(f"{sign} {write_record(record, origin)}", fg=color)


def say_change(change: Change, origin: bytes, *, as_json: bool) -> None:
    """Print a change for people, or as JSON."""
    if as_json:
        print_json(change_data(change))
    elif change.removed or change.added:
        print_change(change, origin)
    else:
        typer.echo("nothing changes: it is so already", err=True)
