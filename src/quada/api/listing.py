"""A zone's records with their numbers, searched and paged, kept in step as the zone changes.

DNS has RRsets and no record numbers. A record's number is made of its own content (so a zone that
came from anywhere has numbers at once, and the same ones on every server); only when an edit
changes a record is its first number remembered.

Numbers and text are worked out once a record and only when somebody looks. The listing of the next
version takes over all that did not change: after a change to a zone of 100,000 records, one name is
worked out and not all.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, overload

import quada.wire.codes as codes
from quada.api.records import owner_text, read_owner
from quada.zones import Record
from quada.zones.rdata import write_rdata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.store.accounts import Accounts
    from quada.store.zones import ZoneStore
    from quada.zones import Zone
    from quada.zones.zone import Node

_HELD_MAX: Final = 8  # our choice: zones whose listings are kept at hand
_LARGE_RRSETS: Final = 5_000  # our choice: below, working a listing out takes less than a page
_NUMBER_BITS: Final = 52  # what JSON numbers hold exactly (RFC 8259 6), and a bit to spare


class Numbered(NamedTuple):
    """A record and its number."""

    number: int
    record: Record


class _Item:
    """A record with its number by content and its text, once somebody asked."""

    __slots__ = ("digest", "record", "text")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.digest = 0
        self.text = ""


class _Name(NamedTuple):
    """What one name owned when its items were made."""

    node: Node
    items: tuple[_Item, ...]


def digest(record: Record) -> int:
    """Give the number a record has by its content: owner, type and data, not its TTL."""
    octets = record.owner + record.rdtype.to_bytes(2, "big") + record.rdata
    made = hashlib.blake2b(octets, digest_size=8).digest()
    return int.from_bytes(made, "big") >> (64 - _NUMBER_BITS) or 1


class Found(Sequence[Numbered]):
    """Records that were found; each is numbered when it is taken out, so a page costs a page."""

    def __init__(self, items: list[_Item], kept: dict[int, int]) -> None:
        self._items = items
        self._kept = kept

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Numbered: ...
    @overload
    def __getitem__(self, at: slice) -> list[Numbered]: ...
    def __getitem__(self, at: int | slice) -> Numbered | list[Numbered]:
        if isinstance(at, slice):
            return [self._numbered(item) for item in self._items[at]]
        return self._numbered(self._items[at])

    def __iter__(self) -> Iterator[Numbered]:
        return map(self._numbered, self._items)

    def _numbered(self, item: _Item) -> Numbered:
        made = _digest_of(item)
        return Numbered(self._kept.get(made, made), item.record)


class Listing:
    """One zone version's records.

    `kept` maps what a changed record's content gives to the number it keeps; `before` is the
    listing of an earlier version.
    """

    def __init__(self, zone: Zone, kept: dict[int, int], before: Listing | None = None) -> None:
        self.zone = zone
        self._kept = kept
        known = before._names if before is not None else {}  # one Listing reads another
        self._names: dict[bytes, _Name] = {}
        self._items: list[_Item] = []
        for owner, node in zone.nodes.items():
            held = known.get(owner)
            if held is None or held.node is not node:
                held = _Name(node, _items(owner, node))
            self._names[owner] = held
            self._items += held.items
        apex = self._names[zone.origin].items
        for system in [item for item in apex if is_system(item.record, zone.origin)]:
            self._items.remove(system)  # the apex is the first name: it is found at once
            self._items.insert(0, system)
        self._numbers: dict[int, Record] | None = None

    @property
    def records(self) -> Found:
        """All records, SOA first, the rest in the zone's order."""
        return Found(self._items, self._kept)

    def warm(self) -> None:
        """Work out every number and text, so that nobody has to wait for them."""
        for item in self._items:
            _digest_of(item)
            self._text_of(item)
        self.find(0)

    def find(self, wanted: int) -> Numbered | None:
        """Give the record of a number."""
        if self._numbers is None:
            self._numbers = dict(self.records)
        record = self._numbers.get(wanted)
        return None if record is None else Numbered(wanted, record)

    def search(
        self, *, name: str | None = None, name_like: str = "", rdtype: int | None = None,
        text: str = "",
    ) -> Found:  # fmt: skip
        """Choose records: by owner, by a part of it, by type, or by a part of owner or content."""
        found = self._items
        if name is not None:
            held = self._names.get(read_owner(name, self.zone.origin))
            found = list(held.items) if held is not None else []
        if rdtype is not None:
            found = [item for item in found if item.record.rdtype == rdtype]
        if text:
            part = text.lower()
            found = [item for item in found if part in (item.text or self._text_of(item))]
        if name_like:
            part = name_like.lower()
            found = [item for item in found if part in self._text_of(item).partition(" ")[0]]
        return Found(found, self._kept)

    def _text_of(self, item: _Item) -> str:
        """Write owner and content in small letters; an owner holds no space (RFC 1035 5.1)."""
        if not item.text:
            record = item.record
            owner = owner_text(record.owner, self.zone.origin)
            item.text = f"{owner} {write_rdata(record.rdtype, record.rdata)}".lower()
        return item.text


class Listings:
    """The listings of the zones that were looked at last, a few of them."""

    def __init__(self, store: ZoneStore, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._held: OrderedDict[bytes, Listing] = OrderedDict()
        self._warmed: dict[bytes, int] = {}

    def of(self, zone: Zone, *, is_renumbered: bool = False) -> Listing:
        """Give a version's listing; a new one where numbers are kept that were not before."""
        held = self._held.get(zone.origin)
        if held is None or held.zone is not zone or is_renumbered:
            held = Listing(zone, self._accounts.kept_ids(zone.origin), held)
            self._held[zone.origin] = held
            while len(self._held) > _HELD_MAX:
                self._held.popitem(last=False)
        self._held.move_to_end(zone.origin)
        return held

    def warm(self) -> None:
        """Have the large zones that changed last ready, where anything changed."""
        zones = self._store.zones()
        if zones == self._warmed:
            return
        large = [one for one in self._store.summaries() if one.rrset_count >= _LARGE_RRSETS]
        large.sort(key=lambda one: one.updated_at)
        for summary in large[-_HELD_MAX:]:
            zone = self._store.zone(summary.origin)
            if zone is not None:
                self.of(zone).warm()
        self._warmed = zones


def is_system(record: Record, origin: bytes) -> bool:
    """Tell whether a record is the zone's own SOA, which changes by itself."""
    return record.rdtype == codes.SOA and record.owner == origin


def _items(owner: bytes, node: Node) -> tuple[_Item, ...]:
    return tuple(
        _Item(Record(owner, rrset.rdtype, rrset.ttl, rdata))
        for rrset in node
        for rdata in rrset.rdatas
    )


def _digest_of(item: _Item) -> int:
    if not item.digest:
        item.digest = digest(item.record)
    return item.digest
