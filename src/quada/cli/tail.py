"""`quada tail`: the event log, live."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.cli.output import faults_exit, printable
from quada.telemetry.event import Cause, Event, Kind, Role, provenance_names
from quada.telemetry.filter import read_filter
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from collections.abc import Iterator


_PAUSE_S = 0.05


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tail")(tail)


def tail(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILTER]...",
            help="What events must fit: aaaa servfail from 2001:db8::/48 zone example.com role"
            " recursive; name GLOB, over tcp, ipv6, nodata, bogus, dns64, stale, slower 100ms,"
            " cause validation, ede 6, upstream; `not` turns a word round.",
        ),
    ] = None,
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    role: Annotated[str, typer.Option(help="Only authoritative or recursive events.")] = "",
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="Start this many back.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with what happens.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events as they happen: who asked what, over which family, and what they got."""
    with faults_exit():
        wanted = read_filter([*(words or ()), *(("role", role) if role else ())])
        show = _show_json if as_json else _show_line
        try:
            for event in _events(state_dir, last, follow=follow):
                if wanted(event):
                    show(event)
        except (KeyboardInterrupt, BrokenPipeError):
            sys.stderr.close()  # what a closed pipe would still complain about


def line(event: Event) -> str:
    """Write an event as one line for people."""
    data = event.to_json()
    stream = event.role.name.lower() if event.role else "-"
    family = f"IPv{event.family}" if event.family else "-"
    transport = event.transport.name if event.transport else "-"
    outcome = "silent" if event.rcode is None else data.get("rcode", "-")
    if event.is_nodata:
        outcome = "NODATA"
    words = [data["time"], f"{stream:13}", family, f"{transport:3}", event.client or "-"]
    if event.kind is Kind.UPSTREAM:
        words.append("asked" if event.role is Role.RECURSIVE else "upstream")
    words += [event.qname or "-", str(data.get("qtype", "-")), str(outcome)]
    if event.provenance:
        words.append("+".join(provenance_names(event.provenance)))
    if event.ede is not None:
        words.append(f"ede={event.ede}")
    if event.cause and event.cause is not Cause.NONE:
        words.append(f"cause={event.cause.name.lower()}")
    if event.duration_us:
        words.append(f"{event.duration_us / 1000:.1f}ms")
    if data.get("flags"):
        words.append(",".join(data["flags"]))
    return printable(" ".join(words))


def _show_line(event: Event) -> None:
    typer.echo(line(event))


def _show_json(event: Event) -> None:
    typer.echo(json.dumps(event.to_json()))


def _events(state_dir: Path, last: int, *, follow: bool) -> Iterator[Event]:
    from quada.server.ring import open_rings, take_events

    directory = state_dir / "events"
    readers = open_rings(directory, back=last)
    if not readers:
        raise ReachFault(
            "no events are kept here",
            place=str(directory),
            remedy="start a server, or name its state directory with --state-dir",
        )
    events = take_events(readers)
    yield from events[-last:] if last else []
    while follow:
        time.sleep(_PAUSE_S)
        yield from take_events(readers)
        lost = sum(reader.lost_count for reader in readers)
        if lost:
            typer.echo(f"quada: {lost} events went by too fast to show", err=True)
            for reader in readers:
                reader.lost_count = 0
