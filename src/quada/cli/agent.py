"""`quada agent`: this machine as a vantage point of a quada server elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from quada.cli.output import faults_exit
from quada.wire.faults import ConfigFault


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("agent")(agent)


def agent(
    server: Annotated[str, typer.Option(help="URL of the quada server's API.")],
    token_file: Annotated[
        Path, typer.Option(help="File with a token of the scope `agent`; its name is ours.")
    ],
    ca_file: Annotated[str, typer.Option(help="PEM to trust for the server's HTTPS.")] = "",
    port: Annotated[
        list[int] | None,
        typer.Option(
            help="Port that may be probed. Repeatable; 53, 853, 443, 80 and 25 if none is given."
        ),
    ] = None,
    per_second: Annotated[float, typer.Option(min=0.1, help="Probes a second, at most.")] = 100.0,
    trust: Annotated[
        str, typer.Option(help="PEM of the CAs that services are believed by, for a lab.")
    ] = "",
    lab: Annotated[
        bool, typer.Option("--lab", help="Inner and documentation addresses may be probed.")
    ] = False,
) -> None:
    """Call a quada server and make the probes that `quada doctor --server` asks for.

    It only calls out, makes DNS queries, connections and GETs of one page, and keeps its own limits
    whatever the server says. Make the token there: `quada token add amsterdam --scope agent`.
    """
    from quada.server.agent import PORTS, Agent, AgentWish, check_server

    with faults_exit(), contextlib.suppress(KeyboardInterrupt):
        wish = AgentWish(
            check_server(server), read_token(token_file), ca_file, tuple(port or PORTS), per_second,
            is_lab=lab, trust_file=trust,
        )  # fmt: skip
        typer.echo(f"agent calls {wish.server}")
        asyncio.run(Agent(wish).run())


def read_token(path: Path) -> str:
    """Read a token. Raises: ConfigFault."""
    try:
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"the token cannot be read: {error}", place=str(path)) from error
    if not found or len(found) > 200 or not found.isascii():
        raise ConfigFault("there is no token in it", place=str(path))
    return found
