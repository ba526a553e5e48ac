"""quada import: configurations of other servers taken over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.api.data import finding_data
from quada.cli.output import faults_exit, print_findings, print_json, zone_name
from quada.config.bind import import_bind
from quada.config.corefile import import_corefile
from quada.config.imported import Imported, write_toml
from quada.disk import replacing
from quada.store.files import read_zone_file
from quada.wire.faults import ConfigFault, DataFault
from quada.zones.check import check_zone, refusals

if TYPE_CHECKING:
    from quada.zones.read import Note
    from quada.zones.rules import Finding
    from quada.zones.zone import Zone

app = typer.Typer(help="Take over the configuration of another server.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help="The configuration file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write quada's configuration here.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="Look for zone files below this directory.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="import")


@app.command("bind")
def bind(file: Source, out: Out = None, root: Root = None, as_json: Json = False) -> None:
    """Take over a named.conf."""
    with faults_exit(as_json=as_json):
        text = _read(file)

        def include(path: str) -> str:
            return _placed(path, file, root).read_text(encoding="utf-8", errors="replace")

        _finish(
            import_bind(text, file=str(file), include=include), file, out, root, as_json=as_json
        )


@app.command("coredns")
def coredns(file: Source, out: Out = None, root: Root = None, as_json: Json = False) -> None:
    """Take over a Corefile."""
    with faults_exit(as_json=as_json):
        _finish(import_corefile(_read(file), file=str(file)), file, out, root, as_json=as_json)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigFault(f"cannot be read: {error.strerror}", place=str(file)) from error


def _placed(path: str, file: Path, root: Path | None) -> Path:
    """Give where a path of the configuration lies: below `root`, else beside the configuration."""
    if root is not None:
        return root / path.lstrip("/")
    return file.parent / path


def _finish(
    imported: Imported, file: Path, out: Path | None, root: Path | None, *, as_json: bool
) -> None:
    zones: list[Zone] = []
    notes: dict[bytes, tuple[Note, ...]] = {}
    faults: list[DataFault] = []
    for zone in imported.zones:
        if zone.file:
            path = _placed(zone.file, file, root)
            zone.file = str(path.absolute())
            try:
                reading = read_zone_file(path, zone_name(zone.name))
                zones.append(reading.zone)
                notes[reading.zone.origin] = reading.notes
            except DataFault as fault:
                faults.append(fault)
    now_s = int(time.time())
    findings: list[Finding] = []
    for made in zones:
        others = [other for other in zones if other is not made]
        findings += check_zone(made, others, now_s=now_s, notes=notes[made.origin])
    config = write_toml(imported, str(file))
    if out is not None:
        try:
            with replacing(out) as target:
                target.write(config)
        except OSError as error:
            raise ConfigFault(f"cannot be written: {error.strerror}", place=str(out)) from error
    if as_json:
        print_json(
            {
                "listen": imported.listen,
                "zones": [vars(zone) for zone in imported.zones],
                "resolver": imported.resolver,
                "account": [line._asdict() for line in imported.lines],
                "faults": [str(fault) for fault in faults],
                "findings": [finding_data(finding) for finding in findings],
                "config": config,
            }
        )
    else:
        for line in imported.lines:
            reason = f": {line.reason}" if line.reason else ""
            typer.echo(f"{line.place}: {line.fate:<10} {line.what}{reason}")
        for found in faults:
            typer.echo(str(found))
        print_findings(findings)
        if out is None:
            typer.echo("")
            typer.echo(config, nl=False)
        else:
            typer.echo(f"written: {out}; next: quada serve --config {out}")
    if faults or refusals(findings):
        raise typer.Exit(1)
