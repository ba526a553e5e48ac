"""`quada acme check`: what Let's Encrypt would do with a name, and why."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import dns.asyncresolver
import dns.exception
import dns.resolver
import typer

from quada import __version__
from quada.acme.forecast import Forecast, forecast
from quada.acme.validate import BODY_OCTETS, Failed, Fetch, Fetched, Looked, Lookup
from quada.cli.output import FOUND, faults_exit, print_json, printable
from quada.wire.faults import ConfigFault
from quada.zones.check_address import special_range

if TYPE_CHECKING:
    from collections.abc import Generator

    from quada.acme.validate import Hop

app = typer.Typer(help="Certificates: what a CA would see.", no_args_is_help=True)
_AGENT: Final = f"quada/{__version__} (rehearsal of an ACME validation)"
_COLORS: Final = {"FAIL": typer.colors.RED, "WARN": typer.colors.YELLOW, "PASS": typer.colors.GREEN}


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="acme")


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="The name a certificate is wanted for.")],
    webroot: Annotated[
        Path | None, typer.Option(help="Where the web server's files are: tried with a real token.")
    ] = None,
    issuer: Annotated[str, typer.Option(help="The CA, for CAA.")] = "letsencrypt.org",
    resolver: Annotated[str, typer.Option(help="Resolver to ask; else the system's.")] = "",
    resolve: Annotated[
        list[str] | None, typer.Option(help="NAME=ADDRESS instead of asking DNS. Repeatable.")
    ] = None,
    http_port: Annotated[int, typer.Option(help="Dial this instead of 80, in a lab.")] = 80,
    https_port: Annotated[int, typer.Option(help="Dial this instead of 443, in a lab.")] = 443,
    lab: Annotated[bool, typer.Option("--lab", help="Reserved addresses are well here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rehearse http-01 as Boulder validates it, IPv6 first, and tell each pitfall with its fix.

    Without --webroot no token is there to be found: then an answer of 404 over the address that
    would be picked is as good as it gets. Exit code 1 where validation would fail.
    """
    with faults_exit(as_json=as_json):
        driver = Driver(resolver, resolve or [])
        token, key = secrets.token_urlsafe(24), ""
        placed: Path | None = None
        if webroot is not None:
            key = f"{token}.{secrets.token_urlsafe(32)}"
            placed = _place(webroot, token, key)
        try:
            made = driver.run(
                forecast(
                    name.rstrip(".").lower(), token, key, issuer=issuer,
                    is_reserved=(lambda _: False) if lab else _is_reserved,
                    ports={80: http_port, 443: https_port},
                )
            )  # fmt: skip
        finally:
            if placed is not None:
                placed.unlink(missing_ok=True)
        if as_json:
            print_json(data(made))
        else:
            _print(made)
        if any(one.verdict == "FAIL" for one in made.findings):
            raise typer.Exit(FOUND)


class Driver:
    """Performs the validator's asks: lookups, and requests to given addresses."""

    def __init__(self, resolver: str, given: list[str]) -> None:
        self._given: dict[str, list[str]] = {}
        for text in given:
            host, is_pair, address = text.partition("=")
            if not is_pair:
                raise ConfigFault(f"{text!r} is not NAME=ADDRESS", place="--resolve")
            self._given.setdefault(host.lower(), []).append(address)
        self._resolver = dns.asyncresolver.Resolver(configure=not (resolver or given))
        if resolver:
            host, _, port = resolver.rpartition("#")
            self._resolver.nameservers = [host or resolver]
            self._resolver.port = int(port) if host else 53
        self._resolver.lifetime = 6.0

    def run(self, steps: Generator[Any, Any, Forecast]) -> Forecast:
        """Run a validation to its end."""
        return asyncio.run(self._run(steps))

    async def _run(self, steps: Generator[Any, Any, Forecast]) -> Forecast:
        try:
            ask = next(steps)
            while True:
                answer: Looked | Fetched | Failed
                if isinstance(ask, Lookup):
                    answer = await self._look(ask)
                else:
                    answer = await _fetch(ask)
                ask = steps.send(answer)
        except StopIteration as end:
            made: Forecast = end.value
            return made

    async def _look(self, ask: Lookup) -> Looked:
        if self._given:
            found = self._given.get(ask.name, [])
            wanted = {"AAAA": 6, "A": 4}.get(ask.rdtype)
            return Looked(
                tuple(a for a in found if wanted and ipaddress.ip_address(a).version == wanted)
            )
        try:
            answer = await self._resolver.resolve(
                f"{ask.name}.", ask.rdtype, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Looked()
        except dns.exception.DNSException as error:
            return Looked(error=str(error)[:200])
        return Looked(tuple(item.to_text() for item in answer.rrset or ()))


async def _fetch(ask: Fetch) -> Fetched | Failed:
    from quada.transport.fetch import NoPage, fetch

    page = await fetch(
        ask.url, ask.address, ask.port, ask.timeout_s, body_octets=BODY_OCTETS, agent=_AGENT
    )
    if isinstance(page, NoPage):
        return Failed(page.stage, page.why, page.seconds)
    return Fetched(
        page.status, page.location, page.body, page.seconds, page.server, page.tls_version
    )


def _place(webroot: Path, token: str, key: str) -> Path:
    try:
        directory = webroot / ".well-known" / "acme-challenge"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / token
        path.write_text(key)
    except OSError as error:
        raise ConfigFault(f"cannot write there: {error.strerror}", place=str(webroot)) from error
    return path


def _is_reserved(address: str) -> bool:
    return bool(special_range(ipaddress.ip_address(address).packed))


def data(made: Forecast) -> dict[str, Any]:
    """Give a forecast as JSON data."""
    return {
        "name": made.name,
        "modes": {
            mode: {
                "problem": verdict.problem._asdict() if verdict.problem else None,
                "seconds": verdict.seconds,
                "hops": [_hop(hop) for hop in verdict.hops],
            }
            for mode, verdict in made.verdicts.items()
        },
        "addresses": {address: _outcome(one) for address, one in made.addresses.items()},
        "findings": [finding._asdict() for finding in made.findings],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "url": hop.url, "addresses": list(hop.addresses), "address": hop.address,
        "is_fallback": hop.is_fallback, "outcome": _outcome(hop.outcome),
    }  # fmt: skip


def _outcome(outcome: Fetched | Failed) -> str:
    if isinstance(outcome, Failed):
        return f"{outcome.stage}: {outcome.why} ({outcome.seconds:.1f} s)"
    to = f" to {outcome.location}" if outcome.location else ""
    return f"status {outcome.status}{to} ({outcome.seconds:.2f} s, {outcome.server or 'no name'})"


def _print(made: Forecast) -> None:
    verdict = made.verdicts["replay"]
    typer.echo(f"What Let's Encrypt would do for {made.name} today:")
    for hop in verdict.hops:
        fallback = " (IPv4 after IPv6)" if hop.is_fallback else ""
        typer.echo(f"  {printable(hop.url)}")
        typer.echo(f"    {hop.address}{fallback}: {printable(_outcome(hop.outcome))}")
    if made.addresses:
        typer.echo("Every address, tried by itself:")
        for address, outcome in made.addresses.items():
            typer.echo(f"  {address}: {printable(_outcome(outcome))}")
    for one in made.findings:
        word = typer.style(f"{one.verdict:5}", fg=_COLORS.get(one.verdict))
        typer.echo(f"{word} {printable(one.message)} [{one.code}]")
        if one.fix:
            typer.echo(f"      fix: {one.fix}")
