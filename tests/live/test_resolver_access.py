"""Who a resolver answers: also where the answer is at hand because somebody else just asked."""

import asyncio
import socket
import time

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.answer import Recursor, ResolverSettings
from quada.resolver.cache import Cache, Delegation, Word
from quada.resolver.iterate import Iterator
from quada.resolver.servers import Servers
from quada.transport.udp import UdpListener
from quada.wire.ask import Transport
from quada.wire.records import Record

NAME = names.from_text("www.example.com.")
PEER = b"\x0a\x00\x12\x34" + bytes(4) + bytes(15) + b"\x01" + bytes(4)


class Sink:
    def append(self, head, peer, tail):
        pass

    def extend(self, block, count):
        pass


def recursor(*allow: str, ttl: int = 300) -> Recursor:
    cache = Cache()
    now = time.time()
    record = Record(NAME, codes.AAAA, ttl, bytes.fromhex("20010db8") + bytes(11) + b"\x01")
    cache.put(Word(NAME, codes.AAAA, 0, (record,), (), NAME[4:], now, now + ttl))
    roots = Delegation(names.ROOT, (), {}, float("inf"))
    iterator = Iterator(
        roots, answers=cache, servers=Servers(), validator=None, bits=lambda count: 0
    )  # fmt: skip
    return Recursor(ResolverSettings(allow=allow), iterator)


@pytest.mark.parametrize("is_batched", [True, False])
def test_an_outsider_does_not_get_what_an_insider_just_asked_for(is_batched) -> None:
    async def run() -> list[int]:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        listener = UdpListener(server, recursor("127.0.0.1/32"), Sink(), lambda *_: None)
        drain = listener.on_readable if is_batched else listener._drain_singly
        query = dns.message.make_query("www.example.com.", "AAAA").to_wire()
        rcodes = []
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((source, 0))
                client.settimeout(5)
                client.sendto(query, server.getsockname())
                drain()
                rcodes.append(int(dns.message.from_wire(client.recv(4096)).rcode()))
        server.close()
        return rcodes

    refused = int(dns.rcode.REFUSED)
    assert asyncio.run(run()) == [0, refused, 0, refused]


def test_an_answer_kept_from_an_earlier_second_has_lower_ttls_and_ends_before_it_expires() -> None:
    made = recursor("::1/128", ttl=100)
    packet = dns.message.make_query("www.example.com.", "AAAA", use_edns=0).to_wire()
    start = int(time.time()) + 1

    def ttl(after_s: float) -> int:
        made.begin(int((start + after_s) * 1e9))
        response, _ = made.answer(packet, PEER, Transport.UDP)
        return dns.message.from_wire(packet[:2] + response).answer[0].ttl

    first = ttl(0.5)
    assert ttl(30.5) == first - 30
    assert ttl(30.9) == first - 30
    assert ttl(80.5) == first - 80
    assert made.wants_again == []
    assert ttl(95.5) == first - 95
    assert made.wants_again == [(NAME, codes.AAAA)]  # asked for shortly before it expires


def test_what_was_composed_goes_when_the_cache_is_flushed() -> None:
    made = recursor("::1/128")
    packet = dns.message.make_query("www.example.com.", "AAAA").to_wire()
    for after_s in (0, 2):
        made.begin(int((time.time() + after_s) * 1e9))
        assert isinstance(made.answer(packet, PEER, Transport.UDP), tuple)
    made.iterator.cache.flush(NAME, is_subtree=False)
    made.forget()
    from quada.wire.respond import Deferred

    assert isinstance(made.answer(packet, PEER, Transport.UDP), Deferred)
