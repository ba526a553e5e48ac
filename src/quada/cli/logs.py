"""`quada logs`: other servers' logs as events, and questions to kept events."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quada.cli.output import FOUND, faults_exit, print_json
from quada.cli.tail import line, printable
from quada.store.follow import Follower
from quada.telemetry.event import Role
from quada.telemetry.filter import read_filter
from quada.telemetry.ingest import FORMATS, detect, make_parser
from quada.telemetry.ingest.dnstap import DnstapParser, FrameStream
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quada.telemetry.event import Event
    from quada.telemetry.ingest import Parser

app = typer.Typer(help="Logs of other servers, and kept events.", no_args_is_help=True)

_CHUNK_OCTETS: Final = 1 << 20
_PAUSE_S: Final = 0.2
_SAMPLE: Final = 200
_ROWS_MAX: Final = 10_000

Words = Annotated[
    list[str] | None, typer.Argument(metavar="[FILTER]...", help="As `quada tail` takes it.")
]


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
                _read_dnstap(file, tap, wanted, show)
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


@app.command("query")
def query(
    sql: Annotated[str, typer.Argument(help="SQL over the table `events`.")],
    files: Annotated[
        list[str], typer.Option("--from", help="Event files: JSON lines or Parquet; globs too.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask kept events (`events.jsonl`, or what `logs read --json` gave) in SQL.

    quada logs query "SELECT qtype, rcode, count(*) FROM events GROUP BY ALL" --from events.jsonl
    """
    with faults_exit(as_json=as_json):
        names, rows = _ask(files, sql)
        if as_json:
            print_json([dict(zip(names, row, strict=True)) for row in rows])
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(*names)
        for row in rows:
            table.add_row(*[printable(str(cell)) for cell in row])
        Console().print(table)


@app.command("export")
def export(
    to: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    files: Annotated[list[str], typer.Option("--from", help="JSON lines files; globs too.")],
) -> None:
    """Write kept events as Parquet."""
    with faults_exit():
        made = to.with_name(f"{to.name}.part")
        target = str(made).replace("'", "''")
        _ask(files, f"COPY events TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        made.replace(to)


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
        for text in sys.stdin:
            yield [text.rstrip("\n")]
        return
    follower = Follower(Path(file))
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
    file: str, parser: DnstapParser, wanted: Callable[[Event], bool], show: Callable[[Event], None]
) -> None:
    stream = FrameStream()
    try:
        with (
            sys.stdin.buffer
            if file == "-"
            else gzip.open(file)
            if file.endswith(".gz")
            else Path(file).open("rb")
        ) as octets:
            while chunk := octets.read(_CHUNK_OCTETS):
                for event in parser.feed(stream.feed(chunk), time.time_ns()):
                    if wanted(event):
                        show(event)
    except OSError as error:
        raise ConfigFault(f"cannot read it: {error}", place=file) from error
    for event in parser.flush():
        if wanted(event):
            show(event)


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
