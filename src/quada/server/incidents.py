"""The incident checklist, started by alerts: walked once for each, and kept with it.

In the process that checks zones, one at a time: alerts that open because much fails must not make
more load than a person would.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.names as names
from quada.api.data import report_data
from quada.disk import replacing
from quada.doctor import Observation, judge, write_observation
from quada.doctor.incident import Logged, walk
from quada.server.looking import LAB_RANGES, look, make_observer, read_logged
from quada.store.alerts import FILE, AlertStore
from quada.wire.faults import DataFault, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from quada.server.plan import Plan
    from quada.store.alerts import Alert

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_LOOK_S: Final = 2.0
_RUN_S: Final = 180.0
_MINUTES: Final = 60
_KEPT_MAX: Final = 200  # our choice: observations on disk, some 100 kB each
_DOCTOR: Final = "quada doctor "
EVERY: Final = "all"


class Incidents:
    """Walks the checklist for alerts of the kinds that the settings name."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._wish = plan.settings.doctor
        self._alerts = AlertStore.open(plan.state_dir / FILE)
        self._done: set[int] = set()

    async def run(self) -> None:
        """Follow the alerts for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for alert, name in self.due():
                try:
                    await self.walk(alert, name)
                except (Fault, OSError, TimeoutError) as error:
                    log.warning("an incident could not be walked", name=name, why=str(error)[:200])

    def due(self) -> list[tuple[Alert, str]]:
        """Give open alerts that nobody has walked yet, each with the name to look at."""
        found = []
        for alert in self._alerts.alerts(is_open=True, limit=100):
            is_wanted = EVERY in self._wish.incident_on or alert.kind in self._wish.incident_on
            if not is_wanted or alert.incident or alert.number in self._done:
                continue
            self._done.add(alert.number)  # once, even where it cannot be walked
            name = name_of(alert.told)
            if name:
                found.append((alert, name))
        return found

    async def walk(self, alert: Alert, name: str) -> None:
        """Walk the checklist for an alert, and keep it. Raises: Fault, OSError, TimeoutError."""
        resolver = self._plan.settings.resolver
        observer = make_observer(
            self._wish.root_hints or resolver.root_hints,
            self._wish.trust_anchor or resolver.trust_anchor,
        )
        ignores = LAB_RANGES if self._wish.lab else frozenset()
        seen: Observation | str = ""
        async with asyncio.timeout(_RUN_S):
            async for told in look(observer, observer.observe(name), ignores=ignores):
                seen = told
        assert isinstance(seen, Observation)
        try:
            logged = await asyncio.to_thread(read_logged, self._plan.state_dir, name, _MINUTES)
        except Fault:  # no events are stored: that step is UNKNOWN
            logged = Logged()
        report = await asyncio.to_thread(walk, seen, judge(seen, ignores=ignores), logged)
        file = self._keep(alert.number, seen)
        data = {"at": int(time.time()), "observation": str(file), **report_data(report)}
        self._alerts.attach(alert.number, data)
        log.info("an incident was walked", alert=alert.number, name=name,
                 cause=report.causes[0].code)  # fmt: skip

    def _keep(self, number: int, seen: Observation) -> Path:
        place = self._plan.state_dir / "incidents"
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        file = place / f"{number}.json"
        with replacing(file) as out:
            out.write(write_observation(seen))
        kept = sorted((one for one in place.glob("*.json") if one.stem.isdecimal()),
                      key=lambda one: int(one.stem))  # fmt: skip
        for old in kept[:-_KEPT_MAX]:
            old.unlink(missing_ok=True)
        return file


def name_of(told: dict[str, Any]) -> str:
    """Give the name that an alert says to look at next; empty where it names none."""
    command = str(told.get("next_command", ""))
    if not command.startswith(_DOCTOR):
        return ""
    try:
        wire = names.from_text(f"{command.removeprefix(_DOCTOR).rstrip('.')}.").lower()
    except DataFault:
        return ""
    return names.to_text(wire) if wire != names.ROOT else ""
