"""A look at HTTP/2 frames before h2 buffers them.

h2 checks the length of a frame when all of it has come, and would keep up to 16 MiB of one frame a
connection until then.
"""

from __future__ import annotations

from typing import Final

_LENGTH_OCTETS: Final = 3  # the first of the nine octets before each frame (RFC 9113 4.1)
_HEADER_OCTETS: Final = 9
_FRAME_OCTETS: Final = 1 << 14  # RFC 9113 6.5.2, SETTINGS_MAX_FRAME_SIZE: we raise it for nobody
PREFACE_OCTETS: Final = 24  # RFC 9113 3.4: what a client sends first


class FrameLengths:
    """Follows the frames of one connection. `skip` is what comes before the first."""

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._head = bytearray()

    def are_fair(self, data: bytes) -> bool:
        """Tell whether no frame that begins in these octets is longer than we said we take."""
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            step = min(_LENGTH_OCTETS - len(self._head), end - at)
            self._head += data[at : at + step]
            at += step
            if len(self._head) == _LENGTH_OCTETS:
                length = int.from_bytes(self._head, "big")
                if length > _FRAME_OCTETS:
                    return False
                self._skip = _HEADER_OCTETS - _LENGTH_OCTETS + length
                self._head.clear()
        return True
