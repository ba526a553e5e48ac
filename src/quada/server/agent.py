"""A vantage point: calls a quada server, makes the probes that it is given, and nothing else.

It only calls out. Its own limits hold whatever the server says: DNS queries of one question, and
calls that ping, connect, shake hands or GET one page, to allowed ports, to addresses that are not
somebody's inner network, so many a second.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import structlog

from quada import __version__
from quada.transport.reach import Reach
from quada.wire.ask import Ask, Endpoint, Reply, Silence, Transport
from quada.wire.call import PING_OCTETS_MAX, PING_OCTETS_MIN, Call, CallKind
from quada.wire.faults import ConfigFault, MalformedMessage, PeerFault
from quada.wire.question import parse_question
from quada.zones.check_address import special_range

if TYPE_CHECKING:
    from collections.abc import Sequence

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_POLL_S: Final = 40.0
_AT_ONCE: Final = 32
_RETRY_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_QUERY_OCTETS_MAX: Final = 1_024
_BODY_OCTETS_MAX: Final = 16_384
_UNREADABLE: Final = (MalformedMessage, ValueError, KeyError, TypeError, AttributeError)
PORTS: Final = (53, 853, 443, 80, 25)
"""What may be probed where nothing else is said: DNS in all its forms, web, mail."""


class AgentWish(NamedTuple):
    """How an agent works: whom to call with which token, and its limits."""

    server: str
    token: str
    ca_file: str = ""
    ports: tuple[int, ...] = PORTS
    per_second: float = 100.0
    is_lab: bool = False
    trust_file: str = ""


def check_server(url: str) -> str:
    """Give a server's URL without a final slash. Raises: ConfigFault where it is not safe."""
    found = httpx.URL(url)
    if found.scheme not in ("http", "https") or not found.host:
        raise ConfigFault(f"{url!r} is no URL", place="--server", remedy="https://ns1.example.com")
    is_near = found.host in ("::1", "localhost") or found.host.startswith("127.")
    if found.scheme == "http" and not is_near:
        raise ConfigFault(
            "the token would travel in the clear", place="--server", remedy="use https://"
        )
    return url.rstrip("/")


class Agent:
    """One vantage point. `run` returns only by an end from outside, or a token that is void."""

    def __init__(self, wish: AgentWish) -> None:
        self._wish = wish
        self._reach = Reach(wish.trust_file)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._next_at = 0.0

    async def run(self) -> None:
        """Call in again and again. Raises: PeerFault where the server takes the token for void."""
        failures = 0
        try:
            verify = ssl.create_default_context(cafile=self._wish.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigFault(f"it cannot be read: {error}", place=self._wish.ca_file) from error
        async with httpx.AsyncClient(
            base_url=check_server(self._wish.server), verify=verify, timeout=_POLL_S,
            trust_env=False, headers={"Authorization": f"Bearer {self._wish.token}"},
        ) as http:  # fmt: skip
            while True:
                try:
                    await self._call(http)
                    failures = 0
                except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                    wait_s = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                    wait_s *= random.uniform(1, 1.2)  # so that agents do not come all at once
                    failures += 1
                    log.warning("the server is not reached", why=str(error)[:200], again_s=wait_s)
                    await asyncio.sleep(wait_s)

    async def _call(self, http: httpx.AsyncClient) -> None:
        hello = {"families": families(), "version": __version__}
        answer = await http.post("/quada/v1/agent/poll", json=hello)
        if answer.status_code in (401, 403):
            raise PeerFault(
                "the server does not take the token", place=self._wish.server,
                remedy="make one with `quada token add NAME --scope agent`",
            )  # fmt: skip
        data = answer.raise_for_status().json()
        if not data["batch"]:
            return
        replies, called = await asyncio.gather(
            self.perform(data["asks"]), self.call(data.get("calls", []))
        )
        body = {"batch": data["batch"], "replies": replies, "called": called}
        answer = await http.post("/quada/v1/agent/replies", json=body)
        if answer.status_code != 404:  # who asked has given up: that is theirs to do
            answer.raise_for_status()

    async def perform(self, asks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make probes, within our own limits; what is beyond them is refused in its reply."""
        return list(await asyncio.gather(*map(self._one, asks)))

    async def call(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Call services, within the same limits."""
        return list(await asyncio.gather(*map(self._one_call, calls)))

    async def _turn(self) -> None:
        """Wait until another probe may be made."""
        now = time.monotonic()
        at = self._next_at = max(self._next_at + 1 / self._wish.per_second, now)
        await asyncio.sleep(at - now)

    async def _one(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            ask = self._read(data)
        except _UNREADABLE as error:
            return {"silence": Silence.UNREACHABLE.name.lower(), "seconds": 0.0,
                    "detail": f"the agent refuses: {error}"[:200]}  # fmt: skip
        async with self._gate:
            await self._turn()
            outcome = await self._reach.perform(ask)
        if isinstance(outcome, Reply):
            return {"message": outcome.message.hex(), "seconds": outcome.rtt_s}
        return {"silence": outcome.why.name.lower(), "seconds": outcome.elapsed_s,
                "detail": outcome.detail[:200]}  # fmt: skip

    async def _one_call(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            wanted = self._read_call(data)
        except _UNREADABLE as error:
            return {"stage": "refused", "why": f"the agent refuses: {error}"[:200]}
        async with self._gate:
            await self._turn()
            one = await self._reach.call(wanted)
        return {
            "stage": one.stage, "why": one.why[:200], "dial_s": one.dial_s, "total_s": one.total_s,
            "certificate_fault": one.certificate_fault[:200], "status": one.status,
            "location": one.location[:2_000], "body": one.body[:_BODY_OCTETS_MAX].hex(),
            "expires_at": one.expires_at, "segment_octets": one.segment_octets,
        }  # fmt: skip

    def _read(self, data: dict[str, Any]) -> Ask:
        """Read a probe, and refuse what this agent does not do. Raises: ValueError and others."""
        address = self._allowed(data)
        query = bytes.fromhex(data["query"])
        if len(query) > _QUERY_OCTETS_MAX or query[2] & 0xF8:
            raise ValueError("this is no query")
        parse_question(query)
        transport = Transport[data["transport"].upper()]
        to = Endpoint(
            address, data["port"], transport, _text(data.get("name", "")),
            _text(data.get("path", "/dns-query")),
        )  # fmt: skip
        return Ask(to, query, min(10.0, float(data["timeout_s"])))

    def _read_call(self, data: dict[str, Any]) -> Call:
        """Read a call, and refuse what this agent does not do. Raises: ValueError and others."""
        kind = CallKind(data["kind"])
        octets = data.get("octets", 0)
        if kind is CallKind.PING and octets not in range(PING_OCTETS_MIN, PING_OCTETS_MAX + 1):
            raise ValueError(f"a ping of {octets} octets is not sent")
        address = self._allowed(data, has_port=kind is not CallKind.PING)
        path = _text(data["path"])
        if path != "/" and not path.startswith("/.well-known/"):
            raise ValueError(f"{path} is not asked for here")
        return Call(
            address, data["port"], kind, _text(data["name"]),
            min(10.0, float(data["timeout_s"])), path, octets,
        )  # fmt: skip

    def _allowed(self, data: dict[str, Any], *, has_port: bool = True) -> str:
        """Give the address of a probe where this agent may go. Raises: ValueError."""
        address = ipaddress.ip_address(data["address"])
        special = special_range(address.packed)
        if special and not self._wish.is_lab:
            raise ValueError(f"{address} is {special}")
        if has_port and data["port"] not in self._wish.ports:
            raise ValueError(f"port {data['port']} is not allowed here")
        return str(address)


def _text(text: Any) -> str:
    """Take a name or path that cannot become anything else in a request. Raises: ValueError."""
    if not isinstance(text, str) or len(text) > 255 or not all("!" <= c <= "~" for c in text):
        raise ValueError("a name or path cannot be read")
    return text


def families() -> list[int]:
    """Give the families this machine has a route for, IPv6 first."""
    import socket

    found = []
    for family, kind, address in (
        (6, socket.AF_INET6, "2001:500:2f::f"), (4, socket.AF_INET, "192.5.5.241"),
    ):  # fmt: skip
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((address, 53))  # sends nothing: only asks for a route
                found.append(family)
            except OSError:
                continue
    return found
