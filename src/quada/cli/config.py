"""`quada config`: check, explain and show settings."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json
from quada.config.load import Known, known_settings, read_settings
from quada.config.shown import shown_settings, without_secrets
from quada.wire.faults import ConfigFault

_ConfigFile = Annotated[Path, typer.Argument(help="TOML configuration.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Check, explain and show settings.", no_args_is_help=True)
    group.command("check")(check)
    group.command("explain")(explain)
    group.command("show")(show)
    group.command("dnr")(dnr)
    group.command("reference")(print_reference)
    group.command("metrics")(print_metrics)
    app.add_typer(group, name="config")


def check(file: _ConfigFile) -> None:
    """Say whether a server would start with this configuration; exit code 2 where not."""
    from quada.server.plan import make_plan

    with faults_exit():
        settings = read_settings(_text(file), str(file))
        make_plan(settings, roles=("authority", "resolver"))
        typer.echo(f"{file}: good")


def dnr(
    file: _ConfigFile,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what DHCPv6 servers must be told to announce our encrypted resolver (RFC 9463).

    Lines for dnsmasq and Kea, from `resolver.listen_tls` and its likes and `tls.names`. Exit code 1
    where there is nothing to announce.
    """
    from quada.doctor.link.messages import compose_encrypted
    from quada.server.designate import encrypted
    from quada.server.plan import make_plan

    with faults_exit(as_json=as_json):
        plan = make_plan(read_settings(_text(file), str(file)), roles=("authority", "resolver"))
        found = [(one, compose_encrypted(one)) for one in encrypted(plan)]
        if as_json:
            print_json([
                {"priority": one.priority, "name": one.name, "addresses": list(one.addresses),
                 "option": octets.hex()} for one, octets in found
            ])  # fmt: skip
        for one, octets in found if not as_json else ():
            typer.echo(f"# {one.name} at {', '.join(one.addresses)}")
            typer.echo(f"dnsmasq: dhcp-option=option6:144,{octets.hex(':')}")
            typer.echo(f'kea: {{"code": 144, "csv-format": false, "data": "{octets.hex()}"}}')
        if not found:
            if not as_json:
                typer.echo("nothing to announce: no encrypted listener with a name and an IPv6"
                           " address (resolver.listen_tls, tls.names)", err=True)  # fmt: skip
            raise typer.Exit(FOUND)


def explain(
    key: Annotated[str, typer.Argument(help="A setting, or the start of some.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a setting does, its type, unit, default and choices."""
    with faults_exit(as_json=as_json):
        known = known_settings()
        found = [one for one in known if one.path == key] or [
            one for one in known if one.path.startswith(key)
        ]
        if not found:
            near = difflib.get_close_matches(key, [one.path for one in known], 1, 0.4)
            raise ConfigFault(
                f"there is no setting {key}",
                place=key,
                remedy=f"did you mean {near[0]}?" if near else "`quada config explain` lists all",
            )
        if as_json:
            print_json([one._asdict() for one in found])
            return
        for one in found:
            typer.echo(f"{one.path} ({describe(one)})")
            typer.echo(f"    {one.doc}")


def show(
    file: Annotated[Path | None, typer.Argument(help="TOML configuration.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the settings in effect, and which come from the file; secrets are left out."""
    with faults_exit(as_json=as_json):
        settings = read_settings(_text(file) if file else "", str(file or ""))
        if as_json:
            print_json(without_secrets(settings))
            return
        for one in shown_settings(settings):
            if one.path.startswith("["):
                typer.echo(f"{one.path} {one.value}")
            else:
                typer.echo(f"{one.path} = {one.value}  # {file if one.is_set else 'default'}")


def print_reference() -> None:
    """Print the reference of all settings, as docs/reference/settings.md holds it."""
    typer.echo(reference(), nl=False)


def print_metrics() -> None:
    """Print the reference of all metrics, as docs/reference/metrics.md holds it."""
    import quada.telemetry.metrics as metrics

    typer.echo(metrics.reference(), nl=False)


def reference() -> str:
    """Write the reference of all settings in Markdown."""
    lines = [
        "# Settings",
        "",
        "One TOML file, given with `quada serve --config`. Unknown keys are errors. Tables in",
        "double brackets may appear several times. Made by `quada config reference`.",
    ]
    table = ""
    for one in known_settings():
        here, _, name = one.path.rpartition(".")
        if here != table:
            table = here
            title = f"[[{here.replace('[]', '')}]]" if "[]" in here else f"[{here}]"
            lines += ["", f"## `{title}`", "", "| key | what it does | |", "|---|---|---|"]
        if not here and len(lines) == 4:
            lines += ["", "| key | what it does | |", "|---|---|---|"]
        lines.append(f"| `{name}` | {one.doc} | {describe(one)} |")
    return "\n".join(lines) + "\n"


def describe(one: Known) -> str:
    """Say a setting's type, unit, choices and default in a few words."""
    words = [one.kind]
    if one.unit:
        words.append(f"in {one.unit}")
    if one.choices:
        words.append("one of " + ", ".join(one.choices))
    return f"{'; '.join(words)}; default {_plain(one.default)}"


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "empty" if not value else ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "empty"


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise ConfigFault(f"cannot read it: {error.strerror}", place=str(file)) from error
