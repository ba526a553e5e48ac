"""Every setting of quada, documented where it is defined.

Adding one is adding a field here with `setting(default, "what it does")`: reading, checking,
`quada config explain` and `docs/reference/settings.md` all follow from the field. A table that may
appear several times (`[[zone]]`) is a tuple of its dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

VERSION = 1


def setting(default: Any, doc: str, *, unit: str = "", choices: tuple[str, ...] = ()) -> Any:
    """Define one setting: default, what it does, unit, and the values it may take."""
    return field(default=default, metadata={"doc": doc, "unit": unit, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The processes: how many, as whom, where they keep things."""

    workers: int = setting(0, "Worker processes a role; 0 is one a core.")
    user: str = setting("", "User to become once sockets are bound; only root can.")
    state_dir: str = setting("var", "Directory of store, event spool and control socket.")
    log: str = setting("human", "Form of the server's own log.", choices=("human", "json"))
    control: str = setting("", "Control socket; empty is `control.sock` in the state directory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """The event log, which is always on."""

    keep_mib: int = setting(64, "Space for events; the oldest goes first.", unit="MiB")
    jsonl: str = setting("", "File that every event is also appended to as a JSON line.")
    store_per_second: int = setting(
        2000, "Our own events a second that are stored one by one; of more, every n-th counts as n."
    )
    history_days: int = setting(
        30, "How long stored events are kept; 0 runs no collector for them.", unit="days"
    )
    history_mib: int = setting(2048, "Space for stored events; the oldest go first.", unit="MiB")
    clickhouse: str = setting(
        "",
        "Store events in a ClickHouse server instead of files: `http://[::1]:8123/quada`, the path"
        " being a database of its own.",
    )
    clickhouse_user: str = setting("", "User of that server.")
    clickhouse_secret: str = setting("", "Its password; never shown or logged.")
    queue_mib: int = setting(256, "Space on disk for events while that server is away.", unit="MiB")
    clients: str = setting(
        "whole",
        "What is stored of client addresses; truncated is /64 and /24.",
        choices=("whole", "truncated", "hashed"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """One log of another server, `[[logs]]` (see docs/logs.md)."""

    name: str = setting("", "What its events call it; empty is its path.")
    path: str = setting("", "File, or for dnstap `unix:/run/tap.sock` or `tcp://[::]:6000`.")
    format: str = setting("auto", "Its format; `auto` finds out, a socket's is `dnstap`.")
    role: str = setting("", "authoritative or recursive, where the format does not tell.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSection:
    """Events handed on to another program, `[[event_output]]` (see docs/events.md)."""

    name: str = setting("", "What its counts and complaints call it.")
    kind: str = setting(
        "json", "Their form: JSON lines, dnstap, OTLP logs.", choices=("json", "dnstap", "otlp")
    )
    to: str = setting(
        "",
        "JSON lines: a file, `tcp://[::1]:6000` or `unix:/run/x.sock`; dnstap: the last two; OTLP:"
        " `http://[::1]:4318/v1/logs`.",
    )
    filter: str = setting("", "Only events that fit, in the words of `quada tail`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSection:
    """The watch over events: signals and alerts (see docs/signals.md)."""

    on: bool = setting(False, "Run the watch, beside the collector.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSection:
    """Doctor on a schedule, for the zones we serve (see docs/doctor.md)."""

    every_s: float = setting(0.0, "Time between looks at a zone; 0 never looks.", unit="s")
    settle_s: float = setting(30.0, "Wait after a publish before it is looked at.", unit="s")
    root_hints: str = setting("", "Root hints; empty is those of the resolver.")
    trust_anchor: str = setting("", "Trust anchors; empty is those of the resolver.")
    lab: bool = setting(False, "Documentation addresses are well here.")
    incident_on: tuple[str, ...] = setting(
        (), "Kinds of alerts that have the incident checklist walked, or `all`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSection:
    """Counts for Prometheus (see docs/metrics.md)."""

    listen: tuple[str, ...] = setting(
        (), "Addresses to serve /metrics at, `[::1]:9530`; empty is off."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSection:
    """One receiver of alerts, `[[alert_receiver]]`."""

    name: str = setting("", "Its name.")
    kind: str = setting(
        "webhook", "What it is.", choices=("webhook", "alertmanager", "email", "command")
    )
    url: str = setting(
        "",
        "Where to POST; Alertmanager's base URL; for mail smtp://[::1]:25, smtp+starttls:// or"
        " smtps://.",
    )
    secret: str = setting(
        "", "Signs webhook bodies (HMAC-SHA256); for mail the password. Never shown or logged."
    )
    to: tuple[str, ...] = setting((), "Mail: addresses to send to.")
    sender: str = setting("", "Mail: address it is from.")
    user: str = setting("", "Mail: name to log in as; empty does not.")
    command: tuple[str, ...] = setting(
        (), "Command: program and arguments, no shell; the alert is JSON on its standard input."
    )
    template: str = setting(
        "",
        "Text of your own instead of ours for webhook, mail and command; `$summary`, `$where` and"
        " so on are replaced (docs/signals.md).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySection:
    """The authoritative role."""

    listen: tuple[str, ...] = setting((), "Addresses for UDP and TCP, `[::]:53` or `0.0.0.0:53`.")
    listen_tls: tuple[str, ...] = setting((), "Addresses for DNS over TLS (RFC 7858).")
    listen_https: tuple[str, ...] = setting((), "Addresses for DNS over HTTPS (RFC 8484).")
    http3: bool = setting(True, "Speak HTTP/3 too where HTTPS is, over UDP (RFC 9114).")
    listen_quic: tuple[str, ...] = setting((), "Addresses for DNS over QUIC (RFC 9250).")
    zone_directories: tuple[str, ...] = setting(
        (), "Directories of zone files named `db.ZONE`, all served."
    )
    udp_payload_octets: int = setting(1232, "Largest UDP response.", unit="octets")
    minimal_responses: bool = setting(True, "Leave addresses of NS and MX targets out of answers.")
    rrset_order: str = setting(
        "fixed",
        "Order of several addresses of a name: as the zone has them, or moved on every second"
        " (RFC 1794). Pools and ALIAS have orders of their own.",
        choices=("fixed", "cyclic"),
    )
    nsid: str = setting("", "Name of this server, given to those who ask for NSID (RFC 5001).")
    version: str = setting("", "Answer to version.bind; empty refuses.")
    cookie_secret: str = setting(
        "", "32 hex digits shared by all servers of a name (RFC 9018); empty makes one at start."
    )
    rrl_per_second: int = setting(
        100, "Responses a second of one kind to one /56 or /24; 0 is no limit."
    )
    rrl_slip: int = setting(2, "Every so many limited responses one is sent truncated; 0 is none.")
    tcp_idle_s: float = setting(10.0, "Idle time after which a connection ends.", unit="s")
    tcp_connections: int = setting(4096, "Connections a listener and worker.")
    tcp_per_network: int = setting(256, "Connections from one /56 or /24.")
    allow_transfer: tuple[str, ...] = setting(
        (), "Who may transfer zones: prefixes, or `key:NAME`; a zone's own list goes first."
    )
    allow_update: tuple[str, ...] = setting(
        (), "Who may update zones (RFC 2136): prefixes, or `key:NAME`."
    )
    transfer_ca_file: str = setting("", "PEM to trust for primaries over TLS; empty is the usual.")
    alias_transfers: str = setting(
        "private",
        "How secondaries get ALIAS and POOL records: as they are, in a private type that quada"
        " knows; or expanded, as addresses that every server then gives (docs/alias.md).",
        choices=("private", "expanded"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSection:
    """The recursive role."""

    listen: tuple[str, ...] = setting((), "Addresses for UDP and TCP.")
    listen_tls: tuple[str, ...] = setting((), "Addresses for DNS over TLS.")
    listen_https: tuple[str, ...] = setting((), "Addresses for DNS over HTTPS.")
    http3: bool = setting(True, "Speak HTTP/3 too where HTTPS is, over UDP.")
    listen_quic: tuple[str, ...] = setting((), "Addresses for DNS over QUIC.")
    allow: tuple[str, ...] = setting(
        (), "Prefixes that may ask; empty is loopback and link-local addresses."
    )
    root_hints: str = setting("", "File of root hints; empty is the built-in list.")
    trust_anchor: str = setting("", "File of trust anchors; empty is the root's built-in ones.")
    dnssec: bool = setting(True, "Validate answers (RFC 4035).")
    follow_anchors: bool = setting(True, "Follow the keys of trust anchors (RFC 5011).")
    dns64: tuple[str, ...] = setting((), "Prefixes to synthesize AAAA in (RFC 6147).")
    dns64_on_failure: str = setting(
        "servfail",
        "What a failed AAAA lookup gets where DNS64 could mask it.",
        choices=("servfail", "synthesize"),
    )
    forward: tuple[str, ...] = setting(
        (),
        "Resolvers to forward to instead of iterating: `ADDRESS`, `ZONE=ADDRESS`, encrypted"
        " `tls://ADDRESS#NAME`, `https://ADDRESS/dns-query#NAME`, `quic://ADDRESS#NAME` (fails"
        " closed), or without `#NAME` (falls back to plain).",
    )
    forward_ca_file: str = setting("", "PEM to trust for encrypted forwarders; empty is the usual.")
    stub: tuple[str, ...] = setting((), "Authoritative servers of zones, `ZONE=ADDRESS`.")
    policy_zone: str = setting("", "Zone file of response policy.")
    local_zone: tuple[str, ...] = setting((), "Zones answered from files, `ZONE=FILE`.")
    cache_mib: int = setting(128, "Memory for the cache of one worker.", unit="MiB")
    keep_cache: bool = setting(False, "Keep the cache over a restart, in the state directory.")
    serve_stale_s: int = setting(86_400, "How long expired data may be served.", unit="s")
    nat64: str = setting(
        "auto",
        "Prefix to reach IPv4-only servers through; `auto` finds it where there is no route to IPv4"
        " (RFC 7050), `off` uses none.",
    )
    tcp_idle_s: float = setting(10.0, "Idle time after which a connection ends.", unit="s")
    tcp_connections: int = setting(4096, "Connections a listener and worker.")
    tcp_per_network: int = setting(256, "Connections from one /56 or /24.")
    questions_per_network: int = setting(
        2_000, "Questions under way for one client network (/56, /24); more get SERVFAIL."
    )
    questions_per_zone: int = setting(
        1_000, "Questions under way below one zone cut; more get SERVFAIL."
    )
    families: str = setting(
        "both", "Families to ask servers over.", choices=("both", "ipv6", "ipv4")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSection:
    """ALIAS targets (see docs/alias.md)."""

    upstream: tuple[str, ...] = setting(
        (), "Recursive resolvers to ask; empty is our own resolver role."
    )
    budget_ms: int = setting(500, "What a client query may wait in all.", unit="ms")
    attempts: int = setting(2, "Lookups of one target before it counts as failed.")
    spacing_ms: int = setting(200, "Wait before the next attempt joins.", unit="ms")
    on_failure: str = setting("empty", "Answer when all has failed.", choices=("empty", "servfail"))
    stale_max_s: int = setting(86_400, "How long old addresses may be served.", unit="s")
    expanded_ttl_s: int = setting(
        60, "Largest TTL of addresses in zones that are transferred expanded.", unit="s"
    )
    expanded_interval_s: float = setting(
        60.0, "Least time between two versions made because targets moved.", unit="s"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSection:
    """Certificate of the encrypted listeners."""

    certificate: str = setting("", "PEM chain, leaf first; empty makes a self-signed one.")
    key: str = setting("", "PEM key.")
    names: tuple[str, ...] = setting((), "Names and addresses clients are told, to be covered.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSection:
    """Certificates ordered by ACME for the names of `tls.names` (see docs/acme.md)."""

    directory: str = setting("", "The CA's directory URL; empty orders nothing.")
    contact: str = setting("", "E-mail address the CA may write to.")
    accept_terms: bool = setting(False, "Agree to the CA's terms of service.")
    challenge: str = setting(
        "dns-01", "How names are proven: dns-01 in stored zones.", choices=("dns-01", "http-01")
    )
    http_listen: tuple[str, ...] = setting(
        ("[::]:80", "0.0.0.0:80"), "Where http-01 is answered, if that is the challenge."
    )
    settle_s: float = setting(5.0, "Wait for secondaries before the CA is told.", unit="s")
    ca_file: str = setting("", "PEM to trust for the CA's own HTTPS; empty is the usual roots.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """The store of zones, journal, keys and tokens."""

    path: str = setting(
        "", "SQLite file of stored zones; empty is `zones.db` in the state directory."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnssecSection:
    """Zones that quada signs (see docs/dnssec.md)."""

    resolver: tuple[str, ...] = setting(
        (), "Resolvers that find the parent's servers; empty is those of `alias.upstream`."
    )
    verify_with: tuple[str, ...] = setting(
        (),
        "Validating resolvers that must give a new version with AD before it is called done; our"
        " own resolver role is asked too.",
    )
    on_failure: str = setting(
        "rollback",
        "What a version that is bogus outside gets: an alert, or the last good one back as well.",
        choices=("rollback", "alert"),
    )
    trust_anchor: str = setting(
        "", "File of trust anchors to verify from; empty is `resolver.trust_anchor`, or the root's."
    )
    tick_s: float = setting(30.0, "Time between looks at keys and old signatures.", unit="s")
    parent_check_s: float = setting(300.0, "Time between looks at the parent's DS.", unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSection:
    """The HTTP API and console."""

    listen: tuple[str, ...] = setting((), "Addresses, `[::1]:8080`; empty is off.")
    tls: bool = setting(False, "Speak HTTPS, with the certificate of `[tls]` or `[acme]`.")
    url: str = setting("", "URL users reach it at, for links; empty is the first address.")
    requests_per_hour: int = setting(36_000, "Requests a token or user may make in an hour.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSection:
    """Logins to the console by OpenID Connect (see docs/console.md)."""

    issuer: str = setting("", "The provider's issuer URL, as it calls itself; empty is off.")
    client_id: str = setting("", "What the provider knows this console by.")
    client_secret: str = setting("", "Its secret, if it has one; never shown or logged.")
    ask_for: tuple[str, ...] = setting(("openid", "profile"), "Scopes to ask the provider for.")
    name_claim: str = setting(
        "sub", "Claim that names the user; only one that users cannot choose themselves."
    )
    claim: str = setting("groups", "Claim that says what a user may do.")
    grant: tuple[str, ...] = setting(
        (), "What a value of that claim allows, `VALUE=SCOPE`: `dns-admins=admin`."
    )
    title: str = setting("", "Name of the provider on the login page; empty is its host.")
    ca_file: str = setting("", "PEM to trust for the provider's HTTPS; empty is the usual roots.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSection:
    """One zone, `[[zone]]`."""

    name: str = setting("", "The apex, `example.com`.")
    role: str = setting(
        "primary", "Where its data come from.", choices=("primary", "secondary", "catalog")
    )
    file: str = setting("", "Zone file; without one the zone is in the store.")
    primaries: tuple[str, ...] = setting(
        (), "Servers to transfer from, IPv6 first; over TLS as `tls://ADDRESS#NAME` (RFC 9103)."
    )
    key: str = setting("", "TSIG key to transfer with.")
    allow_transfer: tuple[str, ...] = setting((), "Who may transfer it.")
    allow_update: tuple[str, ...] = setting((), "Who may update it.")
    also_notify: tuple[str, ...] = setting((), "Servers to notify of changes (RFC 1996).")
    group: str = setting("", "Its group in the catalogs made here (RFC 9432 4.3.2).")
    alias_transfers: str = setting(
        "",
        "How its secondaries get ALIAS and POOL records; empty is `authority.alias_transfers`.",
        choices=("", "private", "expanded"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSection:
    """Members of followed catalogs that are of a group, `[[group]]`."""

    name: str = setting("", "The group, as the catalog writes it.")
    primaries: tuple[str, ...] = setting(
        (), "Servers to transfer them from, IPv6 first; empty is the catalog's own."
    )
    key: str = setting("", "TSIG key to transfer them with; empty is the catalog's own.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySection:
    """One TSIG key, `[[key]]` (RFC 8945)."""

    name: str = setting("", "The key's name.")
    algorithm: str = setting("hmac-sha256", "HMAC algorithm.")
    secret: str = setting("", "The secret in base64; never shown or logged.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSection:
    """One member of a pool, `[[pool.member]]`."""

    address: str = setting("", "IPv6 or IPv4 address.")
    weight: int = setting(1, "Share of answers; 0 drains.")
    priority: int = setting(1, "Lower is preferred, for `failover`.")
    label: str = setting("", "What people call it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSection:
    """One pool of addresses, `[[pool]]` (see docs/pools.md)."""

    name: str = setting("", "Name that POOL records refer to.")
    policy: str = setting(
        "all", "Which healthy members answer.", choices=("all", "best", "weighted", "failover")
    )
    answers: int = setting(1, "How many, for `best` and `weighted`.")
    ttl_s: int = setting(30, "Largest TTL of an answer.", unit="s")
    probe: str = setting(
        "tcp", "Health check.", choices=("tcp", "http", "https", "icmp", "dns", "none")
    )
    port: int = setting(0, "Port of the check; 0 is the probe's usual one.")
    path: str = setting("/", "HTTP path.")
    host: str = setting("", "HTTP host, and the name in the certificate.")
    status: int = setting(200, "HTTP status of a healthy member.")
    interval_s: float = setting(10.0, "Time between checks.", unit="s")
    timeout_s: float = setting(2.0, "Time a check may take.", unit="s")
    rise: int = setting(2, "Good checks in a row that bring a member back.")
    fall: int = setting(3, "Bad checks in a row that take it out.")
    vantage: tuple[str, ...] = setting(
        ("local",), "Who checks: `local` is this server, other names are agents (docs/agents.md)."
    )
    agree: int = setting(1, "How many of them must find a member bad for it to be out.")
    member: tuple[MemberSection, ...] = setting((), "Its members.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of quada's settings, as one TOML file holds them."""

    version: int = setting(VERSION, "Version of this file's form.")
    server: ServerSettings = field(default_factory=ServerSettings)
    events: EventSettings = field(default_factory=EventSettings)
    signals: SignalSection = field(default_factory=SignalSection)
    doctor: DoctorSection = field(default_factory=DoctorSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    authority: AuthoritySection = field(default_factory=AuthoritySection)
    resolver: ResolverSection = field(default_factory=ResolverSection)
    alias: AliasSection = field(default_factory=AliasSection)
    tls: TlsSection = field(default_factory=TlsSection)
    acme: AcmeSection = field(default_factory=AcmeSection)
    store: StoreSection = field(default_factory=StoreSection)
    dnssec: DnssecSection = field(default_factory=DnssecSection)
    api: ApiSection = field(default_factory=ApiSection)
    oidc: OidcSection = field(default_factory=OidcSection)
    zone: tuple[ZoneSection, ...] = setting((), "Zones.")
    group: tuple[GroupSection, ...] = setting((), "Groups of catalogs.")
    key: tuple[KeySection, ...] = setting((), "TSIG keys.")
    pool: tuple[PoolSection, ...] = setting((), "Pools.")
    logs: tuple[LogSection, ...] = setting((), "Logs of other servers.")
    event_output: tuple[OutputSection, ...] = setting((), "Outputs of events.")
    alert_receiver: tuple[ReceiverSection, ...] = setting((), "Receivers of alerts.")
