"""`quada doctor`: is a domain well over IPv6, and if not, why, and what mends it."""

from __future__ import annotations

import asyncio
import html
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quada.api.data import judged_data
from quada.cli.client import client
from quada.cli.elsewhere import (
    LOCAL,
    CaFile,
    Elsewhere,
    TokenFile,
    matrix_data,
    print_matrix,
    read_secret,
)
from quada.cli.judged import Every, JunitFile, Profile, junit, print_judged, read_profile
from quada.cli.link import link
from quada.cli.output import FOUND, faults_exit, print_json, read_text, with_default
from quada.cli.resolvers import resolver
from quada.cli.shadow import print_shadow, shadow
from quada.doctor import Graph, Observation, Observer, Verdict, judge
from quada.doctor.findings import RULES, profiled, reference
from quada.doctor.observation import Cut, read_observation, write_observation
from quada.doctor.picture import connections, dependencies, dot_text, timeline
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from quada.doctor import Finding
    from quada.server.looking import Hands
    from quada.wire.ask import Ask, Outcome

_DRAW_S: Final = 15.0


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(cls=with_default("domain"), help="Is a domain, or a link, well over IPv6?")
    group.command("domain")(doctor)
    group.command("link")(link)
    group.command("client")(client)
    group.command("resolver")(resolver)
    app.add_typer(group, name="doctor")
    app.command("shadow")(shadow)


def doctor(
    name: Annotated[str, typer.Argument(help="The domain to look at.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="Only this group. Repeatable.")] = None,
    ns: Annotated[
        list[str] | None,
        typer.Option(help="NAME/ADDRESS of a server to come: check before delegating. Repeatable."),
    ] = None,
    root_hints: Annotated[Path | None, typer.Option(help="Root hints to begin with.")] = None,
    trust_anchor: Annotated[Path | None, typer.Option(help="Trust anchors to validate by.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the observation in a file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Judge a kept observation again.")] = None,
    lab: Annotated[
        bool, typer.Option("--lab", help="Documentation addresses are well here.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show what the name depends on.")] = False,
    profile: Profile = None,
    junit_file: JunitFile = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="Draw what the name depends on, by Graphviz where it is installed."),
    ] = None,
    dot: Annotated[Path | None, typer.Option(help="Write that graph for Graphviz.")] = None,
    names: Annotated[
        Path | None,
        typer.Option("--from", help="Names, one a line: which depend on what lacks IPv6?"),
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a report.")] = None,
    findings: Annotated[
        bool, typer.Option("--findings", help="Print the reference of all findings.")
    ] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Show the last look that a server's schedule took.")
    ] = False,
    state_dir: Annotated[Path, typer.Option(help="State directory, for --last.")] = Path("var"),
    server: Annotated[
        str, typer.Option(help="URL of a quada server: look from its agents too.")
    ] = "",
    token_file: TokenFile = None,
    ca_file: CaFile = "",
    trust: Annotated[
        str, typer.Option(help="PEM of the CAs that services are believed by, for a lab.")
    ] = "",
    vantage: Annotated[
        list[str] | None,
        typer.Option(help="Only from this vantage point: `local` or an agent. Repeatable."),
    ] = None,
    every: Every = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Observe a domain over both families, judge what was seen, and say what mends it.

    `quada doctor link eth0` looks at what a link tells its clients instead. Exit code 0 where
    nothing fails, 1 where something does.
    """
    with faults_exit(as_json=as_json):
        if findings:
            typer.echo(reference(), nl=False)
            return
        if names is not None:
            print_shadow(names, observe(root_hints, None), as_json=as_json)
            return
        severities = read_profile(read_text(profile), str(profile)) if profile else {}
        ranges = lab_ranges(is_lab=lab)
        if last:
            _show_last(state_dir, absolute(name), severities, every=every, as_json=as_json)
            return
        if server:
            _from_everywhere(
                Elsewhere(server, read_secret(token_file), ca_file),
                vantage or [], absolute(name), lambda: observe(
                    root_hints, trust_anchor, _given(absolute(name), ns or [])
                ),
                lambda seen: profiled(judge(seen, ignores=ranges), severities),
                ignores=ranges, trust_file=trust, every=every, as_json=as_json,
            )  # fmt: skip
            return
        if replay is not None:
            seen = read_observation(read_text(replay), str(replay))
        elif name:
            observer = observe(root_hints, trust_anchor, _given(absolute(name), ns or []))
            seen = drive(
                observer, observer.observe(absolute(name)), shows=not as_json, ignores=ranges,
                ca_file=trust,
            )  # fmt: skip
        else:
            raise ConfigFault("no domain is named", place="NAME", remedy="quada doctor example.com")
        if save is not None:
            save.write_text(write_observation(seen))
        groups = set(only or ())
        unknown = groups - {rule.group for rule in RULES.values()}
        if unknown:
            known = ", ".join(dict.fromkeys(rule.group for rule in RULES.values()))
            raise ConfigFault(f"there is no group {unknown.pop()}", place="--only", remedy=known)
        judged = profiled(judge(seen, ignores=ranges), severities)
        found = [one for one in judged if not groups or one.rule.group in groups]
        if junit_file is not None:
            junit_file.write_text(junit(found, f"quada doctor {seen.name}"))
        if svg is not None:
            svg.write_text(draw(seen))
        if dot is not None:
            dot.write_text(dot_text(seen))
        if html_file is not None:
            html_file.write_text(report(seen, found))
        if as_json:
            findings_data = list(map(judged_data, found))
            print_json({"name": seen.name, "zone": seen.zone, "findings": findings_data})
        else:
            if tree:
                typer.echo("\n".join(Graph.of(seen).tree(seen.name)) + "\n")
            print_judged(found, every=every)
        if any(one.verdict is Verdict.FAIL for one in found):
            raise typer.Exit(FOUND)


def _show_last(
    state_dir: Path,
    name: str,
    severities: dict[str, Verdict | None],
    *,
    every: bool,
    as_json: bool,
) -> None:
    from quada.server.checking import read_last

    data, found = read_last(state_dir, name)
    found = profiled(found, severities)
    if as_json:
        print_json({**data, "findings": list(map(judged_data, found))})
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(data["at"]))
        typer.echo(f"{data['zone']} serial {data['serial']}, looked at {when}")
        print_judged(found, every=every)
    if any(one.verdict is Verdict.FAIL for one in found):
        raise typer.Exit(FOUND)


def _from_everywhere(
    elsewhere: Elsewhere,
    only: list[str],
    name: str,
    observer: Callable[[], Observer],
    judge_all: Callable[[Observation], list[Finding]],
    *,
    ignores: frozenset[str],
    trust_file: str,
    every: bool,
    as_json: bool,
) -> None:
    """Look from here and from each agent, and show where they differ. Exit code as one look's."""
    points = elsewhere.names()
    unknown = set(only) - {LOCAL, *points}
    if unknown:
        raise ConfigFault(
            f"there is no vantage point {unknown.pop()}", place="--vantage",
            remedy=", ".join((LOCAL, *points)),
        )  # fmt: skip
    found: dict[str, list[Finding]] = {}
    for point in [one for one in (LOCAL, *points) if not only or one in only]:
        looks = observer()
        hands = None if point == LOCAL else elsewhere.hands(point)
        seen = drive(
            looks, looks.observe(name), shows=not as_json, hands=hands, ignores=ignores,
            ca_file=trust_file,
        )  # fmt: skip
        seen.vantage = point
        found[point] = judge_all(seen)
    if as_json:
        print_json({
            "name": name, "matrix": matrix_data(found),
            "vantages": {point: list(map(judged_data, some)) for point, some in found.items()},
        })  # fmt: skip
    else:
        print_matrix(found, every=every)
    if any(one.verdict is Verdict.FAIL for some in found.values() for one in some):
        raise typer.Exit(FOUND)


def observe(
    root_hints: Path | None, trust_anchor: Path | None, given: Cut | None = None
) -> Observer:
    """Make an observer from what the command line names. Raises: ConfigFault."""
    from quada.server.looking import make_observer

    hints = str(root_hints) if root_hints else ""
    return make_observer(hints, str(trust_anchor) if trust_anchor else "", given)


def lab_ranges(*, is_lab: bool) -> frozenset[str]:
    """Give the kinds of addresses that count as well."""
    from quada.server.looking import LAB_RANGES

    return LAB_RANGES if is_lab else frozenset()


def drive(
    observer: Observer,
    steps: Generator[list[Ask], list[Outcome], Observation],
    *,
    shows: bool,
    hands: Hands | None = None,
    ignores: frozenset[str] = frozenset(),
    ca_file: str = "",
) -> Observation:
    """Perform what an observer asks; tells its stage to who waits.

    `hands` perform elsewhere; without them this machine does.
    """
    import sys

    from rich.console import Console

    from quada.server.looking import look

    async def run(tell: Callable[[str], None]) -> Observation:
        async for told in look(observer, steps, hands, ignores=ignores, ca_file=ca_file):
            if not isinstance(told, str):
                return told
            tell(told)
        raise AssertionError

    console = Console(stderr=True)
    if shows and sys.stderr.isatty():
        with console.status("") as status:
            return asyncio.run(run(status.update))
    return asyncio.run(run(lambda _: None))


def report(seen: Observation, found: list[Finding]) -> str:
    """Write a report as one HTML page without anything from elsewhere."""
    rows = "".join(
        f"<tr class={one.verdict.lower()}><td>{one.verdict}<td>{html.escape(one.subject)}"
        f"<td><b>{html.escape(one.message)}</b><br>{html.escape(one.rule.why)} "
        f"<i>{html.escape(one.rule.fix)}</i> ({html.escape(one.rule.source)})"
        f"<pre>{html.escape(chr(10).join(one.evidence))}</pre><td><code>{one.code}</code>"
        for one in found
    )
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seen.at))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{html.escape(seen.name)} over IPv6</title><style>"
        "body{font:15px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "td{vertical-align:top;padding:.4rem;border-top:1px solid #ddd}pre{margin:0}"
        ".fail td:first-child{color:#a51420;font-weight:600}.warn td:first-child{color:#7a4b00}"
        ".pass td:first-child{color:#0b6b3a}</style>"
        f"<h1>{html.escape(seen.name)} over IPv6</h1>"
        f"<p>Seen {when} from {html.escape(seen.vantage)}.</p><table>{rows}</table>"
        f"<h2>How fast each family answers</h2>{timeline(seen)}"
        f"<h2>How its services are reached</h2>{connections(seen)}"
        f"<h2>What it depends on</h2>{draw(seen)}</html>"
    )


def draw(seen: Observation) -> str:
    """Draw what a name depends on: by Graphviz where it is installed, else by ourselves."""
    program = shutil.which("dot")
    if program is not None:
        try:
            drawn = subprocess.run(
                [program, "-Tsvg"], input=dot_text(seen), capture_output=True, text=True,
                timeout=_DRAW_S, check=True,
            ).stdout  # fmt: skip
            return drawn[drawn.index("<svg") :]
        except (OSError, subprocess.SubprocessError, ValueError):
            pass  # a picture of our own is better than none
    return dependencies(seen)


def _given(name: str, servers: list[str]) -> Cut | None:
    """Read servers to come as a delegation. Raises: ConfigFault."""
    glue: dict[str, list[str]] = {}
    for text in servers:
        server, has_address, address = text.partition("/")
        glue.setdefault(absolute(server), []).extend([address] if has_address else [])
    if not glue:
        return None
    return Cut(name, "", list(glue), {server: found for server, found in glue.items() if found})


def absolute(name: str) -> str:
    """Give a name as observations have it: absolute, lower-cased."""
    return f"{name.strip().lower().rstrip('.')}."
