"""Aggressive use of validated denials: a gap that is known answers for every name in it (RFC 8198).

NSEC alone. NSEC3 hashes would have to be computed for every name, and most of its zones opt out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import NEGATIVE_TTL_MAX_S, Word
from quada.resolver.proofs import Denial, Nsec, Proof
from quada.telemetry.event import Validation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quada.resolver.evidence import Checked
    from quada.wire.records import Record

_ZONES_MAX: Final = 2_000  # our choice, and of each zone so many gaps
_GAPS_MAX: Final = 10_000


class _Known(NamedTuple):
    """Verified records that go into answers together, and from when to when they hold."""

    records: tuple[Record, ...]
    stored_at: float
    expires_at: float


class _Zone:
    """One zone's SOA and gaps, ordered by the name where each begins."""

    def __init__(self, soa: _Known) -> None:
        self.soa = soa
        self._keys: list[tuple[bytes, ...]] = []
        self._gaps: dict[tuple[bytes, ...], tuple[Nsec, _Known]] = {}

    def put(self, nsec: Nsec, known: _Known) -> None:
        if nsec.owner_key not in self._gaps:
            if len(self._keys) >= _GAPS_MAX:
                self._keys.clear()
                self._gaps.clear()
            self._keys.insert(bisect_left(self._keys, nsec.owner_key), nsec.owner_key)
        self._gaps[nsec.owner_key] = nsec, known

    def at(self, name: bytes, now: float) -> tuple[Nsec, _Known] | None:
        """Give the gap that begins at or last before a name, if it still holds."""
        at = bisect_right(self._keys, names.canonical_key(name)) - 1
        if at < 0:
            return None
        found = self._gaps[self._keys[at]]
        return found if found[1].expires_at > now else None


class Denials:
    """What validated answers have shown not to exist. Bounded; one per resolver worker."""

    def __init__(self) -> None:
        self._zones: OrderedDict[bytes, _Zone] = OrderedDict()
        self.hits = 0

    def learn(self, word: Word, checked: Mapping[tuple[bytes, int], Checked]) -> None:
        """Keep what a validated negative answer proves; records that are not secure are left."""
        if word.validation is not Validation.SECURE or word.answer:
            return
        by_set: dict[tuple[bytes, int], list[Record]] = {}
        for record in word.authority:
            covered = record.rdtype
            if record.rdtype == codes.RRSIG:
                covered = int.from_bytes(record.rdata[:2], "big")
            by_set.setdefault((record.owner, covered), []).append(record)

        def known(key: tuple[bytes, int]) -> _Known | None:
            seen = checked.get(key)
            if seen is None or seen.state is not Validation.SECURE:
                return None
            if seen.encloser_labels is not None:
                return None  # made from a wildcard: it says nothing of its neighbours
            life_s = min(seen.ttl, NEGATIVE_TTL_MAX_S, word.expires_at - word.stored_at)
            return _Known(tuple(by_set[key]), word.stored_at, word.stored_at + life_s)

        soas = [owner for owner, covered in by_set if covered == codes.SOA]
        soa = known((soas[0], codes.SOA)) if len(soas) == 1 else None
        if soa is None:
            return
        origin = soas[0]
        zone = self._zones.pop(origin, None) or _Zone(soa)
        zone.soa = soa
        self._zones[origin] = zone
        while len(self._zones) > _ZONES_MAX:
            self._zones.popitem(last=False)
        for key, records in by_set.items():
            if key[1] != codes.NSEC or checked.get(key) is None or checked[key].zone != origin:
                continue
            gap = known(key)
            denial = Denial(origin)
            denial.add(key[0], codes.NSEC, (r.rdata for r in records if r.rdtype == codes.NSEC))
            # A gap of one name serves one name (RFC 9824): not worth keeping.
            if gap is not None and len(denial.nsecs) == 1:
                nsec = denial.nsecs[0]
                if nsec.after != b"\x01\x00" + nsec.owner:
                    zone.put(nsec, gap)

    def find(self, name: bytes, rdtype: int, now: float) -> Word | None:
        """Answer from known gaps; None where they do not prove that there is nothing."""
        if rdtype in (codes.DS, codes.ANY):
            return None  # a DS is the parent's to deny; ANY is not denied by a type's absence
        origin = name
        while (zone := self._zones.get(origin)) is None:
            if origin == names.ROOT:
                return None
            origin = names.parent(origin)
        first = zone.at(name, now)
        if first is None or zone.soa.expires_at <= now:
            return None
        used = [first]
        denial = Denial(origin)
        denial.nsecs.append(first[0])
        rcode = codes.NOERROR
        if not first[0].covers(name):
            proof = denial.no_data(name, rdtype)
        else:
            rcode = codes.NXDOMAIN
            encloser = denial.closest_encloser(name)
            second = zone.at(b"\x01*" + encloser, now) if encloser is not None else None
            if second is None:
                return None
            if second is not first:
                used.append(second)
                denial.nsecs.append(second[0])
            proof = denial.no_name(name)
        if proof is not Proof.PROVED:
            return None
        self.hits += 1
        parts = [zone.soa, *(known for _, known in used)]
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
