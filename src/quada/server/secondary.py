"""Secondary zones: kept like their primaries' (RFC 1034 4.3.5), over IPv6 first.

What was transferred is written to the state directory before it serves, so that a restart serves it
at once; how old it may become is the SOA's word.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority.transfer import BadTransfer, Incoming
from quada.server.plan import ZonePlan, read_server
from quada.server.tsig import Keys
from quada.store.files import load_zone_file, write_zone_file
from quada.transport.client import Client, is_answer
from quada.transport.kept import KeptClient, client_context
from quada.transport.tls import ALPN_DOT
from quada.wire.ask import Ask, Endpoint, NoReply, Transport
from quada.wire.faults import DataFault, PeerFault
from quada.wire.question import compose_query
from quada.wire.serial import is_later
from quada.wire.skim import skim
from quada.zones.catalog import members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from quada.config.settings import ZoneSection
    from quada.server.plan import Plan
    from quada.zones import Zone

log = structlog.get_logger()
_TIMEOUT_S: Final = 5.0
_TRANSFER_S: Final = 600.0  # our choice: a transfer that takes longer is taken for stuck
_RETRY_FIRST_S: Final = 5.0  # before there is any SOA to say how often
_MESSAGES_MAX: Final = 1_000_000
_TRANSFER_OVER: Final = frozenset((Transport.UDP, Transport.DOT))


class Secondaries:
    """All secondary zones of a run."""

    def __init__(
        self,
        plan: Plan,
        put: Callable[[Zone], None],
        expire: Callable[[bytes], None],
        drop: Callable[[bytes], None],
    ) -> None:
        self._plan = plan
        self._put = put
        self._expire = expire
        self._drop = drop
        self._zones = [
            zone for zone in plan.zones if zone.section.role != "primary" and zone.section.primaries
        ]
        self._keeping: dict[bytes, asyncio.Task[None]] = {}
        self._listed: dict[bytes, dict[bytes, tuple[str, ...]]] = {}
        self._have: dict[bytes, Zone] = {}
        self._wake = {zone.origin: asyncio.Event() for zone in self._zones}
        self._state: dict[bytes, dict[str, Any]] = {}
        self._keys = Keys(plan.settings.key)
        self._client = Client()
        self._kept = KeptClient(plan.settings.authority.transfer_ca_file)

    def load_all(self) -> Iterator[Zone]:
        """Give the zones that were transferred before."""
        for plan in list(self._zones):
            path = self._file(plan)
            if not path.exists():
                continue
            try:
                zone = load_zone_file(path, plan.origin)
            except DataFault as fault:
                log.error("kept secondary zone cannot be read", fault=str(fault))
                continue
            self._have[plan.origin] = zone
            if plan.section.role == "secondary":
                yield zone

    async def run(self) -> None:
        """Keep every zone, until cancelled."""
        for plan in list(self._zones):
            self._start(plan)
            if plan.section.role == "catalog" and plan.origin in self._have:
                self._follow_catalog(plan, self._have[plan.origin])
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._keeping.values():
                task.cancel()

    def notified(self, origin: bytes, address: str) -> None:
        """Look at a zone now, because one of its primaries said so (RFC 1996 3.11)."""
        for plan in self._zones:
            if plan.origin != origin:
                continue
            known = {one.address for one in _primaries(plan)}
            if address in known:
                self._wake[origin].set()

    def look(self, origin: bytes) -> None:
        """Look at a zone now, because its operator said so."""
        if origin in self._wake:
            self._wake[origin].set()

    def status(self) -> list[dict[str, Any]]:
        """Tell how each zone stands."""
        return [{"zone": names.to_text(o), **state} for o, state in sorted(self._state.items())]

    def _start(self, plan: ZonePlan) -> None:
        self._wake.setdefault(plan.origin, asyncio.Event())
        self._keeping[plan.origin] = asyncio.create_task(self._keep(plan))

    def _follow_catalog(self, plan: ZonePlan, catalog: Zone) -> None:
        """Begin to keep the zones a catalog lists now, and end those it lists no more.

        A catalog that cannot be read changes nothing (RFC 9432 5.1). Zones configured or listed
        elsewhere stay as they are (5.2).
        """
        try:
            listed = members(catalog)
        except DataFault as fault:
            log.error("catalog not followed", fault=str(fault))
            return
        before = self._listed.get(plan.origin, {})
        # A member whose groups changed ends and begins anew, from where its group has it.
        for origin in {o for o, groups in before.items() if listed.get(o) != groups}:
            self._keeping.pop(origin).cancel()
            self._zones = [zone for zone in self._zones if zone.origin != origin]
            self._have.pop(origin, None)
            self._state.pop(origin, None)
            self._drop(origin)
        taken = {zone.origin for zone in self._plan.zones} | set(self._keeping)
        stayed = {o: groups for o, groups in before.items() if listed.get(o) == groups}
        new = {o: groups for o, groups in listed.items() if o not in stayed and o not in taken}
        for origin, groups in new.items():
            member = ZonePlan(origin=origin, section=self._member(plan, origin, groups))
            self._zones.append(member)
            self._start(member)
        self._listed[plan.origin] = stayed | new

    def _member(self, catalog: ZonePlan, origin: bytes, groups: tuple[str, ...]) -> ZoneSection:
        """Give a member's section: the catalog's, with what its first group that is ours says."""
        section = replace(catalog.section, name=names.to_text(origin), role="secondary")
        for group in self._plan.settings.group:
            if group.name in groups:
                primaries = group.primaries or section.primaries
                return replace(section, primaries=primaries, key=group.key or section.key)
        return section

    async def _keep(self, plan: ZonePlan) -> None:
        origin = plan.origin
        path = self._file(plan)
        refreshed_at = path.stat().st_mtime if path.exists() else 0.0
        is_expired = False
        while True:
            self._wake[origin].clear()
            try:
                done = await self._refresh(plan)
            except Exception as error:  # one zone may fail, the others go on
                log.error("refresh failed", zone=names.to_text(origin), error=repr(error))
                done = False
            zone = self._have.get(origin)
            now = time.time()
            if done:
                refreshed_at, is_expired = now, False
                if path.exists():
                    path.touch()
            refresh_s, retry_s, expire_s = _timers(zone)
            if not done and zone is not None and now - refreshed_at > expire_s and not is_expired:
                is_expired = True
                log.error("secondary zone expired", zone=names.to_text(origin))
                self._expire(origin)
            self._state[origin] = {
                "serial": zone.serial if zone else None,
                "refreshed_at": refreshed_at,
                "expires_at": refreshed_at + expire_s if zone else None,
                "is_expired": is_expired,
            }
            try:
                wait_s = refresh_s if done else retry_s
                # Not wait_for: it loses a cancellation that comes with what it waits for.
                async with asyncio.timeout(wait_s):
                    await self._wake[origin].wait()
            except TimeoutError:
                continue

    async def _refresh(self, plan: ZonePlan) -> bool:
        """Ask primaries, IPv6 first, until one has told whether there is news."""
        for endpoint in sorted(_primaries(plan), key=lambda one: one.family == 4):
            try:
                zone = await self._refresh_from(plan, endpoint)
            except (PeerFault, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.warning(
                    "primary gave no zone",
                    zone=names.to_text(plan.origin),
                    primary=f"{endpoint.address} port {endpoint.port}",
                    why=str(error) or type(error).__name__,
                )
                continue
            if zone is not None:
                write_zone_file(self._file(plan), zone, is_portable=True)
                self._have[plan.origin] = zone
                if plan.section.role == "catalog":
                    self._follow_catalog(plan, zone)
                else:
                    self._put(zone)
            return True
        return False

    async def _refresh_from(self, plan: ZonePlan, endpoint: Endpoint) -> Zone | None:
        """Give a newer version from one primary; None where ours is the present one."""
        have = self._have.get(plan.origin)
        if have is not None:
            query = self._signed(plan, compose_query(secrets.randbits(16), plan.origin, codes.SOA))
            if endpoint.transport is Transport.DOT:
                outcome = await self._kept.perform(Ask(endpoint, query, _TIMEOUT_S))
            else:
                over_tcp = endpoint._replace(transport=Transport.TCP)
                outcome = await self._client.perform(Ask(over_tcp, query, _TIMEOUT_S))
            if isinstance(outcome, NoReply):
                raise BadTransfer(f"no answer to SOA: {outcome.why.name.lower()}")
            soa = next((r for r in skim(outcome.message).answer if r.rdtype == codes.SOA), None)
            if soa is None:
                raise BadTransfer("the primary has no SOA for the zone")
            if not is_later(int.from_bytes(soa.rdata[-20:-16], "big"), have.serial):
                return None
        async with asyncio.timeout(_TRANSFER_S):
            return await self._transfer(plan, endpoint, have)

    async def _transfer(self, plan: ZonePlan, endpoint: Endpoint, have: Zone | None) -> Zone | None:
        """Transfer over TCP: IXFR where we have a version, and AXFR where that fails."""
        try:
            return await self._exchange(plan, endpoint, have)
        except PeerFault:
            if have is None:
                raise
            return await self._exchange(plan, endpoint, None)

    async def _exchange(self, plan: ZonePlan, endpoint: Endpoint, have: Zone | None) -> Zone | None:
        query = self._signed(plan, _transfer_query(plan.origin, have))
        verifier = self._keys.follow(plan.section.key, query)
        reader, writer = await self._connect(endpoint)
        incoming = Incoming(plan.origin, have)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            for _ in range(_MESSAGES_MAX):
                size = int.from_bytes(await reader.readexactly(2), "big")
                message = await reader.readexactly(size)
                if not is_answer(message, query) and message[:2] != query[:2]:
                    raise BadTransfer("a message answers something else")
                verifier(message)
                incoming.feed(message)
                if incoming.is_done:
                    return incoming.result
        finally:
            writer.close()
        raise BadTransfer("the transfer does not end")

    async def _connect(
        self, endpoint: Endpoint
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a primary: plain, or over TLS 1.3 (RFC 9103 7)."""
        context = None
        if endpoint.transport is Transport.DOT:
            ca_file = self._plan.settings.authority.transfer_ca_file
            context = client_context(ca_file, ALPN_DOT, name=endpoint.name)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        return await asyncio.open_connection(
            endpoint.address, endpoint.port, ssl=context,
            server_hostname=(endpoint.name or endpoint.address) if context else None,
        )  # fmt: skip

    def _signed(self, plan: ZonePlan, query: bytes) -> bytes:
        return self._keys.sign_query(plan.section.key, query)

    def _file(self, plan: ZonePlan) -> Path:
        place = self._plan.state_dir / "secondary"
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{names.to_text(plan.origin).replace('/', '_')}zone"


def _primaries(plan: ZonePlan) -> list[Endpoint]:
    return [
        read_server(text, "zone.primaries", over=_TRANSFER_OVER) for text in plan.section.primaries
    ]


def _timers(zone: Zone | None) -> tuple[float, float, float]:
    """REFRESH, RETRY and EXPIRE of a SOA (RFC 1035 3.3.13), no shorter than is polite."""
    if zone is None or zone.soa is None:
        return _RETRY_FIRST_S, _RETRY_FIRST_S, 0.0
    tail = zone.soa.rdatas[0][-16:-4]
    refresh, retry, expire = (int.from_bytes(tail[at : at + 4], "big") for at in (0, 4, 8))
    return max(refresh, 1.0), max(retry, 1.0), float(expire)


def _transfer_query(origin: bytes, have: Zone | None) -> bytes:
    """AXFR, or IXFR with our SOA in the authority section (RFC 1995 3)."""
    head = secrets.token_bytes(2) + bytes(2) + b"\x00\x01\x00\x00"
    if have is None or have.soa is None:
        return head + bytes(4) + origin + codes.AXFR.to_bytes(2, "big") + b"\x00\x01"
    soa = have.soa.rdatas[0]
    record = b"\xc0\x0c\x00\x06\x00\x01" + bytes(4) + len(soa).to_bytes(2, "big") + soa
    question = origin + codes.IXFR.to_bytes(2, "big") + b"\x00\x01"
    return head + b"\x00\x01\x00\x00" + question + record
