"""`quada health`: does the server on this machine answer, over IPv6 too? For supervisors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quada.cli.output import FOUND, faults_exit, print_json

if TYPE_CHECKING:
    from quada.wire.ask import Outcome

_LOCAL: Final = {"::": "::1", "0.0.0.0": "127.0.0.1"}
_DO53: Final = "UDP and TCP"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("health")(health)


def health(
    state_dir: Annotated[Path, typer.Option(help="State directory of the server.")] = Path("var"),
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds for each question.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Ask every plain listener and the API of a running server; exit code 1 where one is silent.

    A server that listens on no IPv6 address is not well.
    """
    from quada.server.control import command

    with faults_exit(as_json=as_json):
        found = command(state_dir / "control.sock", "status")
        plain = [text.removesuffix(_DO53).strip() for text in found["listening"] if _DO53 in text]
        rows: list[dict[str, Any]] = [
            {
                "address": address,
                "transport": transport,
                "fault": _ask(address, transport, timeout_s),
            }
            for address in sorted(plain, key=lambda one: not one.startswith("["))
            for transport in ("UDP", "TCP")
        ]
        rows += [
            {"address": url, "transport": "API", "fault": _get(url, timeout_s)}
            for url in found["api"]
        ]
        if not any(text.startswith("[") for text in found["listening"]):
            rows.append({"address": "IPv6", "transport": "", "fault": "nothing listens on it"})
        if as_json:
            print_json(rows)
        else:
            for row in rows:
                typer.echo(f"{row['address']} {row['transport']}: {row['fault'] or 'answers'}")
        if any(row["fault"] for row in rows):
            raise typer.Exit(FOUND)


def _ask(address: str, transport: str, timeout_s: float) -> str:
    """Ask one listener a question that needs nobody else; any answer is one. Gives the fault."""
    import dns.message

    from quada.transport.single import perform
    from quada.wire.ask import Ask, Endpoint, NoReply, Transport

    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    to = Endpoint(_LOCAL.get(host, host), int(port), Transport[transport])
    query = dns.message.make_query("localhost.", "AAAA").to_wire()
    outcome: Outcome = perform(Ask(to, query, timeout_s))
    return outcome.detail or outcome.why.name.lower() if isinstance(outcome, NoReply) else ""


def _get(url: str, timeout_s: float) -> str:
    """Get the API's own health; whose certificate it shows does not matter here."""
    import httpx

    for wildcard, local in (("//[::]", "//[::1]"), ("//0.0.0.0", "//127.0.0.1")):
        url = url.replace(wildcard, local)
    try:
        answer = httpx.get(f"{url}/health", verify=False, trust_env=False, timeout=timeout_s)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return "" if answer.status_code == 200 else f"status {answer.status_code}"
