"""UDP listeners: a readable socket is drained in batches, and no object is made per packet.

On Linux one `recvmmsg` takes up to 64 queries and one `sendmmsg` sends their answers; both are
called through ctypes because Python's socket module has neither. Elsewhere, and for sockets bound
to a wildcard address (which must answer from the address they were asked at), a plain loop does.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from quada.transport.mmsg import (
    BATCH,
    CONTROL_OCTETS,
    HAS_MMSG,
    PEER_OCTETS,
    SHORT_OCTETS,
    SLOT_OCTETS,
    Batch,
)
from quada.wire.ask import Transport
from quada.wire.limit import BUCKETS, Verdict, truncated
from quada.wire.respond import Deferred

if TYPE_CHECKING:
    from quada.transport.exchange import Defer, Sink
    from quada.wire.respond import Responder

_DRAIN_BATCHES: Final = 16  # then other sockets get their turn
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IP_PKTINFO: Final = 8
_IPPROTO_IPV6: Final = 41
_BUCKET_MASK: Final = BUCKETS - 1


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
        self._at, self._network_end, self._end = (8, 15, 24) if self._is_v6 else (4, 7, 8)
        self.received_count = 0
        self.unsent_count = 0
        self._later: list[tuple[bytes, bytes, bytes]] = []
        sock.setblocking(False)
        bound = sock.getsockname()[0]
        self._is_wildcard = bound in ("::", "0.0.0.0")
        if self._is_wildcard:
            _ask_for_destination(sock)
        self._batch = Batch(sock, has_control=self._is_wildcard) if HAS_MMSG else None
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

    def _answer_batch(self, batch: Batch, received: int, head: bytes) -> None:
        responder = self._responder
        known = responder.answers.get
        limiter = responder.limiter
        counts = limiter.counts if limiter else None
        ceiling = limiter.settings.per_second if limiter else 0
        admitted = responder.clients
        first, network_end, end = self._at, self._network_end, self._end
        shorts = bytes(batch.shorts[: received * SHORT_OCTETS])
        peers = bytes(batch.peers[: received * PEER_OCTETS])
        sizes = batch.sizes(received)
        is_in_place = not batch.has_control
        events: list[bytes] = []
        messages: list[bytes] = []
        out_sizes: list[int] = []
        for slot in range(received):
            at, size = slot * SHORT_OCTETS, sizes[slot]
            if size <= SHORT_OCTETS:
                packet = shorts[at : at + size]
            else:
                packet = shorts[at : at + SHORT_OCTETS] + batch.rest(slot, size)
            peer = peers[slot * PEER_OCTETS : slot * PEER_OCTETS + PEER_OCTETS]
            answered = known(packet[2:])
            if admitted is not None and answered is not None and peer[first:end] not in admitted:
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
                network = peer[first:network_end]
                bucket = hash(network) & _BUCKET_MASK
                count = counts[bucket] + 1
                counts[bucket] = count
                if count > ceiling and not is_trusted and limiter is not None:
                    verdict = limiter.judge(network, response)
                    if verdict is Verdict.DROP:
                        response, tail = b"", limited(tail, is_silent=True)
                    elif verdict is Verdict.SLIP:
                        response, tail = truncated(response), limited(tail, is_silent=False)
            events.append(head)
            events.append(peer)
            events.append(tail)
            if response:
                sent = len(out_sizes)
                messages.append(packet[:2])
                messages.append(response)
                out_sizes.append(len(response) + 2)
                if sent != slot or not is_in_place:
                    is_in_place = False
                    batch.address(sent, slot)
        self._sink.extend(b"".join(events), len(events) // 3)
        if out_sizes:
            batch.fill(messages, out_sizes)
            self.unsent_count += len(out_sizes) - batch.send(len(out_sizes))

    def _put_off(self, deferred: Deferred, kept: tuple[bytes, bytes]) -> None:
        """Hand a query on; its answer goes out alone, when it comes."""
        self._defer(deferred, _Waiting(self, deferred, self._sink, kept))

    def send_later(self, message: bytes, peer: bytes, control: bytes) -> None:
        """Send a message to a raw address, from the address that control data names.

        What is sent in one turn of the event loop goes out at its end, in one system call.
        """
        batch = self._batch
        if batch is None or len(message) > SLOT_OCTETS:
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
            for slot, (_, peer, control) in enumerate(part):
                batch.load(slot, peer, control)
            batch.fill([message for message, _, _ in part], [len(one) for one, _, _ in part])
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
                packet, ancillary, _, address = self._sock.recvmsg(SLOT_OCTETS, CONTROL_OCTETS)
            except OSError:
                return
            self.received_count += 1
            now_ns = time.time_ns()
            responder.begin(now_ns)
            peer = _raw(address)
            admitted = responder.clients
            is_admitted = admitted is None or peer[self._at : self._end] in admitted
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
