"""What supervisor and workers send one another arrives, or is missed aloud."""

import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs

from quada.server.channel import Channel
from quada.server.deliver import ChangeZone, Delivery, PutZone
from quada.telemetry.event import Event, Role
from quada.zones import Zone, diff, read_zone

ORIGIN = b"\x07example\x03com\x00"
TEXT = "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::53\n"


def exchange(values: list[object], receive: Callable[[object], None]) -> list[bool]:
    """Send values; gives how often the receiver was told that something is missing."""
    gone: list[bool] = []

    async def run() -> None:
        one, other = Channel.pair()
        await one.start(lambda _: None, lambda: None)
        await other.start(receive, lambda: gone.append(True))
        for value in values:
            one.send(value)
        await asyncio.sleep(0.1)
        one.close()
        other.close()

    asyncio.run(run())
    return gone


def test_zones_and_events_arrive_as_they_were_sent() -> None:
    zone = read_zone(TEXT, ORIGIN)
    change = diff(zone, read_zone(TEXT.replace("::53", "::54"), ORIGIN))
    event = Event(at_ns=1, role=Role.AUTHORITATIVE, qname="www.example.com.", qtype=28)
    taken: list[object] = []
    assert exchange([PutZone(zone), ChangeZone(ORIGIN, change), event], taken.append) == []
    put, changed, seen = taken
    assert isinstance(put, PutZone)
    assert isinstance(put.zone, Zone)
    assert put.zone.nodes == zone.nodes
    assert put.zone.changed(change).serial == zone.serial
    assert changed == ChangeZone(ORIGIN, change)
    assert seen == event


def test_what_cannot_be_taken_is_logged_and_told_and_the_next_is_taken() -> None:
    taken: list[object] = []

    def receive(value: object) -> None:
        if value == 1:
            raise ValueError("not this one")
        taken.append(value)

    deliveries: list[Delivery | int] = [1, 2]
    with capture_logs() as logs:
        assert exchange(list(deliveries), receive) == [True]
    assert taken == [2]
    assert [one["log_level"] for one in logs] == ["error"]
