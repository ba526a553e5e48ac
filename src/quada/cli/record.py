"""`quada record`: records of stored zones, one at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.api.data import record_data
from quada.api.records import read_owner, read_type
from quada.cli.output import FOUND, faults_exit, print_json, zone_name
from quada.cli.stored import StateDir, author, say_change, stored_zone
from quada.zones import Change, Record, write_record
from quada.zones.rdata import read_ttl, read_value

app = typer.Typer(help="Records of zones in the store.", no_args_is_help=True)

ZoneName = Annotated[str, typer.Argument(metavar="ZONE", help="The zone's name.")]
Owner = Annotated[str, typer.Argument(metavar="NAME", help="Owner, relative to the zone; @ is it.")]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="AAAA, MX, ALIAS, TYPE65280, ...")]
Values = Annotated[
    list[str], typer.Argument(metavar="VALUE...", help="Each a value as in a zone file, quoted.")
]
Ttl = Annotated[str, typer.Option(help="TTL: seconds, or as in 1h30m; else that of the RRset.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option(help="Reason, for the journal.")]
_USUAL_TTL_S = 300


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="record")


@app.command("list")
def list_records(
    zone: ZoneName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this owner.")] = "",
    rdtype: Annotated[str, typer.Option("--type", help="Only this type.")] = "",
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """List records."""
    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        _, found = stored_zone(state_dir, origin)
        owner = read_owner(name, origin) if name else None
        wanted = read_type(rdtype) if rdtype else None
        records = [
            record
            for record in found.records()
            if owner in (None, record.owner) and wanted in (None, record.rdtype)
        ]
        if as_json:
            print_json([record_data(record) for record in records])
            return
        for record in records:
            typer.echo(write_record(record, origin))


@app.command("add")
def add(
    zone: ZoneName,
    name: Owner,
    rdtype: Type,
    values: Values,
    ttl: Ttl = "",
    dry_run: DryRun = False,
    state_dir: StateDir = Path("var"),
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Add records to what is there."""
    _edit(zone, name, rdtype, values, ttl, state_dir, why,
          replaces=False, dry_run=dry_run, as_json=as_json)  # fmt: skip


@app.command("set")
def set_records(
    zone: ZoneName,
    name: Owner,
    rdtype: Type,
    values: Values,
    ttl: Ttl = "",
    dry_run: DryRun = False,
    state_dir: StateDir = Path("var"),
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Make an RRset exactly these records."""
    _edit(zone, name, rdtype, values, ttl, state_dir, why,
          replaces=True, dry_run=dry_run, as_json=as_json)  # fmt: skip


@app.command("remove")
def remove(
    zone: ZoneName,
    name: Owner,
    rdtype: Type,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[VALUE...]", help="Only these values.")
    ] = None,
    dry_run: DryRun = False,
    state_dir: StateDir = Path("var"),
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Remove an RRset, or some of its records; exit code 1 where there was nothing to remove."""
    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        store, found = stored_zone(state_dir, origin)
        owner, number = read_owner(name, origin), read_type(rdtype)
        rrset = found.rrset(owner, number)
        wanted = {read_value(number, value, origin) for value in values or ()}
        there = [Record(owner, number, rrset.ttl, rdata) for rdata in rrset.rdatas] if rrset else []
        gone = [record for record in there if not wanted or record.rdata in wanted]
        if not gone:
            typer.echo("there is nothing to remove", err=True)
            raise typer.Exit(FOUND)
        change = Change(tuple(gone), ())
        if not dry_run:
            change = store.apply(origin, change, author(why), int(time.time())).change
        say_change(change, origin, as_json=as_json)


def _edit(
    zone: str,
    name: str,
    rdtype: str,
    values: list[str],
    ttl: str,
    state_dir: Path,
    why: str,
    *,
    replaces: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        store, found = stored_zone(state_dir, origin)
        owner, number = read_owner(name, origin), read_type(rdtype)
        rrset = found.rrset(owner, number)
        ttl_s = read_ttl(ttl) if ttl else rrset.ttl if rrset else _USUAL_TTL_S
        rdatas = [read_value(number, value, origin) for value in values]
        kept = [] if replaces or rrset is None else list(rrset.rdatas)
        before = [Record(owner, number, rrset.ttl, r) for r in rrset.rdatas] if rrset else []
        added = [Record(owner, number, ttl_s, r) for r in dict.fromkeys([*kept, *rdatas])]
        change = Change(tuple(before), tuple(added))
        after = found.changed(change)
        if dry_run:
            from quada.zones import diff

            say_change(diff(found, after), origin, as_json=as_json)
            return
        applied = store.apply(origin, change, author(why), int(time.time()))
        say_change(applied.change, origin, as_json=as_json)
