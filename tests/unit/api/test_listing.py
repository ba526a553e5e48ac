"""Listings: numbers that stay, searches that agree with reading, versions that share."""

from pathlib import Path

import quada.wire.codes as codes
from quada.api.listing import Listing, digest
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.zones import Change, Record, Zone, read_zone

ORIGIN = b"\x07example\x03com\x00"
TEXT = """$TTL 300
@ NS ns1
@ SOA ns1 host 1 3600 600 86400 60
ns1 AAAA 2001:db8::53
www AAAA 2001:db8::80
www AAAA 2001:db8::81
*.deep.er TXT "Some Words"
"""


def zone(text: str = TEXT) -> Zone:
    return read_zone(text, ORIGIN)


def added(owner: bytes) -> Change:
    return Change((), (Record(owner + ORIGIN, codes.AAAA, 300, bytes(15) + b"\x01"),))


def test_the_soa_comes_first_and_every_record_once() -> None:
    version = zone()
    listed = [one.record for one in Listing(version, {}).records]
    assert listed == list(version.records())
    assert listed[0].rdtype == codes.SOA


def test_a_record_is_found_by_the_number_it_is_shown_with() -> None:
    listing = Listing(zone(), {})
    for one in listing.records:
        assert listing.find(one.number) == one
    assert listing.find(1) is None


def test_a_kept_number_stands_for_the_content_it_was_kept_for() -> None:
    version = zone()
    wanted = next(one for one in version.records() if one.rdtype == codes.AAAA)
    listing = Listing(version, {digest(wanted): 77})
    found = listing.find(77)
    assert found is not None
    assert found.record == wanted
    assert listing.find(digest(wanted)) is None


def test_a_search_finds_parts_of_names_and_values_in_any_case() -> None:
    listing = Listing(zone(), {})
    assert [one.record.rdata[-1] for one in listing.search(text="DB8::8")] == [0x80, 0x81]
    assert len(listing.search(text="some words")) == 1
    assert len(listing.search(name="www", rdtype=codes.AAAA)) == 2
    assert len(listing.search(name="www", rdtype=codes.TXT)) == 0
    assert len(listing.search(name="absent")) == 0
    assert len(listing.search(name_like="deep")) == 1
    assert len(listing.search(name_like="2001")) == 0


def test_the_next_version_takes_over_what_did_not_change() -> None:
    before = Listing(zone(), {})
    before.warm()
    after = Listing(before.zone.changed(added(b"\x03new")), {}, before)
    fresh = Listing(after.zone, {})
    assert list(after.records) == list(fresh.records)
    assert after.search(text="new")[0].record.owner == b"\x03new" + ORIGIN
    was, now = before.search(name="www"), after.search(name="www")
    assert all(one.record is other.record for one, other in zip(was, now, strict=True))


def test_a_record_that_was_removed_is_not_found_in_the_next_version() -> None:
    before = Listing(zone(), {})
    gone = before.search(text="2001:db8::81")[0]
    after = Listing(before.zone.changed(Change((gone.record,), ())), {}, before)
    assert after.find(gone.number) is None
    assert len(after.search(name="www")) == 1


def test_a_store_follows_what_another_process_changed(tmp_path: Path) -> None:
    one, other = ZoneStore.open(tmp_path / "zones.db"), ZoneStore.open(tmp_path / "zones.db")
    one.create(zone(), Author("one"), 1)
    first = one.zone(ORIGIN)
    assert first is not None
    for owner in (b"\x01a", b"\x01b"):
        other.apply(ORIGIN, added(owner), Author("other"), 2)
    now, there = one.zone(ORIGIN), other.zone(ORIGIN)
    assert now is not None
    assert there is not None
    assert set(now.records()) == set(there.records())
    www = b"\x03www" + ORIGIN
    assert now.nodes[www] is first.nodes[www]
    other.remove(ORIGIN, Author("me"), 9)
    other.create(zone(TEXT + "fresh AAAA 2001:db8::1\n"), Author("other"), 3)
    again = one.zone(ORIGIN)
    assert again is not None
    assert b"\x05fresh" + ORIGIN in again.nodes
    one.close()
    other.close()
