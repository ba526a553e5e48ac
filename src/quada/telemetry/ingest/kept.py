"""What a parser keeps over a restart, so that what belongs together still meets."""

from __future__ import annotations

from typing import Any, ClassVar


class Kept:
    """Something whose attributes named in KEPT are given to the next run."""

    KEPT: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Any]:
        """Give what is to be kept over a restart."""
        return {name: getattr(self, name) for name in self.KEPT}

    def resume(self, state: dict[str, Any]) -> None:
        """Take what another run has kept. Raises: TypeError where it was another kind of parser."""
        for name in self.KEPT:
            if name in state:
                setattr(self, name, state[name])
