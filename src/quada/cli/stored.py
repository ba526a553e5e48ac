"""What the verbs on stored zones share: the store, the author, how a change is shown."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import quada.wire.names as names
from quada.cli.output import print_json
from quada.store.zones import Author, ZoneStore
from quada.wire.faults import ConfigFault
from quada.zones import write_record
from quada.zones.rdata import type_name, write_rdata

if TYPE_CHECKING:
    from quada.store.zones import Entry
    from quada.zones import Change, Record, Zone

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
    else:
        print_change(change, origin)


def record_data(record: Record) -> dict[str, Any]:
    """Give a record as JSON data."""
    return {
        "name": names.to_text(record.owner),
        "ttl": record.ttl,
        "type": type_name(record.rdtype),
        "value": write_rdata(record.rdtype, record.rdata),
    }


def change_data(change: Change) -> dict[str, Any]:
    """Give a change as JSON data."""
    return {
        "removed": [record_data(record) for record in change.removed],
        "added": [record_data(record) for record in change.added],
    }


def entry_data(entry: Entry) -> dict[str, Any]:
    """Give a journal entry as JSON data."""
    return {
        "number": entry.number,
        "at": entry.at,
        "serial_from": entry.serial_from,
        "serial_to": entry.serial_to,
        "who": entry.author.who,
        "from": entry.author.place,
        "why": entry.author.why,
        **change_data(entry.change),
    }
