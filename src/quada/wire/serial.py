"""Serial number arithmetic (RFC 1982)."""

from __future__ import annotations

from typing import Final

_HALF: Final = 1 << 31  # RFC 1982 3.2: half of the numbers are later


def is_later(serial: int, than: int) -> bool:
    """Tell whether a 32-bit serial is later than another (RFC 1982 3.2)."""
    return 0 < (serial - than) % (1 << 32) < _HALF
