"""`quada tail`: the event log, live."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.cli.output import faults_exit
from quada.telemetry.event import RECORD_OCTETS, Event, parse_record, provenance_names
from quada.wire.faults import ConfigFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tail")(tail)


def tail(
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    role: Annotated[str, typer.Option(help="Only authoritative or recursive events.")] = "",
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="Start this many back.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with what happens.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events as they happen: who asked what, over which family, and what they got."""
    with faults_exit():
        wanted = _predicate(role)
        show = _show_json if as_json else _show_line
        try:
            for event in _events(state_dir, last, follow=follow):
                if wanted(event):
                    show(event)
        except (KeyboardInterrupt, BrokenPipeError):
            sys.stderr.close()  # what a closed pipe would still complain about


def line(event: Event) -> str:
    """Write an event as one line for people."""
    time = event.to_json()["time"]
    stream = event.role.name.lower() if event.role else "-"
    family = f"IPv{event.family}" if event.family else "-"
    transport = event.transport.name if event.transport else "-"
    data = event.to_json()
    outcome = "silent" if event.rcode is None else data.get("rcode", "-")
    if event.is_nodata:
        outcome = "NODATA"
    words = [time, f"{stream:13}", family, f"{transport:3}", event.client or "-"]
    words += [event.qname or "-", str(data.get("qtype", "-")), str(outcome)]
    if event.provenance:
        words.append("+".join(provenance_names(event.provenance)))
    if event.ede is not None:
        words.append(f"ede={event.ede}")
    if event.duration_us:
        words.append(f"{event.duration_us / 1000:.1f}ms")
    if data.get("flags"):
        words.append(",".join(data["flags"]))
    return " ".join(words)


def _show_line(event: Event) -> None:
    typer.echo(line(event))


def _show_json(event: Event) -> None:
    typer.echo(json.dumps(event.to_json()))


def _predicate(role: str) -> Callable[[Event], bool]:
    if role not in ("", "authoritative", "recursive"):
        raise ConfigFault(
            f"there is no role {role}", place="--role", remedy="authoritative or recursive"
        )
    return lambda event: not role or (event.role is not None and event.role.name.lower() == role)


def _events(state_dir: Path, last: int, *, follow: bool) -> Iterator[Event]:
    from quada.server.collector import read_spool

    path = state_dir / "events.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        if follow:
            try:
                sock.connect(str(path))
            except OSError as error:
                raise ReachFault(
                    f"no server answers: {error.strerror}",
                    place=str(path),
                    remedy="start one, or name its state directory with --state-dir",
                ) from error
        for record in read_spool(state_dir / "events", last):
            yield parse_record(record)
        if not follow:
            return
        buffer = b""
        while octets := sock.recv(1 << 16):
            buffer += octets
            whole = len(buffer) // RECORD_OCTETS * RECORD_OCTETS
            for at in range(0, whole, RECORD_OCTETS):
                yield parse_record(buffer[at : at + RECORD_OCTETS])
            buffer = buffer[whole:]
