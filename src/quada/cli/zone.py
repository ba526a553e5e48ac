"""`quada zone`: zones in the store, whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import quada.wire.names as names
from quada.api.data import entry_data
from quada.api.operations import bare_zone_text
from quada.cli.output import FOUND, faults_exit, print_json, zone_name
from quada.cli.stored import (
    StateDir,
    author,
    open_store,
    print_change,
    say_change,
    stored_zone,
)
from quada.store.files import load_zone_file, write_zone_file
from quada.store.zones import SERIAL_POLICIES
from quada.wire.faults import ConfigFault
from quada.zones import diff, read_zone, write_zone

app = typer.Typer(help="Zones in the store: add, show, edit, history, undo.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The zone's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option(help="Reason, for the journal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")]


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="zone")


@app.command("add")
def add(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="Zone file to start from.")] = None,
    ns: Annotated[
        list[str] | None, typer.Option(help="Name server, where there is no file. Repeatable.")
    ] = None,
    serial: Annotated[
        str, typer.Option(help="How serials grow: increment, date or unixtime.")
    ] = "increment",
    state_dir: StateDir = Path("var"),
    why: Why = "",
) -> None:
    """Add a zone, from a file or with SOA and NS alone. A running server serves it at once."""
    with faults_exit():
        if serial not in SERIAL_POLICIES:
            raise ConfigFault(f"{serial!r} is no serial policy", place="--serial",
                              remedy=", ".join(SERIAL_POLICIES))  # fmt: skip
        origin = zone_name(name)
        zone = load_zone_file(file, origin) if file else read_zone(bare_zone_text(ns or []), origin)
        applied = open_store(state_dir).create(zone, author(why), int(time.time()), serial=serial)
        typer.echo(f"added {names.to_text(origin)} serial {applied.zone.serial}")


@app.command("list")
def list_zones(state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """List the zones of the store with serial and size."""
    with faults_exit(as_json=as_json):
        store = open_store(state_dir)
        rows = []
        for origin in store.zones():
            zone = store.zone(origin)
            if zone is not None:
                count = sum(1 for _ in zone.records())
                rows.append(
                    {"zone": names.to_text(origin), "serial": zone.serial, "records": count}
                )
        if as_json:
            print_json(rows)
            return
        for row in rows:
            typer.echo(f"{row['zone']}\tserial {row['serial']}\t{row['records']} records")


@app.command("show")
def show(name: Name, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Show a zone as zone text, or as JSON with its settings."""
    with faults_exit(as_json=as_json):
        origin = zone_name(name)
        store, zone = stored_zone(state_dir, origin)
        if as_json:
            print_json(
                {
                    "zone": names.to_text(origin),
                    "serial": zone.serial,
                    "settings": store.settings(origin),
                    "text": "".join(write_zone(zone)),
                }
            )
            return
        for line in write_zone(zone):
            typer.echo(line, nl=False)


@app.command("export")
def export(
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(help="File to write, replaced whole or not at all; else standard output."),
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Only what other servers read too.")
    ] = False,
    state_dir: StateDir = Path("var"),
) -> None:
    """Write a zone as zone text."""
    with faults_exit():
        _, zone = stored_zone(state_dir, zone_name(name))
        if file is None:
            for line in write_zone(zone, is_portable=portable):
                typer.echo(line, nl=False)
            return
        write_zone_file(file, zone, is_portable=portable)


@app.command("import")
def import_zone(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Zone file.")],
    dry_run: DryRun = False,
    state_dir: StateDir = Path("var"),
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Make a zone's content that of a file, as one change in the journal."""
    with faults_exit(as_json=as_json):
        origin = zone_name(name)
        store = open_store(state_dir)
        zone = load_zone_file(file, origin)
        if dry_run:
            say_change(diff(store.zone(origin), zone), origin, as_json=as_json)
            return
        applied = store.replace(zone, author(why or f"import {file}"), int(time.time()))
        say_change(applied.change, origin, as_json=as_json)


@app.command("edit")
def edit(name: Name, state_dir: StateDir = Path("var"), why: Why = "") -> None:
    """Edit a zone's text in $EDITOR; the difference is shown and asked about before it is made."""
    with faults_exit():
        origin = zone_name(name)
        store, zone = stored_zone(state_dir, origin)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"{names.to_text(origin)}zone"
            write_zone_file(path, zone)
            editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
            subprocess.run([*editor.split(), str(path)], check=True)
            edited = load_zone_file(path, origin)
        change = diff(zone, edited)
        if not any(change):
            typer.echo("nothing changed")
            return
        print_change(change, origin)
        if sys.stdin.isatty() and not typer.confirm("make this change?", default=True):
            raise typer.Exit(FOUND)
        applied = store.apply(
            origin, change, author(why), int(time.time()), expect_serial=zone.serial
        )
        typer.echo(f"serial {applied.zone.serial}")


@app.command("diff")
def show_diff(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Zone file to compare with.")],
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Show what would have to change for the zone to be as a file; exit code 1 where anything."""
    with faults_exit(as_json=as_json):
        origin = zone_name(name)
        _, zone = stored_zone(state_dir, origin)
        change = diff(zone, load_zone_file(file, origin))
        say_change(change, origin, as_json=as_json)
        if any(change):
            raise typer.Exit(FOUND)


@app.command("history")
def history(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 20,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Show a zone's journal, newest first: who, when, from where, why, before and after."""
    with faults_exit(as_json=as_json):
        origin = zone_name(name)
        store, _ = stored_zone(state_dir, origin)
        entries = store.history(origin, limit=limit)
        if as_json:
            print_json([entry_data(entry) for entry in entries])
            return
        for entry in entries:
            at = datetime.fromtimestamp(entry.at, UTC)
            who, place, why = entry.author
            typer.echo(
                f"{entry.number}\t{at:%Y-%m-%d %H:%M:%S}Z\tserial {entry.serial_to}\t{who}"
                f"{f' from {place}' if place else ''}{f': {why}' if why else ''}"
            )
            print_change(entry.change, origin)


@app.command("undo")
def undo(
    name: Name,
    number: Annotated[int, typer.Argument(help="Entry of `quada zone history`.")],
    state_dir: StateDir = Path("var"),
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Take one change back, keeping what came after it."""
    with faults_exit(as_json=as_json):
        origin = zone_name(name)
        store = open_store(state_dir)
        applied = store.undo(origin, number, author(why or f"undo {number}"), int(time.time()))
        say_change(applied.change, origin, as_json=as_json)


@app.command("remove")
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state_dir: StateDir = Path("var"),
    why: Why = "",
) -> None:
    """Remove a zone from the store. Its history stays: `quada zone undo` brings it back."""
    with faults_exit():
        origin = zone_name(name)
        if not yes and not typer.confirm(f"remove {names.to_text(origin)}?"):
            raise typer.Exit(FOUND)
        open_store(state_dir).remove(origin, author(why), int(time.time()))
