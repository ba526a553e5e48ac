"""Runs of doctor and of the incident checklist: begun, followed while they look, kept for a while.

The last fifty that ended are kept in files of the state directory, one a run, so that a restart
loses none; one that is under way when the process ends is not taken up again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.names as names
from quada.api.data import judged_data, report_data
from quada.api.operations import NotFound
from quada.api.records import to_ascii
from quada.disk import replacing
from quada.doctor import Finding, Graph, Verdict, judge
from quada.doctor.findings import RULES
from quada.doctor.incident import Cause, Logged, Report, Step, walk
from quada.wire.faults import DataFault, Fault, ReachFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from quada.api.access import Caller
    from quada.api.operations import Operations
    from quada.doctor import Observation

log: structlog.stdlib.BoundLogger = structlog.get_logger()
MINUTES: Final = 60  # how far back an incident looks into stored events
_KEPT_MAX: Final = 50
_UNDER_WAY_MAX: Final = 4  # our choice: each asks some hundred questions at 48 at once
_RUN_S: Final = 180.0
_FILE_OCTETS_MAX: Final = 4 << 20
_ORDER: Final = {Verdict.FAIL: 0, Verdict.WARN: 1, Verdict.UNKNOWN: 2}


class Kind(StrEnum):
    """What is run."""

    DOCTOR = "doctor"
    INCIDENT = "incident"


class Busy(ReachFault):
    """As many runs are under way as may be."""

    code = "busy"


@dataclass(slots=True)
class Run:
    """One run. `stages` are what was looked at and after how many seconds it began."""

    number: str
    kind: Kind
    name: str
    who: str
    started_at: int
    stages: list[tuple[str, float]] = field(default_factory=list)
    ended_at: int | None = None
    zone: str = ""
    findings: list[Finding] = field(default_factory=list)
    tree: list[str] = field(default_factory=list)
    report: Report | None = None
    fault: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    def tell(self) -> None:
        """Wake who follows."""
        self.changed.set()
        self.changed = asyncio.Event()


class Runs:
    """The runs of this process, and those that earlier ones kept in a directory."""

    def __init__(self, operations: Operations, directory: Path) -> None:
        self._operations = operations
        self._directory = directory
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        for run in sorted(_kept(directory), key=lambda one: one.started_at)[-_KEPT_MAX:]:
            self._runs[run.number] = run

    def start(self, caller: Caller, kind: Kind, name: str) -> Run:
        """Begin a run, or give the one that looks at the same already; within an event loop.

        Raises: Denied, DataFault for what is no name, Busy.
        """
        caller.need_read()
        wanted = read_name(name)
        under_way = [one for one in self._runs.values() if not one.is_done]
        for one in under_way:
            if (one.kind, one.name) == (kind, wanted):
                return one
        if len(under_way) >= _UNDER_WAY_MAX:
            raise Busy(f"{len(under_way)} runs are under way", remedy="try again in a minute")
        run = Run(secrets.token_urlsafe(9), kind, wanted, caller.who, self._operations.now())
        self._runs[run.number] = run
        while len(self._runs) > _KEPT_MAX:
            oldest = next(number for number, one in self._runs.items() if one.is_done)
            del self._runs[oldest]
            self._file(oldest).unlink(missing_ok=True)
        task = asyncio.get_running_loop().create_task(self._run(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._operations.audit(caller, f"{kind} run", wanted)
        return run

    def find(self, caller: Caller, number: str) -> Run:
        """Give a run. Raises: Denied, NotFound."""
        caller.need_read()
        run = self._runs.get(number)
        if run is None:
            raise NotFound("there is no such run, or no longer", place="run")
        return run

    def recent(self, caller: Caller, kind: Kind | None = None, name: str = "") -> list[Run]:
        """Give runs, newest first: of a kind, or of a name."""
        caller.need_read()
        return [
            one
            for one in reversed(self._runs.values())
            if (kind is None or one.kind is kind) and name in ("", one.name)
        ]

    async def follow(self, run: Run) -> AsyncIterator[int]:
        """Give how many stages there are, at every change, until the run has ended."""
        while True:
            changed = run.changed
            yield len(run.stages)
            if run.is_done:
                return
            await changed.wait()

    async def _run(self, run: Run) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(_RUN_S):
                async for told in self._operations.server.look(run.name):
                    if isinstance(told, str):
                        run.stages.append((told, round(loop.time() - started, 1)))
                        run.tell()
                    else:
                        run.stages.append(("judging", round(loop.time() - started, 1)))
                        run.tell()
                        await asyncio.to_thread(self._judge, run, told)
        except TimeoutError:
            run.fault = f"it did not end within {_RUN_S:.0f} seconds"
        except Fault as fault:
            run.fault = str(fault)
        except Exception:
            run.fault = "something broke here; the server's log says what"
            raise
        finally:
            run.ended_at = self._operations.now()
            run.tell()
            await asyncio.to_thread(self._keep, run)

    def _file(self, number: str) -> Path:
        return self._directory / f"{number}.json"

    def _keep(self, run: Run) -> None:
        """Write a run to its file; a disk that is full costs the file, not the run."""
        try:
            self._directory.mkdir(mode=0o750, exist_ok=True)
            with replacing(self._file(run.number), mode=0o640) as file:
                json.dump({**run_data(run), "tree": run.tree}, file)
        except OSError as error:
            log.warning("a run is not kept", run=run.number, error=error.strerror)

    def _judge(self, run: Run, seen: Observation) -> None:
        server = self._operations.server
        findings = judge(seen, ignores=server.ignores)
        run.zone = seen.zone
        if run.kind is Kind.INCIDENT:
            try:
                logged = server.logged(run.name, MINUTES)
            except ReachFault:
                logged = Logged()
            run.report = walk(seen, findings, logged)
        run.findings = sorted(findings, key=lambda one: _ORDER.get(one.verdict, 3))
        run.tree = Graph.of(seen).tree(seen.name)


def _kept(directory: Path) -> Iterator[Run]:
    """Read the runs of a directory; what cannot be read, or is of another form, is left out."""
    for file in directory.glob("*.json"):
        try:
            if file.stat().st_size <= _FILE_OCTETS_MAX:
                yield _read(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("a kept run cannot be read", file=file.name, error=type(error).__name__)


def _read(told: dict[str, Any]) -> Run:
    """Make a run of its data; findings that this version has no rule for are left out."""
    report = told["report"]
    run = Run(
        told["id"], Kind(told["kind"]), told["name"], told["who"], told["started_at"],
        [(one["stage"], one["after_s"]) for one in told["stages"]], told["ended_at"],
        told["zone"], fault=told["fault"], tree=told["tree"],
    )  # fmt: skip
    run.findings = [
        Finding(
            one["code"], Verdict(one["verdict"]), one["subject"], one["message"],
            tuple(one["evidence"]),
        )
        for one in told["findings"]
        if one["code"] in RULES
    ]  # fmt: skip
    if report is not None:
        steps = (
            Step(**{**one, "verdict": Verdict(one["verdict"]), "evidence": tuple(one["evidence"]),
                    "commands": tuple(one["commands"])})
            for one in report["steps"]
        )  # fmt: skip
        causes = tuple(Cause(**one) for one in report["causes"])
        run.report = Report(report["name"], tuple(steps), causes)
    return run


def read_name(text: str) -> str:
    """Read a name as observations have it: absolute, lower-cased. Raises: DataFault."""
    try:
        wire = names.from_text(f"{to_ascii(text.strip()).rstrip('.')}.").lower()
    except DataFault as fault:
        raise DataFault(fault.message, place="name", remedy="write it as example.com") from fault
    if wire == names.ROOT:
        raise DataFault("no name is given", place="name", remedy="write it as example.com")
    return names.to_text(wire)


def run_data(run: Run) -> dict[str, Any]:
    """Give a run as JSON data."""
    return {
        "id": run.number,
        "kind": str(run.kind),
        "name": run.name,
        "zone": run.zone,
        "who": run.who,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "is_done": run.is_done,
        "stages": [{"stage": stage, "after_s": after_s} for stage, after_s in run.stages],
        "fault": run.fault,
        "findings": [judged_data(one) for one in run.findings],
        "report": report_data(run.report) if run.report else None,
    }
