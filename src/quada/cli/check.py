"""quada check: zones and configurations, before they serve."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.api.data import finding_data
from quada.cli.output import (
    FOUND,
    fault_data,
    faults_exit,
    print_findings,
    print_json,
    zone_name,
)
from quada.config.bind import import_bind
from quada.config.corefile import import_corefile
from quada.config.load import read_settings
from quada.server.plan import make_plan
from quada.store.files import load_zone_file, read_zone_file
from quada.wire.faults import ConfigFault
from quada.zones.check import check_zone, reference, rules
from quada.zones.rules import Policy, Severity

app = typer.Typer(help="Check zones and configurations before they serve.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="check")


@app.command("zone")
def zone(
    name: Annotated[str, typer.Argument(help="The zone's name.")],
    file: Annotated[Path, typer.Argument(help="Its zone file.")],
    others: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=FILE", help="Another zone to compare with."),
    ] = None,
    requires_aaaa: Annotated[
        bool, typer.Option("--require-aaaa", help="A host with A and no AAAA is a warning.")
    ] = False,
    allows_special: Annotated[
        bool, typer.Option("--allow-special", help="Accept addresses of special ranges.")
    ] = False,
    is_strict: Annotated[
        bool, typer.Option("--strict", help="Warnings count as problems.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a zone file: every fault with its line, every broken rule with why and fix."""
    with faults_exit(as_json=as_json):
        reading = read_zone_file(file, zone_name(name), keeps_going=True, keeps_places=True)
        known = [
            load_zone_file(path, zone_name(other))
            for other, _, path in (text.partition("=") for text in others or ())
        ]
    found = check_zone(
        reading.zone,
        known,
        now_s=int(time.time()),
        policy=Policy(requires_aaaa=requires_aaaa, allows_special=allows_special),
        notes=reading.notes,
    )
    found = [
        finding._replace(
            place=finding.place or reading.places.get((finding.owner, finding.rdtype), "")
        )
        for finding in found
    ]
    bad = {Severity.ERROR, Severity.WARNING} if is_strict else {Severity.ERROR}
    is_bad = bool(reading.faults) or any(finding.severity in bad for finding in found)
    if as_json:
        print_json(
            {
                "zone": name,
                "records": reading.record_count,
                "ok": not is_bad,
                "faults": [fault_data(fault) for fault in reading.faults],
                "findings": [finding_data(finding) for finding in found],
            }
        )
    else:
        for fault in reading.faults:
            typer.echo(f"{fault.place}: {typer.style('error', fg='red')}: {fault.message}")
            if fault.remedy:
                typer.echo(f"    fix: {fault.remedy}")
        print_findings(found)
        outcome = "has problems" if is_bad else "is good"
        typer.echo(f"zone {name} {outcome}: {reading.record_count} records")
    if is_bad:
        raise typer.Exit(FOUND)


@app.command("rules")
def list_rules(
    is_markdown: Annotated[
        bool, typer.Option("--markdown", help="Write the reference page.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every zone rule."""
    if as_json:
        print_json([rule._asdict() for rule in rules()])
    elif is_markdown:
        typer.echo(reference(), nl=False)
    else:
        for rule in rules():
            typer.echo(f"{rule.code:<20} {rule.severity:<8} {rule.why}")


@app.command("config")
def config(
    file: Annotated[Path, typer.Argument(help="named.conf, Corefile or quada's TOML.")],
    kind: Annotated[str, typer.Option("--as", help="bind, coredns or quada; else guessed.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a configuration: quada's own, named.conf or a Corefile."""
    with faults_exit(as_json=as_json):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigFault(f"cannot be read: {error.strerror}", place=str(file)) from error
        kind = kind or _guess(file, text)
        if kind not in ("bind", "coredns", "quada"):
            raise ConfigFault(f"{kind!r} is not a kind", remedy="use bind, coredns or quada")
        zones, lines = [], []
        if kind == "quada":
            settings = read_settings(text, str(file))
            make_plan(settings, roles=("authority", "resolver"))
            zones = [zone.name for zone in settings.zone]
        else:
            read = import_bind if kind == "bind" else import_corefile
            imported = read(text, file=str(file))
            zones = [zone.name for zone in imported.zones]
            lines = [line for line in imported.lines if line.fate == "ignored"]
    if as_json:
        ignored = [line._asdict() for line in lines]
        print_json({"kind": kind, "ok": True, "zones": zones, "ignored": ignored})
        return
    for line in lines:
        typer.echo(f"{line.place}: ignored {line.what}: {line.reason}")
    typer.echo(f"{file} is good as {kind} configuration: {len(zones)} zones")


def _guess(file: Path, text: str) -> str:
    if file.suffix == ".toml":
        return "quada"
    if "orefile" in file.name:
        return "coredns"
    # Every statement of named.conf ends in a semicolon; a Corefile has none.
    return "bind" if "};" in text.replace(" ", "") else "coredns"
