"""`quada serve`: run the server in the foreground, from a configuration or from options alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quada.cli.output import faults_exit
from quada.config.settings import AuthoritySection, Settings, ZoneSection
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.server.plan import Plan

_ROLES = ("authority", "resolver", "both")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve")(serve)


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML configuration; see `quada config`.")
    ] = None,
    role: Annotated[
        str, typer.Option(help="authority, resolver or both; each runs in its own processes.")
    ] = "",
    zone: Annotated[
        list[str] | None, typer.Option(help="Zone to serve from a file: NAME=FILE. Repeatable.")
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(help="Address for UDP and TCP: '[::1]:5300'. Port 0 takes a free one."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes a role; 0 is one a core.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Directory of store, event spool and control socket.")
    ] = None,
    root_hints: Annotated[str, typer.Option(help="Resolver: file of root hints.")] = "",
    trust_anchor: Annotated[str, typer.Option(help="Resolver: file of trust anchors.")] = "",
    dnssec: Annotated[str, typer.Option(help="Resolver: on or off.")] = "on",
    dns64: Annotated[
        list[str] | None, typer.Option(help="Resolver: prefix to synthesize AAAA in. Repeatable.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Resolver: prefix that may ask. Repeatable.")
    ] = None,
    forward: Annotated[
        list[str] | None, typer.Option(help="Resolver: ADDRESS or ZONE=ADDRESS to forward to.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say that we are ready, and log, as JSON.")
    ] = False,
) -> None:
    """Serve DNS until SIGTERM; SIGHUP reloads zone files.

    Without a configuration: `quada serve --role authority --zone example.com=FILE --listen
    '[::1]:5300'`.
    """
    with faults_exit():
        settings = _settings(config, role, zone or [], listen or [], workers, state_dir)
        over: dict[str, Any] = {
            "root_hints": root_hints, "trust_anchor": trust_anchor, "dns64": tuple(dns64 or ()),
            "allow": tuple(allow or ()), "forward": tuple(forward or ()),
        }  # fmt: skip
        resolver = replace(settings.resolver, **{k: v for k, v in over.items() if v})
        if dnssec not in ("on", "off"):
            raise ConfigFault(f"{dnssec!r} is neither on nor off", place="--dnssec")
        if dnssec == "off":
            resolver = replace(resolver, dnssec=False)
        settings = replace(settings, resolver=resolver)
        run_server(settings, _roles(role, settings), as_json=as_json)


def run_server(settings: Settings, roles: tuple[str, ...], *, as_json: bool) -> None:
    """Plan and run a server; returns when it has ended."""
    from quada.server.plan import make_plan
    from quada.server.supervise import Supervisor, note_missing_ipv6

    _set_up_log(as_json=as_json or settings.server.log == "json")
    plan: Plan = make_plan(settings, roles=roles, tells_json=as_json)
    note = note_missing_ipv6(plan)
    if note:
        typer.echo(f"quada: {note}", err=True)
    with _loading() as progress:
        supervisor = Supervisor(plan)
        supervisor.load(progress)
    supervisor.run()


def _settings(
    config: Path | None,
    role: str,
    zones: list[str],
    listen: list[str],
    workers: int | None,
    state_dir: Path | None,
) -> Settings:
    """Read the configuration and put what the command line says over it."""
    from quada.config.load import read_settings

    if role and role not in _ROLES:
        raise ConfigFault(f"there is no role {role}", place="--role", remedy="; ".join(_ROLES))
    settings = Settings()
    if config is not None:
        try:
            settings = read_settings(config.read_text(), str(config))
        except OSError as error:
            raise ConfigFault(f"cannot read it: {error.strerror}", place=str(config)) from error
    sections = []
    for pair in zones:
        name, is_pair, file = pair.partition("=")
        if not is_pair or not name or not file:
            raise ConfigFault(
                f"{pair!r} is not NAME=FILE", place="--zone", remedy="write example.com=db.example"
            )
        sections.append(ZoneSection(name=name, file=file))
    server = settings.server
    if workers is not None:
        server = replace(server, workers=workers)
    if state_dir is not None:
        server = replace(server, state_dir=str(state_dir))
    elif config is None:
        server = replace(server, state_dir=_own_state_dir())
    settings = replace(settings, server=server, zone=(*settings.zone, *sections))
    if listen:
        section: dict[str, Any] = {"listen": tuple(listen)}
        if role == "resolver":
            settings = replace(settings, resolver=replace(settings.resolver, **section))
        else:
            settings = replace(settings, authority=replace(settings.authority, **section))
    elif settings.zone and not settings.authority.listen and config is None:
        settings = replace(settings, authority=AuthoritySection(listen=("[::]:53", "0.0.0.0:53")))
    return settings


def _own_state_dir() -> str:
    """A directory of its own for a run without configuration, gone with the machine's next boot."""
    import tempfile

    return tempfile.mkdtemp(prefix="quada-")


def _roles(role: str, settings: Settings) -> tuple[str, ...]:
    if role == "both":
        return ("authority", "resolver")
    if role:
        return (role,)
    found = []
    if settings.authority.listen or settings.zone:
        found.append("authority")
    if settings.resolver.listen:
        found.append("resolver")
    return tuple(found) or ("authority",)


def _set_up_log(*, as_json: bool) -> None:
    """The server's own log goes to standard error, apart from the event log."""
    import sys

    import structlog

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class _loading:
    """A progress bar for zones that take more than a moment, where a person looks on."""

    def __enter__(self) -> Callable[[str, int, float], None] | None:
        import sys

        self._bar: Any = None
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("loading {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[records]:,} records"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        tasks: dict[str, Any] = {}
        self._bar.start()

        def progress(name: str, records: int, part: float) -> None:
            if name not in tasks:
                tasks[name] = self._bar.add_task(name, total=1.0, records=0)
            self._bar.update(tasks[name], completed=part, records=records)

        return progress

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
