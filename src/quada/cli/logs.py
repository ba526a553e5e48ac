"""`quada logs`: other servers' logs as events, and questions to kept events."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from quada.cli.output import FOUND, faults_exit, print_json, printable
from quada.cli.tail import line
from quada.store.follow import LINE_OCTETS_MAX, Follower, FrameFollower
from quada.telemetry.event import Role
from quada.telemetry.filter import read_filter
from quada.telemetry.ingest import FORMATS, detect, make_parser
from quada.telemetry.ingest.dnstap import BrokenStream, DnstapParser, FrameStream
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from quada.telemetry.event import Event
    from quada.telemetry.ingest import Parser

app = typer.Typer(help="Logs of other servers, and kept events.", no_args_is_help=True)

_CHUNK_OCTETS: Final = 1 << 20
_PAUSE_S: Final = 0.2
_SAMPLE: Final = 200
_ROWS_MAX: Final = 10_000
_BATCH: Final = 50_000

Words = Annotated[
    list[str] | None, typer.Argument(metavar="[FILTER]...", help="As `quada tail` takes it.")
]
Files = Annotated[
    list[str] | None,
    typer.Option("--from", help="Event files instead: JSON lines or Parquet; globs too."),
]
StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="logs")


@app.command("read")
def read(
    file: Annotated[str, typer.Argument(help="Log file, also gzipped; - is standard input.")],
    words: Words = None,
    format_name: Annotated[
        str, typer.Option("--format", help=f"auto, {', '.join(FORMATS)} or dnstap.")
    ] = "auto",
    role: Annotated[str, typer.Option(help="authoritative or recursive.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    source: Annotated[str, typer.Option(help="What to call it in events.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show a log of BIND, CoreDNS, Unbound, PowerDNS, dnsmasq or dnstap as events.

    At the end the account: lines, events, and lines that were not understood (exit code 1 where
    there were some). What a line does not say stays absent.
    """
    with faults_exit():
        wanted = read_filter(words or [])
        kind = _role(role)
        show = _show_json if as_json else _show_line
        name = source or (file if file != "-" else "stdin")
        try:
            if format_name == "dnstap":
                tap = DnstapParser(name, kind)
                _read_dnstap(file, tap, wanted, show, follow=follow)
                parser: Parser | DnstapParser = tap
            else:
                parser = _read_text(file, format_name, name, kind, wanted, show, follow=follow)
        except BrokenPipeError:
            sys.stderr.close()  # what a closed pipe would still complain about
            return
        except KeyboardInterrupt:
            return
        typer.echo(
            f"{parser.line_count} lines, {parser.event_count} events,"
            f" {parser.unknown_count} not understood",
            err=True,
        )
        for one in list(parser.unknown)[:5]:
            typer.echo(f"    {printable(one)[:160]}", err=True)
        if parser.unknown_count:
            raise typer.Exit(FOUND)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What its events shall call it.")],
    path: Annotated[
        str, typer.Argument(help="File; for dnstap unix:/run/tap.sock or tcp://[::]:6000.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", help=f"auto, {', '.join(FORMATS)} or dnstap.")
    ] = "auto",
    role: Annotated[str, typer.Option(help="authoritative or recursive.")] = "",
    state_dir: StateDir = Path("var"),
) -> None:
    """Have the running server follow a log, or listen for dnstap, from now on."""
    from quada.server.collector import read_sources, write_sources
    from quada.server.plan import LogSource

    with faults_exit():
        is_file = not path.startswith(("unix:", "tcp://"))
        place = str(Path(path).absolute()) if is_file else path
        made = LogSource(name, place, format_name if is_file else "dnstap", role)
        others = [one for one in read_sources(state_dir / "history") if one.name != name]
        write_sources(state_dir / "history", [*others, made])


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="As it was added.")], state_dir: StateDir = Path("var")
) -> None:
    """Follow a log no more; its events stay."""
    from quada.server.collector import read_sources, write_sources

    with faults_exit():
        sources = read_sources(state_dir / "history")
        left = [one for one in sources if one.name != name]
        if len(left) == len(sources):
            raise ConfigFault(f"no log {name!r} was added", place="logs")
        write_sources(state_dir / "history", left)


@app.command("list")
def list_sources(
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the sources of events: lines, events, what was not understood, what was lost."""
    from quada.server.collector import read_sources
    from quada.store.events import Policy
    from quada.store.seam import open_events

    with faults_exit(as_json=as_json):
        history = state_dir / "history"
        added = {one.name: one.path for one in read_sources(history)}
        known = open_events(history, Policy()).positions()
        shown = ("lines", "events", "unknown", "lost", "trouble", "samples")
        rows = {
            name: {"path": added.get(name, "")}
            | {key: value for key, value in known.get(name, {}).items() if key in shown}
            for name in sorted({*added, *known})
        }
        if as_json:
            print_json(rows)
            return
        for name, row in rows.items():
            typer.echo(
                printable(
                    f"{name:20} {row.get('lines', '-'):>10} lines {row.get('events', '-'):>10}"
                    f" events {row.get('unknown', '-'):>6} not understood"
                    f" {row.get('lost', '-'):>6} lost  {row['path']} {row.get('trouble', '')}"
                )
            )


@app.command("import")
def import_file(
    file: Annotated[str, typer.Argument(help="Log file, also gzipped.")],
    format_name: Annotated[
        str, typer.Option("--format", help=f"auto, {', '.join(FORMATS)} or dnstap.")
    ] = "auto",
    role: Annotated[str, typer.Option(help="authoritative or recursive.")] = "",
    source: Annotated[str, typer.Option(help="What to call it in events.")] = "",
    clients: Annotated[
        str,
        typer.Option(
            help="What to store of addresses: whole, truncated or hashed; as the server does."
        ),
    ] = "",
    state_dir: StateDir = Path("var"),
) -> None:
    """Store the events of a file that is not followed. A file imported twice is stored twice."""
    from quada.store.events import Policy
    from quada.store.seam import open_events, settled_clients

    with faults_exit():
        kept = clients or settled_clients(state_dir / "history")
        # What is to go is for the server to say, not for an import.
        store = open_events(state_dir / "history", Policy(2**40, 2**62, kept))
        events: list[Event] = []

        def put() -> None:
            store.put(events, {}, int(time.time()))
            events.clear()

        def keep(event: Event) -> None:
            events.append(event)
            if len(events) >= _BATCH:
                put()

        name = source or Path(file).name
        kind = _role(role)
        if format_name == "dnstap":
            tap = DnstapParser(name, kind)
            _read_dnstap(file, tap, lambda _: True, keep, follow=False)
            parser: Parser | DnstapParser = tap
        else:
            parser = _read_text(file, format_name, name, kind, lambda _: True, keep, follow=False)
        put()
        typer.echo(
            f"{parser.line_count} lines, {parser.event_count} events stored,"
            f" {parser.unknown_count} not understood; addresses {kept}"
        )


@app.command("query")
def query(
    sql: Annotated[str, typer.Argument(help="SQL over events, rollups and clients.")],
    files: Files = None,
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask stored events, or with --from those of files, in SQL.

    quada logs query "SELECT qtype, rcode, count(*) FROM events GROUP BY ALL"
    """
    with faults_exit(as_json=as_json):
        names, rows = _answered(files, state_dir, sql)
        if as_json:
            print_json([dict(zip(names, row, strict=True)) for row in rows])
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*(escape(printable(name)) for name in names))
        for row in rows:
            table.add_row(*[escape(printable(str(cell))) for cell in row])
        Console().print(table)


@app.command("export")
def export(
    to: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    files: Files = None,
    state_dir: StateDir = Path("var"),
) -> None:
    """Write stored events, or those of JSON lines files, as one Parquet file."""
    with faults_exit():
        made = to.with_name(f"{to.name}.part")
        target = str(made).replace("'", "''")
        _answered(
            files, state_dir, f"COPY (FROM events) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
        made.replace(to)


def _answered(
    files: list[str] | None, state_dir: Path, sql: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    if files:
        return _ask(files, sql)
    from quada.store.seam import ask

    return ask(state_dir / "history", sql, rows_max=_ROWS_MAX)


def _ask(files: list[str], sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run SQL over event files. Raises: ConfigFault with the database's own words."""
    import duckdb

    connection = duckdb.connect()
    try:
        is_parquet = all(name.endswith(".parquet") for name in files)
        reader = (
            "read_parquet(?)" if is_parquet else "read_json_auto(?, format='newline_delimited')"
        )
        connection.execute(f"CREATE TABLE events AS SELECT * FROM {reader}", [files])
        found = connection.execute(sql)
        names = [column[0] for column in found.description or ()]
        rows = found.fetchmany(_ROWS_MAX)
    except duckdb.Error as error:
        raise ConfigFault(str(error).splitlines()[0], place="SQL") from error
    finally:
        connection.close()
    return names, rows


def _read_text(
    file: str,
    format_name: str,
    source: str,
    role: Role | None,
    wanted: Callable[[Event], bool],
    show: Callable[[Event], None],
    *,
    follow: bool,
) -> Parser:
    parser: Parser | None = None
    early: list[str] = []
    for lines in _chunks(file, follow=follow):
        now_ns = time.time_ns()
        if parser is None:
            early += lines
            if format_name == "auto":
                try:
                    format_name = detect(early[:_SAMPLE])
                except ConfigFault:
                    if len(early) >= _SAMPLE:
                        raise
                    continue
            parser = make_parser(format_name, source, role)
            lines, early = early, []
        for event in parser.feed(lines, now_ns):
            if wanted(event):
                show(event)
    if parser is None:
        parser = make_parser(detect(early) if format_name == "auto" else format_name, source, role)
        early_events = parser.feed(early, time.time_ns())
    else:
        early_events = []
    for event in [*early_events, *parser.flush()]:
        if wanted(event):
            show(event)
    return parser


def _chunks(file: str, *, follow: bool) -> Iterator[list[str]]:
    """Give whole lines, some at a time."""
    if file == "-":
        is_cut = False
        while octets := sys.stdin.buffer.readline(LINE_OCTETS_MAX):
            if not is_cut:  # else the end of a line whose beginning was given already
                yield [octets.removesuffix(b"\n").decode("utf-8", "backslashreplace")]
            is_cut = not octets.endswith(b"\n")
        return
    with contextlib.closing(Follower(Path(file))) as follower:
        while True:
            lines = follower.take()
            if lines:
                yield lines
            elif not follow:
                rest = follower.rest()
                if rest:
                    yield rest
                return
            else:
                time.sleep(_PAUSE_S)


def _read_dnstap(
    file: str,
    parser: DnstapParser,
    wanted: Callable[[Event], bool],
    show: Callable[[Event], None],
    *,
    follow: bool,
) -> None:
    for frames in _frames(file, parser, follow=follow):
        for event in parser.feed(frames, time.time_ns()):
            if wanted(event):
                show(event)
    for event in parser.flush():
        if wanted(event):
            show(event)


def _frames(file: str, parser: DnstapParser, *, follow: bool) -> Iterator[list[bytes]]:
    """Give whole dnstap frames, some at a time; the parser counts where something else follows."""
    if file == "-":
        stream, given = FrameStream(), cast("io.BufferedReader", sys.stdin.buffer)
        try:
            while octets := given.read1(_CHUNK_OCTETS):
                yield stream.feed(octets)
            stream.feed(b"")
        except BrokenStream as fault:
            parser.refuse(str(fault))
        return
    with contextlib.closing(FrameFollower(Path(file))) as follower:
        told = ""
        while True:
            frames = follower.take()
            if follower.trouble != told:
                told = follower.trouble
                if told:
                    parser.refuse(told)
            if frames:
                yield frames
            elif follow:
                time.sleep(_PAUSE_S)
            else:
                return


def _role(text: str) -> Role | None:
    if not text:
        return None
    try:
        return Role[text.upper()]
    except KeyError:
        raise ConfigFault(
            f"there is no role {text}", place="--role", remedy="authoritative or recursive"
        ) from None


def _show_line(event: Event) -> None:
    typer.echo(line(event))


def _show_json(event: Event) -> None:
    typer.echo(json.dumps(event.to_json()))
