"""quada reverse: ip6.arpa and in-addr.arpa zones from forward data and an address plan."""

from __future__ import annotations

import time
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated

import typer

import quada.wire.names as names
from quada.cli.output import FOUND, faults_exit, print_json, zone_name
from quada.store.files import load_zone_file, write_zone_file
from quada.wire.faults import ConfigFault
from quada.zones.reverse import Drift, Plan, drift, make_zones, read_plan, repair, zone_names
from quada.zones.zone import Zone

app = typer.Typer(help="Make and keep reverse zones from forward zones.", no_args_is_help=True)

PlanFile = Annotated[Path, typer.Option("--plan", help="The address plan (TOML).")]
Forward = Annotated[
    list[str], typer.Option("--forward", metavar="NAME=FILE", help="A forward zone.")
]
Directory = Annotated[Path, typer.Option("--dir", help="Where the reverse zone files are.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="reverse")


@app.command("plan")
def plan(
    prefixes: Annotated[list[str], typer.Argument(help="Prefixes, as 2001:db8:10::/48.")],
    as_json: Json = False,
) -> None:
    """Show which reverse zones cover prefixes of any length."""
    out = {}
    with faults_exit(as_json=as_json):
        for text in prefixes:
            try:
                network = ip_network(text)
            except ValueError as error:
                raise ConfigFault(str(error), remedy=f"write {_meant(text)}") from error
            out[text] = [names.to_text(name) for name in zone_names(network)]
    if as_json:
        print_json(out)
    else:
        for text, zones in out.items():
            for zone in zones:
                typer.echo(f"{text} {zone}")


@app.command("make")
def make(
    plan_file: PlanFile, forward: Forward, directory: Directory, as_json: Json = False
) -> None:
    """Write every reverse zone of the plan anew."""
    with faults_exit(as_json=as_json):
        read, forwards = _load(plan_file, forward)
        serial = int(time.strftime("%Y%m%d00", time.gmtime())) + 1
        written = []
        for zone in make_zones(read, forwards, serial):
            path = _path(directory, zone.origin)
            write_zone_file(path, zone)
            written.append({"zone": names.to_text(zone.origin), "file": str(path)})
    if as_json:
        print_json(written)
    else:
        for line in written:
            typer.echo(f"{line['zone']} written to {line['file']}")


@app.command("check")
def check(
    plan_file: PlanFile, forward: Forward, directory: Directory, as_json: Json = False
) -> None:
    """Report where reverse zones and forward zones differ."""
    with faults_exit(as_json=as_json):
        read, forwards = _load(plan_file, forward)
        found = drift(read, forwards, _existing(read, directory))
    _report(found, as_json=as_json)
    if any(one.kind != "foreign" for one in found):
        raise typer.Exit(FOUND)


@app.command("sync")
def sync(
    plan_file: PlanFile, forward: Forward, directory: Directory, as_json: Json = False
) -> None:
    """Repair the reverse zones: only PTRs that differ change, and the serial."""
    with faults_exit(as_json=as_json):
        read, forwards = _load(plan_file, forward)
        existing = {zone.origin: zone for zone in _existing(read, directory)}
        found = drift(read, forwards, existing.values())
        serial = int(time.strftime("%Y%m%d00", time.gmtime())) + 1
        for fresh in make_zones(read, forwards, serial):
            zone = existing.get(fresh.origin)
            mended = fresh if zone is None else repair(zone, found)
            if mended is not zone:
                write_zone_file(_path(directory, fresh.origin), mended)
    _report(found, as_json=as_json)


def _load(plan_file: Path, forward: list[str]) -> tuple[Plan, list[Zone]]:
    try:
        data = tomllib.loads(plan_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigFault(f"the plan cannot be read: {error}", place=str(plan_file)) from error
    zones = []
    for text in forward:
        name, _, path = text.partition("=")
        zones.append(load_zone_file(path, zone_name(name)))
    return read_plan(data, str(plan_file)), zones


def _existing(read: Plan, directory: Path) -> list[Zone]:
    origins = [name for prefix in read.prefixes for name in zone_names(prefix.network)]
    paths = [(origin, _path(directory, origin)) for origin in origins]
    return [load_zone_file(path, origin) for origin, path in paths if path.exists()]


def _path(directory: Path, origin: bytes) -> Path:
    # RFC 2317 names hold a slash, which a file's name cannot.
    return directory / f"db.{names.to_text(origin)[:-1].replace('/', '_')}"


def _report(found: list[Drift], *, as_json: bool) -> None:
    rows = [
        {
            "kind": one.kind,
            "zone": names.to_text(one.zone),
            "owner": names.to_text(one.owner),
            "address": str(ip_address(one.address)) if one.address else "",
            "have": [names.to_text(name) for name in one.have],
            "want": names.to_text(one.want) if one.want is not None else None,
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        have, want = ", ".join(row["have"] or ["nothing"]), row["want"] or "nothing"
        typer.echo(f"{row['kind']:<8} {row['address'] or row['owner']}: has {have}, wants {want}")
    if not rows:
        typer.echo("forward and reverse agree")


def _meant(text: str) -> str:
    """Give the prefix that what was written lies in, or an example."""
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return "2001:db8:10::/48"
