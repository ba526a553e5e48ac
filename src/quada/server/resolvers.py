"""The resolver workers as the control socket commands them: explain, flush, distrust, shadow."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import quada.wire.names as names
from quada.server.deliver import Explain, Flush, TellShadow
from quada.server.distrust import set_distrust, show_distrust
from quada.wire.faults import ConfigFault
from quada.zones.rdata import type_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quada.server.channel import Channel
    from quada.server.deliver import Explained

_PATIENCE_S: Final = 20.0


class Resolvers:
    """Takes what gives the workers' channels, and the file of negative trust anchors."""

    def __init__(self, channels: Callable[[], list[Channel]], distrust_path: Path) -> None:
        self._channels = channels
        self._distrust_path = distrust_path
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    def commands(self) -> dict[str, Callable[..., Any]]:
        """Give what the control socket may call."""
        return {
            "explain": self.explain,
            "flush": self.flush,
            "distrust": self.distrust,
            "shadow": self.shadow,
        }

    def told(self, report: Explained) -> None:
        """Take a worker's answer to what it was asked."""
        waiting = self._waiting.pop(report.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(report.told)

    async def explain(self, name: str, rdtype: str) -> dict[str, Any]:
        """Have a worker resolve a question and tell how. Raises: ConfigFault."""
        number = type_number(rdtype)
        channels = self._running("explain")
        if number is None:
            raise ConfigFault(f"{rdtype} is not a type", place="explain")
        qname = names.from_text(name).lower()
        asked, waiting = self._expect()
        channels[0].send(Explain(asked, qname, number))
        told: dict[str, Any] = await asyncio.wait_for(waiting, _PATIENCE_S)
        return told

    def flush(self, name: str, *, is_subtree: bool = False) -> None:
        """Have every worker forget a name."""
        for channel in self._channels():
            channel.send(Flush(names.from_text(name).lower(), is_subtree))

    def distrust(self, name: str = "", for_s: int = 0) -> dict[str, int]:
        """Set or end a negative trust anchor, or tell which there are."""
        now_s = int(time.time())
        if name:
            set_distrust(self._distrust_path, name, for_s, now_s)
            self.flush(name, is_subtree=True)  # a worker reads the file when it forgets
        return show_distrust(self._distrust_path, now_s)

    async def shadow(self) -> list[dict[str, Any]]:
        """Tell which zones would not have been reached over IPv6 alone, most asked first."""
        asked = []
        for channel in self._running("shadow"):
            number, waiting = self._expect()
            channel.send(TellShadow(number))
            asked.append(waiting)
        reports = await asyncio.wait_for(asyncio.gather(*asked), _PATIENCE_S)
        return _merged(reports)

    def _running(self, what: str) -> list[Channel]:
        channels = self._channels()
        if not channels:
            raise ConfigFault("no resolver runs here", place=what)
        return channels

    def _expect(self) -> tuple[int, asyncio.Future[Any]]:
        self._number += 1
        waiting = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        return self._number, waiting


def _merged(reports: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Put workers' rows together: messages are added, and who knows more is believed."""
    rows: dict[str, dict[str, Any]] = {}
    asked: defaultdict[str, int] = defaultdict(int)
    for row in (row for report in reports for row in report):
        asked[row["zone"]] += row["asked"]
        if row["zone"] not in rows or row["verdict"] == "no":
            rows[row["zone"]] = row
    merged = [{**row, "asked": asked[zone]} for zone, row in rows.items()]
    return sorted(merged, key=lambda row: -row["asked"])
