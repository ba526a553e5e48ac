"""The signing desk killed at any moment, also between saving a step and serving it, and restarted.

The world goes on meanwhile: resolvers keep what was last served, the parent follows CDS or not. At
every moment every combination that a resolver may hold must validate.
"""

from __future__ import annotations

import random

import pytest

import quada.wire.names as names
from quada.server.signing import SigningDesk
from quada.store.keys import KeyStore, SignedZone, ZonePolicy, bring_key
from quada.store.shelf import make_here
from quada.zones.keys import KeyRole
from quada.zones.keystate import Method, RolloverPolicy
from quada.zones.sighting import Sighting
from signed_world import ROLLING_TEXT, Drill

ORIGIN = names.from_text("example.")
START_S = 1_790_000_000
HOUR_S = 3600


class Run:
    """A desk, its store, and the drill that knows what resolvers hold."""

    def __init__(self, tmp_path, world, content, policy: RolloverPolicy, chance) -> None:
        self.chance, self.content = chance, content
        self.store = KeyStore.open(tmp_path)
        self.store.save(SignedZone(ORIGIN, ZonePolicy(rollover=policy)))
        self.drill = Drill(world, policy, content, parent_lag_s=2 * HOUR_S, start_s=START_S)
        self.now_s = START_S
        self.crashes, self.crash_chance = 0, 0.15
        self.asked: tuple[frozenset, int] = (frozenset(), START_S)
        self.start()

    def start(self) -> None:
        self.desk = SigningDesk(self.store)
        self.serve(self.desk.publish(self.content, self.now_s))

    def serve(self, version) -> None:
        served = self.drill.served
        served[-1] = (served[-1][0], self.now_s)
        served.append((version, None))

    def step(self) -> None:
        self.now_s += self.chance.randrange(60, HOUR_S)
        made = self.desk.tick(self.now_s, float(self.now_s))
        if (
            self.chance.random() < self.crash_chance
        ):  # killed: what was saved may never have been served
            self.crashes += 1
            self.check()
            self.now_s += self.chance.choice([1, 60, 3 * HOUR_S])
            self.start()
        else:
            for one in made:
                self.serve(one.version)
        self.check()
        self.follow()

    def follow(self) -> None:
        """The parent follows the CDS that are really served, two hours after they appeared."""
        version = self.drill.served[-1][0]
        cds = version.rrset(ORIGIN, 59)
        wanted = frozenset(cds.rdatas) if cds else frozenset()
        if wanted != self.asked[0]:
            self.asked = wanted, self.now_s
        ds = self.drill.ds
        if wanted and wanted != ds[-1][0] and self.now_s >= self.asked[1] + 2 * HOUR_S:
            ds[-1] = (ds[-1][0], self.now_s)
            ds.append((wanted, None))
        if ds[-1][0]:
            both = [Sighting("parent", family, ds[-1][0]) for family in (6, 4)]
            assert self.desk.see_parent(ORIGIN, both, self.now_s) == ""

    def check(self) -> None:
        self.drill.now_s = self.now_s
        self.drill.check()

    def roll(self, algorithm: int) -> None:
        signed = self.store.load(ORIGIN)
        rolling = signed.policy.rollover._replace(algorithm=algorithm)
        signed = signed._replace(policy=ZonePolicy(signed.policy.signing, rolling))
        state, keys = signed.state, dict(signed.keys)
        roles = rolling.roles if algorithm != 15 else (self.chance.choice(rolling.roles),)
        for role in roles:
            state = bring_key(signed, state, keys, KeyRole(role), self.now_s, make_here)
        self.store.save(signed._replace(state=state, keys=keys))


@pytest.mark.parametrize("seed", range(4))
def test_a_desk_killed_at_any_moment_breaks_nobody(tmp_path, empty_world, make_zone, seed):
    chance = random.Random(seed)
    policy = RolloverPolicy(
        algorithm=15,
        has_csk=seed % 2 == 0,
        method=chance.choice(list(Method)),
        ds_ttl_s=HOUR_S,
        parent_s=600,
        zsk_lifetime_s=0,
    )
    content = make_zone(ROLLING_TEXT, "example.")
    run = Run(tmp_path, empty_world, content, policy, chance)
    for _ in range(40):
        run.step()
    assert run.drill.ds[-1][0], "the zone got its DS"
    run.roll(13 if seed > 1 else 15)
    for _ in range(120):
        run.step()
    run.crash_chance = 0.0  # every crash makes rollovers wait anew; calm lets them end
    for _ in range(60):
        run.step()
    state = run.store.load(ORIGIN).state
    assert run.crashes > 10
    told = run.desk.status()
    assert all(ring.is_staying for ring in state.rings), told
