"""UDP listeners: a readable socket is drained in batches, and no object is made per packet.

On Linux one `recvmmsg` takes up to 64 queries and one `sendmmsg` sends their answers; both are
called through ctypes because Python's socket module has neither. Elsewhere, and for sockets bound
to a wildcard address (which must answer from the address they were asked at), a plain loop does.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from quada.wire.ask import Transport
from quada.wire.limit import BUCKETS, Verdict, truncated
from quada.wire.respond import Deferred

if TYPE_CHECKING:
    from quada.transport.exchange import Defer, Sink
    from quada.wire.respond import Responder

BATCH: Final = 64  # our choice: larger batches gain nothing measurable
_SLOT_OCTETS: Final = 4096  # our choice: larger queries over UDP do not exist
_PEER_OCTETS: Final = 28
_DRAIN_BATCHES: Final = 16  # then other sockets get their turn
_CONTROL_OCTETS: Final = 64
_MSG_DONTWAIT: Final = 0x40
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IP_PKTINFO: Final = 8
_IPPROTO_IPV6: Final = 41
_BUCKET_MASK: Final = BUCKETS - 1


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


class UdpListener:
    """One bound UDP socket and the role behind it.

    `on_readable` is to be called whenever the socket is readable. Takes `defer`, which is given
    what the role could not answer at once and a function that sends the answer when it comes.
    """

    def __init__(
        self,
        sock: socket.socket,
        responder: Responder,
        sink: Sink,
        defer: Defer,
    ) -> None:
        self._sock = sock
        self._responder = responder
        self._sink = sink
        self._defer = defer
        self._is_v6 = sock.family == socket.AF_INET6
        self._network = slice(8, 15) if self._is_v6 else slice(4, 7)
        self._address = slice(8, 24) if self._is_v6 else slice(4, 8)
        self.received_count = 0
        self.unsent_count = 0
        self._later: list[tuple[bytes, bytes, bytes]] = []
        sock.setblocking(False)
        bound = sock.getsockname()[0]
        self._is_wildcard = bound in ("::", "0.0.0.0")
        if self._is_wildcard:
            _ask_for_destination(sock)
        self._batch = _Batch(sock, has_control=self._is_wildcard) if _HAS_MMSG else None
        self.on_readable = self._drain_batches if self._batch else self._drain_singly

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._sock.fileno()

    def _drain_batches(self) -> None:
        """The hot loop. Steps: receive, look up or answer, limit, log, send."""
        batch = self._batch
        assert batch is not None
        responder = self._responder
        for _ in range(_DRAIN_BATCHES):
            received = batch.receive()
            if received <= 0:
                return
            self.received_count += received
            now_ns = time.time_ns()
            responder.begin(now_ns)
            self._answer_batch(batch, received, now_ns.to_bytes(8, "little"))
            if received < BATCH:
                return

    def _answer_batch(self, batch: _Batch, received: int, head: bytes) -> None:
        responder = self._responder
        known = responder.answers.get
        limiter = responder.limiter
        counts = limiter.counts if limiter else None
        ceiling = limiter.settings.per_second if limiter else 0
        network_of = self._network
        admitted, address_of = responder.clients, self._address
        octets, sizes, answers, out_sizes = batch.octets, batch.sizes, batch.out, batch.out_sizes
        peers = bytes(batch.peers[: received * _PEER_OCTETS])
        is_in_place = not batch.has_control
        at_size, step = batch.first_size, batch.size_step
        events: list[bytes] = []
        sent = 0
        for slot in range(received):
            at = slot * _SLOT_OCTETS
            packet = bytes(octets[at : at + sizes[at_size]])
            at_size += step
            peer = peers[slot * _PEER_OCTETS : slot * _PEER_OCTETS + _PEER_OCTETS]
            answered = known(packet[2:])
            if admitted is not None and answered is not None and peer[address_of] not in admitted:
                answered = None
            is_trusted = False
            if answered is None:
                found = responder.answer(packet, peer, Transport.UDP)
                if isinstance(found, Deferred):
                    self._put_off(found, batch.keep(slot))
                    continue
                answered = found
                is_trusted = responder.is_trusted
            response, tail = answered
            if counts is not None:
                bucket = hash(peer[network_of]) & _BUCKET_MASK
                count = counts[bucket] = counts[bucket] + 1
                if count > ceiling and not is_trusted and limiter is not None:
                    verdict = limiter.judge(peer[network_of], response)
                    if verdict is Verdict.DROP:
                        events += (head, peer, limited(tail, is_silent=True))
                        continue
                    if verdict is Verdict.SLIP:
                        response, tail = truncated(response), limited(tail, is_silent=False)
            events += (head, peer, tail)
            if response:
                message = packet[:2] + response
                size = len(message)
                start = sent * _SLOT_OCTETS
                answers[start : start + size] = message
                out_sizes[2 * sent + 1] = size
                if sent != slot or not is_in_place:
                    is_in_place = False
                    batch.address(sent, slot)
                sent += 1
        self._sink.extend(b"".join(events), len(events) // 3)
        if sent:
            self.unsent_count += sent - batch.send(sent)

    def _put_off(self, deferred: Deferred, kept: tuple[bytes, bytes]) -> None:
        """Hand a query on; its answer goes out alone, when it comes."""
        self._defer(deferred, _Waiting(self, deferred, self._sink, kept))

    def send_later(self, message: bytes, peer: bytes, control: bytes) -> None:
        """Send a message to a raw address, from the address that control data names.

        What is sent in one turn of the event loop goes out at its end, in one system call.
        """
        batch = self._batch
        if batch is None or len(message) > _SLOT_OCTETS:
            self._send_one(message, peer, control)
            return
        if not self._later:
            asyncio.get_running_loop().call_soon(self._flush)
        self._later.append((message, peer, control))

    def _flush(self) -> None:
        batch, later = self._batch, self._later
        assert batch is not None
        for first in range(0, len(later), BATCH):
            part = later[first : first + BATCH]
            for slot, (message, peer, control) in enumerate(part):
                batch.load(slot, message, peer, control)
            self.unsent_count += len(part) - batch.send(len(part))
        later.clear()

    def _send_one(self, message: bytes, peer: bytes, control: bytes) -> None:
        ancillary = _parse_control(control, is_v6=self._is_v6) if control else []
        try:
            self._sock.sendmsg([message], ancillary, 0, _address(peer))
        except OSError:
            self.unsent_count += 1

    def _drain_singly(self) -> None:
        """The plain loop, for systems without recvmmsg."""
        responder = self._responder
        for _ in range(BATCH * _DRAIN_BATCHES):
            try:
                packet, ancillary, _, address = self._sock.recvmsg(_SLOT_OCTETS, _CONTROL_OCTETS)
            except OSError:
                return
            self.received_count += 1
            now_ns = time.time_ns()
            responder.begin(now_ns)
            peer = _raw(address)
            admitted = responder.clients
            is_admitted = admitted is None or peer[self._address] in admitted
            answered = responder.answers.get(packet[2:]) if is_admitted else None
            found = answered or responder.answer(packet, peer, Transport.UDP)
            if isinstance(found, Deferred):
                self._put_off(found, (peer, b""))
                continue
            response, tail = found
            self._sink.append(now_ns.to_bytes(8, "little"), peer, tail)
            if response:
                try:
                    keep = [one for one in ancillary if one[1] in (_IPV6_PKTINFO, _IP_PKTINFO)]
                    self._sock.sendmsg([packet[:2] + response], keep, 0, address)
                except OSError:
                    self.unsent_count += 1


class _Waiting:
    """A pending UDP client."""

    is_gone = False

    def __init__(
        self, listener: UdpListener, deferred: Deferred, sink: Sink, kept: tuple[bytes, bytes]
    ) -> None:
        self._listener, self._sink, self._kept = listener, sink, kept
        self._query_id, self._peer = deferred.packet[:2], deferred.peer
        self._head = time.time_ns().to_bytes(8, "little")

    def send(self, response: bytes, tail: bytes) -> None:
        if tail:
            self._sink.append(self._head, self._peer, tail)
        if response:
            self._listener.send_later(self._query_id + response, *self._kept)

    async def drain(self) -> None:
        """Nothing to wait for: a datagram is sent or lost."""


class _Batch:
    """Memory for a batch, laid out once: the kernel writes queries into it and reads answers."""

    def __init__(self, sock: socket.socket, *, has_control: bool) -> None:
        self._fd = sock.fileno()
        self.has_control = has_control
        self._in = (ctypes.c_char * (BATCH * _SLOT_OCTETS))()
        self._out = (ctypes.c_char * (BATCH * _SLOT_OCTETS))()
        self._names = (ctypes.c_char * (BATCH * _PEER_OCTETS))()
        self._controls = (ctypes.c_char * (BATCH * _CONTROL_OCTETS))()
        self._in_iov, self._out_iov = (_IoVec * BATCH)(), (_IoVec * BATCH)()
        self._in_msgs, self._out_msgs = (_MMsgHdr * BATCH)(), (_MMsgHdr * BATCH)()
        for slot in range(BATCH):
            self._lay_out(slot)
        self.octets = memoryview(self._in).cast("B")
        self.out = memoryview(self._out).cast("B")
        self.peers = memoryview(self._names).cast("B")
        self._controls_view = memoryview(self._controls).cast("B")
        self.sizes = memoryview(self._in_msgs).cast("B").cast("I")
        self._in_words = memoryview(self._in_msgs).cast("B").cast("Q")
        self._out_words = memoryview(self._out_msgs).cast("B").cast("Q")
        self.out_sizes = memoryview(self._out_iov).cast("B").cast("Q")
        self.first_size = _MMsgHdr.size.offset // 4
        self.size_step = ctypes.sizeof(_MMsgHdr) // 4
        self._words = ctypes.sizeof(_MMsgHdr) // 8
        self._name_word = _MsgHdr.name.offset // 8
        self._control_word = _MsgHdr.control.offset // 8
        self._control_size_word = _MsgHdr.control_size.offset // 8
        self._names_at = ctypes.addressof(self._names)
        self._controls_at = ctypes.addressof(self._controls)
        self._in_at = ctypes.addressof(self._in_msgs)
        self._out_at = ctypes.addressof(self._out_msgs)
        self._is_moved = False
        self._used = 0

    def _lay_out(self, slot: int) -> None:
        for octets, iov, msgs in (
            (self._in, self._in_iov, self._in_msgs),
            (self._out, self._out_iov, self._out_msgs),
        ):
            iov[slot].base = ctypes.addressof(octets) + slot * _SLOT_OCTETS
            iov[slot].size = _SLOT_OCTETS
            header = msgs[slot].header
            header.name = ctypes.addressof(self._names) + slot * _PEER_OCTETS
            header.name_size = _PEER_OCTETS
            header.iov = ctypes.addressof(iov) + slot * ctypes.sizeof(_IoVec)
            header.iov_count = 1
            if self.has_control:
                header.control = ctypes.addressof(self._controls) + slot * _CONTROL_OCTETS
                header.control_size = _CONTROL_OCTETS

    def receive(self) -> int:
        """Take what is there, up to a batch; 0 or less where there is nothing."""
        words, step = self._in_words, self._words
        if self.has_control:
            at = self._control_size_word
            for slot in range(self._used):
                words[slot * step + at] = _CONTROL_OCTETS
        if self._is_moved:
            self._put_back()
        count = int(_recvmmsg(self._fd, self._in_at, BATCH, _MSG_DONTWAIT, None))
        self._used = max(count, 0)
        return count

    def address(self, out: int, slot: int) -> None:
        """Address answer number `out` to the sender of query number `slot`."""
        base = out * self._words
        if out != slot or self._is_moved:
            self._is_moved = True
            self._out_words[base + self._name_word] = self._names_at + slot * _PEER_OCTETS
        if self.has_control:
            self._out_words[base + self._control_word] = self._controls_at + slot * _CONTROL_OCTETS
            self._out_words[base + self._control_size_word] = self._in_words[
                slot * self._words + self._control_size_word
            ]

    def _put_back(self) -> None:
        """Address every answer to the query of its own number again."""
        self._is_moved = False
        for slot in range(BATCH):
            at = slot * self._words + self._name_word
            self._out_words[at] = self._names_at + slot * _PEER_OCTETS

    def keep(self, slot: int) -> tuple[bytes, bytes]:
        """Copy a sender's address and control data, for an answer that comes later."""
        peer = bytes(self.peers[slot * _PEER_OCTETS : (slot + 1) * _PEER_OCTETS])
        if not self.has_control:
            return peer, b""
        size = self._in_words[slot * self._words + self._control_size_word]
        at = slot * _CONTROL_OCTETS
        return peer, bytes(self._controls_view[at : at + size])

    def load(self, slot: int, message: bytes, peer: bytes, control: bytes) -> None:
        """Put an answer that was kept into a slot; the queries received last are gone by then."""
        start = slot * _SLOT_OCTETS
        self.out[start : start + len(message)] = message
        self.out_sizes[2 * slot + 1] = len(message)
        start = slot * _PEER_OCTETS
        self.peers[start : start + len(peer)] = peer
        if self.has_control:
            start = slot * _CONTROL_OCTETS
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


def limited(tail: bytes, *, is_silent: bool) -> bytes:
    """Mark an event's tail as limited, and as silent where nothing was sent."""
    flags = tail[10] | tail[11] << 8 | 0x1000 | (0x0800 if is_silent else 0)
    return tail[:10] + flags.to_bytes(2, "little") + tail[12:]


def _ask_for_destination(sock: socket.socket) -> None:
    """Have the kernel tell the address each query came to, so that the answer leaves from it."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(_IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)  # RFC 3542 4
    elif sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _parse_control(control: bytes, *, is_v6: bool) -> list[tuple[int, int, bytes]]:
    """Parse one control message into what `sendmsg` takes."""
    header = struct.calcsize("@Nii")
    if len(control) < header:
        return []
    size, level, kind = struct.unpack_from("@Nii", control)
    wanted = _IPV6_PKTINFO if is_v6 else _IP_PKTINFO
    return [(level, kind, control[header:size])] if kind == wanted else []


def _address(peer: bytes) -> tuple[Any, ...]:
    """Turn a raw socket address into Python's."""
    port = int.from_bytes(peer[2:4], "big")
    if int.from_bytes(peer[:2], sys.byteorder) == socket.AF_INET6:
        scope = int.from_bytes(peer[24:28], sys.byteorder)
        return socket.inet_ntop(socket.AF_INET6, peer[8:24]), port, 0, scope
    return socket.inet_ntop(socket.AF_INET, peer[4:8]), port


def _raw(address: tuple[Any, ...]) -> bytes:
    """Turn Python's socket address into a raw one of 28 octets."""
    port = int(address[1]).to_bytes(2, "big")
    if len(address) == 4:
        packed = socket.inet_pton(socket.AF_INET6, str(address[0]).partition("%")[0])
        return (
            struct.pack("=H", socket.AF_INET6)
            + port
            + bytes(4)
            + packed
            + struct.pack("=I", address[3])
        )
    return struct.pack("=H", socket.AF_INET) + port + socket.inet_aton(address[0]) + bytes(20)


_recvmmsg: Any = None
_sendmmsg: Any = None
if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)
    _recvmmsg = getattr(_libc, "recvmmsg", None)
    _sendmmsg = getattr(_libc, "sendmmsg", None)
_HAS_MMSG: Final = _recvmmsg is not None and _sendmmsg is not None
if _HAS_MMSG:
    _arguments = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    _recvmmsg.argtypes = [*_arguments, ctypes.c_void_p]
    _sendmmsg.argtypes = _arguments
