"""Zones published expanded: addresses in place of ALIAS and POOL, and serials that only grow."""

import ipaddress
import itertools

import pytest

import quada.wire.names as names
from quada.authority import AliasSettings, Pool, PoolState, View
from quada.authority.alias import Expansion, Found
from quada.authority.expanded import BRIDGE_S, ExpandedSettings, ExpandedZone, Sights
from quada.authority.pool import Check, Member, Policy, Result
from quada.wire.serial import is_later
from quada.zones import Zone, diff, read_zone

ORIGIN = names.from_text("example.com.")
TARGET = names.from_text("edge.example.net.")
HEAD = "$TTL 300\n@ SOA ns host {serial} 3600 600 86400 60\n@ NS ns\nns AAAA 2001:db8::53\n"
AAAA, A, TXT, ALIAS, MX = 28, 1, 16, 65401, 15


def content(text: str, serial: int = 1) -> Zone:
    return read_zone(HEAD.format(serial=serial) + text, ORIGIN)


def packed(*addresses: str) -> tuple[bytes, ...]:
    return tuple(ipaddress.ip_address(one).packed for one in addresses)


class World:
    """One zone, what is known of its targets, and its pools."""

    def __init__(self, text: str, **settings: float) -> None:
        self.view = View(AliasSettings())
        pool = Pool(
            name="web",
            members=tuple(Member(address=f"2001:db8::{n}", weight=n) for n in (1, 2)),
            check=Check(rise=1, fall=1),
            policy=Policy.WEIGHTED,
        )
        self.pools = {"web": PoolState(pool)}
        self.sights = Sights(self.view, self.pools)
        self.zone = ExpandedZone(ExpandedSettings(**settings))
        self.now = 1000.0
        self.write(content(text))

    def write(self, zone: Zone) -> None:
        self.zone.write(zone, self.now)

    def found(self, *addresses: str, rdtype: int = AAAA, target: bytes = TARGET) -> None:
        kind = Found.ADDRESSES if addresses else Found.NODATA
        self.view.put(
            Expansion(target, rdtype, kind, packed(*addresses), self.now + 40, self.now, 1.0, "")
        )

    def failed(self, rdtype: int = AAAA) -> None:
        self.view.put(
            Expansion(TARGET, rdtype, Found.FAILED, (), self.now + 5, self.now, 1.0, "", "late")
        )

    def version(self) -> Zone | None:
        assert self.zone.written is not None
        self.sights.look({}, {ORIGIN: self.zone.written}, int(self.now))
        return self.zone.version(self.sights, self.now)


def owned(zone: Zone | None, label: str = "@") -> dict[int, tuple[bytes, ...]]:
    assert zone is not None
    owner = ORIGIN if label == "@" else names.from_text(label, ORIGIN)
    return {rrset.rdtype: rrset.rdatas for rrset in zone.nodes[owner]}


def test_addresses_take_the_place_of_alias_beside_everything_else() -> None:
    world = World("@ MX 10 ns\n@ 20 ALIAS edge.example.net.\n*.w ALIAS edge.example.net.\n")
    world.found("2001:db8::2", "2001:db8::1")
    world.found("192.0.2.1", rdtype=A)
    made = world.version()
    at_apex = owned(made)
    assert at_apex[AAAA] == packed("2001:db8::1", "2001:db8::2")
    assert at_apex[A] == packed("192.0.2.1")
    assert MX in at_apex
    assert ALIAS not in at_apex
    assert owned(made, "*.w")[A] == packed("192.0.2.1")
    assert made is not None
    assert made.rrset(ORIGIN, AAAA).ttl == 20
    assert made.rrset(names.from_text("*.w", ORIGIN), AAAA).ttl == 60


def test_a_name_without_addresses_stays_in_existence() -> None:
    world = World("www ALIAS edge.example.net.\n")
    assert owned(world.version(), "www") == {TXT: (b"\x1bALIAS for edge.example.net.",)}
    world.found()
    world.found(rdtype=A)
    assert world.version() is None
    assert world.zone.unknown() == ["www.example.com."]
    world.found("2001:db8::1")
    assert owned(world.version(), "www") == {AAAA: packed("2001:db8::1")}


def test_the_order_and_ttl_of_a_lookup_make_no_version() -> None:
    world = World("@ ALIAS edge.example.net.\n")
    world.found("2001:db8::1", "2001:db8::2")
    world.version()
    world.now += 500
    world.found("2001:db8::2", "2001:db8::1")
    assert world.version() is None


def test_a_move_waits_for_the_interval_and_first_addresses_do_not() -> None:
    world = World("@ ALIAS edge.example.net.\n", interval_s=60)
    world.version()
    world.found("2001:db8::1")
    assert owned(world.version())[AAAA] == packed("2001:db8::1")
    world.found("192.0.2.1", rdtype=A)
    assert owned(world.version())[A] == packed("192.0.2.1")
    world.found("2001:db8::2")
    assert owned(world.version())[AAAA] == packed("2001:db8::2")
    world.now += 30
    world.found("2001:db8::3")
    assert world.version() is None
    assert world.zone.waiting == {ORIGIN}
    world.now += 31
    assert owned(world.version())[AAAA] == packed("2001:db8::3")


def test_a_target_that_fails_keeps_its_last_addresses_for_a_time() -> None:
    world = World("@ ALIAS edge.example.net.\n", stale_max_s=1000, interval_s=0)
    world.found("2001:db8::1")
    world.found("192.0.2.1", rdtype=A)
    world.version()
    world.now += 900
    world.failed()
    world.found("192.0.2.1", rdtype=A)
    assert world.version() is None
    world.view = View(AliasSettings())  # as after a restart: nothing is known
    world.sights = Sights(world.view, world.pools)
    world.now += 150
    world.found("192.0.2.1", rdtype=A)
    world.failed()
    gone = owned(world.version())
    assert AAAA not in gone
    assert gone[A] == packed("192.0.2.1")


def test_another_target_takes_over_soon_even_if_nobody_can_look_it_up() -> None:
    world = World("@ ALIAS edge.example.net.\n", interval_s=0)
    world.found("2001:db8::1")
    world.version()
    world.write(content("@ ALIAS elsewhere.example.net.\n", serial=2))
    assert owned(world.version())[AAAA] == packed("2001:db8::1")
    world.now += BRIDGE_S + 1
    assert AAAA not in owned(world.version())


def test_targets_in_the_same_zone_are_followed_through_alias() -> None:
    world = World(
        "a ALIAS b\nb ALIAS c\nc AAAA 2001:db8::c\nd ALIAS none\nloop ALIAS loop2\nloop2 ALIAS loop\n"
    )
    made = world.version()
    assert owned(made, "a") == {AAAA: packed("2001:db8::c")}
    assert set(owned(made, "d")) == set(owned(made, "loop")) == {TXT}
    world.write(content("a ALIAS b\nb ALIAS c\nc AAAA 2001:db8::d\n", serial=2))
    assert owned(world.version(), "a") == {AAAA: packed("2001:db8::d")}


def test_a_pool_gives_all_its_healthy_members_at_once() -> None:
    world = World("www POOL web\n")
    assert len(owned(world.version(), "www")[AAAA]) == 2
    world.pools["web"].take(Result("web", "2001:db8::1", False, 1.0), world.now)
    assert owned(world.version(), "www")[AAAA] == packed("2001:db8::2")
    world.pools["web"].take(Result("web", "2001:db8::2", False, 1.0), world.now)
    assert len(owned(world.version(), "www")[AAAA]) == 2, "all are given where none is healthy"


@pytest.mark.parametrize("edits", [(2, 3, 4), (2, 9, 10), (2, 4294967295, 3)], ids=str)
def test_serials_grow_whatever_moves_and_whatever_the_author_writes(edits) -> None:
    world = World("@ ALIAS edge.example.net.\n", interval_s=0)
    serials, before = [world.version().serial], None
    for number, serial in enumerate(edits):
        world.found(f"2001:db8::{number + 1}")
        serials.append(world.version().serial)
        world.write(content("@ ALIAS edge.example.net.\n", serial=serial))
        serials.append(world.version().serial)
        before = world.version()
    assert before is None
    assert all(is_later(b, a) or b == a == 4294967295 for a, b in itertools.pairwise(serials)), (
        serials
    )


def test_a_change_of_one_name_touches_nothing_else() -> None:
    world = World("@ ALIAS edge.example.net.\n" + "".join(f"h{n} AAAA ::{n}\n" for n in range(50)))
    world.found("2001:db8::1")
    first = world.version()
    world.now += 100
    world.found("2001:db8::2")
    second = world.version()
    change = diff(first, second)
    assert [r.rdtype for r in change.removed] == [6, AAAA]
    assert [r.rdtype for r in change.added] == [6, AAAA]


def test_a_restart_goes_on_from_what_was_published() -> None:
    world = World("@ ALIAS edge.example.net.\n")
    world.found("2001:db8::1")
    world.version()
    world.now += 100
    world.found("2001:db8::2")
    last = world.version()
    again = World("@ ALIAS edge.example.net.\n")
    again.zone.sets, again.zone.serial = dict(world.zone.sets), world.zone.serial
    again.zone.content_serial = world.zone.content_serial
    made = again.version()
    assert not any(diff(last, made))


def test_a_zone_that_is_expanded_no_more_keeps_its_serials_growing() -> None:
    world = World("@ ALIAS edge.example.net.\n")
    world.found("2001:db8::1")
    world.version()
    world.now += 100
    world.found("2001:db8::2")
    last = world.version()
    world.zone.write(content("@ ALIAS edge.example.net.\n"), world.now, is_expanded=False)
    made = world.version()
    assert ALIAS in owned(made)
    assert is_later(made.serial, last.serial)
