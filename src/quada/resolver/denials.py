"""Aggressive use of validated denials: a gap that is known answers for every name in it (RFC 8198).

A wildcard that was seen answers for names in a known gap (5.3 there). Both kinds of gaps are used:
NSEC by the canonical order of names, NSEC3 by that of hashes. What opts out proves nothing here,
and zones that want many hash rounds are left to their servers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as hashing
from quada.resolver.cache import NEGATIVE_TTL_MAX_S, Word
from quada.resolver.proofs import Denial, Proof
from quada.telemetry.event import Validation
from quada.zones.signature import suffix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quada.resolver.evidence import Checked
    from quada.wire.records import Record

_ZONES_MAX: Final = 2_000  # our choice, and of each zone so many gaps
_GAPS_MAX: Final = 10_000
_WILDCARDS_MAX: Final = 1_000
_ROUNDS_MAX: Final = 10  # our choice; RFC 9276 3.1 wants none
_Key = TypeVar("_Key", bytes, "tuple[bytes, ...]")


class _Known(NamedTuple):
    """Verified records that go into answers together, and from when to when they hold."""

    records: tuple[Record, ...]
    stored_at: float
    expires_at: float


class _Gap(NamedTuple):
    """One gap: who owns its record, the record's RDATA, and what goes into an answer."""

    owner: bytes
    rdtype: int
    rdata: bytes
    known: _Known


class _Gaps(Generic[_Key]):
    """Gaps ordered by where each begins: a name's canonical key, or a hash."""

    def __init__(self, *, is_ring: bool) -> None:
        self._is_ring = is_ring  # hashes go round: before the first lies the last
        self._keys: list[_Key] = []
        self._gaps: dict[_Key, _Gap] = {}

    def put(self, key: _Key, gap: _Gap) -> None:
        if key not in self._gaps:
            if len(self._keys) >= _GAPS_MAX:
                self.clear()
            self._keys.insert(bisect_left(self._keys, key), key)
        self._gaps[key] = gap

    def clear(self) -> None:
        self._keys.clear()
        self._gaps.clear()

    def exactly(self, key: _Key, now: float) -> _Gap | None:
        """Give the gap that begins at a key, if it still holds."""
        found = self._gaps.get(key)
        return found if found is not None and found.known.expires_at > now else None

    def around(self, key: _Key, now: float) -> _Gap | None:
        """Give the gap that begins at a key or last before it, if it still holds."""
        at = bisect_right(self._keys, key) - 1
        if not self._keys or (at < 0 and not self._is_ring):
            return None
        return self.exactly(self._keys[at], now)

    def __len__(self) -> int:
        return len(self._keys)


class _Zone:
    """One zone's SOA, gaps of either kind, and wildcards by owner and type."""

    def __init__(self) -> None:
        self.soa: _Known | None = None
        self.wildcards: dict[tuple[bytes, int], _Known] = {}
        self.named: _Gaps[tuple[bytes, ...]] = _Gaps(is_ring=False)
        self.hashed: _Gaps[bytes] = _Gaps(is_ring=True)
        self._parameters = (0, b"")

    def learn(self, origin: bytes, gap: _Gap) -> None:
        """Keep a gap that is of use for more than its own name."""
        if gap.rdtype == codes.NSEC:
            denial = Denial(origin)
            denial.add(gap.owner, codes.NSEC, (gap.rdata,))
            # A gap of one name serves one name (RFC 9824): not worth keeping.
            if denial.nsecs and denial.nsecs[0].after != b"\x01\x00" + gap.owner:
                self.named.put(denial.nsecs[0].owner_key, gap)
            return
        nsec3, own = hashing.parse_nsec3(gap.rdata), hashing.label_hash(gap.owner)
        if nsec3 is None or own is None or nsec3.flags or nsec3.iterations > _ROUNDS_MAX:
            return
        if (nsec3.iterations, nsec3.salt) != self._parameters:
            self._parameters = nsec3.iterations, nsec3.salt
            self.hashed.clear()
        self.hashed.put(own, gap)

    def wildcard_for(
        self, origin: bytes, name: bytes, rdtype: int, now: float
    ) -> tuple[_Known, _Gap] | None:
        """Give the wildcard that answers for a name, and the gap that proves it due.

        RFC: 4035 5.3.4, 5155 8.8, 8198 5.3
        """
        if not self.wildcards:
            return None
        closer, encloser = name, name
        while encloser != origin:
            closer, encloser = encloser, names.parent(encloser)
            owner = b"\x01*" + encloser
            found = self.wildcards.get((owner, rdtype)) or self.wildcards.get((owner, codes.CNAME))
            if found is None or found.expires_at <= now:
                continue
            if len(self.hashed):
                gap = self.hashed.around(self._hash(closer), now)
            else:
                gap = self.named.around(names.canonical_key(closer), now)
            if gap is None:
                return None
            denial = Denial(origin)
            denial.add(gap.owner, gap.rdtype, (gap.rdata,))
            is_due = denial.no_closer_match(name, names.label_count(encloser)) is Proof.PROVED
            return (found, gap) if is_due else None
        return None

    def around(self, origin: bytes, name: bytes, now: float) -> tuple[list[_Gap], bool] | None:
        """Give the gaps that may deny a name, and whether they would deny all of it."""
        if len(self.hashed):
            return self._hashed_around(origin, name, now)
        first = self.named.around(names.canonical_key(name), now)
        if first is None:
            return None
        denial = Denial(origin)
        denial.add(first.owner, codes.NSEC, (first.rdata,))
        if not denial.nsecs[0].covers(name):
            return [first], False
        encloser = denial.closest_encloser(name)
        if encloser is None:
            return None
        second = self.named.around(names.canonical_key(b"\x01*" + encloser), now)
        return None if second is None else ([first, second], True)

    def _hashed_around(
        self, origin: bytes, name: bytes, now: float
    ) -> tuple[list[_Gap], bool] | None:
        """RFC 5155 8.4 and 8.5: the name itself; or encloser, next closer name and wildcard."""
        own = self.hashed.exactly(self._hash(name), now)
        if own is not None:
            return [own], False
        closer, encloser = name, name
        while own is None:
            if encloser == origin:
                return None
            closer, encloser = encloser, names.parent(encloser)
            own = self.hashed.exactly(self._hash(encloser), now)
        next_closer = self.hashed.around(self._hash(closer), now)
        at = self._hash(b"\x01*" + encloser)
        wildcard = self.hashed.exactly(at, now)
        is_no_name = wildcard is None
        wildcard = wildcard or self.hashed.around(at, now)
        if next_closer is None or wildcard is None:
            return None
        return [own, next_closer, wildcard], is_no_name

    def _hash(self, name: bytes) -> bytes:
        return hashing.nsec3_hash(name, *self._parameters)


class Denials:
    """What validated answers have shown not to exist, or to come from a wildcard. Bounded."""

    def __init__(self) -> None:
        self._zones: OrderedDict[bytes, _Zone] = OrderedDict()
        self.hits = 0

    def learn(self, word: Word, checked: Mapping[tuple[bytes, int], Checked]) -> None:
        """Keep what a validated answer proves; records that are not secure are left."""
        if word.validation is not Validation.SECURE:
            return
        by_set = _by_set(word.authority)

        def known(key: tuple[bytes, int], records: list[Record]) -> _Known | None:
            seen = checked.get(key)
            if seen is None or seen.state is not Validation.SECURE:
                return None
            life_s = min(seen.ttl, NEGATIVE_TTL_MAX_S, word.expires_at - word.stored_at)
            return _Known(tuple(records), word.stored_at, word.stored_at + life_s)

        soa = wildcard = None
        if word.answer:
            made = _wildcard_of(word, checked)
            if made is None:
                return
            origin, owner, rdtype, records = made
            wildcard = known((word.name, rdtype), records)
        else:
            soas = [owner for owner, covered in by_set if covered == codes.SOA]
            origin = soas[0] if len(soas) == 1 else names.ROOT
            soa = known((origin, codes.SOA), by_set.get((origin, codes.SOA), []))
        if soa is None and wildcard is None:
            return
        zone = self._zones.pop(origin, None) or _Zone()
        self._zones[origin] = zone
        zone.soa = soa or zone.soa
        if wildcard is not None:
            if len(zone.wildcards) >= _WILDCARDS_MAX:
                zone.wildcards.clear()
            zone.wildcards[owner, rdtype] = wildcard
        while len(self._zones) > _ZONES_MAX:
            self._zones.popitem(last=False)
        for (owner, rdtype), records in by_set.items():
            seen = checked.get((owner, rdtype))
            if rdtype not in (codes.NSEC, codes.NSEC3) or seen is None or seen.zone != origin:
                continue
            if seen.encloser_labels is not None:
                continue  # made from a wildcard: it says nothing of its neighbours
            gap = known((owner, rdtype), records)
            rdatas = [r.rdata for r in records if r.rdtype == rdtype]
            if gap is not None and len(rdatas) == 1:
                zone.learn(origin, _Gap(owner, rdtype, rdatas[0], gap))

    def find(self, name: bytes, rdtype: int, now: float) -> Word | None:
        """Answer from known gaps and wildcards; None where they do not prove the answer."""
        if rdtype in (codes.DS, codes.ANY):
            return None  # a DS is the parent's to deny; ANY is not denied by a type's absence
        origin = name
        while (zone := self._zones.get(origin)) is None:
            if origin == names.ROOT:
                return None
            origin = names.parent(origin)
        wild = zone.wildcard_for(origin, name, rdtype, now)
        if wild is not None:
            self.hits += 1
            return _expanded(name, rdtype, origin, *wild)
        soa = zone.soa
        if soa is None or soa.expires_at <= now:
            return None
        around = zone.around(origin, name, now)
        if around is None:
            return None
        used, is_no_name = around
        used = list(dict.fromkeys(used))
        denial = Denial(origin)
        for gap in used:
            denial.add(gap.owner, gap.rdtype, (gap.rdata,))
        proof = denial.no_name(name) if is_no_name else denial.no_data(name, rdtype)
        rcode = codes.NXDOMAIN if is_no_name else codes.NOERROR
        if proof is not Proof.PROVED:
            return None
        self.hits += 1
        parts = [soa, *(gap.known for gap in used)]
        return Word(
            name,
            rdtype,
            rcode,
            (),
            tuple(record for part in parts for record in part.records),
            origin,
            min(part.stored_at for part in parts),
            min(part.expires_at for part in parts),
            Validation.SECURE,
        )

    def flush(self, name: bytes) -> None:
        """Forget the zones that a name is in, and those below it."""
        for origin in list(self._zones):
            is_near = names.is_subdomain(name, origin) or names.is_subdomain(origin, name)
            if is_near and (origin != names.ROOT or name == names.ROOT):
                del self._zones[origin]


def _by_set(records: Iterable[Record]) -> dict[tuple[bytes, int], list[Record]]:
    """Put records together with the signatures that cover them."""
    by_set: dict[tuple[bytes, int], list[Record]] = {}
    for record in records:
        covered = record.rdtype
        if record.rdtype == codes.RRSIG:
            covered = int.from_bytes(record.rdata[:2], "big")
        by_set.setdefault((record.owner, covered), []).append(record)
    return by_set


def _wildcard_of(
    word: Word, checked: Mapping[tuple[bytes, int], Checked]
) -> tuple[bytes, bytes, int, list[Record]] | None:
    """Give zone, wildcard's owner, type and records where an answer was made from a wildcard."""
    for (owner, rdtype), records in _by_set(word.answer).items():
        seen = checked.get((owner, rdtype))
        if owner != word.name or rdtype not in (word.rdtype, codes.CNAME) or seen is None:
            continue
        if seen.encloser_labels is None:
            return None
        return seen.zone, b"\x01*" + suffix(owner, seen.encloser_labels), rdtype, records
    return None


def _expanded(name: bytes, rdtype: int, origin: bytes, found: _Known, gap: _Gap) -> Word:
    """Answer for a name with a wildcard's records, and the gap that says that nothing is nearer."""
    parts = (found, gap.known)
    return Word(
        name,
        rdtype,
        codes.NOERROR,
        tuple(record._replace(owner=name) for record in found.records),
        gap.known.records,
        origin,
        min(part.stored_at for part in parts),
        min(part.expires_at for part in parts),
        Validation.SECURE,
    )
