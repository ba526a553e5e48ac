"""cli: the `quada` command, one file a verb.

A verb's module has `register(app)`. Only the module of the verb that is called is imported, so that
`quada query` does not pay for the server.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from quada import __version__
from quada.build import build, stale

VERBS = {
    "agent": "agent",
    "acme": "acme",
    "alerts": "alerts",
    "check": "check",
    "compare": "compare",
    "config": "config",
    "demo": "demo",
    "distrust": "explain",
    "doctor": "doctor",
    "explain": "explain",
    "firewall": "firewall",
    "flush": "explain",
    "dnssec": "dnssec",
    "health": "health",
    "import": "importing",
    "incident": "incident",
    "logs": "logs",
    "pool": "pool",
    "query": "query",
    "record": "record",
    "reload": "status",
    "reverse": "reverse",
    "serve": "serve",
    "shadow": "doctor",
    "status": "status",
    "stop": "status",
    "tail": "tail",
    "token": "token",
    "user": "token",
    "zone": "zone",
}
"""Verb to module of this package."""

app = typer.Typer(
    name="quada",
    help="The DNS platform where IPv6 cannot fail silently.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quada {__version__} ({build()})")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """The DNS platform where IPv6 cannot fail silently."""


def load(verb: str = "") -> typer.Typer:
    """Give the command with one verb, or with all of them where none (or no known one) is named."""
    wanted = {VERBS[verb]} if verb in VERBS else dict.fromkeys(VERBS.values())
    for module in wanted:
        importlib.import_module(f"quada.cli.{module}").register(app)
    return app


def main() -> None:
    """Run the command line."""
    if old := stale():
        sys.exit(
            f"quada was compiled from other sources than lie here ({', '.join(old[:3])}):"
            " make compile, or make interpreted"
        )
    load(sys.argv[1] if len(sys.argv) > 1 else "")()
