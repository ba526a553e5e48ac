"""cli: the `quada` command, one file a verb."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="quada",
    help="The DNS platform where IPv6 cannot fail silently.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Hold the verbs: without a callback, a lone verb would become the whole command."""


def main() -> None:
    """Run the command line."""
    app()
