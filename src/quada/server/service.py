"""What a service manager is told: ready, stopping (systemd's sd_notify protocol).

One datagram a message to the socket that NOTIFY_SOCKET names; where it names none, nothing is said.
"""

from __future__ import annotations

import os
import socket

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def tell(*lines: str) -> None:
    """Send a message, `READY=1` for instance; a manager that is gone is no reason to stop."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    where = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(where)
            sock.send("\n".join(lines).encode())
    except OSError as error:
        log.warning("the service manager is not told", socket=path, error=str(error))
