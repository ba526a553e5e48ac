"""Zone work of a worker: transfers out, updates in, and signed queries, each allowed or refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import dns.message
import structlog

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority import Signed, Transfer, Update
from quada.authority.transfer import compose_axfr, compose_ixfr
from quada.authority.update import Refused, judge_update
from quada.server.access import Access
from quada.server.tsig import Keys, Signer, Unverified
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.telemetry.event import Cause, Role, compose_tail, parse_peer
from quada.wire.ask import Transport
from quada.wire.faults import DataFault, MalformedMessage
from quada.wire.respond import Deferred
from quada.wire.skim import skim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.authority import Authority
    from quada.server.plan import Plan
    from quada.transport.exchange import Pending
    from quada.zones import Zone

log = structlog.get_logger()


class ZoneWork:
    """Drives what the authority deferred to the store and to access rules."""

    def __init__(self, plan: Plan, authority: Authority) -> None:
        self._plan = plan
        self._authority = authority
        self._keys = Keys(plan.settings.key)
        self._store: ZoneStore | None = None
        self._running: set[asyncio.Task[None]] = set()

    def start(self, deferred: Deferred, pending: Pending) -> None:
        """Begin one piece of work."""
        task = asyncio.create_task(self._work(deferred, pending))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _work(self, deferred: Deferred, pending: Pending) -> None:
        try:
            signer = self._keys.verify(deferred.packet)
        except Unverified as refused:
            pending.send(refused.answer[2:], self._tail(deferred, codes.NOTAUTH))
            return
        work: Any = deferred.work
        try:
            if isinstance(work, Transfer):
                await self._transfer(deferred, pending, signer)
            elif isinstance(work, Update):
                await self._update(deferred, pending, signer)
            elif isinstance(work, Signed) and signer is not None:
                self._answer_signed(deferred, pending, signer)
            else:
                self._say(deferred, pending, signer, codes.REFUSED)
        except Exception as error:  # one request may fail, the worker goes on
            log.error("zone work failed", error=repr(error))
            self._say(deferred, pending, signer, codes.SERVFAIL)

    def _access(self, origin: bytes, what: str) -> Access:
        """The zone's own rules where it has some, else the server's."""
        for zone in self._plan.zones:
            if zone.origin == origin and getattr(zone.section, what):
                return Access(getattr(zone.section, what), f"zone.{what}")
        store = self._open_store()
        if store is not None and origin in store.zones():
            rules = store.settings(origin).get(what)
            if rules:
                return Access(rules, f"{names.to_text(origin)} {what}")
        return Access(getattr(self._plan.settings.authority, what), f"authority.{what}")

    def _may(self, deferred: Deferred, origin: bytes, what: str, signer: Signer | None) -> bool:
        client = parse_peer(deferred.peer)
        address = client[0] if client else ""
        return self._access(origin, what).permits(address, signer.name if signer else "")

    async def _transfer(self, deferred: Deferred, pending: Pending, signer: Signer | None) -> None:
        work: Transfer = deferred.work
        served = self._authority.book.served.get(work.origin)
        if served is None or not self._may(deferred, work.origin, "allow_transfer", signer):
            self._say(deferred, pending, signer, codes.REFUSED)
            return
        tail = self._tail(deferred, codes.NOERROR)
        for message in self._messages(deferred, served.zone):
            whole = deferred.packet[:2] + message
            if signer is not None:
                whole = signer.sign(whole, is_stream=True)
            if pending.is_gone:
                return
            pending.send(whole[2:], tail)
            tail = b""
            await pending.drain()
            await asyncio.sleep(0)  # queries of others go between the messages of a large zone

    def _messages(self, deferred: Deferred, zone: Zone) -> Iterator[bytes]:
        question = deferred.work.question
        if question.qtype == codes.AXFR:
            return compose_axfr(zone, question.octets)
        try:
            have = next(r for r in skim(deferred.packet).authority if r.rdtype == codes.SOA)
        except (StopIteration, MalformedMessage):
            return compose_axfr(zone, question.octets)
        serial = int.from_bytes(have.rdata[-20:-16], "big")
        if serial == zone.serial or deferred.transport is Transport.UDP:
            # The SOA alone: up to date, or too much for UDP, so ask over TCP (RFC 1995 2).
            return compose_ixfr(zone, (), question.octets)
        recent = self._authority.changes_since(zone.origin, serial)
        if recent:
            return compose_ixfr(zone, recent, question.octets)
        store = self._open_store()
        entries = store.since_serial(zone.origin, serial) if store is not None else None
        # A signed or expanded zone serves more than its content: its journal does not lead to it.
        is_made = zone.rrset(zone.origin, codes.DNSKEY) is not None
        is_made = is_made or self._plan.expanded_path(zone.origin).exists()
        if entries and entries[-1].serial_to == zone.serial and not is_made:
            return compose_ixfr(zone, (entry.change for entry in entries), question.octets)
        return compose_axfr(zone, question.octets)

    async def _update(self, deferred: Deferred, pending: Pending, signer: Signer | None) -> None:
        work: Update = deferred.work
        if not self._may(deferred, work.origin, "allow_update", signer):
            self._say(deferred, pending, signer, codes.REFUSED)
            return
        rcode = await asyncio.to_thread(self._perform_update, deferred, signer)
        self._say(deferred, pending, signer, rcode)

    def _perform_update(self, deferred: Deferred, signer: Signer | None) -> int:
        """Judge and apply in the store; zones from files are not updated (REFUSED)."""
        store = self._open_store()
        origin = deferred.work.origin
        zone = store.zone(origin) if store is not None else None
        if store is None or zone is None:
            return codes.REFUSED
        message = dns.message.from_wire(deferred.packet, keyring=False)
        judged = judge_update(zone, message)
        if isinstance(judged, Refused):
            return judged.rcode
        if not any(judged):
            return codes.NOERROR
        client = parse_peer(deferred.peer)
        who = f"key {signer.name}" if signer else "anonymous update"
        author = Author(who, client[0] if client else "", "dynamic update")
        try:
            store.apply(origin, judged, author, int(time.time()), expect_serial=zone.serial)
        except DataFault as fault:
            log.warning("update refused", zone=names.to_text(origin), fault=str(fault))
            return codes.REFUSED
        return codes.NOERROR

    def _answer_signed(self, deferred: Deferred, pending: Pending, signer: Signer) -> None:
        """Answer as if the signature were not there, and sign the answer."""
        answered = self._authority.answer_signed(deferred)
        if isinstance(answered, Deferred):
            self._say(deferred, pending, signer, codes.SERVFAIL)
            return
        whole = signer.sign(deferred.packet[:2] + answered[0])
        pending.send(whole[2:], answered[1])

    def _say(self, deferred: Deferred, pending: Pending, signer: Signer | None, rcode: int) -> None:
        response, tail = self._authority.coded(deferred, rcode)
        if signer is not None:
            response = signer.sign(deferred.packet[:2] + response)[2:]
        pending.send(response, tail)

    def _tail(self, deferred: Deferred, rcode: int) -> bytes:
        question = deferred.work.question
        return compose_tail(
            role=Role.AUTHORITATIVE, transport=deferred.transport, qname=question.qname,
            qtype=question.qtype, rcode=rcode, opcode=question.opcode,
            cause=Cause.ACCESS if rcode else Cause.NONE, zone_offset=0,
            worker=self._authority.settings.worker,
        )  # fmt: skip

    def _open_store(self) -> ZoneStore | None:
        if self._store is None and self._plan.store_path.exists():
            self._store = ZoneStore.open(self._plan.store_path)
        return self._store
