"""`quada doctor resolver`: recursive resolvers, this machine's or others, as clients see them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quada.api.data import judged_data
from quada.cli.elsewhere import (
    LOCAL,
    CaFile,
    Elsewhere,
    TokenFile,
    Vantage,
    matrix_data,
    print_matrix,
    read_secret,
)
from quada.cli.judged import Every, JunitFile, Profile, junit, print_judged, read_profile
from quada.cli.output import FOUND, faults_exit, print_json, read_text
from quada.doctor.findings import Finding, Verdict, profiled
from quada.doctor.judge_resolvers import judge_resolvers
from quada.doctor.observation import Observation, Service, read_observation, write_observation
from quada.doctor.observe_resolvers import (
    DEFAULT_NAMES,
    PURPOSES,
    ResolverObserver,
    nat64_calls,
)
from quada.doctor.observe_services import note_calls
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.server.looking import Hands

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_BEHIND_STUB: Final = Path("/run/systemd/resolve/resolv.conf")


def resolver(
    address: Annotated[
        list[str] | None,
        typer.Option("--resolver", help="A resolver's address; /etc/resolv.conf's if none."),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(metavar="PURPOSE=NAME", help=f"What is asked for: {', '.join(PURPOSES)}."),
    ] = None,
    nat64_to: Annotated[
        str, typer.Option(metavar="IPV4:PORT", help="Call this over the NAT64 prefix found.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The resolvers' port.")] = 53,
    trust: Annotated[
        str, typer.Option(help="PEM of the CAs that encrypted endpoints are believed by.")
    ] = "",
    server: Annotated[
        str, typer.Option(help="URL of a quada server: ask as a stranger from its agents.")
    ] = "",
    token_file: TokenFile = None,
    ca_file: CaFile = "",
    vantage: Vantage = None,
    profile: Profile = None,
    junit_file: JunitFile = None,
    save: Annotated[Path | None, typer.Option(help="Keep what was seen in a file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Judge what was kept.")] = None,
    every: Every = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge resolvers: reached over IPv6, validating, encrypted, DNS64, closed to strangers.

    Exit code 0 where nothing fails, 1 where something does.
    """
    with faults_exit(as_json=as_json):
        severities = read_profile(read_text(profile), str(profile)) if profile else {}
        if replay is not None:
            points = {LOCAL: read_observation(read_text(replay), str(replay))}
        else:
            found = dict.fromkeys(map(_address, address or ()), "given") or read_resolvers()
            asked = _purposes(use or [])
            if server:
                elsewhere = Elsewhere(server, read_secret(token_file), ca_file)
                points = {
                    one: _look(found, asked, port, trust, elsewhere.hands(one), "")
                    for one in elsewhere.chosen(vantage or [])
                }
            else:
                points = {LOCAL: _look(found, asked, port, trust, None, nat64_to)}
        if save is not None and len(points) == 1:
            save.write_text(write_observation(next(iter(points.values()))))
        judged = {
            point: profiled(judge_resolvers(seen), severities) for point, seen in points.items()
        }
        every_finding = [one for some in judged.values() for one in some]
        if junit_file is not None:
            junit_file.write_text(junit(every_finding, "quada doctor resolver"))
        _show(judged, every_finding, every=every, as_json=as_json)


def read_resolvers() -> dict[str, str]:
    """Find this machine's resolvers, behind systemd-resolved's stub too. Raises: ConfigFault."""
    from quada.server.nat64 import read_nameservers

    found: dict[str, str] = {}
    for path in (_RESOLV_CONF, _BEHIND_STUB):
        for address in read_nameservers(path):
            found.setdefault(_address(address), str(path))
    if not found:
        raise ConfigFault("no resolver is configured", place=str(_RESOLV_CONF),
                          remedy="name one with --resolver")  # fmt: skip
    return found


def _look(
    found: dict[str, str],
    asked: dict[str, str],
    port: int,
    trust: str,
    hands: Hands | None,
    nat64_to: str,
) -> Observation:
    from quada.server.looking import drive_all
    from quada.transport.reach import Reach

    observer = ResolverObserver(found, asked, time.time, port)
    steps = observer.observe() if hands is None else observer.observe_open()
    seen = asyncio.run(drive_all(steps, hands, trust))
    if nat64_to:
        host, _, number = nat64_to.rpartition(":")
        try:
            calls = nat64_calls(seen, host, int(number))
        except ValueError as error:
            raise ConfigFault(
                f"{nat64_to!r} is no IPv4 address and port", place="--nat64-to",
                remedy="192.0.2.1:80",
            ) from error  # fmt: skip

        async def call() -> None:
            called = [await Reach(trust).call(one) for one in calls]
            note_calls(seen, [(Service("nat64", host), one) for one in calls], called)

        asyncio.run(call())
    return seen


def _show(
    judged: dict[str, list[Finding]], found: list[Finding], *, every: bool, as_json: bool
) -> None:
    if as_json:
        data = {point: list(map(judged_data, some)) for point, some in judged.items()}
        print_json(
            {"findings": data[LOCAL]} if list(data) == [LOCAL]
            else {"matrix": matrix_data(judged), "vantages": data}
        )  # fmt: skip
    elif list(judged) == [LOCAL]:
        print_judged(found, every=every)
    else:
        print_matrix(judged, every=every)
    if any(one.verdict is Verdict.FAIL for one in found):
        raise typer.Exit(FOUND)


def _purposes(use: list[str]) -> dict[str, str]:
    asked = dict(DEFAULT_NAMES)
    for text in use:
        purpose, has_name, name = text.partition("=")
        if purpose not in PURPOSES or not has_name:
            raise ConfigFault(
                f"{text!r} names no purpose", place="--use",
                remedy="; ".join(f"{key}=NAME: {what}" for key, what in PURPOSES.items()),
            )  # fmt: skip
        if name:
            asked[purpose] = f"{name.lower().rstrip('.')}."
        else:
            asked.pop(purpose, None)
    return asked


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise ConfigFault(f"{text!r} is no address", place="--resolver") from error
