"""A sample of what one minute holds: whatever comes, no more than so many are kept.

Which are kept says their hash, which Python keys anew in every process, so nobody can choose to be
kept. All that is said about one attempt is kept or left out together, and so shares stay right.
"""

from __future__ import annotations

from typing import Generic, TypeVar

_Key = TypeVar("_Key")


class Sample(Generic[_Key]):
    """Decides which keys are kept: all of them, then every second, every fourth, and so on."""

    __slots__ = ("left_out", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self.left_out = 0

    def has(self, key: _Key) -> bool:
        """Whether this key is one of those kept. Counts those that are not."""
        if hash(key) & self.mask:
            self.left_out += 1
            return False
        return True

    def halve(self) -> None:
        """Keep half of what was kept. Whoever holds the keys drops the rest by `still`."""
        self.mask = self.mask << 1 | 1

    def still(self, key: _Key) -> bool:
        """Whether a key that was kept before is kept now."""
        return not hash(key) & self.mask

    @property
    def one_in(self) -> int:
        """What one that is kept stands for."""
        return self.mask + 1
