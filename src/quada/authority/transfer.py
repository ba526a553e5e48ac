"""Zone transfers as messages: AXFR (RFC 5936), IXFR (RFC 1995), composed and taken apart.

Outgoing, a transfer is an iterator of responses; incoming, an object that is fed responses and says
when it is done. Neither knows of sockets, keys or clocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.compose import Composer
from quada.wire.faults import PeerFault
from quada.wire.skim import skim
from quada.zones import Change, Record, Zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MESSAGE_OCTETS: Final = (
    16_000  # below 0x3FFF, so that compression reaches everything (RFC 1035 4.1.4)
)
_INCOMING_RECORDS_MAX: Final = 20_000_000  # our choice: more is an attack, or needs another server


class BadTransfer(PeerFault):
    """A primary sent something that is not a transfer of the zone asked for."""

    code = "bad-transfer"


def compose_axfr(zone: Zone, question: bytes) -> Iterator[bytes]:
    """Compose a whole zone as responses, less their ids: SOA, everything, SOA (RFC 5936 2.2)."""
    soa = _soa_record(zone)
    return _messages(_framed(soa, zone.records()), question)


def compose_ixfr(zone: Zone, changes: Iterable[Change], question: bytes) -> Iterator[bytes]:
    """Compose changes, oldest first, as responses, less their ids (RFC 1995 4).

    Each change's sides begin with their SOA, as the journal keeps them. No changes give the SOA
    alone: the client is up to date.
    """
    soa = _soa_record(zone)
    changes = list(changes)

    def records() -> Iterator[Record]:
        yield soa
        if changes:
            for change in changes:
                yield from change.removed
                yield from change.added
            yield soa

    return _messages(records(), question)


def _soa_record(zone: Zone) -> Record:
    soa = zone.soa
    assert soa is not None
    return Record(zone.origin, codes.SOA, soa.ttl, soa.rdatas[0])


def _framed(soa: Record, records: Iterable[Record]) -> Iterator[Record]:
    yield from records
    yield soa


def _messages(records: Iterable[Record], question: bytes) -> Iterator[bytes]:
    """Pack records into as few messages as hold them, each with the question."""
    qname = question[:-4].lower()
    composer, count = Composer(qname, 0), 0
    for record in records:
        count += composer.add(record.owner, record.rdtype, record.ttl, (record.rdata,))
        if composer.size > _MESSAGE_OCTETS:
            yield _message(composer.octets, count, question)
            composer, count = Composer(qname, 0), 0
    if count:
        yield _message(composer.octets, count, question)


def _message(octets: bytes, count: int, question: bytes) -> bytes:
    flags = codes.QR | codes.AA
    counts = b"\x00\x01" + count.to_bytes(2, "big") + bytes(4)
    return flags.to_bytes(2, "big") + counts + question + octets


class Incoming:
    """A transfer being received. Feed it every message; `is_done` says when the last has come.

    Takes the version we have, for IXFR; None asks for the whole zone. Then `result` is the new
    version, or None where ours is the present one. Raises: BadTransfer, MalformedMessage.
    """

    def __init__(self, origin: bytes, have: Zone | None) -> None:
        self._origin = origin
        self._have = have
        self._soa: Record | None = None
        self._records: list[Record] = []
        self._changes: list[Change] = []
        self._removed: list[Record] | None = None
        self._added: list[Record] | None = None
        self._is_incremental: bool | None = None
        self._count = 0
        self.is_done = False
        self.result: Zone | None = None

    def feed(self, message: bytes) -> None:
        """Take one response."""
        # Later messages may leave the question out (RFC 5936 2.2.1).
        response = skim(message, needs_question=False)
        if response.rcode != codes.NOERROR:
            raise BadTransfer(f"the primary answered rcode {response.rcode}", place=self._name)
        if not response.answer:
            raise BadTransfer("a message of the transfer is empty", place=self._name)
        for record in response.answer:
            self._take(record)

    def end(self) -> None:
        """Say that no more comes, as for IXFR over UDP: an only SOA means no change."""
        if not self.is_done and self._count == 1:
            self.is_done = True
        if not self.is_done:
            raise BadTransfer("the transfer ended early", place=self._name)

    @property
    def _name(self) -> str:
        return names.to_text(self._origin)

    def _take(self, record: Record) -> None:
        if self.is_done:
            raise BadTransfer("records after the end of the transfer", place=self._name)
        self._count += 1
        if self._count > _INCOMING_RECORDS_MAX:
            raise BadTransfer("the transfer does not end", place=self._name)
        if not names.is_subdomain(record.owner, self._origin):
            return  # out of zone: ignored, as RFC 5936 3.1 has receivers do
        is_soa = record.rdtype == codes.SOA and record.owner == self._origin
        if self._soa is None:
            if not is_soa:
                raise BadTransfer("the transfer does not begin with the SOA", place=self._name)
            self._begin(record)
        elif self._is_incremental is None:
            # The second record tells AXFR from IXFR: an SOA begins a change (RFC 1995 4).
            self._is_incremental = is_soa and self._have is not None
            if is_soa and _serial(record) == _serial(self._soa) and not self._is_incremental:
                self._finish_whole()
            elif self._is_incremental:
                self._take_incremental(record, is_soa=True)
            else:
                self._records.append(record)
        elif self._is_incremental:
            self._take_incremental(record, is_soa=is_soa)
        elif is_soa:
            self._finish_whole()
        else:
            self._records.append(record)

    def _begin(self, soa: Record) -> None:
        self._soa = soa
        if self._have is not None and self._have.serial == _serial(soa):
            self.is_done = True

    def _take_incremental(self, record: Record, *, is_soa: bool) -> None:
        if is_soa and self._added is not None:
            self._close_change()
            assert self._soa is not None
            if _serial(record) == _serial(self._soa):
                self._finish_changes()
                return
        if is_soa and self._removed is None:
            self._removed = [record]
        elif is_soa:
            self._added = [record]
        elif self._added is not None:
            self._added.append(record)
        elif self._removed is not None:
            self._removed.append(record)

    def _close_change(self) -> None:
        self._changes.append(Change(tuple(self._removed or ()), tuple(self._added or ())))
        self._removed = self._added = None

    def _finish_changes(self) -> None:
        zone = self._have
        assert zone is not None
        for change in self._changes:
            if _serial(change.removed[0]) != zone.serial:
                raise BadTransfer(
                    f"a change starts at serial {_serial(change.removed[0])}, not {zone.serial}",
                    place=self._name,
                )
            zone = zone.changed(change)
        self.result = zone
        self.is_done = True

    def _finish_whole(self) -> None:
        assert self._soa is not None
        self.result = Zone.build(self._origin, [self._soa, *self._records])
        self.is_done = True


def _serial(soa: Record) -> int:
    return int.from_bytes(soa.rdata[-20:-16], "big")
