"""The control socket: one JSON line in, one JSON line out, for `quada status` and its kin.

Whoever may open the socket file may command the server; it is open to its owner and group.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
from typing import TYPE_CHECKING, Any, Final

from quada.wire.faults import Fault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LINE_OCTETS: Final = 1 << 20
_TIMEOUT_S: Final = 30.0


class Control:
    """The server's side: a command name and arguments go to a function."""

    def __init__(self, path: Path, commands: dict[str, Callable[..., Any]]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket file left by a dead server is replaced; a live one is a ReachFault."""
        if self._path.exists() and is_alive(self._path):
            raise ReachFault(
                "another quada runs here",
                place=str(self._path),
                remedy="stop it, or give this one another server.state_dir",
            )
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_LINE_OCTETS)
        self._path.chmod(0o660)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self._command(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the other end left, or its line was too long
        finally:
            writer.close()

    async def _command(self, line: bytes) -> dict[str, Any]:
        try:
            wanted = json.loads(line)
            command = self._commands[wanted.pop("command")]
            result = command(**wanted)
            if inspect.isawaitable(result):
                result = await result
        except Fault as fault:
            return {"fault": str(fault), "code": fault.code}
        except (KeyError, TypeError, AttributeError, ValueError):
            return {"fault": "unknown command or arguments", "code": "unknown-command"}
        return {"result": result}


def command(path: Path, wanted: str, /, **arguments: Any) -> Any:
    """Give a running server a command and return its result.

    Raises: ReachFault where no server listens, or it answers with a fault.
    """
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.connect(str(path))
            sock.sendall(json.dumps({"command": wanted, **arguments}).encode() + b"\n")
            with sock.makefile("rb") as file:
                answer = json.loads(file.readline() or b"{}")
    except OSError as error:
        raise ReachFault(
            f"no server answers: {error.strerror or error}",
            place=str(path),
            remedy="start one with `quada serve`, or name its state directory with --state-dir",
        ) from error
    if "fault" in answer:
        raise ReachFault(answer["fault"], place=str(path))
    return answer.get("result")


def is_alive(path: Path) -> bool:
    """Tell whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1)
        return sock.connect_ex(str(path)) == 0
