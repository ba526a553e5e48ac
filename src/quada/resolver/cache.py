"""What a resolver remembers: answers, delegations, and names that do not exist. Bounded."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import quada.wire.names as names
from quada.telemetry.event import Validation
from quada.wire.records import Record

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator

TTL_MAX_S: Final = 86_400  # RFC 8767 4 recommends a cap of a day or some
NEGATIVE_TTL_MAX_S: Final = 3_600  # RFC 2308 5 recommends one to three hours
BOGUS_TTL_S: Final = 60  # RFC 4035 4.7: long enough to spare the servers, short enough to heal
FAILURE_TTL_S: Final = 5  # RFC 9520 3.2 wants at least one second and at most five minutes


class Word(NamedTuple):
    """One zone's word about one question: records of the answer and of the authority section.

    `zone` is whose server said it. `verdict` is what validation said, with EDE and reason.
    """

    name: bytes
    rdtype: int
    rcode: int
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    zone: bytes
    stored_at: float
    expires_at: float
    validation: Validation = Validation.UNTRIED
    ede: int | None = None
    reason: str = ""


class Delegation(NamedTuple):
    """Who serves a zone: names of servers and the addresses that came as glue.

    `is_forward` says that these are resolvers to be asked with RD; `is_fixed` that an operator said
    so and nothing learnt replaces it.
    """

    zone: bytes
    servers: tuple[bytes, ...]
    glue: dict[bytes, tuple[str, ...]]
    expires_at: float
    is_forward: bool = False
    is_fixed: bool = False

    def addresses(self) -> list[str]:
        """Give the addresses that came as glue, in the order of the servers."""
        return [a for one in self.servers for a in self.glue.get(one, ())]


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Bounded(Generic[_Key, _Value]):
    """A table that forgets what was used longest ago."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: _Key, value: _Value) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self._limit:
            self._items.popitem(last=False)

    def pop(self, key: _Key) -> None:
        self._items.pop(key, None)

    def held(self) -> list[_Key]:
        return list(self._items)

    def items(self) -> ItemsView[_Key, _Value]:
        return self._items.items()

    def __len__(self) -> int:
        return len(self._items)


class Cache:
    """Takes how many answers to keep; delegations are a quarter of that."""

    def __init__(self, answers_max: int = 100_000) -> None:
        self._finals: _Bounded[tuple[bytes, int], Word] = _Bounded(answers_max)
        self._cuts: _Bounded[bytes, Word] = _Bounded(answers_max)  # NXDOMAIN, by name
        self._delegations: _Bounded[bytes, Delegation] = _Bounded(max(1000, answers_max // 4))
        self._fixed: dict[bytes, Delegation] = {}
        self.hits = 0
        self.misses = 0

    def get(self, name: bytes, rdtype: int, now: float) -> Word | None:
        """Give a fresh answer; an NXDOMAIN of an ancestor answers for all below (RFC 8020)."""
        found = self._finals.get((name, rdtype))
        if found is not None and found.expires_at > now:
            self.hits += 1
            return found
        if len(self._cuts):
            ancestor = name
            while ancestor != names.ROOT:
                cut = self._cuts.get(ancestor)
                if cut is not None and cut.expires_at > now:
                    self.hits += 1
                    return cut
                ancestor = names.parent(ancestor)
        self.misses += 1
        return None

    def stale(self, name: bytes, rdtype: int, now: float, stale_s: float) -> Word | None:
        """Give an expired answer that may still be served (RFC 8767)."""
        found = self._finals.get((name, rdtype))
        return found if found is not None and found.expires_at + stale_s > now else None

    def put(self, final: Word) -> None:
        """Keep an answer. NXDOMAIN stands for every type, and for every name below if validated
        or unsigned: the asker of a bogus one must not hide its neighbours."""
        self._finals.put((final.name, final.rdtype), final)
        if final.rcode == 3 and final.validation is not Validation.BOGUS and not final.answer:
            self._cuts.put(final.name, final)

    def expire(self, name: bytes, rdtype: int, now: float) -> None:
        """Make an answer stale, so that the next lookup asks anew."""
        found = self._finals.get((name, rdtype))
        if found is not None:
            self._finals.put((name, rdtype), found._replace(expires_at=now))

    def closest(self, name: bytes, now: float) -> Delegation | None:
        """Give the delegation nearest above a name: an operator's first."""
        while True:
            found = self._fixed.get(name) or self._delegations.get(name)
            if found is not None and (found.is_fixed or found.expires_at > now):
                return found
            if name == names.ROOT:
                return None
            name = names.parent(name)

    def delegate(self, delegation: Delegation) -> None:
        """Keep a delegation."""
        if delegation.is_fixed:
            self._fixed[delegation.zone] = delegation
        else:
            self._delegations.put(delegation.zone, delegation)

    def flush(self, name: bytes, *, is_subtree: bool) -> int:
        """Forget a name, or everything at and below it; gives how many answers went."""
        gone = [
            key
            for key in self._finals.held()
            if key[0] == name or (is_subtree and names.is_subdomain(key[0], name))
        ]
        for key in gone:
            self._finals.pop(key)
        for cut in self._cuts.held():
            if cut == name or (is_subtree and names.is_subdomain(cut, name)):
                self._cuts.pop(cut)
        if is_subtree:
            for zone in self._delegations.held():
                if names.is_subdomain(zone, name):
                    self._delegations.pop(zone)
        return len(gone)

    def dump(self, now: float) -> Iterator[str]:
        """Write what still holds as lines, the least used first; delegations are learnt again."""
        for (name, rdtype), word in list(self._finals.items()):
            # NXDOMAIN cuts come back with the answer that they are.
            if word.expires_at > now and word.validation is not Validation.BOGUS:
                yield json.dumps([
                    name.hex(), rdtype, word.rcode, _lines(word.answer), _lines(word.authority),
                    word.zone.hex(), word.stored_at, word.expires_at, int(word.validation),
                    word.ede, word.reason,
                ])  # fmt: skip

    def restore(self, lines: Iterable[str], now: float) -> int:
        """Take lines that `dump` wrote; what does not hold or cannot be read is left out.

        Gives how many were taken.
        """
        count = 0
        for line in lines:
            try:
                (
                    name,
                    rdtype,
                    rcode,
                    answer,
                    authority,
                    zone,
                    stored_at,
                    expires_at,
                    validation,
                    ede,
                    reason,
                ) = json.loads(line)
                word = Word(
                    bytes.fromhex(name), int(rdtype), int(rcode), _records(answer),
                    _records(authority), bytes.fromhex(zone), float(stored_at), float(expires_at),
                    Validation(validation), None if ede is None else int(ede), str(reason),
                )  # fmt: skip
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if stored_at <= now < expires_at <= stored_at + TTL_MAX_S:
                self.put(word)
                count += 1
        return count

    def status(self) -> dict[str, Any]:
        """Give sizes and counts."""
        return {
            "answers": len(self._finals),
            "delegations": len(self._delegations),
            "hits": self.hits,
            "misses": self.misses,
        }


def _lines(records: tuple[Record, ...]) -> list[Any]:
    return [[one.owner.hex(), one.rdtype, one.ttl, one.rdata.hex()] for one in records]


def _records(lines: list[Any]) -> tuple[Record, ...]:
    return tuple(
        Record(bytes.fromhex(owner), int(rdtype), int(ttl), bytes.fromhex(rdata))
        for owner, rdtype, ttl, rdata in lines
    )
