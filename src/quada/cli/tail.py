"""`quada tail`: the event log, live."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quada.cli.output import faults_exit, printable
from quada.telemetry.event import Cause, Event, Kind, Role, provenance_names
from quada.telemetry.filter import Term, make_filter, read_terms
from quada.wire.faults import ConfigFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from quada.server.ring import RingReader

_PAUSE_S: Final = 0.05
_STORE_S: Final = 1.0
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


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
    since: Annotated[
        str,
        typer.Option(
            help="Start with what is stored since then: 45s, 30m, 2h, 3d or 2026-11-20T21:00 (UTC)."
        ),
    ] = "",
    follow: Annotated[bool, typer.Option(help="Go on with what happens.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events as they happen: who asked what, over which family, and what they got.

    With --since, first what the event store has, other servers' too, and then on without a gap.
    """
    with faults_exit():
        terms = read_terms([*(words or ()), *(("role", role) if role else ())])
        wanted = make_filter(terms)
        show = _show_json if as_json else _show_line
        if since:
            since_ns = read_since(since, time.time_ns())
            events = _history(state_dir, since_ns, terms, follow=follow)
        else:
            events = _events(state_dir, last, follow=follow)
        try:
            for event in events:
                if wanted(event):
                    show(event)
        except (KeyboardInterrupt, BrokenPipeError):
            sys.stderr.close()  # what a closed pipe would still complain about


def read_since(text: str, now_ns: int) -> int:
    """Read how long ago, or when: nanoseconds of the Unix epoch. Raises: ConfigFault."""
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdigit() and len(number) <= 6 and unit in _UNITS_S:
        return now_ns - int(number) * _UNITS_S[unit] * 1_000_000_000
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return int(at.timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        raise ConfigFault(
            f"{text!r} is no time", place="--since", remedy="as in 30m, 2h, 3d or 2026-11-20T21:00"
        ) from None


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
        _say_lost(readers)


def _history(
    state_dir: Path, since_ns: int, terms: Sequence[Term], *, follow: bool
) -> Iterator[Event]:
    """Give what is stored, then go on in our rings where the store has left off.

    Other servers' events go on as they are stored, some seconds late.
    """
    from quada.server.ring import open_rings, take_events
    from quada.store.seam import open_history

    history = open_history(state_dir / "history")
    stood_for = shown = 0
    try:
        for event in history.since(since_ns, terms):
            stood_for += event.weight
            shown += 1
            yield event
    except ReachFault:
        if not (state_dir / "events").is_dir():
            raise
    if stood_for > shown:
        typer.echo(f"quada: {shown} stored events stand for {stood_for}", err=True)
    readers = open_rings(state_dir / "events", back=1 << 62)
    for reader in readers:
        stored = history.positions.get(f"ring:{reader.path.stem}")
        if stored is not None and stored["at"][0] == reader.path.stat().st_ino:
            reader.position = stored["at"][1]
    looked_at = time.monotonic()
    while True:
        yield from (event for event in take_events(readers) if event.at_ns >= since_ns)
        _say_lost(readers)
        if not follow:
            return
        time.sleep(_PAUSE_S)
        if time.monotonic() - looked_at > _STORE_S:
            looked_at = time.monotonic()
            with contextlib.suppress(ReachFault):
                yield from (event for event in history.fresh(terms) if event.source != "quada")


def _say_lost(readers: Iterable[RingReader]) -> None:
    lost = sum(reader.lost_count for reader in readers)
    if lost:
        typer.echo(f"quada: {lost} events went by too fast to show", err=True)
        for reader in readers:
            reader.lost_count = 0
