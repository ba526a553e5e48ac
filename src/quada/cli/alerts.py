"""`quada alerts`: what the watch says, and what of it was taken on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json, printable
from quada.cli.stored import StateDir, author
from quada.store.alerts import FILE, AlertStore, alert_data
from quada.wire.faults import ConfigFault

app = typer.Typer(help="Alerts of the watch.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(help="The alert's number.")]


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="alerts")


def _store(state_dir: Path) -> AlertStore:
    return AlertStore.open(state_dir / FILE)


@app.command("list")
def list_alerts(
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """List alerts, the newest first; exit code 1 where one is open."""
    with faults_exit(as_json=as_json):
        alerts = _store(state_dir).alerts(is_open=not every)
        if as_json:
            print_json([alert_data(alert) for alert in alerts])
        for alert in alerts if not as_json else ():
            since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(alert.opened_at))
            color = typer.colors.RED if alert.state == "open" else None
            state = typer.style(f"{alert.state:7}", fg=color)
            taken = f" (taken by {alert.acked_by})" if alert.acked_by else ""
            typer.echo(
                f"{alert.number:>5} {state} {since} {printable(alert.told['summary'])}{taken}"
            )
        if any(alert.state == "open" for alert in alerts):
            raise typer.Exit(FOUND)


@app.command("show")
def show(number: Number, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Show one alert: what, since when, compared with what, where, evidence, what to do next."""
    with faults_exit(as_json=as_json):
        alert = _store(state_dir).alert(number)
        if as_json:
            print_json(alert_data(alert))
            return
        for key, value in alert_data(alert).items():
            if value and key != "incident":
                text = "\n    ".join(value) if isinstance(value, list) else str(value)
                typer.echo(f"{key:13} {printable(text)}")
        if alert.incident:
            for cause in alert.incident["causes"][:3]:
                typer.echo(f"likely cause  {printable(cause['code'])}: {printable(cause['why'])}")
                typer.echo(f"    {printable(cause['action'])}")
            typer.echo(f"walked        quada incident --replay {alert.incident['observation']}")


@app.command("ack")
def acknowledge(number: Number, state_dir: StateDir = Path("var")) -> None:
    """Say that you have taken an alert on."""
    with faults_exit():
        _store(state_dir).acknowledge(number, author("").who)


@app.command("silence")
def silence(
    pattern: Annotated[str, typer.Argument(help="Text that the keys of alerts hold.")],
    minutes: Annotated[int, typer.Option(min=1, help="For how long.")] = 60,
    why: Annotated[str, typer.Option(help="Reason.")] = "",
    state_dir: StateDir = Path("var"),
) -> None:
    """Deliver nothing about some alerts for a while; they are still kept."""
    with faults_exit():
        until = int(time.time()) + minutes * 60
        _store(state_dir).silence(pattern, until, author("").who, why)


@app.command("test")
def test(
    config: Annotated[Path, typer.Option(help="Configuration with the receivers.")],
) -> None:
    """Send every receiver a test message and tell which took it; exit code 1 where one did not."""
    import asyncio

    from quada.config.load import read_settings
    from quada.server.plan import check_receivers
    from quada.server.receivers import send

    with faults_exit():
        try:
            settings = read_settings(config.read_text(), str(config))
        except OSError as error:
            raise ConfigFault(f"cannot read it: {error.strerror}", place=str(config)) from error
        if not settings.alert_receiver:
            raise ConfigFault("no receivers are configured", place="alert_receiver")
        check_receivers(settings.alert_receiver)
        now_s = int(time.time())
        body = {
            "what": "test", "kind": "test", "key": "test/test", "scope": "test", "number": 0,
            "state": "open", "opened_at": now_s, "closed_at": now_s, "summary": "a test by quada",
        }  # fmt: skip
        failed = 0
        for receiver in settings.alert_receiver:
            why = asyncio.run(send(receiver, body))
            typer.echo(f"{receiver.name}: {why or 'taken'}")
            failed += bool(why)
        if failed:
            raise typer.Exit(FOUND)
