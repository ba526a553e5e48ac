"""One signal: what, since when, compared with what, whose, on what evidence, and what next."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """BLIND says that the input was unfit to judge by, which is a state of its own."""

    OPEN = "open"
    CLOSED = "closed"
    BLIND = "blind"


class Signal(NamedTuple):
    """Times are in seconds of the Unix epoch. `scope` and `kind` together are its identity."""

    kind: str
    scope: str
    state: State
    since: int
    summary: str
    compared: str = ""
    cause: str = ""
    where: str = ""
    evidence: tuple[str, ...] = ()
    next_command: str = ""

    @property
    def key(self) -> str:
        """What makes two signals the same incident."""
        return f"{self.kind}/{self.scope}"


def closed(kind: str, scope: str, at: int) -> Signal:
    """Say that a signal is over, at a minute since the Unix epoch."""
    return Signal(kind, scope, State.CLOSED, at * 60, "over")
