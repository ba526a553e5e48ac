"""The authority: a packet in, an answer out, without a message object on the way.

The way of a query, cheapest first:
1. the listener finds the whole packet in `answers` (same name, flags, EDNS as before);
2. `answer` knows header and OPT by heart, lower-cases the name, and finds a compiled `Body`;
3. a name that does not exist takes the zone's NXDOMAIN octets for its length, plus proofs;
4. everything else is found by `find`, composed by `compose`, and kept as a Body if its name exists.
Unusual packets (other opcodes and classes, cookies, TSIG, broken ones) go through `unusual`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import quada.telemetry.event as event
import quada.wire.codes as codes
import quada.wire.edns as edns
import quada.wire.names as names
from quada.authority.absent import Absence
from quada.authority.body import (
    Body,
    Client,
    compose_body,
    compose_response,
    failure_body,
    is_name,
    padded,
    silence,
)
from quada.authority.cookies import Cookies
from quada.authority.expand import ExpandingBook
from quada.authority.find import Wanted, find_answer, rotate
from quada.authority.served import Served
from quada.authority.work import (
    AuthoritySettings,
    Lookup,
    Notified,
    Signed,
    Transfer,
    Update,
    Work,
)
from quada.telemetry.event import Role, compose_tail
from quada.wire.ask import Transport
from quada.wire.faults import DataFault, MalformedMessage
from quada.wire.limit import Limiter
from quada.wire.question import Question, parse_question
from quada.wire.respond import Answered, Deferred, peer_address
from quada.zones.online import OnlineSigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.authority.alias import View
    from quada.authority.pool import PoolState
    from quada.zones import Change, Zone
    from quada.zones.online import OnlineKeys

_ANSWERS_MAX: Final = 32_768  # our choice: about 20 MiB of whole packets remembered
_BODIES_MAX: Final = 65_536
_RECENT_RECORDS_MAX: Final = 20_000  # our choice: what IXFR may go back, about 5 MiB a zone
_OPTS_MAX: Final = 4_096
_STREAM_OCTETS: Final = 65_535
_EDE_NOT_READY: Final = 14  # RFC 8914 4.15
_EDE_NOT_AUTHORITATIVE: Final = 20  # RFC 8914 4.21
_ENCRYPTED: Final = frozenset((Transport.DOT, Transport.DOH, Transport.DOQ))
_CLASS_IN: Final = b"\x00\x01"
_TYPE_OPT: Final = b"\x00\x29"


def _headers() -> dict[bytes, tuple[int, bool]]:
    """The headers of ordinary queries, less their ids: RD as a flag, and whether an OPT follows."""
    known = {}
    for bits in range(8):
        flags = (codes.RD if bits & 1 else 0) | (bits >> 1) * codes.CD
        for has_opt in (False, True):
            octets = flags.to_bytes(2, "big") + b"\x00\x01\x00\x00\x00\x00\x00" + bytes((has_opt,))
            known[octets] = (flags & codes.RD, has_opt)
    return known


_HEADERS: Final = _headers()


class Authority:
    """Answers queries about zones: the Responder behind authoritative listeners.

    Zones are put and dropped whole; what was compiled from an old version goes with it. `chance`
    gives numbers in [0, 1) for weighted pools.
    """

    def __init__(
        self,
        settings: AuthoritySettings,
        *,
        aliases: View | None = None,
        pools: dict[str, PoolState] | None = None,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.settings = settings
        self._worker = settings.worker
        self.answers: dict[bytes, Answered] = {}
        self.clients: set[bytes] | None = None  # an authority answers everybody
        self.limiter = Limiter(settings.limit) if settings.limit.per_second else None
        self.is_trusted = False
        self.fault_count = 0
        self.book = ExpandingBook(aliases, pools if pools is not None else {}, chance)
        self._stream_answers: dict[bytes, Answered] = {}
        self._bodies: dict[bytes, Body] = {}
        self._clients: dict[bytes, Client] = {}
        self._moments: dict[int, list[bytes]] = {}
        self._news_count = 0
        self._expired: set[bytes] = set()
        self._absence = Absence(self.book, self._expired, self._body, settings.worker)
        self._cookies = Cookies(settings.cookie_secret) if settings.cookie_secret else None
        self._plain = Client(False, False, edns.MIN_PAYLOAD_OCTETS, b"\x00", b"\x00", b"")
        self._now_s = 0
        self._recent: dict[bytes, deque[tuple[int, Change]]] = {}

    def put(self, zone: Zone) -> None:
        """Serve a version of a zone instead of any other.

        Raises: DataFault without SOA, and for a signed zone whose ALIAS or pools nobody can sign.
        """
        served = Served(zone)
        if served.is_signed and served.has_expansions and zone.origin not in self.book.signers:
            raise DataFault(
                "a signed zone holds ALIAS or POOL records",
                place=names.to_text(zone.origin),
                remedy="let quada sign the zone itself, or move the record to an unsigned zone",
            )
        self.book.served[zone.origin] = served
        self._expired.discard(zone.origin)
        self._recent.pop(zone.origin, None)
        self.forget()

    def change(self, origin: bytes, change: Change) -> None:
        """Serve the version that a change makes of the present one, and remember the change."""
        before = self.book.served.get(origin)
        if before is None:
            return
        recent = self._recent.get(origin, deque())
        after = before.zone.changed(change)
        self.put(after)
        if after.serial == before.zone.serial:
            return  # content changed under its serial: no IXFR can tell of that, nor lead past it
        recent.append((before.zone.serial, change))
        self._recent[origin] = recent
        held = sum(len(one.removed) + len(one.added) for _, one in recent)
        while held > _RECENT_RECORDS_MAX:
            _, gone = recent.popleft()
            held -= len(gone.removed) + len(gone.added)

    def changes_since(self, origin: bytes, serial: int) -> list[Change] | None:
        """Give the changes from a serial to the version that serves; None where they are gone."""
        recent = list(self._recent.get(origin, ()))
        for at, (from_serial, _) in enumerate(recent):
            if from_serial == serial:
                return [change for _, change in recent[at:]]
        return None

    def sign_with(self, keys: OnlineKeys) -> None:
        """Sign a zone's answers of the moment with these keys from now on."""
        self.book.signers[keys.origin] = OnlineSigner(keys)
        self.forget()

    def drop(self, origin: bytes) -> None:
        """Stop serving a zone."""
        self.book.served.pop(origin, None)
        self._expired.discard(origin)
        self.forget()

    def expire(self, origin: bytes) -> None:
        """Answer SERVFAIL for a zone that could not be refreshed in time (RFC 1035 6.2.5)."""
        self._expired.add(origin)
        self.forget()

    def forget(self) -> None:
        """Empty what was compiled."""
        self.answers.clear()
        self._stream_answers.clear()
        self._moments.clear()
        self._bodies.clear()
        self._absence.forget()

    def begin(self, now_ns: int) -> None:
        """Take the time; answers of a moment go when it is over, or when targets moved."""
        now_s = now_ns // 1_000_000_000
        aliases = self.book.aliases
        if aliases is not None and aliases.news_count != self._news_count:
            self._news_count = aliases.news_count
            self._end_moments(None)
        if now_s == self._now_s:
            return
        self._end_moments(now_s if now_s > self._now_s else None)
        self._now_s = self.book.now_s = now_s
        if self.limiter is not None:
            self.limiter.begin(now_s)

    def _end_moments(self, now_s: int | None) -> None:
        """Drop the answers that held until now; all of a moment where that is None."""
        for until in [one for one in self._moments if now_s is None or one <= now_s]:
            for key in self._moments.pop(until):
                self.answers.pop(key, None)
                self._stream_answers.pop(key, None)

    def answer(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        """Answer one query (see Responder)."""
        self.is_trusted = False
        try:
            return self._answer(packet, peer, transport)
        except MalformedMessage:
            return self._bare(packet, transport, codes.FORMERR)
        except Exception:  # a bug of ours may cost one answer, never the server
            self.fault_count += 1
            return self._bare(packet, transport, codes.SERVFAIL)

    def settle(self, deferred: Deferred, *, is_last: bool) -> Answered | Deferred:
        """Answer a query that waited for a lookup; with `is_last` it gets what there is."""
        self.book.is_last = is_last
        try:
            return self.answer(deferred.packet, deferred.peer, deferred.transport)
        finally:
            self.book.is_last = False

    def answer_signed(self, deferred: Deferred) -> Answered | Deferred:
        """Answer an ordinary query whose TSIG was verified, leaving the TSIG out of account."""
        question = parse_question(deferred.packet)
        return self._answer_parsed(question, deferred.packet, deferred.peer, deferred.transport)

    def coded(self, deferred: Deferred, rcode: int) -> Answered:
        """Answer a deferred query with an rcode and nothing else."""
        try:
            question = parse_question(deferred.packet)
        except MalformedMessage:
            return self._bare(deferred.packet, deferred.transport, rcode)
        client = self._client(question.edns, b"") if question.edns else self._plain
        return self._coded(question, client, deferred.transport, rcode)

    def _answer(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        is_udp = transport is Transport.UDP
        if not is_udp:
            known = self._stream_answers.get(packet[2:]) if transport is Transport.TCP else None
            if known is not None:
                return known
        header = _HEADERS.get(packet[2:12])
        if header is None:
            return self._unusual(packet, peer, transport)
        rd, has_opt = header
        end = packet.find(b"\x00", 12) + 1
        rest = packet[end + 4 :]
        client = self._plain
        if has_opt:
            ordinary = self._clients.get(rest) or self._ordinary(rest)
            if ordinary is None:
                return self._unusual(packet, peer, transport)
            client = ordinary
        elif rest:
            return self._unusual(packet, peer, transport)
        qname = packet[12:end].lower()
        fixed = packet[end : end + 4]
        body = self._bodies.get(qname + fixed + client.key)
        if body is None:
            question = packet[12 : end + 4]
            absent = self._absence.answer(qname, fixed, rd, client, transport, question)
            if absent is not None:
                return absent
            if fixed[2:] != _CLASS_IN or fixed[:2] == _TYPE_OPT or not is_name(qname):
                return self._unusual(packet, peer, transport)
            found = self._body(qname, fixed, client)
            if isinstance(found, Wanted):
                return Deferred(packet, peer, transport, Lookup(found))
            if found is None:
                return self._unusual(packet, peer, transport)
            body = found
        answered = compose_response(
            body, packet[12 : end + 4], qname, fixed, rd, client, transport, self._worker
        )
        if body.may_keep:
            self._keep(packet[2:], answered, transport, moment_s=body.moment_s)
        return answered

    def _keep(self, key: bytes, answered: Answered, transport: Transport, *, moment_s: int) -> None:
        if transport is Transport.UDP:
            answers = self.answers
        elif transport is Transport.TCP:
            answers = self._stream_answers
        else:
            return
        if len(answers) >= _ANSWERS_MAX:
            self.answers.clear()
            self._stream_answers.clear()
            self._moments.clear()
        answers[key] = answered
        if moment_s:
            self._moments.setdefault(self._now_s + moment_s, []).append(key)

    def _ordinary(self, rest: bytes) -> Client | None:
        """Read an OPT record without options, version 0, that ends the packet; None for others."""
        if len(rest) != 11 or rest[:3] != b"\x00\x00\x29" or rest[6] or rest[9:] != b"\x00\x00":
            return None
        client = self._client(edns.parse_opt(rest, 0)[0], b"")
        if len(self._clients) >= _OPTS_MAX:
            self._clients.clear()
        self._clients[rest] = client
        return client

    def _client(self, opt: edns.Edns, options: bytes, extended_rcode: int = 0) -> Client:
        limit = min(opt.payload_octets, self.settings.udp_payload_octets)
        composed = edns.compose_opt(
            options,
            payload_octets=self.settings.udp_payload_octets,
            flags=codes.EDNS_DO if opt.is_do else 0,
            extended_rcode=extended_rcode,
        )
        key = b"\x02" if opt.is_do else b"\x01"
        return Client(True, opt.is_do, limit, key, key + limit.to_bytes(2, "big"), composed)

    def _body(self, qname: bytes, fixed: bytes, client: Client) -> Body | Wanted | None:
        """Make the Body of a question of class IN; None where `unusual` must look at it."""
        qtype = fixed[0] << 8 | fixed[1]
        if qtype in (codes.AXFR, codes.IXFR):
            return None
        zone = self.book.zone_for(qname, qtype)
        if zone is not None and zone.origin in self._expired:
            return failure_body(codes.SERVFAIL, _EDE_NOT_READY, client)
        result = find_answer(
            self.book, qname, qtype, is_do=client.is_do, is_full=not self.settings.is_minimal
        )
        if result.wanted is not None:
            return result.wanted
        if self.settings.is_cyclic and not result.moment_s:
            rotate(result, self._now_s)
        if result.rcode == codes.REFUSED:
            return failure_body(codes.REFUSED, _EDE_NOT_AUTHORITATIVE, client)
        may_keep = zone is not None and qname in zone.nodes
        body = compose_body(qname, result, client, may_keep=may_keep)
        if zone is None or result.moment_s:
            return body
        if may_keep:
            if len(self._bodies) >= _BODIES_MAX:
                self._bodies.clear()
            self._bodies[qname + fixed + client.key] = body
        return body

    def _unusual(self, packet: bytes, peer: bytes, transport: Transport) -> Answered | Deferred:
        """Answer what the quick way did not understand. Raises: MalformedMessage."""
        if len(packet) < 12 or packet[2] & 0x80:
            return silence(packet, transport, self._worker)
        opcode = packet[2] >> 3 & 0xF
        if opcode not in (codes.QUERY, codes.NOTIFY, codes.UPDATE):
            return self._bare(packet, transport, codes.NOTIMP)
        question = parse_question(packet)
        opt = question.edns
        client = self._plain
        if opt is not None:
            if opt.version:
                return self._coded(question, self._client(opt, b""), transport, codes.BADVERS)
            made = self._options(opt, peer, transport)
            if made is None:
                raise MalformedMessage("malformed cookie")
            client = self._client(opt, made)
        if opcode != codes.QUERY or question.has_tsig or question.qtype in (codes.AXFR, codes.IXFR):
            return self._deferred(question, client, packet, peer, transport)
        return self._answer_parsed(question, packet, peer, transport, client)

    def _answer_parsed(
        self,
        question: Question,
        packet: bytes,
        peer: bytes,
        transport: Transport,
        client: Client | None = None,
    ) -> Answered | Deferred:
        """Answer a question of opcode QUERY that was parsed whole."""
        opt = question.edns
        if client is None:
            client = self._client(opt, b"") if opt else self._plain
        if question.qtype == codes.OPT:
            return self._coded(question, client, transport, codes.FORMERR)
        if question.qclass == codes.CH:
            return self._chaos(question, client, transport)
        if question.qclass != codes.IN:
            return self._coded(question, client, transport, codes.REFUSED)
        fixed = question.octets[-4:]
        body = self._bodies.get(question.qname + fixed + client.key)
        if body is None:
            found = self._body(question.qname, fixed, client)
            if isinstance(found, Wanted):
                return Deferred(packet, peer, transport, Lookup(found))
            assert found is not None
            body = found
        rd = question.flags & codes.RD
        response, tail = compose_response(
            body, question.octets, question.qname, fixed, rd, client, transport, self._worker
        )
        if opt and transport in _ENCRYPTED and opt.option(codes.OPTION_PADDING) is not None:
            response = padded(response, client)
        return response, tail

    def _options(self, opt: edns.Edns, peer: bytes, transport: Transport) -> bytes | None:
        """Compose the options a query earns; None for a malformed cookie."""
        options = b""
        if self.settings.nsid and opt.option(codes.OPTION_NSID) is not None:
            options += edns.compose_option(codes.OPTION_NSID, self.settings.nsid)
        cookie = opt.option(codes.OPTION_COOKIE)
        if cookie is not None and self._cookies is not None:
            answered = self._cookies.answer(cookie, peer_address(peer), self._now_s)
            if answered is None:
                return None
            self.is_trusted = answered[1]
            options += edns.compose_option(codes.OPTION_COOKIE, answered[0])
        return options

    def _deferred(
        self,
        question: Question,
        client: Client,
        packet: bytes,
        peer: bytes,
        transport: Transport,
    ) -> Answered | Deferred:
        """Hand on what needs the outside: transfers, updates, notifications, signed queries."""
        zone = self.book.zone_for(question.qname) if question.qclass == codes.IN else None
        if question.opcode == codes.QUERY and question.qtype not in (codes.AXFR, codes.IXFR):
            return Deferred(packet, peer, transport, Signed(question))
        if question.opcode == codes.UPDATE and question.qtype != codes.SOA:
            return self._coded(question, client, transport, codes.FORMERR)  # RFC 2136 3.1.1
        if zone is None or zone.origin != question.qname:
            # NOTAUTH for an UPDATE of what is not ours (RFC 2136 3.1.2) and for transfers alike.
            return self._coded(question, client, transport, codes.NOTAUTH)
        work: Work
        if question.opcode == codes.NOTIFY:
            work = Notified(question, zone.origin)
        elif question.opcode == codes.UPDATE:
            work = Update(question, zone.origin)
        else:
            if question.qtype == codes.AXFR and transport is Transport.UDP:
                return self._coded(question, client, transport, codes.FORMERR)  # RFC 5936 4.2
            work = Transfer(question, zone.origin)
        return Deferred(packet, peer, transport, work)

    def _chaos(self, question: Question, client: Client, transport: Transport) -> Answered:
        """Answer id.server and version.bind where configured (RFC 4892), else refuse."""
        text = {
            b"\x02id\x06server\x00": self.settings.nsid,
            b"\x08hostname\x04bind\x00": self.settings.nsid,
            b"\x07version\x04bind\x00": self.settings.version.encode(),
            b"\x07version\x06server\x00": self.settings.version.encode(),
        }.get(question.qname, b"")
        if not text or question.qtype not in (codes.TXT, codes.ANY):
            return self._coded(question, client, transport, codes.REFUSED)
        record = b"\xc0\x0c\x00\x10\x00\x03" + bytes(4) + (len(text) + 1).to_bytes(2, "big")
        octets = record + bytes((len(text),)) + text[:255]
        body = Body(
            codes.QR | codes.AA, 0, 1, 0, 0, octets, b"", 0, b"", 0, event.NO_EDE,
            event.NO_ZONE, False, 0, False,
        )  # fmt: skip
        return compose_response(
            body, question.octets, question.qname, question.octets[-4:],
            question.flags & codes.RD, client, transport, self._worker,
        )  # fmt: skip

    def _coded(
        self, question: Question, client: Client, transport: Transport, rcode: int
    ) -> Answered:
        """Answer with an rcode and nothing else."""
        body = failure_body(rcode, event.NO_EDE, client)
        if question.opcode:
            body = body._replace(flags=body.flags | question.opcode << 11)
        return compose_response(
            body, question.octets, question.qname, question.octets[-4:],
            question.flags & codes.RD, client, transport, self._worker,
        )  # fmt: skip

    def _bare(self, packet: bytes, transport: Transport, rcode: int) -> Answered:
        """Answer a packet that could not be read: a header alone, as RFC 1035 4.1.1 allows."""
        if len(packet) < 12 or packet[2] & 0x80:
            return silence(packet, transport, self._worker)
        flags = codes.QR | (packet[2] << 8) & 0x7900 | rcode
        response = flags.to_bytes(2, "big") + bytes(8)
        tail = compose_tail(
            role=Role.AUTHORITATIVE, transport=transport, qname=b"", qtype=0, rcode=rcode,
            opcode=packet[2] >> 3 & 0xF, response_octets=12, cause=event.Cause.FORMAT,
            worker=self._worker,
        )  # fmt: skip
        return response, tail
