"""What a run of the server is to do, worked out from its settings before it starts.

Everything that can be wrong is found here, while nothing is bound yet.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import quada.wire.names as names
from quada.authority import AliasSettings, AuthoritySettings
from quada.authority.expanded import ExpandedSettings
from quada.authority.pool import HERE, Check, Member, Policy, Pool, Probe
from quada.config.settings import ZoneSection
from quada.server.vouching import check_oidc
from quada.telemetry.event import Role
from quada.telemetry.filter import read_filter
from quada.telemetry.ingest import make_parser
from quada.telemetry.template import check_template
from quada.transport.guests import StreamLimits
from quada.wire.ask import Endpoint, Transport, read_endpoint
from quada.wire.faults import ConfigFault
from quada.wire.limit import LimitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quada.config.settings import (
        AuthoritySection,
        LogSection,
        OutputSection,
        PoolSection,
        ReceiverSection,
        ResolverSection,
        Settings,
    )

MAIL_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class Address(NamedTuple):
    """Where to listen: presentation form and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listen(NamedTuple):
    """One listener: address, and what is spoken there. UDP stands for UDP and TCP.

    One for DoH has HTTP/3 too, over UDP, where `has_http3`.
    """

    address: Address
    transport: Transport
    has_http3: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePlan:
    """One zone and where its data are."""

    origin: bytes
    section: ZoneSection

    @property
    def file(self) -> Path | None:
        """The zone file, or None for a zone in the store."""
        return Path(self.section.file) if self.section.file else None


@dataclass(frozen=True, slots=True)
class LogSource:
    """What is configured: a file, or `unix:PATH` or `tcp://[::]:6000`, over which dnstap comes."""

    name: str
    path: str
    format: str = "auto"
    role: str = ""

    @property
    def is_socket(self) -> bool:
        """Whether others connect to us."""
        return self.path.startswith(("unix:", "tcp://"))

    @property
    def stream(self) -> Role | None:
        """The role, where it is said. Raises: ConfigFault."""
        try:
            return Role[self.role.upper()] if self.role else None
        except KeyError:
            raise ConfigFault(
                f"there is no role {self.role}", place=f"logs {self.name}",
                remedy="authoritative or recursive",
            ) from None  # fmt: skip

    def check(self) -> None:
        """Raise ConfigFault for what cannot be read."""
        if not self.name or not self.path:
            raise ConfigFault("a log source needs a name and a path", place="logs")
        if self.name.startswith("ring:"):
            raise ConfigFault("that name is for our own events", place=f"logs {self.name}")
        if self.is_socket and self.format != "dnstap":
            raise ConfigFault(
                f"what comes over a socket is dnstap, not {self.format}",
                place=f"logs {self.name}", remedy='format = "dnstap"',
            )  # fmt: skip
        if self.path.startswith("tcp://"):
            read_address(self.path.removeprefix("tcp://"), 6000)
        if self.format not in ("auto", "dnstap"):
            make_parser(self.format, self.name, self.stream)
        _ = self.stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run: roles, listeners, zones, limits, places."""

    settings: Settings
    roles: tuple[str, ...]
    authority_listen: tuple[Listen, ...]
    resolver_listen: tuple[Listen, ...]
    api_listen: tuple[Address, ...]
    metrics_listen: tuple[Address, ...]
    acme_listen: tuple[Address, ...]
    zones: tuple[ZonePlan, ...]
    authority: AuthoritySettings
    alias: AliasSettings
    expanded: ExpandedSettings
    pools: tuple[Pool, ...]
    authority_streams: StreamLimits
    resolver_streams: StreamLimits
    workers: int
    state_dir: Path
    log_sources: tuple[LogSource, ...] = ()
    tells_json: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def control_path(self) -> Path:
        """The control socket."""
        control = self.settings.server.control
        return Path(control) if control else self.state_dir / "control.sock"

    @property
    def store_path(self) -> Path:
        """The zone store."""
        path = self.settings.store.path
        return Path(path) if path else self.state_dir / "zones.db"

    @property
    def events_dir(self) -> Path:
        """The event rings."""
        return self.state_dir / "events"

    def is_expanded(self, origin: bytes) -> bool:
        """Whether a zone's ALIAS and POOL records are published as addresses."""
        section = next((z.section for z in self.zones if z.origin == origin), ZoneSection())
        wanted = section.alias_transfers or self.settings.authority.alias_transfers
        return section.role == "primary" and wanted == "expanded"

    def expanded_path(self, origin: bytes) -> Path:
        """Where it is kept what was last published of an expanded zone."""
        return self.state_dir / "expanded" / f"{names.to_text(origin).replace('/', '_')}json"

    @property
    def checks_zones(self) -> bool:
        """Whether zones that we serve are looked at on a schedule."""
        return self.settings.doctor.every_s > 0 and "authority" in self.roles

    @property
    def distrust_path(self) -> Path:
        """Where negative trust anchors are kept."""
        return self.state_dir / "distrust.json"

    @property
    def has_collector(self) -> bool:
        """Whether anybody wants what the collector gathers."""
        events = self.settings.events
        wants = bool(events.history_days or events.jsonl or self.metrics_listen)
        wants = wants or bool(self.settings.event_output)
        return wants or self.settings.signals.on or bool(self.settings.logs)

    @property
    def certificate_files(self) -> tuple[Path, Path]:
        """Chain and key that were ordered, or made for a demo."""
        place = self.state_dir / "tls"
        return place / "chain.pem", place / "key.pem"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names that a certificate is ordered for: those of `tls.names` that are no address."""
        found = (name.rstrip(".").lower() for name in self.settings.tls.names)
        return tuple(dict.fromkeys(name for name in found if not is_address(name)))

    @property
    def history_dir(self) -> Path:
        """The event store."""
        return self.state_dir / "history"


def read_address(text: str, default_port: int = 53) -> Address:
    """Read `[2001:db8::1]:53`, `2001:db8::1` or `192.0.2.1:53`. Raises: ConfigFault."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host.partition("%")[0])
        number = int(port) if port else default_port
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise ConfigFault(
            f"{text!r} is not an address to listen at",
            place="listen",
            remedy="write [::1]:5300 or 127.0.0.1:5300",
        )
    return Address(host, number)


def read_server(
    text: str, place: str, *, over: frozenset[Transport] = frozenset(Transport)
) -> Endpoint:
    """Read a server to ask: `[2001:db8::1]:53`, or `tls://[2001:db8::1]:853#NAME` (RFC 8310 5).

    So too `https://[2001:db8::1]/dns-query#NAME` and `quic://[2001:db8::1]#NAME`. Encrypted, only
    who proves the name is believed; without one anybody is. Raises: ConfigFault.
    """
    try:
        found = read_endpoint(text)
    except ValueError as error:
        raise ConfigFault(
            f"{text!r} is not a server to ask: {error}", place=place,
            remedy="write [2001:db8::53]:53 or tls://[2001:db8::53]#dns.example.net",
        ) from None  # fmt: skip
    if found.transport not in over:
        raise ConfigFault(
            f"{text!r} cannot be asked over that", place=place,
            remedy="write tls://ADDRESS#NAME or a plain address",
        )  # fmt: skip
    return found


def make_plan(settings: Settings, *, roles: tuple[str, ...], tells_json: bool = False) -> Plan:
    """Work out a plan. Raises: ConfigFault for what cannot be."""
    authority, resolver = settings.authority, settings.resolver
    check_receivers(settings.alert_receiver)
    check_outputs(settings.event_output)
    check_oidc(settings.oidc)
    _check_vantage(settings)
    zones = []
    for number, section in enumerate((*settings.zone, *_in_directories(authority))):
        if not section.name:
            raise ConfigFault("a zone has no name", place=f"zone[{number}].name")
        zones.append(ZonePlan(origin=names.from_text(section.name).lower(), section=section))
    return Plan(
        settings=settings,
        roles=roles,
        authority_listen=_listeners(authority) if "authority" in roles else (),
        resolver_listen=_listeners(resolver) if "resolver" in roles else (),
        api_listen=tuple(read_address(text, 8080) for text in settings.api.listen),
        metrics_listen=tuple(read_address(text, 9530) for text in settings.metrics.listen),
        acme_listen=_acme(settings),
        zones=tuple(zones),
        authority=AuthoritySettings(
            udp_payload_octets=max(512, min(4096, authority.udp_payload_octets)),
            is_minimal=authority.minimal_responses,
            is_cyclic=authority.rrset_order == "cyclic",
            nsid=authority.nsid.encode(),
            version=authority.version,
            cookie_secret=_secret(authority.cookie_secret),
            limit=LimitSettings(authority.rrl_per_second, authority.rrl_slip),
        ),
        alias=_alias(settings),
        expanded=ExpandedSettings(
            ttl_s=max(1, settings.alias.expanded_ttl_s),
            interval_s=settings.alias.expanded_interval_s,
            stale_max_s=settings.alias.stale_max_s,
        ),
        pools=tuple(_pool(one) for one in settings.pool),
        authority_streams=_streams(authority),
        resolver_streams=_streams(resolver),
        workers=settings.server.workers or len(os.sched_getaffinity(0)),
        state_dir=Path(settings.server.state_dir),
        log_sources=tuple(_log_source(one) for one in settings.logs),
        tells_json=tells_json,
    )


def _in_directories(section: AuthoritySection) -> Iterator[ZoneSection]:
    """Give the zones whose files lie in directories, by their file names."""
    for directory in section.zone_directories:
        for file in sorted(Path(directory).glob("db.*")):
            yield ZoneSection(name=file.name.removeprefix("db."), file=str(file))


def _listeners(section: AuthoritySection | ResolverSection) -> tuple[Listen, ...]:
    out = []
    for name, transport, port in (
        ("listen", Transport.UDP, 53),
        ("listen_tls", Transport.DOT, 853),
        ("listen_https", Transport.DOH, 443),
        ("listen_quic", Transport.DOQ, 853),
    ):
        addresses = [read_address(text, port) for text in getattr(section, name)]
        has_http3 = transport is Transport.DOH and section.http3
        out += [Listen(address, transport, has_http3) for address in addresses]
    return tuple(out)


def _streams(section: AuthoritySection | ResolverSection) -> StreamLimits:
    return StreamLimits(
        idle_s=section.tcp_idle_s,
        connections_max=section.tcp_connections,
        per_network_max=section.tcp_per_network,
    )


def _acme(settings: Settings) -> tuple[Address, ...]:
    """Give where http-01 is answered. Raises: ConfigFault where an order cannot be made."""
    acme, tls = settings.acme, settings.tls
    if not acme.directory:
        return ()
    if tls.certificate:
        raise ConfigFault(
            "a certificate is both configured and to be ordered", place="tls.certificate",
            remedy="remove it, or acme.directory",
        )  # fmt: skip
    if not any(not is_address(name) for name in tls.names):
        raise ConfigFault(
            "no name to order a certificate for", place="tls.names",
            remedy='names = ["ns1.example.com"]',
        )  # fmt: skip
    if not acme.accept_terms:
        raise ConfigFault(
            "the CA's terms of service must be agreed to", place="acme.accept_terms",
            remedy="read them, then accept_terms = true",
        )  # fmt: skip
    if acme.challenge != "http-01":
        return ()
    return tuple(read_address(text, 80) for text in acme.http_listen)


def is_address(name: str) -> bool:
    """Tell whether a name that clients are told is an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _secret(text: str) -> bytes:
    if not text:
        return secrets.token_bytes(16)
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != 16:
        raise ConfigFault(
            "the cookie secret is not 32 hex digits",
            place="authority.cookie_secret",
            remedy="make one with `openssl rand -hex 16`",
        )
    return secret


def _alias(settings: Settings) -> AliasSettings:
    alias = settings.alias
    upstreams = []
    for text in alias.upstream:
        address = read_address(text)
        upstreams.append(Endpoint(address.host, address.port))
    return AliasSettings(
        upstreams=tuple(upstreams),
        budget_s=alias.budget_ms / 1000,
        attempts=max(1, min(5, alias.attempts)),
        spacing_s=alias.spacing_ms / 1000,
        stale_max_s=alias.stale_max_s,
        is_failure_empty=alias.on_failure == "empty",
    )


def _pool(section: PoolSection) -> Pool:
    return Pool(
        name=section.name,
        members=tuple(
            Member(address=m.address, weight=m.weight, priority=m.priority, label=m.label)
            for m in section.member
        ),
        check=Check(
            probe=Probe(section.probe), port=section.port, path=section.path, host=section.host,
            status=section.status, interval_s=section.interval_s, timeout_s=section.timeout_s,
            rise=section.rise, fall=section.fall,
        ),
        policy=Policy(section.policy),
        answer_count=section.answers,
        ttl_s=section.ttl_s,
        vantage=section.vantage,
        agree=section.agree,
    )  # fmt: skip


def _check_vantage(settings: Settings) -> None:
    """Raise ConfigFault for pools that agents are to check and cannot."""
    for one in settings.pool:
        place = f"pools.{one.name}"
        if set(one.vantage) <= {HERE} or one.probe == "none":
            continue
        if not settings.api.listen:
            raise ConfigFault(
                "agents call the API, which listens nowhere", place=f"{place}.vantage",
                remedy="set api.listen",
            )  # fmt: skip
        is_page = one.path == "/" or one.path.startswith("/.well-known/")
        if one.probe in ("http", "https") and not is_page:
            raise ConfigFault(
                "agents GET / and /.well-known/ alone", place=f"{place}.path",
                remedy="choose such a path, or let `local` check alone",
            )  # fmt: skip


def _log_source(section: LogSection) -> LogSource:
    source = LogSource(section.name or section.path, section.path, section.format, section.role)
    source.check()
    return source


def check_receivers(receivers: Sequence[ReceiverSection]) -> None:
    """Raise ConfigFault for a receiver that could never be sent anything."""
    seen = set()
    for number, one in enumerate(receivers):
        place = f"alert_receiver[{number}]"
        if not one.name or one.name in seen:
            raise ConfigFault("a receiver needs a name of its own", place=f"{place}.name")
        seen.add(one.name)
        check_template(one.template, f"{place}.template")
        if one.template and one.kind == "alertmanager":
            raise ConfigFault("Alertmanager has a form of its own", place=f"{place}.template")
        if one.kind == "command":
            if not one.command:
                raise ConfigFault("there is no command", place=f"{place}.command")
            continue
        url = urlsplit(one.url)
        known = MAIL_PORTS if one.kind == "email" else ("http", "https")
        if url.scheme not in known or not url.hostname:
            raise ConfigFault(
                f"{one.url!r} is not where {one.kind} can go", place=f"{place}.url",
                remedy=f"begin with {' or '.join(f'{scheme}://' for scheme in known)}",
            )  # fmt: skip
        if one.kind == "email" and not (one.to and one.sender):
            raise ConfigFault("mail needs somebody to go to, and a sender", place=f"{place}.to")


def check_outputs(outputs: Sequence[OutputSection]) -> None:
    """Raise ConfigFault for an output that could never be sent anything."""
    seen = set()
    for number, one in enumerate(outputs):
        place = f"event_output[{number}]"
        if not one.name or one.name in seen:
            raise ConfigFault("an output needs a name of its own", place=f"{place}.name")
        seen.add(one.name)
        is_stream = one.to.startswith(("unix:", "tcp://"))
        is_http = one.to.startswith(("http://", "https://"))
        fits = {"otlp": is_http, "dnstap": is_stream}.get(one.kind, bool(one.to) and not is_http)
        if not fits:
            raise ConfigFault(
                f"{one.to!r} is not where {one.kind} can go", place=f"{place}.to",
                remedy="see `quada config explain event_output`",
            )  # fmt: skip
        if one.to.startswith("tcp://"):
            read_address(one.to.removeprefix("tcp://"), 6000)
        read_filter(one.filter.split())
