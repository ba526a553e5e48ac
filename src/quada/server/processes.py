"""Processes of ours: ended, waited for, tied to their parent, and made less than root."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pwd
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final

from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STOP_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


async def wait_for(pids: list[int]) -> None:
    """Wait for processes of ours to end; kill what has not after a while."""
    deadline = time.monotonic() + _STOP_S
    left = set(pids)
    while left:
        for pid in list(left):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:  # noqa: ASYNC222  (WNOHANG does not wait)
                    left.discard(pid)
            except ChildProcessError:
                left.discard(pid)
        if left and time.monotonic() > deadline:
            for pid in left:
                send_signal(pid, signal.SIGKILL)
            deadline += _STOP_S
        if left:
            await asyncio.sleep(0.01)


def send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def die_with(parent: int) -> None:
    """Have the kernel end this process with the supervisor, so that no port stays held."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def fork_beside(run: Callable[[], None]) -> int:
    """Fork a process that runs beside the workers and ends with its parent; gives its id."""
    sys.stdout.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            die_with(parent)
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid


def become(user: str, state_dir: Path) -> None:
    """Give up root for a user, once sockets are bound."""
    if not user or os.getuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigFault(f"there is no user {user}", place="server.user") from None
    for path in (state_dir, *state_dir.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
