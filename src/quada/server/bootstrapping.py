"""A child looked at as its parent would, before its first DS (RFC 9615 4.2).

Asks the parent's servers for the delegation, every server of the child at each of its addresses for
CDS and CDNSKEY, and for the same under every name server's name, validated.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any, Final

import dns.rdata

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver import Anchors
from quada.resolver.anchors import read_anchors, root_anchors
from quada.server.outside import Outside
from quada.server.parents import servers_of_parent
from quada.server.plan import read_address
from quada.telemetry.event import Validation
from quada.transport.client import Client
from quada.wire.ask import Endpoint
from quada.wire.faults import ReachFault
from quada.zones.bootstrap import (
    TYPES,
    Look,
    Seen,
    judge,
    signal_name,
    wanted_cdnskeys,
    wanted_cds,
)
from quada.zones.signature import ds_rdata

if TYPE_CHECKING:
    from pathlib import Path

    from quada.wire.skim import Skimmed

_SERVERS_MAX: Final = 16  # our choice: a delegation has at most thirteen that fit a message
_CLASS: Final = "IN"


def check_bootstrap(child: bytes, resolvers: list[str], anchor: Path | None) -> dict[str, Any]:
    """Say whether a parent may take the child's first DS, and which: a report with `is_good`.

    Raises: ReachFault where no server of the parent is found, DataFault for the anchor file.
    """
    anchors = root_anchors() if anchor is None else read_anchors(anchor.read_text(), str(anchor))
    looker = _Looker(child, [_endpoint(text) for text in resolvers], anchors)
    look = looker.look()
    refusals = judge(look) or looker.unproven(look)
    ds = sorted(_wanted_ds(look)) if not refusals else []
    return {
        "child": names.to_text(child),
        "servers": [names.to_text(server) for server in look.servers],
        "signals": sorted({one.place for one in look.signals}),
        "refusals": refusals,
        "ds": [dns.rdata.from_wire(_CLASS, "DS", one, 0, len(one)).to_text() for one in ds],
        "is_good": not refusals,
    }


def _wanted_ds(look: Look) -> frozenset[bytes]:
    """Give the DS a parent would take: the CDS, or of the CDNSKEY where there is none."""
    made = (ds_rdata(look.child, dnskey) for dnskey in wanted_cdnskeys(look))
    return wanted_cds(look) or frozenset(one for one in made if one is not None)


class _Looker:
    def __init__(
        self, child: bytes, resolvers: list[Endpoint], anchors: dict[bytes, tuple[bytes, ...]]
    ) -> None:
        self._child = child
        self._resolvers = resolvers
        self._trusted = Outside(resolvers, Anchors(anchors))

    def look(self) -> Look:
        parents = asyncio.run(servers_of_parent(Client(), self._child, tuple(self._resolvers)))
        if not parents:
            raise ReachFault(
                "no server of the parent is found", place=names.to_text(self._child),
                remedy="name a resolver with --resolver",
            )  # fmt: skip
        servers: set[bytes] = set()
        glue: dict[bytes, set[str]] = {}
        ds = []
        for name, to in parents:
            at = Outside([to], Anchors())
            self._delegation(at.ask(self._child, codes.NS, is_cd=True), servers, glue)
            message = at.ask(self._child, codes.DS, is_cd=True)
            ds.append(self._seen(message, f"{names.to_text(name)} ({to.address})", codes.DS))
        wanted = tuple(sorted(servers))[:_SERVERS_MAX]
        apex = [seen for server in wanted for seen in self._apex(server, glue.get(server, set()))]
        signals = [seen for server in wanted for seen in self._signal(server)]
        return Look(self._child, tuple(ds), wanted, tuple(apex), tuple(signals))

    def unproven(self, look: Look) -> list[str]:
        """Say why the wanted DS would not validate the child as it is served now (RFC 7344 4.1)."""
        ds = _wanted_ds(look)
        made = {ds_rdata(look.child, dnskey) for dnskey in wanted_cdnskeys(look)}
        if wanted_cds(look) and made and not made & ds:
            return ["CDS and CDNSKEY speak of different keys"]
        for server in look.servers:
            for address in self._addresses(server):
                outside = Outside([Endpoint(address)], Anchors({look.child: tuple(ds)}))
                found = outside.verdict(look.child, codes.SOA)
                if found is None or found[0].state != Validation.SECURE:
                    why = "no answer" if found is None else found[0].reason
                    return [f"with this DS {names.to_text(server)} ({address}) is bogus: {why}"]
        return []

    def _delegation(
        self, message: Skimmed | None, servers: set[bytes], glue: dict[bytes, set[str]]
    ) -> None:
        if message is None:
            return
        for record in (*message.answer, *message.authority):
            if record.rdtype == codes.NS and record.owner == self._child:
                servers.add(record.rdata.lower())
        for record in message.additional:
            if record.rdtype in (codes.AAAA, codes.A) and len(record.rdata) in (4, 16):
                address = str(ipaddress.ip_address(record.rdata))
                glue.setdefault(record.owner, set()).add(address)

    def _apex(self, server: bytes, glue: set[str]) -> list[Seen]:
        addresses = self._addresses(server) or sorted(glue, key=lambda one: ":" not in one)
        name = names.to_text(server)
        if not addresses:
            return [Seen(name, rdtype, None, "it has no address") for rdtype in TYPES]
        out = []
        for address in addresses:
            at, place = Outside([Endpoint(address)], Anchors()), f"{name} ({address})"
            for rdtype in TYPES:
                message = at.ask(self._child, rdtype, is_cd=True)
                if message is not None and not message.flags & codes.AA:
                    out.append(Seen(place, rdtype, None, "it does not serve the child"))
                else:
                    out.append(self._seen(message, place, rdtype))
        return out

    def _signal(self, server: bytes) -> list[Seen]:
        """Ask for what is signalled under one server's name; only secure data count."""
        name = signal_name(self._child, server)
        if name is None:
            return []
        out = []
        for rdtype in TYPES:
            found = self._trusted.verdict(name, rdtype)
            place = names.to_text(name)
            if found is None:
                out.append(Seen(place, rdtype, None, "no answer"))
            elif found[0].state != Validation.SECURE:
                state = Validation(found[0].state).name.lower()
                why = f"{state}, not secure: {found[0].reason}".rstrip(": ")
                out.append(Seen(place, rdtype, None, why))
            else:
                out.append(self._seen(found[1], place, rdtype, owner=name))
        return out

    def _addresses(self, server: bytes) -> list[str]:
        out = []
        for rdtype in (codes.AAAA, codes.A):
            message = self._trusted.ask(server, rdtype, is_cd=False)
            out += [
                str(ipaddress.ip_address(record.rdata))
                for record in (message.answer if message is not None else ())
                if record.rdtype == rdtype and len(record.rdata) in (4, 16)
            ]
        return out

    def _seen(
        self, message: Skimmed | None, place: str, rdtype: int, *, owner: bytes = b""
    ) -> Seen:
        if message is None:
            return Seen(place, rdtype, None, "no answer")
        if message.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return Seen(place, rdtype, None, f"rcode {message.rcode}")
        at = owner or self._child
        found = {r.rdata for r in message.answer if r.rdtype == rdtype and r.owner == at}
        return Seen(place, rdtype, frozenset(found))


def _endpoint(text: str) -> Endpoint:
    address = read_address(text)
    return Endpoint(address.host, address.port)
