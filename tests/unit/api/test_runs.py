"""Runs of doctor and incident: begun once, told while they look, kept for a while."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from quada.api.access import Caller, Denied
from quada.api.operations import NotFound
from quada.api.runs import Busy, Kind, Runs, run_data
from quada.doctor import Observation
from quada.wire.faults import DataFault, ReachFault
from small_api import Api

CALLER = Caller("somebody", "2001:db8::c", ("read",))
SEEN = Observation("www.example.com.", "example.com.", 0.0)


class Slow:
    """A server that looks for as long as it is told to."""

    ignores: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.count = 0

    async def look(self, name: str) -> AsyncIterator[object]:
        self.count += 1
        yield "following the delegations"
        await self.may_end.wait()
        yield "asking every parent server"
        yield Observation(name, "example.com.", 0.0)

    def logged(self, name: str, minutes: int) -> object:
        raise ReachFault("no events are kept here")


def made(api: Api) -> tuple[Runs, Slow]:
    server = Slow()
    runs = Runs(api.operations, api.place / "runs")
    api.operations.server = server
    return runs, server


def test_a_run_tells_its_stages_and_ends_in_causes(api: Api) -> None:
    async def run() -> None:
        runs, server = made(api)
        one = runs.start(CALLER, Kind.INCIDENT, "WWW.example.com")
        assert runs.start(CALLER, Kind.INCIDENT, "www.example.com.") is one
        seen = []
        async for count in runs.follow(one):
            seen.append(count)
            server.may_end.set()
        told = run_data(one)
        assert server.count == 1
        assert seen == sorted(seen)
        assert told["is_done"]
        assert [stage["stage"] for stage in told["stages"]] == [
            "following the delegations", "asking every parent server", "judging",
        ]  # fmt: skip
        assert len(told["report"]["steps"]) == 6
        assert told["report"]["causes"]
        json.dumps(told)
        assert list(runs.recent(CALLER, Kind.DOCTOR)) == []
        assert runs.find(CALLER, one.number) is one
        assert api.accounts.audited(1)[0].what == "incident run"

    asyncio.run(run())


def test_too_many_at_once_are_put_off_and_old_ones_go(api: Api) -> None:
    async def run() -> None:
        runs, server = made(api)
        first = [runs.start(CALLER, Kind.DOCTOR, f"n{n}.example.com") for n in range(4)]
        with pytest.raises(Busy):
            runs.start(CALLER, Kind.DOCTOR, "one-more.example.com")
        server.may_end.set()
        for one in first:
            async for _ in runs.follow(one):
                pass
        for n in range(60):
            async for _ in runs.follow(runs.start(CALLER, Kind.DOCTOR, f"m{n}.example.com")):
                pass
        assert len(runs.recent(CALLER)) == 50
        with pytest.raises(NotFound):
            runs.find(CALLER, first[0].number)

    asyncio.run(run())


def test_a_run_that_breaks_off_says_so_and_is_over(api: Api) -> None:
    async def run() -> None:
        runs = Runs(api.operations, api.place / "runs")
        api.server.seen = ["following the delegations", ReachFault("no route at all")]
        one = runs.start(CALLER, Kind.DOCTOR, "www.example.com")
        async for _ in runs.follow(one):
            pass
        assert one.fault == "no route at all"

    asyncio.run(run())


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64, "a." * 200, "\x00" * 300])
def test_what_is_no_name_is_not_looked_at(api: Api, name: str) -> None:
    async def run() -> None:
        with pytest.raises(DataFault):
            Runs(api.operations, api.place / "runs").start(CALLER, Kind.DOCTOR, name)

    asyncio.run(run())


def test_who_sees_one_zone_alone_may_not_have_this_server_ask_others(api: Api) -> None:
    one = Caller("one", "2001:db8::c", ("records:example.com",))

    async def run() -> None:
        with pytest.raises(Denied):
            Runs(api.operations, api.place / "runs").start(one, Kind.DOCTOR, "example.com")

    asyncio.run(run())


def test_a_run_is_begun_and_read_over_http(api: Api) -> None:
    api.server.seen = ["following the delegations", SEEN]
    headers = {"Authorization": f"Bearer {api.accounts.add_token('r', ('read',), 1)}"}

    async def run() -> None:
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://[::1]", headers=headers
        ) as client:
            begun = await client.post(
                "/quada/v1/runs", json={"kind": "doctor", "name": "example.com"}
            )
            assert begun.status_code == 202
            for _ in range(500):
                told = (await client.get(begun.headers["location"])).json()
                if told["is_done"]:
                    break
                await asyncio.sleep(0.01)
            assert told["findings"]
            assert [one["id"] for one in (await client.get("/quada/v1/runs")).json()] == [
                told["id"]
            ]
            wrong = await client.post("/quada/v1/runs", json={"kind": "wish", "name": "x"})
            assert wrong.status_code == 400
            assert (await client.get("/quada/v1/runs/none")).status_code == 404

    asyncio.run(run())


def test_runs_that_ended_are_there_after_a_restart_and_look_the_same(api: Api) -> None:
    async def run() -> None:
        runs, server = made(api)
        server.may_end.set()
        for kind in Kind:
            one = runs.start(CALLER, kind, "www.example.com")
            async for _ in runs.follow(one):
                pass
        await asyncio.gather(*runs._tasks, return_exceptions=True)  # until they are kept
        broken = api.place / "runs" / "broken.json"
        broken.write_text("{")
        again = Runs(api.operations, api.place / "runs")
        before = {one.number: one for one in runs.recent(CALLER)}
        after = {one.number: one for one in again.recent(CALLER)}
        assert set(after) == set(before)
        assert all(one.findings for one in after.values())
        for number, one in after.items():
            assert run_data(one) == run_data(before[number])
            assert one.findings == before[number].findings
            assert one.report == before[number].report
            assert one.tree == before[number].tree

    asyncio.run(run())
