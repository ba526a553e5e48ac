"""`quada demo`: what `make run` starts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import faults_exit, zone_name
from quada.cli.serve import run_server
from quada.cli.stored import author, open_store
from quada.config.load import read_settings
from quada.store.files import load_zone_file

_DEMO = Path(__file__).parent.parent / "demo"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo")(demo)


def demo(
    state_dir: Annotated[Path, typer.Option(help="Where the demo keeps its state.")] = Path("var"),
    port: Annotated[int, typer.Option(help="Port for UDP and TCP on [::] and 0.0.0.0.")] = 5300,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics on ::1; 0 is none.")] = 9530,
    web_port: Annotated[int, typer.Option(help="Port of API and console on [::].")] = 8080,
) -> None:
    """Serve demo zones on high ports, without root."""
    from dataclasses import replace

    with faults_exit():
        settings = read_settings((_DEMO / "quada.toml").read_text(), str(_DEMO / "quada.toml"))
        _fill_store(state_dir, {zone.name: _DEMO / zone.file for zone in settings.zone})
        settings = replace(
            settings,
            zone=(),
            server=replace(settings.server, state_dir=str(state_dir)),
            authority=replace(settings.authority, listen=(f"[::]:{port}", f"0.0.0.0:{port}")),
            signals=replace(settings.signals, on=True),
            metrics=replace(
                settings.metrics, listen=(f"[::1]:{metrics_port}",) if metrics_port else ()
            ),
            api=replace(settings.api, listen=(f"[::]:{web_port}",), url=f"http://[::1]:{web_port}"),
        )
        typer.echo(f"try: dig -p {port} @::1 app.example.com AAAA")
        typer.echo(f"     dig -p {port} @::1 -x 2001:db8:1::80")
        typer.echo(f"     .venv/bin/quada tail --state-dir {state_dir}")
        if metrics_port:
            typer.echo(f"     curl http://[::1]:{metrics_port}/metrics")
        typer.echo(
            f"     .venv/bin/quada record add example.com new AAAA 2001:db8::1"
            f" --state-dir {state_dir}"
        )
        run_server(settings, ("authority",), as_json=False)


def _fill_store(state_dir: Path, zones: dict[str, Path]) -> None:
    """Put the demo's zones into a store that does not have them yet."""
    store = open_store(state_dir)
    known = store.zones()
    for name, file in zones.items():
        origin = zone_name(name)
        if origin not in known:
            zone = load_zone_file(file, origin)
            store.create(zone, author("first start of the demo"), int(time.time()))
    store.close()
