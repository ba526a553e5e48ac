"""The zone store: one transaction a change, and a journal that leads anywhere."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import quada.wire.names as names
from quada.server.stored import StoredZones
from quada.store.journal import Author, pack_records, unpack_records
from quada.store.zones import SerialConflict, ZoneStore, next_serial
from quada.wire.faults import DataFault
from quada.wire.serial import is_later
from quada.zones import Change, Record, Zone, diff, read_zone

ORIGIN = names.from_text("example.com.")
TEXT = "$TTL 300\n@ SOA ns1 h 10 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 AAAA 2001:db8::1\nns2 AAAA 2001:db8::2\n"
ME = Author("tester", "::1", "because")


def aaaa(label: str, last: int, ttl: int = 300) -> Record:
    return Record(names.from_text(label, ORIGIN), 28, ttl, bytes(15) + bytes((last,)))


@pytest.fixture
def store(tmp_path: Path) -> ZoneStore:
    made = ZoneStore.open(tmp_path / "zones.db")
    made.create(read_zone(TEXT, ORIGIN), ME, 1000)
    return made


def test_a_change_raises_the_serial_and_is_journaled(store: ZoneStore) -> None:
    applied = store.apply(ORIGIN, Change((), (aaaa("www", 1),)), ME, 2000)
    assert applied.zone.serial == 11
    entry = store.history(ORIGIN)[0]
    assert (entry.serial_from, entry.serial_to, entry.author, entry.at) == (10, 11, ME, 2000)
    assert aaaa("www", 1) in entry.change.added


def test_another_process_reads_what_was_written(store: ZoneStore, tmp_path: Path) -> None:
    other = ZoneStore.open(tmp_path / "zones.db")
    before = other.data_version()
    applied = store.apply(ORIGIN, Change((), (aaaa("www", 1),)), ME, 2000)
    assert other.data_version() != before
    found = other.zone(ORIGIN)
    assert found is not None
    assert diff(found, applied.zone) == Change((), ())


def test_a_refused_change_leaves_everything_as_it_was(store: ZoneStore) -> None:
    cname = Record(names.from_text("ns1", ORIGIN), 5, 300, names.from_text("x.example.org."))
    with pytest.raises(DataFault):
        store.apply(ORIGIN, Change((), (cname,)), ME, 2000)
    found = store.zone(ORIGIN)
    assert found is not None
    assert found.serial == 10
    assert len(store.history(ORIGIN)) == 1


def test_a_change_based_on_an_old_serial_is_a_conflict(store: ZoneStore) -> None:
    store.apply(ORIGIN, Change((), (aaaa("www", 1),)), ME, 2000)
    with pytest.raises(SerialConflict):
        store.apply(ORIGIN, Change((), (aaaa("www", 2),)), ME, 2000, expect_serial=10)


def test_undo_takes_one_change_back_and_keeps_later_ones(store: ZoneStore) -> None:
    store.apply(ORIGIN, Change((), (aaaa("a", 1),)), ME, 2000)
    number = store.history(ORIGIN)[0].number
    store.apply(ORIGIN, Change((), (aaaa("b", 1),)), ME, 2001)
    undone = store.undo(ORIGIN, number, ME, 2002).zone
    assert undone.node(names.from_text("a", ORIGIN)) is None
    assert undone.node(names.from_text("b", ORIGIN)) is not None
    assert undone.serial == 13


def test_nothing_changed_is_no_entry(store: ZoneStore) -> None:
    store.apply(ORIGIN, Change((aaaa("nowhere", 1),), ()), ME, 2000)
    assert len(store.history(ORIGIN)) == 1


def test_a_removed_zone_is_gone_and_its_last_journal_entry_brings_it_back(store: ZoneStore) -> None:
    before = store.zone(ORIGIN)
    gone = store.remove(ORIGIN, Author("me", "::1", "moved away"), 2000)
    assert store.zone(ORIGIN) is None
    assert ORIGIN not in store.zones()
    with pytest.raises(DataFault):
        store.remove(ORIGIN, ME, 2001)
    last = store.history(ORIGIN)[0]
    assert last.is_removal
    assert (last.author.why, set(last.change.removed)) == ("moved away", set(before.records()))
    assert gone.change == last.change
    assert store.undo(ORIGIN, last.number, ME, 2002).zone.nodes == before.nodes
    assert store.zone(ORIGIN).nodes == before.nodes


def test_the_journal_of_one_life_of_a_zone_does_not_lead_into_the_next(store: ZoneStore) -> None:
    old = store.zones()[ORIGIN]
    store.remove(ORIGIN, ME, 2000)
    store.create(read_zone(TEXT, ORIGIN), ME, 2001)
    assert store.since_serial(ORIGIN, 10) is None
    assert store.since_revision(ORIGIN, old) is None


def test_a_zone_removed_and_added_again_is_not_taken_for_the_old_one(
    store: ZoneStore, tmp_path: Path
) -> None:
    served: list[Zone] = []
    feed = StoredZones(tmp_path / "zones.db", served.append, lambda _: None)
    assert [zone.serial for zone in feed.load_all()] == [10]
    store.remove(ORIGIN, ME, 1999)
    store.create(read_zone(TEXT.replace(" 10 ", " 7 "), ORIGIN), ME, 2000)
    feed.refresh()
    assert [zone.serial for zone in served] == [7]


records = st.builds(
    aaaa, st.sampled_from(["a", "b", "x.a", "*.b"]), st.integers(0, 3), st.just(300)
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.booleans(), records), min_size=1, max_size=8))
def test_the_journal_leads_from_any_version_to_the_present(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, Record]]
) -> None:
    store = ZoneStore.open(tmp_path_factory.mktemp("s") / "zones.db")
    versions: list[Zone] = [store.create(read_zone(TEXT, ORIGIN), ME, 1).zone]
    for is_added, record in steps:
        change = Change((), (record,)) if is_added else Change((record,), ())
        versions.append(store.apply(ORIGIN, change, ME, 2).zone)
    for version in versions:
        if version.serial == versions[-1].serial:
            continue
        entries = store.since_serial(ORIGIN, version.serial)
        assert entries is not None
        for entry in entries:
            version = version.changed(entry.change)
        assert diff(version, versions[-1]) == Change((), ())


@given(
    st.lists(
        st.builds(
            Record,
            st.binary(max_size=255),
            st.integers(0, 65535),
            st.integers(0, 2**31 - 1),
            st.binary(max_size=300),
        ),
        max_size=5,
    )
)
def test_packed_records_come_out_as_they_went_in(some: list[Record]) -> None:
    assert unpack_records(pack_records(some)) == tuple(some)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["increment", "date", "unixtime"]))
def test_the_next_serial_is_always_later(serial: int, policy: str) -> None:
    assert is_later(next_serial(serial, policy, 1_795_000_000), serial)


EDIT_FOR_EVER = """
import sys
from pathlib import Path
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import Change, Record
store = ZoneStore.open(Path(sys.argv[1]))
origin = bytes.fromhex(sys.argv[2])
number = 0
while True:
    number += 1
    owner = bytes((len(str(number)) + 1,)) + b"h" + str(number).encode() + origin
    records = (Record(owner, 28, 300, bytes(15) + b"1"), Record(owner, 28, 300, bytes(15) + b"2"))
    store.apply(origin, Change((), records), Author("child"), number)
    print(number, flush=True)
"""


def test_a_process_killed_while_editing_leaves_whole_versions(
    store: ZoneStore, tmp_path: Path
) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", EDIT_FOR_EVER, str(tmp_path / "zones.db"), ORIGIN.hex()],
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline()
            time.sleep(0.05)
            child.kill()
        again = ZoneStore.open(tmp_path / "zones.db")
        found = again.zone(ORIGIN)
        assert found is not None
        zone: Zone | None = None
        for entry in again.history(ORIGIN, limit=100_000)[::-1]:
            zone = (zone or Zone.build(ORIGIN, ())).changed(entry.change)
        assert zone is not None
        assert diff(zone, found) == Change((), ())
        for node in found.nodes.values():
            for rrset in node:
                assert rrset.rdtype != 28 or len(rrset.rdatas) in (1, 2)
