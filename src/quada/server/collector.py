"""The collector: an own process that writes events as JSON lines, where that is configured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Final

from quada.server.ring import open_rings, split
from quada.telemetry.event import parse_record

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE_S: Final = 0.1


async def collect(directory: Path, jsonl: Path) -> None:
    """Append every event from now on to a file, until SIGTERM, and then once more.

    A full disk loses lines and stops nothing; what was lost is said in the next line written.
    """
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, until.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    readers = open_rings(directory)
    while True:
        is_last = until.is_set()
        lines = [
            json.dumps(parse_record(record).to_json())
            for reader in readers
            for record in split(reader.take())
        ]
        lost = sum(reader.lost_count for reader in readers)
        if lost:
            lines.append(json.dumps({"lost": lost}))
            for reader in readers:
                reader.lost_count = 0
        if lines:
            with contextlib.suppress(OSError), jsonl.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        if is_last:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), _PAUSE_S)
