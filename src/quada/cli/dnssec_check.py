"""`quada dnssec verify` and `bootstrap-check`: zones looked at from outside, as the world would."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json, zone_name

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Resolvers = Annotated[
    list[str] | None, typer.Option(help="Resolver to ask, '[::1]:53'; IPv6 first. Repeatable.")
]
Anchor = Annotated[
    Path | None, typer.Option(help="Trust anchor file; the root's own if not given.")
]


def register_checks(app: typer.Typer) -> None:
    """Add both."""
    app.command()(verify)
    app.command("bootstrap-check")(bootstrap_check)


def verify(
    name: Annotated[str, typer.Argument(help="The name to verify.")],
    resolver: Resolvers = None,
    rdtype: Annotated[
        list[str] | None, typer.Option("--type", help="Types; AAAA, A and SOA if not given.")
    ] = None,
    anchor: Anchor = None,
    as_json: AsJson = False,
) -> None:
    """Validate from outside: each type by itself, by us and by the resolver, with CD and without.

    Exit code 1 where anything is bogus, or AAAA and A fare differently.
    """
    from quada.server.outside import verify_outside

    with faults_exit(as_json=as_json):
        types = rdtype or ["AAAA", "A", "SOA"]
        report = verify_outside(zone_name(name), types, resolver or ["::1"], anchor)
        if as_json:
            print_json(report)
        else:
            for row in report["rows"]:
                typer.echo(
                    f"{row['type']:8} {row['state']:13} resolver {row['rcode']}"
                    f"{' AD' if row['ad'] else ''}, with CD {row['rcode_cd']}"
                    f"{'  EDE ' + row['ede'] if row['ede'] else ''}"
                )
                if row["reason"]:
                    typer.echo(f"    {row['reason']}")
            typer.echo(report["verdict"])
        if not report["is_good"]:
            raise typer.Exit(FOUND)


def bootstrap_check(
    child: Annotated[str, typer.Argument(help="The zone whose parent has no DS yet.")],
    resolver: Resolvers = None,
    anchor: Anchor = None,
    as_json: AsJson = False,
) -> None:
    """Look at a child as its parent would before taking its first DS from CDS (RFC 9615).

    Exit code 1 where the parent must not.
    """
    from quada.server.bootstrapping import check_bootstrap

    with faults_exit(as_json=as_json):
        report = check_bootstrap(zone_name(child), resolver or ["::1"], anchor)
        if as_json:
            print_json(report)
        else:
            for place in report["signals"]:
                typer.echo(f"signal {place}")
            for why in report["refusals"]:
                typer.echo(f"no: {why}")
            for ds in report["ds"]:
                typer.echo(f"{report['child']} DS {ds}")
        if not report["is_good"]:
            raise typer.Exit(FOUND)
