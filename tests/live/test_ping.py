"""Pings of a size over real sockets, and what an agent refuses of them."""

import asyncio

import pytest

from quada.server.agent import Agent, AgentWish
from quada.transport.ping import ping
from quada.wire.call import Call, CallKind


def sent(address: str, octets: int, timeout_s: float = 2.0):
    made = asyncio.run(ping(Call(address, 0, CallKind.PING, octets=octets, timeout_s=timeout_s)))
    if made.stage == "refused":
        pytest.skip(made.why)
    return made


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
@pytest.mark.parametrize("octets", [64, 1280, 1499, 1500])
def test_a_host_that_answers_is_reached_with_packets_of_any_size(address: str, octets: int) -> None:
    made = sent(address, octets)
    assert (made.stage, made.why) == ("", "")
    assert made.is_open


def test_nobody_there_is_said_within_the_time() -> None:
    made = sent("2001:db8::dead", 1280, 0.4)
    assert made.stage == "dial"
    assert made.why


@pytest.mark.parametrize(
    ("data", "why"),
    [({"octets": 9000}, "a ping of 9000 octets is not sent"),
     ({"octets": 0}, "a ping of 0 octets is not sent"),
     ({"octets": "1280"}, "a ping of 1280 octets is not sent"),
     ({"octets": 1280}, "::1 is loopback")],
)  # fmt: skip
def test_an_agent_sends_no_ping_that_is_none_or_goes_inside(data: dict, why: str) -> None:
    wanted = {
        "address": "::1",
        "port": 0,
        "kind": "ping",
        "name": "",
        "path": "/",
        "timeout_s": 1.0,
    }

    async def ask() -> list[dict]:
        return await Agent(AgentWish("http://[::1]:1", "token")).call([{**wanted, **data}])

    (said,) = asyncio.run(ask())
    assert said["stage"] == "refused"
    assert why in said["why"]
