"""Answers for names that do not exist, from what all names of their kind have in common.

A flood of random names must cost no more than names that exist: what stands around the name is
worked out once a parent (`Spot`), and the response once a length and question type (`Template`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.telemetry.event as event
import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.body import Body, compose_response
from quada.telemetry.event import Provenance
from quada.wire.compose import Composer

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.authority.body import Client
    from quada.authority.find import Book, Wanted
    from quada.authority.served import Served
    from quada.wire.ask import Transport
    from quada.wire.respond import Answered

_SPOTS_MAX: Final = 4_096
_TEMPLATES_MAX: Final = 1_024  # a spot: lengths, types, OPTs and sizes of proofs
_CLASS_IN: Final = b"\x00\x01"
_NOT_HERE: Final = (b"\x00\x29", b"\x00\xfb", b"\x00\xfc")  # OPT, IXFR, AXFR


class Template(NamedTuple):
    """An answer for every name of one length at one spot: what is around question and proofs.

    `tail` is the event's, up to where the question name goes.
    """

    head: bytes
    rest: bytes
    end: bytes
    tail: bytes


class Spot:
    """A place in a zone where names do not exist: the nearest name above that does."""

    __slots__ = ("encloser", "is_wild", "templates", "zone")

    def __init__(self, zone: Served, encloser: bytes, *, is_wild: bool) -> None:
        self.zone = zone
        self.encloser = encloser
        self.is_wild = is_wild
        self.templates: dict[bytes, Template] = {}


class Absence:
    """Answers for names that do not exist in the zones of a book.

    Takes what makes the Body of a name that a wildcard answers for.
    """

    def __init__(
        self,
        book: Book,
        expired: set[bytes],
        wildcard_body: Callable[[bytes, bytes, Client], Body | Wanted | None],
        worker: int,
    ) -> None:
        self._book = book
        self._expired = expired
        self._wildcard_body = wildcard_body
        self._worker = worker
        self._spots: dict[bytes, Spot] = {}
        self._soas: dict[tuple[bytes, int], tuple[bytes, int]] = {}

    def forget(self) -> None:
        """Empty what was worked out."""
        self._spots.clear()
        self._soas.clear()

    def answer(
        self,
        qname: bytes,
        fixed: bytes,
        rd: int,
        client: Client,
        transport: Transport,
        question: bytes,
    ) -> Answered | None:
        """Answer for a name that does not exist; `fixed` is type and class.

        None for a name that exists, for what is no name, and where a cut, a DNAME or an expired
        zone is above it.
        """
        size = len(qname)
        if not 1 < size <= names.MAX_NAME_OCTETS:
            return None
        spot = self._spots.get(qname[qname[0] + 1 :])
        if spot is None or qname[0] > names.MAX_LABEL_OCTETS:
            spot = self._find_spot(qname)
            if spot is None:
                return None
        elif qname in spot.zone.nodes or qname in self._book.served:
            return None
        proofs, count = b"", 0
        if client.is_do and spot.zone.chain is not None:
            if spot.is_wild:
                return None
            pointer = (0xC00C + size - len(spot.zone.origin)).to_bytes(2, "big")
            for proof in spot.zone.chain.no_name(qname, spot.encloser):
                proofs += pointer.join(proof.pieces)
                count += proof.records
        octets = len(proofs)
        kind = (
            bytes((size, rd >> 8, transport, count, octets & 0xFF, octets >> 8))
            + fixed
            + client.kind
        )
        template = spot.templates.get(kind)
        if template is None:
            return self._first(
                spot, kind, qname, fixed, rd, client, transport, question, proofs, count
            )
        head, rest, end, tail = template
        return b"".join((head, question, rest, proofs, end)), event.with_name(tail, qname)

    def _find_spot(self, qname: bytes) -> Spot | None:
        zone = self._book.zone_above(qname)
        if zone is None or qname in zone.nodes or zone.origin in self._expired:
            return None
        if (zone.cuts or zone.dnames) and zone.cut_above(qname) is not None:
            return None
        encloser = zone.closest_encloser(qname)
        spot = Spot(zone, encloser, is_wild=b"\x01*" + encloser in zone.nodes)
        if encloser == names.parent(qname):
            # What is above one child of a name that exists is above all its children.
            if len(self._spots) >= _SPOTS_MAX:
                self._spots.clear()
            self._spots[encloser] = spot
        return spot

    def _first(
        self,
        spot: Spot,
        kind: bytes,
        qname: bytes,
        fixed: bytes,
        rd: int,
        client: Client,
        transport: Transport,
        question: bytes,
        proofs: bytes,
        count: int,
    ) -> Answered | None:
        """Answer the first of a kind, and keep what the next can use."""
        if fixed[2:] != _CLASS_IN or fixed[:2] in _NOT_HERE:
            return None
        if spot.is_wild:
            made = self._wildcard_body(qname, fixed, client)
            if not isinstance(made, Body) or made.moment_s:
                return None
            body = made
        else:
            soa, soa_count = self._soa(spot.zone, len(qname), is_signed=count > 0)
            body = Body(
                codes.QR | codes.AA | codes.NXDOMAIN, 0, 0, soa_count + count, 0, soa + proofs,
                b"", 0, b"", Provenance.NATIVE, event.NO_EDE, len(qname) - len(spot.zone.origin),
                False, 0, False,
            )  # fmt: skip
        answered = compose_response(
            body, question, qname, fixed, rd, client, transport, self._worker
        )
        response, tail = answered
        if not response[0] & codes.TC >> 8:
            at = 10 + len(question)
            rest, end = response[at:], b""
            if count:
                rest, end = rest[: len(soa)], rest[len(soa) + len(proofs) :]
            if len(spot.templates) >= _TEMPLATES_MAX:
                spot.templates.clear()
            spot.templates[kind] = Template(response[:10], rest, end, event.before_name(tail))
        return answered

    def _soa(self, zone: Served, qname_octets: int, *, is_signed: bool) -> tuple[bytes, int]:
        """Compose the SOA that a negative answer carries, with its signatures (RFC 2308 3)."""
        prefix_octets = qname_octets - len(zone.origin)
        key = (zone.origin, prefix_octets << 1 | is_signed)
        known = self._soas.get(key)
        if known is None:
            composer = Composer(zone.origin, prefix_octets)
            count = composer.add(zone.origin, codes.SOA, zone.negative_ttl_s, zone.soa.rdatas)
            if is_signed:
                signatures = zone.signatures(zone.nodes[zone.origin], codes.SOA)
                count += composer.add(zone.origin, codes.RRSIG, zone.negative_ttl_s, signatures)
            known = self._soas[key] = (composer.octets, count)
        return known
