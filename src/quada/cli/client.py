"""`quada doctor client`: what a program does where a service has both families and IPv6 is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quada.api.data import judged_data
from quada.cli.judged import Every, JunitFile, Profile, junit, print_judged, read_profile
from quada.cli.output import FOUND, faults_exit, print_json, read_text
from quada.doctor.findings import Verdict, profiled
from quada.doctor.judge_client import judge_client
from quada.doctor.observation import read_observation, write_observation
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.doctor.observation import Observation


def client(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="The program and its arguments; {url}, {host}, {port} are put in."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="A name that leads to ::1 and 127.0.0.1.")
    ] = "localhost",
    runs: Annotated[int, typer.Option(min=1, max=20, help="Runs of each kind.")] = 3,
    patience_s: Annotated[
        float, typer.Option("--patience", min=1, max=300, help="Seconds that one run may take.")
    ] = 15,
    profile: Profile = None,
    junit_file: JunitFile = None,
    save: Annotated[Path | None, typer.Option(help="Keep what was seen in a file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Judge what was kept.")] = None,
    every: Every = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a program: does it take IPv6, and how late does it take IPv4 where IPv6 is lost?

    It is run against an HTTP service on this machine: `quada doctor client -- curl -s {url}`. Exit
    code 0 where nothing fails, 1 where something does.
    """
    with faults_exit(as_json=as_json):
        severities = read_profile(read_text(profile), str(profile)) if profile else {}
        if replay is not None:
            seen = read_observation(read_text(replay), str(replay))
        elif not command:
            raise ConfigFault("no program is named", place="COMMAND",
                              remedy="quada doctor client -- curl -s {url}")  # fmt: skip
        else:
            seen = asyncio.run(_race(command, host, runs, patience_s, shows=not as_json))
        if save is not None:
            save.write_text(write_observation(seen))
        found = profiled(judge_client(seen), severities)
        if junit_file is not None:
            junit_file.write_text(junit(found, "quada doctor client"))
        if as_json:
            print_json({"client": seen.name, "findings": list(map(judged_data, found))})
        else:
            print_judged(found, every=every)
        if any(one.verdict is Verdict.FAIL for one in found):
            raise typer.Exit(FOUND)


async def _race(
    command: list[str], host: str, runs: int, patience_s: float, *, shows: bool
) -> Observation:
    from rich.console import Console

    from quada.server.racing import race

    console = Console(stderr=True, quiet=not shows)
    with console.status("") as status:
        async for told in race(command, host, runs, patience_s):
            if not isinstance(told, str):
                return told
            status.update(told)
    raise AssertionError
