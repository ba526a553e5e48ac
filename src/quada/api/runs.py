"""Runs of doctor and of the incident checklist: begun, followed while they look, kept for a while.

They live in the web process's memory: what they find is of the moment, and a restart loses nothing
that cannot be looked at again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import quada.wire.names as names
from quada.api.data import judged_data, report_data
from quada.api.operations import NotFound
from quada.api.records import to_ascii
from quada.doctor import Graph, Verdict, judge
from quada.doctor.incident import Logged, walk
from quada.wire.faults import DataFault, Fault, ReachFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quada.api.access import Caller
    from quada.api.operations import Operations
    from quada.doctor import Finding, Observation
    from quada.doctor.incident import Report

MINUTES: Final = 60  # how far back an incident looks into stored events
_KEPT_MAX: Final = 50
_UNDER_WAY_MAX: Final = 4  # our choice: each asks some hundred questions at 48 at once
_RUN_S: Final = 180.0
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
    """The runs of this process."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

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
