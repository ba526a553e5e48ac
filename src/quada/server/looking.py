"""Looking at a domain from this machine: an observer's questions asked, and its stages told."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.names as names
from quada.config.settings import ResolverSection
from quada.doctor import Observation, Observer, Start
from quada.doctor.incident import Logged
from quada.doctor.observe_services import calls_of, note_calls
from quada.server.resolving import make_recursor, read_roots
from quada.store.seam import ask
from quada.transport.reach import Reach, is_own

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from pathlib import Path

    from quada.doctor.observation import Cut
    from quada.wire.ask import Ask, Outcome
    from quada.wire.call import Call, Called

LAB_RANGES: Final = frozenset(("documentation", "loopback"))
"""Kinds of addresses that are well in a lab and nowhere else."""
_AT_ONCE: Final = 48
_CRAWLS: Final = 16  # our choice: names followed at once, each asks two servers at a time
_ROWS_MAX: Final = 200_000


def make_observer(root_hints: str, trust_anchor: str, given: Cut | None = None) -> Observer:
    """Make an observer with resolvers of its own for each family. Raises: ConfigFault."""
    # Foreign hints without an anchor are a lab's: nothing there chains to the real root.
    validates = bool(trust_anchor) or not root_hints
    resolvers = {
        families: make_recursor(
            ResolverSection(
                root_hints=root_hints, trust_anchor=trust_anchor, families=families,
                dnssec=validates,
            ),
            0,
        ).iterator
        for families in ("both", "ipv6", "ipv4")
    }  # fmt: skip
    roots = read_roots(root_hints)
    start = Start({names.to_text(one).lower(): list(found) for one, found in roots.glue.items()})
    return Observer(start, resolvers, time.time, given=given)


class Hands(NamedTuple):
    """Who performs elsewhere what an observer wants: a batch of Asks, a batch of Calls."""

    perform: Callable[[list[Ask]], list[Outcome]]
    call: Callable[[list[Call]], list[Called]]


async def look(
    observer: Observer,
    steps: Generator[list[Ask], list[Outcome], Observation],
    hands: Hands | None = None,
    *,
    ignores: frozenset[str] = frozenset(),
    ca_file: str = "",
) -> AsyncIterator[str | Observation]:
    """Perform what an observer asks, a bounded number at once: gives each stage, then all seen.

    `hands` perform elsewhere; without them this machine does. Services at special addresses are
    called only where `ignores` has their kind.
    """
    reach = Reach(ca_file)
    stage = ""
    try:
        asks = next(steps)
        while True:
            if observer.stage != stage:
                stage = observer.stage
                yield stage
            asks = steps.send(await _perform(asks, reach, hands))
    except StopIteration as end:
        seen: Observation = end.value
    finally:
        steps.close()
        reach.close()
    if hands is None:
        servers = seen.cuts[seen.zone].servers if seen.zone in seen.cuts else []
        seen.own = [a for one in servers for a in seen.hosts.get(one, ()) if is_own(a)]
    wanted = calls_of(seen, ignores)
    if wanted:
        yield "calling the services"
        calls = [one for _, one in wanted]
        if hands is not None:
            called = await asyncio.to_thread(hands.call, calls)
        else:
            called = list(await asyncio.gather(*map(reach.call, calls)))
        note_calls(seen, wanted, called)
    yield seen


async def drive_all(
    steps: Generator[list[Ask], list[Outcome], Observation], hands: Hands | None, ca_file: str
) -> Observation:
    """Perform all that is asked, here or by `hands`, and give what was seen."""
    reach = Reach(ca_file)
    try:
        return await _performed(steps, reach, hands)
    finally:
        reach.close()


async def _perform(asks: list[Ask], reach: Reach, hands: Hands | None) -> list[Outcome]:
    if hands is not None:
        return await asyncio.to_thread(hands.perform, asks)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def perform(one: Ask) -> Outcome:
        async with gate:
            return await reach.perform(one)

    return list(await asyncio.gather(*map(perform, asks)))


async def crawl_all(
    observer: Observer, wanted: list[str], tell: Callable[[int], None]
) -> Observation:
    """Learn what many names depend on, several at once, nothing twice; tells how many are done.

    Gives one observation that knows all zones; it is of the last name.
    """
    reach = Reach()
    seen = await _performed(observer.crawl("."), reach)
    waiting = list(reversed(wanted))
    done = 0

    async def work() -> None:
        nonlocal done
        while waiting:
            await _performed(observer.beside().crawl(waiting.pop()), reach)
            done += 1
            tell(done)

    await asyncio.gather(*(work() for _ in range(_CRAWLS)))
    return seen


async def _performed(
    steps: Generator[list[Ask], list[Outcome], Observation],
    reach: Reach,
    hands: Hands | None = None,
) -> Observation:
    try:
        asks = next(steps)
        while True:
            asks = steps.send(await _perform(asks, reach, hands))
    except StopIteration as end:
        seen: Observation = end.value
        return seen


def read_logged(state_dir: Path, name: str, minutes: int) -> Logged:
    """Read what stored events say of a name. Raises: ReachFault where there are none."""
    since_ns = time.time_ns() - minutes * 60 * 1_000_000_000
    _, rows = ask(
        state_dir / "history",
        "SELECT qtype, client, max(CASE WHEN rcode = 'SERVFAIL' THEN 1 ELSE 0 END) FROM events"
        " WHERE kind = 'query' AND qname = ? AND qtype IN ('AAAA', 'A') AND at_ns > ?"
        " AND client IS NOT NULL GROUP BY qtype, client",
        [name, since_ns],
        rows_max=_ROWS_MAX,
    )
    labels = name.rstrip(".").split(".")
    zones = [".".join(labels[at:]) + "." for at in range(len(labels))]
    _, upstream = ask(
        state_dir / "history",
        "SELECT upstream_family, count(*), sum(CASE WHEN rcode IS NOT NULL AND"
        " (cause IS NULL OR cause <> 'reachability') THEN 1 ELSE 0 END) FROM events"
        " WHERE kind = 'upstream' AND at_ns > ? AND upstream_family IS NOT NULL"
        f" AND (qname = ? OR zone IN ({', '.join('?' * len(zones))})) GROUP BY upstream_family",
        [since_ns, name, *zones],
    )

    def of(qtype: str, *, is_failed: bool) -> tuple[str, ...]:
        return tuple(c for kind, c, bad in rows if kind == qtype and (bad or not is_failed))

    return Logged(
        minutes=minutes,
        six=of("AAAA", is_failed=False),
        six_failed=of("AAAA", is_failed=True),
        four=of("A", is_failed=False),
        four_failed=of("A", is_failed=True),
        upstream={int(family): (int(n), int(good)) for family, n, good in upstream},
    )
