"""`quada compare`: a zone beside what a provider exports of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import dns.exception
import dns.name
import dns.query
import dns.zone
import typer

import quada.wire.names as names
from quada.cli.output import FOUND, faults_exit, print_json, printable, read_text, zone_name
from quada.cli.stored import StateDir, stored_zone
from quada.server.plan import read_address
from quada.store.files import load_zone_file
from quada.wire.faults import ReachFault
from quada.zones import Zone, read_zone
from quada.zones.compare import Exported, of_zone, read_export
from quada.zones.compare import changes as make_changes
from quada.zones.compare import compare as compare_zone

_WORDS = {
    "missing": "missing there", "extra": "only there", "values": "other values",
    "ttl": "another TTL", "alias": "an alias there",
}  # fmt: skip


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("compare")(compare)


def compare(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    export: Annotated[
        str,
        typer.Argument(
            help="Route 53's or Cloud DNS's JSON, a zone file, or axfr:[2001:db8::53]:53."
        ),
    ],
    file: Annotated[
        Path | None, typer.Option(help="Our side: a zone file instead of the store.")
    ] = None,
    changes: Annotated[
        str, typer.Option(metavar="PROVIDER", help="Write `route53`'s or `clouddns`'s change file.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to; else to standard output.")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Have the change file remove what is only there.")
    ] = False,
    state_dir: StateDir = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a zone with what a provider exports of it: what is missing there, AAAA first.

    Exit code 1 where they differ.
    """
    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        ours = load_zone_file(file, origin) if file else stored_zone(state_dir, origin)[1]
        theirs = _theirs(export, origin)
        found = compare_zone(ours, theirs)
        if changes:
            data, left = make_changes(ours, theirs, found, changes, deletes=delete)
            written = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
            if output is not None:
                output.write_text(written)
            else:
                typer.echo(written, nl=False)
            for what in left:
                typer.echo(printable(f"left alone: {what}"), err=True)
            return
        if as_json:
            print_json([one._asdict() for one in found])
        for one in found if not as_json else ():
            sides = " | ".join(part for part in (one.ours, one.theirs) if part)
            typer.echo(printable(f"{one.rdtype:6} {one.owner} {_WORDS[one.kind]}: {sides}"))
        if found:
            raise typer.Exit(FOUND)


def _theirs(export: str, origin: bytes) -> list[Exported]:
    """Read their side: an export, a zone file, or a transfer. Raises: DataFault, ReachFault."""
    if export.startswith("axfr:"):
        return of_zone(_transferred(export.removeprefix("axfr:"), origin))
    text = read_text(Path(export))
    if text.lstrip().startswith(("{", "[")):
        return read_export(text, origin, export)
    return of_zone(load_zone_file(Path(export), origin))


def _transferred(server: str, origin: bytes) -> Zone:
    """Transfer a zone (RFC 5936). Raises: ReachFault, DataFault."""
    address = read_address(server)
    made = dns.zone.Zone(dns.name.Name([*names.split(origin), b""]), relativize=False)
    try:
        dns.query.inbound_xfr(address.host, made, port=address.port, timeout=10, lifetime=120)
    except (dns.exception.DNSException, OSError, EOFError) as error:
        raise ReachFault(
            f"the zone is not given: {str(error) or type(error).__name__}", place=server,
            remedy="allow this machine to transfer it, or give a file",
        ) from error  # fmt: skip
    return read_zone(made.to_text(), origin)
