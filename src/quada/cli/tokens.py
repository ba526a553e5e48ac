"""`quada dnssec token`: the PKCS#11 token that keys of zones are made in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import FOUND, faults_exit, print_json

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

tokens = typer.Typer(help="Name the token that zone keys are made in.", no_args_is_help=True)


@tokens.command("set")
def set_(
    module: Annotated[Path, typer.Option("--pkcs11-module", help="The token's library (PKCS#11).")],
    pin_file: Annotated[Path, typer.Option(help="File with the token's PIN.")],
    token: Annotated[str, typer.Option("--pkcs11-token", help="The token's label.")] = "quada",
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Name the token of this server's zones; it is opened, and must have the keys in use."""
    from quada.store.held import TokenPlace
    from quada.store.keys import KeyStore

    with faults_exit(as_json=as_json):
        store = KeyStore.open(state_dir)
        store.shelf.set_token(TokenPlace(module.absolute(), token, pin_file.absolute()))
        store.close()
        if as_json:
            print_json({"token": token})
        else:
            typer.echo(f"keys of zones enabled with --in-token are made in {token}")


@tokens.command()
def show(state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Tell whether the token can be used, and each key made in it; exit code 1 where it cannot."""
    import quada.zones.signature as signature
    from quada.store.keys import KeyStore

    with faults_exit(as_json=as_json):
        store = KeyStore.open(state_dir)
        held = store.shelf.token
        made = store.shelf.made()
        used = [one.label for one in made if one.use == "in use"]
        fault = held.missing(used) if held is not None else "no token is named"
        store.close()
        rows = [
            {"zone": one.zone, "tag": signature.key_tag(one.dnskey), "label": one.label,
             "use": one.use}
            for one in made
        ]  # fmt: skip
        if as_json:
            print_json({"token": held.place.label if held else "", "fault": fault, "keys": rows})
        else:
            typer.echo(fault or f"the token {held.place.label if held else ''} can be used")
            for row in rows:
                typer.echo(f"  {row['zone']} {row['tag']} {row['use']}: {row['label']}")
        if fault:
            raise typer.Exit(FOUND)
