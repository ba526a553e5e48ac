"""Many datagrams in one system call: `recvmmsg` and `sendmmsg`, which Python's socket has not.

Both are called through ctypes, with memory that is laid out once. A query's first octets are
received into a short slot of their own, so that one copy takes those of a whole batch; what is
longer, and queries hardly ever are, goes on elsewhere. Answers lie one behind another.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

BATCH: Final = 64  # our choice: larger batches gain nothing measurable
SLOT_OCTETS: Final = 4096  # our choice: larger queries over UDP do not exist
SHORT_OCTETS: Final = 256  # our choice: longest name, OPT and a cookie fit
_LONG_OCTETS: Final = SLOT_OCTETS - SHORT_OCTETS
PEER_OCTETS: Final = 28
CONTROL_OCTETS: Final = 64
_MSG_DONTWAIT: Final = 0x40


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("size", ctypes.c_uint32))


class Batch:
    """Memory for a batch, laid out once: the kernel writes queries into it and reads answers."""

    def __init__(self, sock: socket.socket, *, has_control: bool) -> None:
        self._fd = sock.fileno()
        self.has_control = has_control
        self._short = (ctypes.c_char * (BATCH * SHORT_OCTETS))()
        self._long = (ctypes.c_char * (BATCH * _LONG_OCTETS))()
        self._out = (ctypes.c_char * (BATCH * SLOT_OCTETS))()
        self._names = (ctypes.c_char * (BATCH * PEER_OCTETS))()
        self._controls = (ctypes.c_char * (BATCH * CONTROL_OCTETS))()
        self._in_iov, self._out_iov = (_IoVec * (2 * BATCH))(), (_IoVec * BATCH)()
        self._in_msgs, self._out_msgs = (_MMsgHdr * BATCH)(), (_MMsgHdr * BATCH)()
        for slot in range(BATCH):
            self._lay_out(slot)
        self.shorts = memoryview(self._short).cast("B")
        self._longs = memoryview(self._long).cast("B")
        self._octets = memoryview(self._out).cast("B")
        self.peers = memoryview(self._names).cast("B")
        self._controls_view = memoryview(self._controls).cast("B")
        self._in_sizes = memoryview(self._in_msgs).cast("B").cast("I")
        self._in_words = memoryview(self._in_msgs).cast("B").cast("Q")
        self._out_words = memoryview(self._out_msgs).cast("B").cast("Q")
        self._out_places = memoryview(self._out_iov).cast("B").cast("Q")
        self._words = ctypes.sizeof(_MMsgHdr) // 8
        self._name_word = _MsgHdr.name.offset // 8
        self._control_word = _MsgHdr.control.offset // 8
        self._control_size_word = _MsgHdr.control_size.offset // 8
        self._names_at = ctypes.addressof(self._names)
        self._controls_at = ctypes.addressof(self._controls)
        self._in_at = ctypes.addressof(self._in_msgs)
        self._out_at = ctypes.addressof(self._out_msgs)
        self._octets_at = ctypes.addressof(self._out)
        self._is_moved = False
        self._used = 0

    def _lay_out(self, slot: int) -> None:
        shorts, longs, answer = self._in_iov[2 * slot], self._in_iov[2 * slot + 1], self._out_iov
        shorts.base = ctypes.addressof(self._short) + slot * SHORT_OCTETS
        shorts.size = SHORT_OCTETS
        longs.base = ctypes.addressof(self._long) + slot * _LONG_OCTETS
        longs.size = _LONG_OCTETS
        answer[slot].base, answer[slot].size = ctypes.addressof(self._out), 0
        for iov, msgs, pieces in ((self._in_iov, self._in_msgs, 2), (answer, self._out_msgs, 1)):
            header = msgs[slot].header
            header.name = ctypes.addressof(self._names) + slot * PEER_OCTETS
            header.name_size = PEER_OCTETS
            header.iov = ctypes.addressof(iov) + slot * pieces * ctypes.sizeof(_IoVec)
            header.iov_count = pieces
            if self.has_control:
                header.control = ctypes.addressof(self._controls) + slot * CONTROL_OCTETS
                header.control_size = CONTROL_OCTETS

    def receive(self) -> int:
        """Take what is there, up to a batch; 0 or less where there is nothing."""
        words, step = self._in_words, self._words
        if self.has_control:
            at = self._control_size_word
            for slot in range(self._used):
                words[slot * step + at] = CONTROL_OCTETS
        if self._is_moved:
            self._put_back()
        count = int(_recvmmsg(self._fd, self._in_at, BATCH, _MSG_DONTWAIT, None))
        self._used = max(count, 0)
        return count

    def sizes(self, count: int) -> list[int]:
        """Give the octets of each of the first `count` queries received."""
        step = ctypes.sizeof(_MMsgHdr) // 4
        first = _MMsgHdr.size.offset // 4
        return self._in_sizes[first : first + (count - 1) * step + 1 : step].tolist()

    def rest(self, slot: int, size: int) -> bytes:
        """Give what a query of so many octets has beyond its short slot."""
        at = slot * _LONG_OCTETS
        return bytes(self._longs[at : at + min(size - SHORT_OCTETS, _LONG_OCTETS)])

    def fill(self, messages: list[bytes], sizes: list[int]) -> None:
        """Lay answers of so many octets out, at most a batch of them and a slot's octets each."""
        octets = b"".join(messages)
        self._octets[: len(octets)] = octets
        places = array("Q")
        at = self._octets_at
        for size in sizes:
            places.append(at)
            places.append(size)
            at += size
        self._out_places[: len(places)] = memoryview(places)

    def address(self, out: int, slot: int) -> None:
        """Address answer number `out` to the sender of query number `slot`."""
        base = out * self._words
        if out != slot or self._is_moved:
            self._is_moved = True
            self._out_words[base + self._name_word] = self._names_at + slot * PEER_OCTETS
        if self.has_control:
            self._out_words[base + self._control_word] = self._controls_at + slot * CONTROL_OCTETS
            self._out_words[base + self._control_size_word] = self._in_words[
                slot * self._words + self._control_size_word
            ]

    def _put_back(self) -> None:
        """Address every answer to the query of its own number again."""
        self._is_moved = False
        for slot in range(BATCH):
            at = slot * self._words + self._name_word
            self._out_words[at] = self._names_at + slot * PEER_OCTETS

    def keep(self, slot: int) -> tuple[bytes, bytes]:
        """Copy a sender's address and control data, for an answer that comes later."""
        peer = bytes(self.peers[slot * PEER_OCTETS : (slot + 1) * PEER_OCTETS])
        if not self.has_control:
            return peer, b""
        size = self._in_words[slot * self._words + self._control_size_word]
        at = slot * CONTROL_OCTETS
        return peer, bytes(self._controls_view[at : at + size])

    def load(self, slot: int, peer: bytes, control: bytes) -> None:
        """Address an answer that was kept; the queries received last are gone by then."""
        start = slot * PEER_OCTETS
        self.peers[start : start + len(peer)] = peer
        if self.has_control:
            start = slot * CONTROL_OCTETS
            self._controls_view[start : start + len(control)] = control
            self._in_words[slot * self._words + self._control_size_word] = len(control)
            self._used = max(self._used, slot + 1)
        self.address(slot, slot)

    def send(self, count: int) -> int:
        """Send the first `count` answers; gives how many went. One that fails is passed over."""
        sent = done = 0
        size = ctypes.sizeof(_MMsgHdr)
        while done < count:
            went = int(_sendmmsg(self._fd, self._out_at + done * size, count - done, _MSG_DONTWAIT))
            if went <= 0:
                done += 1
            else:
                done += went
                sent += went
        return sent


_recvmmsg: Any = None
_sendmmsg: Any = None
if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)
    _recvmmsg = getattr(_libc, "recvmmsg", None)
    _sendmmsg = getattr(_libc, "sendmmsg", None)
HAS_MMSG: Final = _recvmmsg is not None and _sendmmsg is not None
if HAS_MMSG:
    _arguments = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    _recvmmsg.argtypes = [*_arguments, ctypes.c_void_p]
    _sendmmsg.argtypes = _arguments
