"""A race that IPv6 loses: a client program is run against a service of both families here.

The service listens on [::1] and 127.0.0.1 at one port. IPv6 answers, or is closed, or is silent: a
listener whose queue is full, whose host drops what comes (Linux does, without any privilege).
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from quada.doctor.judge_client import CLOSED, OPEN, SILENT
from quada.doctor.observation import Observation, Visit
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_SIX, _FOUR = "::1", "127.0.0.1"
_TRIES: Final = 16
_FILL: Final = 4
_FILL_S: Final = 0.2
_LAST_S: Final = 2.0  # a program that has what it came for may take this long to end
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
    b"Connection: close\r\n\r\nok\n"
)


async def race(
    command: Sequence[str], host: str, runs: int, patience_s: float
) -> AsyncIterator[str | Observation]:
    """Run a program several times against each kind of IPv6; gives what is under way, then all.

    In `command` {url}, {host} and {port} stand for the service; `host` must lead to both families.
    Raises: ConfigFault where it does not, or where the program cannot be run.
    """
    _check_host(host)
    seen = Observation(" ".join(command), ".", time.time())
    for kind in (OPEN, SILENT, CLOSED):
        for number in range(runs):
            yield f"running it where IPv6 is {kind}, {number + 1} of {runs}"
            seen.visits.append(await _run(command, host, kind, patience_s))
    yield seen


async def _run(command: Sequence[str], host: str, kind: str, patience_s: float) -> Visit:
    with ExitStack() as stack:
        six, four, port = _listeners(stack, kind)
        if kind == SILENT:
            await _fill(stack, port)
        url = f"http://{host}:{port}/"
        words = [
            word.replace("{url}", url).replace("{host}", host).replace("{port}", str(port))
            for word in command
        ]
        took: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        try:
            program = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise ConfigFault(f"cannot be run: {error.strerror}", place=words[0]) from error
        open_six = [(six, _SIX)] if six is not None and kind == OPEN else []
        tasks = [
            asyncio.create_task(_take(listener, address, took))
            for listener, address in (*open_six, (four, _FOUR))
        ]
        try:
            address, at = await asyncio.wait_for(_either(took, program), patience_s)
            stage = why = ""
        except TimeoutError:
            address, at, stage = _FOUR, time.monotonic(), "dial"
            why = f"it did not come within {patience_s:.0f} s"
        except ConnectionError as error:
            address, at, stage, why = _FOUR, time.monotonic(), "dial", str(error)
        finally:
            await _end(program, tasks, took)
    ms = round((at - began) * 1000, 1)
    return Visit("client", host, address, port, kind, stage, why, ms, ms)


async def _either(
    took: asyncio.Future[tuple[str, float]], program: asyncio.subprocess.Process
) -> tuple[str, float]:
    """Wait for a request, or for the program to end without one. Raises: ConnectionError."""
    ended = asyncio.create_task(program.wait())
    try:
        await asyncio.wait((took, ended), return_when=asyncio.FIRST_COMPLETED)
        if not took.done():
            raise ConnectionError(f"it ended without coming, exit code {program.returncode}")
        return took.result()
    finally:
        ended.cancel()


async def _end(
    program: asyncio.subprocess.Process,
    tasks: list[asyncio.Task[None]],
    took: asyncio.Future[tuple[str, float]],
) -> None:
    if took.done():
        with suppress(TimeoutError):
            await asyncio.wait_for(program.wait(), _LAST_S)
    if program.returncode is None:
        with suppress(ProcessLookupError):
            program.kill()
        await program.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    took.cancel()


async def _take(
    listener: socket.socket, address: str, took: asyncio.Future[tuple[str, float]]
) -> None:
    """Answer who connects and says something: a connection that is given up again is no request."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        came_at = time.monotonic()
        with connection:
            connection.setblocking(False)
            try:
                said = await asyncio.wait_for(loop.sock_recv(connection, 65_536), _LAST_S)
                if said and not took.done():
                    took.set_result((address, came_at))
                await loop.sock_sendall(connection, _ANSWER)
            except (OSError, TimeoutError):
                continue


def _listeners(stack: ExitStack, kind: str) -> tuple[socket.socket | None, socket.socket, int]:
    """Listen at one port of both families. Raises: ConfigFault where this machine has not both."""
    for _ in range(_TRIES):
        six = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
        four = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            six.bind((_SIX, 0))
            port = six.getsockname()[1]
        except OSError as error:
            raise ConfigFault(f"this machine has no IPv6: {error.strerror}", place=_SIX) from error
        try:
            four.bind((_FOUR, port))
        except OSError:
            continue  # the port is taken there
        for one in (six, four):
            one.setblocking(False)
        four.listen(16)
        if kind != CLOSED:
            six.listen(0 if kind == SILENT else 16)
        return six, four, port
    raise ConfigFault("no port is free in both families", place=_FOUR)


async def _fill(stack: ExitStack, port: int) -> None:
    """Fill the queue of the listener that never takes anybody, until a connection gets no answer.

    Raises: ConfigFault where this system answers all the same.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_FILL):
        one = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
        one.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(one, (_SIX, port)), _FILL_S)
        except TimeoutError:
            return
    raise ConfigFault(
        "connections are taken though nobody takes them", place=_SIX,
        remedy="run it on Linux: elsewhere a full queue is not silent",
    )  # fmt: skip


def _check_host(host: str) -> None:
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise ConfigFault(f"it does not resolve: {error}", place=host) from error
    if not {_SIX, _FOUR} <= found:
        raise ConfigFault(
            f"it leads to {', '.join(sorted(found))}", place=host,
            remedy=f"name one with --host that leads to {_SIX} and {_FOUR}, in /etc/hosts perhaps",
        )  # fmt: skip
