"""A validation, performed: lookups by a resolver, requests and handshakes with given addresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from quada import __version__
from quada.acme.validate import (
    BODY_OCTETS,
    Failed,
    Fetch,
    Fetched,
    Handshake,
    Looked,
    Lookup,
    Shook,
)
from quada.transport.fetch import NoPage, fetch, handshake
from quada.wire.faults import ConfigFault
from quada.zones.check_address import special_range

if TYPE_CHECKING:
    from collections.abc import Generator

    from quada.acme.validate import Answer, Ask

_AGENT: Final = f"quada/{__version__} (rehearsal of an ACME validation)"
_LOOKUP_S: Final = 6.0
Made = TypeVar("Made")


class Validating:
    """Performs what validators ask.

    Takes the resolver to ask (`ADDRESS`, `ADDRESS#PORT`; empty for the system's), and addresses of
    names, as `NAME=ADDRESS`, that are used instead of asking. Raises: ConfigFault.
    """

    def __init__(self, resolver: str, given: list[str]) -> None:
        self._given: dict[str, list[str]] = {}
        for text in given:
            host, is_pair, address = text.partition("=")
            if not is_pair:
                raise ConfigFault(f"{text!r} is not NAME=ADDRESS", place="--resolve")
            self._given.setdefault(host.lower(), []).append(address)
        self._resolver = dns.asyncresolver.Resolver(configure=not (resolver or given))
        if resolver:
            host, _, port = resolver.rpartition("#")
            self._resolver.nameservers = [host or resolver]
            self._resolver.port = int(port) if host else 53
        self._resolver.lifetime = _LOOKUP_S

    async def perform(self, ask: Ask) -> Answer:
        """Perform one step of a validation."""
        if isinstance(ask, Lookup):
            return await self._look(ask)
        if isinstance(ask, Fetch):
            return await perform_fetch(ask)
        return await perform_handshake(ask)

    async def _look(self, ask: Lookup) -> Looked:
        if self._given:
            found = self._given.get(ask.name, [])
            wanted = {"AAAA": 6, "A": 4}.get(ask.rdtype)
            return Looked(
                tuple(a for a in found if wanted and ipaddress.ip_address(a).version == wanted)
            )
        try:
            answer = await self._resolver.resolve(
                f"{ask.name}.", ask.rdtype, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Looked()
        except dns.exception.DNSException as error:
            return Looked(error=str(error)[:200])
        return Looked(tuple(_text(item) for item in answer.rrset or ()))


def is_reserved(address: str) -> bool:
    """Whether an address is in a range that no CA dials."""
    return bool(special_range(ipaddress.ip_address(address).packed))


def _text(item: Any) -> str:
    """A record's data; the strings of a TXT joined with nothing, as validators read them."""
    if item.rdtype == dns.rdatatype.TXT:
        return b"".join(item.strings).decode("utf-8", "backslashreplace")
    return str(item.to_text())


async def perform_fetch(ask: Fetch, source: str = "") -> Fetched | Failed:
    """GET what is asked for, from a source address of this host."""
    page = await fetch(
        ask.url, ask.address, ask.port, ask.timeout_s, body_octets=BODY_OCTETS, agent=_AGENT,
        source=source,
    )  # fmt: skip
    if isinstance(page, NoPage):
        return Failed(page.stage, page.why, page.seconds)
    return Fetched(
        page.status, page.location, page.body, page.seconds, page.server, page.tls_version
    )


async def perform_handshake(ask: Handshake, source: str = "") -> Shook | Failed:
    """Shake hands as asked for, from a source address of this host."""
    greeting = await handshake(
        ask.name, ask.address, ask.port, ask.timeout_s, ask.alpn, source=source
    )
    if isinstance(greeting, NoPage):
        return Failed(greeting.stage, greeting.why, greeting.seconds)
    return Shook(greeting.certificate, greeting.alpn, greeting.tls_version, greeting.seconds)


class Performer(Protocol):
    """Whoever performs the steps of a validation."""

    async def perform(self, ask: Ask) -> Answer:
        """Perform one step."""


async def run(steps: Generator[Ask, Answer, Made], performer: Performer) -> Made:
    """Run a validation to its end."""
    try:
        ask = next(steps)
        while True:
            ask = steps.send(await performer.perform(ask))
    except StopIteration as end:
        made: Made = end.value
        return made
