"""Doctor on a schedule: each zone we serve, now and then, and after each publish.

One zone at a time, in a process beside the workers. What fails is an alert while it fails; the last
look at each zone is kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.server.control as control
from quada.disk import replacing
from quada.doctor import Observation, Verdict, judge
from quada.server.looking import LAB_RANGES, look, make_observer
from quada.store.alerts import FILE, AlertStore
from quada.telemetry.signals import Signal, State
from quada.wire.faults import DataFault, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from quada.doctor import Finding
    from quada.server.plan import Plan

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_LOOK_S: Final = 2.0
_RUN_S: Final = 180.0
_KIND: Final = "doctor"


class Checking:
    """Decides what is due, looks, and tells. Times are monotonic seconds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._wish = plan.settings.doctor
        self._ignores = LAB_RANGES if self._wish.lab else frozenset()
        self._receivers = tuple(one.name for one in plan.settings.alert_receiver)
        self._alerts = AlertStore.open(plan.state_dir / FILE)
        self._checked: dict[str, tuple[int, float]] = {}
        self._changed: dict[str, tuple[int, float]] = {}

    def due(self, serials: dict[str, int], now: float) -> list[str]:
        """Give the zones to look at: never seen, seen too long ago, or published and settled."""
        found = []
        for zone, serial in serials.items():
            checked = self._checked.get(zone)
            if checked is not None and checked[0] == serial:
                if now - checked[1] >= self._wish.every_s:
                    found.append(zone)
                continue
            changed = self._changed.get(zone)
            if changed is None or changed[0] != serial:
                changed = self._changed[zone] = serial, now
            if now - changed[1] >= self._wish.settle_s:
                found.append(zone)
        for gone in self._checked.keys() - serials.keys():
            del self._checked[gone]
            self._tell(gone, [])
        return found

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                status = await asyncio.to_thread(control.command, self._plan.control_path, "status")
                serials = {one["zone"]: one["serial"] for one in status["zones"]}
                for zone in self.due(serials, time.monotonic()):
                    await self.check(zone, serials[zone])
            except (Fault, ValueError, KeyError, TypeError) as error:
                log.warning("zones cannot be checked", why=str(error)[:200])

    async def check(self, zone: str, serial: int) -> None:
        """Look at one zone, keep what was seen, and tell. A run that hangs is given up."""
        resolver = self._plan.settings.resolver
        observer = make_observer(
            self._wish.root_hints or resolver.root_hints,
            self._wish.trust_anchor or resolver.trust_anchor,
        )
        seen: Observation | str = ""
        try:
            async with asyncio.timeout(_RUN_S):
                steps = observer.observe(zone.lower())
                async for step in look(observer, steps, ignores=self._ignores):
                    seen = step
        except TimeoutError:
            log.warning("a zone could not be checked in time", zone=zone, stage=observer.stage)
        self._checked[zone] = serial, time.monotonic()
        if not isinstance(seen, Observation):
            return
        found = judge(seen, ignores=self._ignores)
        bad = [one for one in found if one.verdict is Verdict.FAIL]
        self._keep(zone, serial, found)
        self._tell(zone, bad)
        log.info("a zone was checked", zone=zone, serial=serial, failures=len(bad))

    def _tell(self, zone: str, bad: list[Finding]) -> None:
        """Open an alert for each failure, and close those of failures that are over."""
        now_s = int(time.time())
        signals = {
            one.key: one
            for finding in bad
            for one in (
                Signal(
                    _KIND, f"{zone}/{finding.code}/{finding.subject}", State.OPEN, now_s,
                    f"{finding.subject}: {finding.message}", cause=finding.code,
                    evidence=finding.evidence[:8], next_command=f"quada doctor {zone}",
                ),
            )
        }  # fmt: skip
        open_keys = set(self._alerts.open_keys())
        for key, one in signals.items():
            if key not in open_keys:
                self._alerts.note(one, now_s, self._receivers)
                log.warning("alert", key=key, summary=one.summary)
        for key in open_keys - signals.keys():
            if key.startswith(f"{_KIND}/{zone}/"):
                scope = key.partition("/")[2]
                over = Signal(_KIND, scope, State.CLOSED, now_s, "over")
                self._alerts.note(over, now_s, self._receivers)
                log.info("alert closed", key=key)

    def _keep(self, zone: str, serial: int, found: list[Finding]) -> None:
        place = last_file(self._plan.state_dir, zone)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        data = {
            "zone": zone, "serial": serial, "at": int(time.time()),
            "findings": [one._asdict() for one in found],
        }  # fmt: skip
        with replacing(place) as file:
            json.dump(data, file)


def last_file(state_dir: Path, zone: str) -> Path:
    """Give where the last look at a zone is kept."""
    safe = "".join(c if c.isalnum() or c in "-._" else f"%{ord(c):02x}" for c in zone.rstrip("."))
    return state_dir / "doctor" / f"{safe[:200] or 'root'}.json"


def read_last(state_dir: Path, zone: str) -> tuple[dict[str, Any], list[Finding]]:
    """Read the last look at a zone. Raises: DataFault where there is none."""
    from quada.doctor.findings import Finding

    place = last_file(state_dir, zone)
    try:
        data = json.loads(place.read_text())
        found = [
            Finding(one["code"], Verdict(one["verdict"]), one["subject"], one["message"],
                    tuple(one["evidence"]))
            for one in data.pop("findings")
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFault(
            "no look at this zone is kept", place=str(place),
            remedy="set doctor.every_s, and wait for the first look",
        ) from error  # fmt: skip
    return data, found


def check_zones(plan: Plan) -> None:
    """Check zones, and walk the incidents of alerts, for ever: the process's work."""
    asyncio.run(_run(plan))


async def _run(plan: Plan) -> None:
    from quada.server.incidents import Incidents

    async with asyncio.TaskGroup() as tasks:
        if plan.checks_zones:
            tasks.create_task(Checking(plan).run())
        if plan.settings.doctor.incident_on:
            tasks.create_task(Incidents(plan).run())
