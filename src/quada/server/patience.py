"""Work that waits for idle moments: telemetry must not stand in a query's way.

A process of lower priority still keeps a core until its slice is over, up to 10 ms where the kernel
ticks 100 times a second; a query that comes meanwhile waits so long. Linux lets one kind of thread
be put off at any moment: SCHED_IDLE. Such a thread starves where nothing is ever idle, and an
ordinary user cannot take it out of that class again. So there is a thread of it beside, which is
given the work as long as it gets on.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_TRY_S: Final = 0.05  # our choice: who is not heard of for so long starves
_BUSY_S: Final = 30.0  # our choice: until idle moments are looked for again
_SHARE_MIN: Final = 0.1  # of a core, that work must have got to be left in idle moments
_PARDONED_S: Final = 1.0  # waiting that is no sign of anything: a disk that syncs


class Patience:
    """Runs work in idle moments while there are any, and at the caller's own priority else."""

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._thread = ThreadPoolExecutor(1, "patient", _give_way) if _HAS_IDLE else None

    @property
    def is_patient(self) -> bool:
        """Whether the next work will be put off to idle moments."""
        return self._thread is not None and time.monotonic() >= self._busy_until

    def run(self, work: Callable[[], _T]) -> _T:
        """Do the work now and give what comes of it, whoever does it; raises what it raises."""
        if self._thread is None or not self.is_patient or not self._has_moments():
            return work()
        return self._thread.submit(self._timed, work).result()

    def note(self, took_s: float, cpu_s: float) -> None:
        """Judge by how long work took, and how much of that it could run."""
        if took_s > _PARDONED_S and cpu_s < took_s * _SHARE_MIN:
            self._busy_until = time.monotonic() + _BUSY_S

    def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _has_moments(self) -> bool:
        assert self._thread is not None
        try:
            self._thread.submit(time.thread_time).result(_TRY_S)
        except TimeoutError:
            self._busy_until = time.monotonic() + _BUSY_S
            return False
        return True

    def _timed(self, work: Callable[[], _T]) -> _T:
        started, cpu_before = time.monotonic(), time.thread_time()
        try:
            return work()
        finally:
            self.note(time.monotonic() - started, time.thread_time() - cpu_before)


_HAS_IDLE: Final = hasattr(os, "SCHED_IDLE")


def _give_way() -> None:
    """Put the calling thread into the class that gives way at once (sched(7))."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # a sandbox may forbid it: the process's niceness has to do
        return
