"""When a scope that fails becomes a signal, and when it is over."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPEN_OF: Final = 2  # of the last three minutes
CLOSE_AFTER: Final = 10


class Openings:
    """Scopes that fail now or did lately: open on two of three minutes, over after ten quiet.

    One for which the evidence itself spans minutes is open at once.
    """

    def __init__(self) -> None:
        self._recent: dict[str, deque[bool]] = {}
        self._quiet: dict[str, int] = {}

    @property
    def scopes(self) -> list[str]:
        """The scopes that are not over."""
        return list(self._recent)

    def resume(self, scope: str) -> None:
        """Take on a scope that was open."""
        self._recent[scope] = deque([True] * 3, maxlen=3)

    def step(self, failing: Iterable[str], sure: Iterable[str] = ()) -> tuple[list[str], list[str]]:
        """Take the scopes that fail in a minute; gives those that are open, and those over.

        `sure` are those of them whose evidence is of several minutes: they need no second look.
        """
        now, known = set(failing), set(sure)
        is_open, is_over = [], []
        for scope in now | set(self._recent):
            recent = self._recent.setdefault(scope, deque(maxlen=3))
            recent.append(scope in now)
            if scope in now:
                self._quiet[scope] = 0
                if scope in known or sum(recent) >= _OPEN_OF:
                    is_open.append(scope)
                continue
            self._quiet[scope] = self._quiet.get(scope, 0) + 1
            if self._quiet[scope] >= CLOSE_AFTER:
                is_over.append(scope)
                del self._quiet[scope], self._recent[scope]
        return is_open, is_over
