"""Pools that agents check: what they may be asked, and what their words mean."""

import asyncio
from dataclasses import replace

import pytest

from quada.api.agents import BatchBody, CalledBody, Desk, RepliesBody, ReplyBody
from quada.authority.pool import Check, Member, Pool, Probe
from quada.config.settings import ApiSection, MemberSection, PoolSection, Settings
from quada.server.plan import make_plan
from quada.server.vantage import look
from quada.wire.faults import ConfigFault, ReachFault

MEMBERS = (Member(address="2001:db8::1"), Member(address="192.0.2.1"))


class Told(Desk):
    """A desk whose one agent says what it is told to."""

    def __init__(self, *said: CalledBody | ReplyBody, families: tuple[int, ...] = (6, 4)) -> None:
        super().__init__()
        self._said = said
        self._families = list(families)
        self.asked: list[BatchBody] = []

    def agents(self):
        return [{"name": "far", "families": self._families}]

    async def ask(self, name: str, body: BatchBody) -> RepliesBody:
        self.asked.append(body)
        if not self._said:
            raise ReachFault("the agent did not answer in time", place=name)
        replies = [one for one in self._said if isinstance(one, ReplyBody)]
        called = [one for one in self._said if isinstance(one, CalledBody)]
        return RepliesBody(batch=1, replies=replies, called=called)


def verdicts(desk: Desk, **check: object) -> list[bool | None]:
    pool = Pool(name="web", members=MEMBERS, check=Check(**check), vantage=("far",))
    return [one["is_good"] for one in asyncio.run(look(pool, "far", desk))]


@pytest.mark.parametrize(
    ("check", "said", "is_good"),
    [
        ({"probe": Probe.TCP}, CalledBody(), True),
        ({"probe": Probe.TCP}, CalledBody(stage="dial", why="refused"), False),
        ({"probe": Probe.TCP}, CalledBody(stage="refused", why="port 9 is not allowed"), None),
        ({"probe": Probe.HTTP}, CalledBody(status=200), True),
        ({"probe": Probe.HTTP}, CalledBody(status=503), False),
        ({"probe": Probe.HTTPS}, CalledBody(status=200, certificate_fault="expired"), True),
        ({"probe": Probe.HTTPS, "host": "www.example.com"},
         CalledBody(status=200, certificate_fault="expired"), False),
        ({"probe": Probe.ICMP}, CalledBody(), True),
        ({"probe": Probe.ICMP}, CalledBody(stage="refused", why="sends no pings"), None),
        ({"probe": Probe.DNS}, ReplyBody(message="000081050000", seconds=0.1), True),
        ({"probe": Probe.DNS}, ReplyBody(silence="timeout", seconds=2), False),
        ({"probe": Probe.DNS},
         ReplyBody(silence="unreachable", detail="the agent refuses: 2001:db8::1", seconds=0), None),
    ],
    ids=["open", "closed", "not-allowed", "page", "error-page", "unproven", "wrong-name", "echo",
         "no-rights", "answer", "silence", "refusal"],
)  # fmt: skip
def test_what_an_agent_saw_is_good_bad_or_unknown(check, said, is_good) -> None:
    assert verdicts(Told(said, said), **check) == [is_good, is_good]


def test_a_family_that_an_agent_lacks_is_not_asked_for_and_unknown() -> None:
    desk = Told(CalledBody(), families=(4,))
    assert verdicts(desk) == [None, True]
    assert [one.address for one in desk.asked[0].calls] == ["192.0.2.1"]


def test_an_agent_that_is_away_or_silent_knows_nothing() -> None:
    assert verdicts(Desk()) == [None, None]
    assert verdicts(Told()) == [None, None]


@pytest.mark.parametrize(
    ("pool", "place"),
    [
        (PoolSection(name="web", vantage=("far",), agree=2), "agree"),
        (PoolSection(name="web", vantage=("far",), probe="http", path="/health"), "path"),
    ],
    ids=["agree", "path"],
)
def test_checks_that_no_agent_makes_are_refused_at_start(pool: PoolSection, place: str) -> None:
    pool = replace(pool, member=(MemberSection(address="2001:db8::1"),))
    settings = Settings(api=ApiSection(listen=("[::1]:0",)), pool=(pool,))
    with pytest.raises(ConfigFault, match=rf"pools\.web\.{place}"):
        make_plan(settings, roles=("authority",))


def test_agents_need_an_api_to_call() -> None:
    settings = Settings(pool=(PoolSection(name="web", vantage=("local", "far")),))
    with pytest.raises(ConfigFault, match=r"api\.listen"):
        make_plan(settings, roles=("authority",))
