"""`quada acme check`: what Let's Encrypt would do with a name, and why."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quada import __version__
from quada.acme.challenges import KINDS
from quada.acme.forecast import Finding, Forecast, forecast, with_perspectives
from quada.acme.preflight import preflight
from quada.acme.signed import unbase64
from quada.acme.validate import Failed, Fetched, Mode, Shook, http_01
from quada.cli.elsewhere import CaFile, Elsewhere, TokenFile, Vantage, read_secret
from quada.cli.output import FOUND, faults_exit, print_json, printable
from quada.server.perspectives import FromAgent, read_perspectives
from quada.server.plan import read_address
from quada.server.validating import Validating, is_reserved, run
from quada.wire.faults import ConfigFault, MalformedMessage

if TYPE_CHECKING:
    from quada.acme.validate import Hop, Verdict
    from quada.server.validating import Performer

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
    challenge: Annotated[str, typer.Option(help="http-01, dns-01 or tls-alpn-01.")] = "http-01",
    issuer: Annotated[str, typer.Option(help="The CA, for CAA.")] = "letsencrypt.org",
    resolver: Annotated[str, typer.Option(help="Resolver to ask; else the system's.")] = "",
    resolve: Annotated[
        list[str] | None, typer.Option(help="NAME=ADDRESS instead of asking DNS. Repeatable.")
    ] = None,
    http_port: Annotated[int, typer.Option(help="Dial this instead of 80, in a lab.")] = 80,
    https_port: Annotated[int, typer.Option(help="Dial this instead of 443, in a lab.")] = 443,
    server: Annotated[
        str, typer.Option(help="URL of a quada server: its agents are perspectives of http-01.")
    ] = "",
    token_file: TokenFile = None,
    ca_file: CaFile = "",
    vantage: Vantage = None,
    lab: Annotated[bool, typer.Option("--lab", help="Reserved addresses are well here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rehearse a validation as Boulder does it, IPv6 first, and tell each pitfall with its fix.

    Without --webroot no token is there to be found: then an answer of 404 over the address that
    would be picked is as good as it gets. Exit code 1 where validation would fail.
    """
    with faults_exit(as_json=as_json):
        driver = Validating(resolver, resolve or [])
        wanted = name.rstrip(".").lower()
        ports = {80: http_port, 443: https_port}
        dialled = (lambda _: False) if lab else is_reserved
        if challenge not in KINDS:
            raise ConfigFault(
                f"there is no challenge {challenge}", place="--challenge", remedy=", ".join(KINDS)
            )
        if challenge != "http-01":
            steps_of = preflight(challenge, wanted, issuer=issuer, is_reserved=dialled, ports=ports)
            found = asyncio.run(run(steps_of, driver))
            if as_json:
                print_json({"name": wanted, "findings": [one._asdict() for one in found]})
            else:
                _print_findings(found)
            _exit_by(found)
            return
        token, key = secrets.token_urlsafe(24), ""
        placed: Path | None = None
        if webroot is not None:
            key = f"{token}.{secrets.token_urlsafe(32)}"
            placed = _place(webroot, token, key)
        try:
            steps = forecast(
                wanted, token, key, issuer=issuer, is_reserved=dialled, ports=ports,
            )  # fmt: skip
            made = asyncio.run(run(steps, driver))
            remote = {}
            if server:
                elsewhere = Elsewhere(server, read_secret(token_file), ca_file)
                for point in elsewhere.chosen(vantage or []):
                    steps_there = http_01(
                        wanted, token, key, mode=Mode.REPLAY, is_reserved=dialled, ports=ports
                    )
                    there = FromAgent(driver, elsewhere.hands(point))
                    remote[point] = asyncio.run(run(steps_there, there))
                made = with_perspectives(made, remote, has_token=bool(key))
        finally:
            if placed is not None:
                placed.unlink(missing_ok=True)
        if as_json:
            print_json(data(made))
        else:
            _print(made)
        _exit_by(made.findings)


@app.command("ca")
def ca(
    listen: Annotated[str, typer.Option(help="Where to listen.")] = "[::1]:14000",
    url: Annotated[str, typer.Option(help="What clients are told it is reached at.")] = "",
    state_dir: Annotated[
        Path, typer.Option(help="Where the test root and the CA's own certificate are kept.")
    ] = Path("var/rehearsal"),
    resolver: Annotated[str, typer.Option(help="Resolver to ask; else the system's.")] = "",
    resolve: Annotated[
        list[str] | None, typer.Option(help="NAME=ADDRESS instead of asking DNS. Repeatable.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="How IPv4 is tried after IPv6.")] = Mode.REPLAY,
    issuer: Annotated[str, typer.Option(help="The CA's name, for CAA.")] = "letsencrypt.org",
    days: Annotated[float, typer.Option(min=0.0001, max=398, help="How long leaves last.")] = 90.0,
    external: Annotated[
        list[str] | None,
        typer.Option(help="KID=FILE: ask for an external account; the file holds its key."),
    ] = None,
    perspective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS[,ADDRESS]",
            help="Validate from these addresses of this host too. Repeatable; Let's Encrypt has"
            " three or more.",
        ),
    ] = None,
    server: Annotated[
        str,
        typer.Option(help="URL of a quada server: its agents are perspectives too, of http-01."),
    ] = "",
    token_file: TokenFile = None,
    ca_file: CaFile = "",
    vantage: Vantage = None,
    http_port: Annotated[int, typer.Option(help="Dial this instead of 80, in a lab.")] = 80,
    https_port: Annotated[int, typer.Option(help="Dial this instead of 443, in a lab.")] = 443,
    lab: Annotated[bool, typer.Option("--lab", help="Reserved addresses are well here.")] = False,
) -> None:
    """Serve a rehearsal CA: ACME for certbot, lego and others, validated as Let's Encrypt does.

    A client gets a certificate that nobody trusts, or the reason why Let's Encrypt would refuse.
    Clients must trust the root that it names at start. Accounts are forgotten when it ends.
    """
    from quada.server.rehearsal import Rehearsing, serve

    with faults_exit():
        address = read_address(listen, 14000)
        validating = Validating(resolver, resolve or [])
        remote: dict[str, Performer] = dict(read_perspectives(perspective or [], validating))
        if server:
            elsewhere = Elsewhere(server, read_secret(token_file), ca_file)
            for point in elsewhere.chosen(vantage or []):
                remote[point] = FromAgent(validating, elsewhere.hands(point))
        serve(
            Rehearsing(
                address, state_dir, issuer, days, mode, {80: http_port, 443: https_port},
                is_lab=lab, external=dict(_external(one) for one in external or []),
                told_url=url, perspectives=remote,
            ),
            validating,
            typer.echo,
        )  # fmt: skip


def _external(text: str) -> tuple[str, bytes]:
    kid, is_pair, file = text.partition("=")
    if not is_pair:
        raise ConfigFault(f"{text!r} is not KID=FILE", place="--external")
    try:
        return kid, unbase64(Path(file).read_text().strip())
    except (OSError, MalformedMessage) as error:
        raise ConfigFault(f"the key cannot be read: {error}", place=file) from error


def _place(webroot: Path, token: str, key: str) -> Path:
    try:
        directory = webroot / ".well-known" / "acme-challenge"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / token
        path.write_text(key)
    except OSError as error:
        raise ConfigFault(f"cannot write there: {error.strerror}", place=str(webroot)) from error
    return path


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
        "perspectives": {name: _end(verdict) for name, verdict in made.perspectives.items()},
        "addresses": {address: _outcome(one) for address, one in made.addresses.items()},
        "findings": [finding._asdict() for finding in made.findings],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "url": hop.url, "addresses": list(hop.addresses), "address": hop.address,
        "is_fallback": hop.is_fallback, "outcome": _outcome(hop.outcome),
    }  # fmt: skip


def _end(verdict: Verdict) -> str:
    """How a validation ended from one place: by its last request, or the problem before it."""
    if verdict.hops:
        last = verdict.hops[-1]
        return f"{last.address}: {_outcome(last.outcome)}"
    return verdict.problem.detail if verdict.problem else "valid"


def _outcome(outcome: Fetched | Failed | Shook) -> str:
    if isinstance(outcome, Failed):
        return f"{outcome.stage}: {outcome.why} ({outcome.seconds:.1f} s)"
    if isinstance(outcome, Shook):
        return f"{outcome.alpn or 'no protocol'} over {outcome.tls_version}"
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
    for name, seen in made.perspectives.items():
        typer.echo(f"From {printable(name)}: {printable(_end(seen))}")
    _print_findings(made.findings)


def _exit_by(findings: tuple[Finding, ...]) -> None:
    if any(one.verdict == "FAIL" for one in findings):
        raise typer.Exit(FOUND)


def _print_findings(findings: tuple[Finding, ...]) -> None:
    for one in findings:
        word = typer.style(f"{one.verdict:5}", fg=_COLORS.get(one.verdict))
        typer.echo(f"{word} {printable(one.message)} [{one.code}]")
        if one.fix:
            typer.echo(f"      fix: {one.fix}")
