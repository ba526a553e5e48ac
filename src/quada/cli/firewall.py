"""`quada firewall`: nftables rules for what is configured, and whether they do what they should."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.api.data import judged_data
from quada.cli.elsewhere import LOCAL, Elsewhere, read_secret
from quada.cli.judged import print_judged
from quada.cli.output import FOUND, faults_exit, print_json, read_text, with_default
from quada.doctor import Verdict
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.server.firewall import Opening
    from quada.server.looking import Hands


def register(root: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(cls=with_default("rules"), help="Firewall rules for what is configured.")
    group.command("rules")(rules)
    group.command("verify")(verify)
    root.add_typer(group, name="firewall")


def rules(
    config: Annotated[Path, typer.Option(help="The configuration.")],
    default_drop: Annotated[
        bool, typer.Option("--default-drop", help="Drop everything else that comes in.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is open as JSON.")] = False,
) -> None:
    """Print nftables rules that let in exactly what is configured, over both families.

        quada firewall --config quada.toml --default-drop | nft -f -

    With --default-drop mind your own way in: SSH is none of our services.
    """
    from quada.server.firewall import rules as lines_of

    with faults_exit(as_json=as_json):
        opened = _opened(config)
        if as_json:
            print_json([one._asdict() for one in opened])
            return
        for line in lines_of(opened, drops_rest=default_drop):
            typer.echo(line)


def verify(
    config: Annotated[Path, typer.Option(help="The configuration of the server to be reached.")],
    address: Annotated[
        list[str],
        typer.Option(help="An address of that server, as it is reached from outside. Repeatable."),
    ],
    point: Annotated[
        str,
        typer.Option("--from", help="The vantage point: an agent, or `local`: this machine."),
    ] = LOCAL,
    closed: Annotated[
        list[int] | None, typer.Option(help="A port more that must be closed. Repeatable.")
    ] = None,
    server: Annotated[str, typer.Option(help="URL of the quada server that agents call.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token of the scope `admin` there.")
    ] = None,
    ca_file: Annotated[str, typer.Option(help="PEM to trust for the server's HTTPS.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Show what passes too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try from outside that exactly the configured services answer, over each family.

    Ports where name servers and their APIs tend to listen must be closed where nothing is
    configured. Exit code 1 where something is blocked, or open that should not be.
    """
    from quada.server.verifying import USUAL, doors
    from quada.server.verifying import verify as try_all

    with faults_exit(as_json=as_json):
        addresses = [_address(one) for one in address]
        tried = doors(_opened(config), addresses, dict.fromkeys([*USUAL, *(closed or ())]))
        if point == LOCAL:
            hands = _here()
        else:
            hands = Elsewhere(server, read_secret(token_file), ca_file).hands(point)
        found = try_all(tried, hands)
        if as_json:
            print_json({"from": point, "findings": list(map(judged_data, found))})
        else:
            print_judged(found, every=every)
        if any(one.verdict is Verdict.FAIL for one in found):
            raise typer.Exit(FOUND)


def _opened(config: Path) -> list[Opening]:
    from quada.config.load import read_settings
    from quada.server.firewall import openings
    from quada.server.plan import make_plan

    settings = read_settings(read_text(config), str(config))
    return openings(make_plan(settings, roles=("authority", "resolver")))


def _here() -> Hands:
    """This machine as a vantage point."""
    from quada.server.looking import Hands
    from quada.transport.reach import Reach
    from quada.wire.ask import Ask, Outcome
    from quada.wire.call import Call, Called

    async def perform(asks: list[Ask]) -> list[Outcome]:
        reach = Reach()
        return list(await asyncio.gather(*map(reach.perform, asks)))

    async def call(calls: list[Call]) -> list[Called]:
        return list(await asyncio.gather(*map(Reach().call, calls)))

    return Hands(lambda asks: asyncio.run(perform(asks)), lambda calls: asyncio.run(call(calls)))


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise ConfigFault(f"{text!r} is no address", place="--address") from error
