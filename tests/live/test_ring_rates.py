"""Rings read at a bounded rate: all of little, a fair part of much, and nothing counted wrongly."""

from pathlib import Path

from quada.server.ring import Ring, RingReader
from quada.server.sources import RingSource
from quada.telemetry.event import RECORD_OCTETS, Role, compose_head, compose_peer, compose_tail
from quada.wire.ask import Transport

TAIL = compose_tail(role=Role.AUTHORITATIVE, transport=Transport.UDP, qname=b"\x01a\x00", qtype=28)
PEER = compose_peer("2001:db8::1", 53).ljust(28, b"\x00")


def block(first: int, count: int) -> bytes:
    return b"".join(compose_head(number, PEER) + TAIL for number in range(first, first + count))


def fill(ring: Ring, first: int, count: int) -> None:
    for at in range(first, first + count, 1000):
        ring.extend(block(at, min(1000, first + count - at)), min(1000, first + count - at))


def test_a_reader_takes_the_oldest_so_many_and_then_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "authority-0.ring"
    ring = Ring(path, 10_000)
    fill(ring, 1, 100)
    reader = RingReader(path, back=1 << 62)
    assert len(reader.take(30)) == 30 * RECORD_OCTETS
    assert (reader.behind, len(reader.take())) == (70, 70 * RECORD_OCTETS)


def test_little_is_taken_whole_and_much_every_so_many(tmp_path: Path) -> None:
    path = tmp_path / "authority-0.ring"
    ring = Ring(path, 20_000)
    source = RingSource(path, None, per_second=1000)
    second = 1_000_000_000
    fill(ring, 1, 500)
    seen = source.take(10 * second) + source.take(11 * second)
    assert len(seen) == 500
    assert {event.weight for event in seen} == {1}
    fill(ring, 501, 12_000)
    seen = source.take(12 * second)
    assert 0 < len(seen) <= 1000
    assert sum(event.weight for event in seen) >= 12_000
    assert source.sampled_count == 12_000 - len(seen)
    assert source.lost_count == 0


def test_the_last_pass_takes_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "authority-0.ring"
    ring = Ring(path, 20_000)
    source = RingSource(path, None, per_second=10)
    fill(ring, 1, 3_000)
    assert len(source.take(1_000_000_000)) == 1
    source.is_ending = True
    assert len(source.take(1_100_000_000)) == 2_999
