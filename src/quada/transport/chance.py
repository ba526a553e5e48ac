"""Random bits for ids, ports and the case of names: the system's, asked for in large pieces."""

from __future__ import annotations

import os
from typing import Final

_OCTETS: Final = 8192  # our choice: a system call for hundreds of queries instead of one for each


class _Pool:
    """Random octets, each given out once. A forked process does not give out its parent's."""

    def __init__(self) -> None:
        self.octets = b""
        self.at = 0

    def empty(self) -> None:
        """Forget what is left."""
        self.octets, self.at = b"", 0


_pool: Final = _Pool()
os.register_at_fork(after_in_child=_pool.empty)


def random_bits(count: int) -> int:
    """Give at least `count` random bits as a number, rounded up to whole octets."""
    size = (count + 7) >> 3
    at = _pool.at
    end = at + size
    if end > len(_pool.octets):
        _pool.octets = os.urandom(max(_OCTETS, size))
        at, end = 0, size
    _pool.at = end
    return int.from_bytes(_pool.octets[at:end], "big")
