"""Clients that wait for ALIAS targets nobody can look up: all are answered, nothing stays behind."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings, View
from quada.authority.alias import AliasSettings, Expansion, Found
from quada.config.settings import Settings
from quada.server.deliver import AliasNews
from quada.server.errands import _WAITING_MAX, Errands
from quada.server.plan import make_plan
from quada.wire.ask import Transport
from quada.wire.respond import Deferred
from quada.zones import read_zone

ORIGIN = names.from_text("example.com.")
PEER = b"\x0a\x00\x12\x34" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(16)
ZONE = "@ 300 SOA a b 1 2 3 4 5\n@ 300 NS a.example.net.\n" + "".join(
    f"n{n} 300 ALIAS t{n}.example.net.\n" for n in range(10)
)


@dataclass
class Waiter:
    """What a listener gives for a query whose answer comes later."""

    sent: list[bytes] = field(default_factory=list)

    def send(self, response: bytes, tail: bytes) -> None:
        self.sent.append(response)


class Silent:
    """A channel to a supervisor that never answers; counts what it was sent."""

    def __init__(self) -> None:
        self.sent_count = 0

    def send(self, report: Any) -> None:
        self.sent_count += 1


def crowd(count: int, budget_s: float) -> tuple[Errands, Authority, list[Waiter], Any]:
    authority = Authority(AuthoritySettings(), aliases=View(AliasSettings(budget_s=budget_s)))
    authority.put(read_zone(ZONE, ORIGIN))
    authority.begin(1_800_000_000 * 10**9)
    plan = make_plan(Settings(), roles=("authority",))
    plan = replace(plan, alias=AliasSettings(budget_s=budget_s))
    errands = Errands(plan, authority, Silent())  # type: ignore[arg-type]
    waiters = [Waiter() for _ in range(count)]

    def ask() -> None:
        for number, waiter in enumerate(waiters):
            packet = number.to_bytes(2, "big") + b"\x01\x00\x00\x01" + bytes(6)
            packet += names.from_text(f"n{number % 10}.example.com.") + b"\x00\x1c\x00\x01"
            made = authority.answer(packet, PEER, Transport.UDP)
            assert isinstance(made, Deferred)
            errands.defer(made, waiter)  # type: ignore[arg-type]

    return errands, authority, waiters, ask


def test_everybody_is_answered_once_and_more_than_the_bound_at_once() -> None:
    async def outage() -> None:
        errands, _, waiters, ask = crowd(_WAITING_MAX + 500, 0.05)
        ask()
        assert sum(bool(one.sent) for one in waiters) == 500
        assert errands._waiting_count == _WAITING_MAX
        for _ in range(200):
            await asyncio.sleep(0.05)
            if all(one.sent for one in waiters):
                break
        assert [len(one.sent) for one in waiters] == [1] * len(waiters)
        assert (errands._waiting_count, errands._waiting) == (0, {})

    asyncio.run(outage())


def test_news_of_a_failure_answers_those_who_wait_before_their_budget_ends() -> None:
    async def outage() -> None:
        errands, authority, waiters, ask = crowd(1000, 3600.0)
        ask()
        news = [
            Expansion(names.from_text(f"t{n}.example.net."), 28, Found.FAILED, (),
                      1_800_000_005.0, 0.0, 1.0, "", "servfail")
            for n in range(10)
        ]  # fmt: skip
        for one in news:
            assert authority.book.aliases is not None
            authority.book.aliases.put(one)
        errands.delivered(AliasNews(news))
        assert [len(one.sent) for one in waiters] == [1] * len(waiters)
        assert (errands._waiting_count, errands._waiting) == (0, {})

    asyncio.run(outage())
