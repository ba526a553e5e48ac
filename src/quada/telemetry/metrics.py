"""What of events becomes a number to scrape: every metric there is, and the counts of events.

Labels take values from short lists that are ours or the operator's; nothing that a client or a
server of somebody else writes becomes one. `docs/reference/metrics.md` is made from `METRICS`.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.telemetry.event import Cause, Kind, Provenance
from quada.telemetry.fallback import Fallbacks, is_unanswered
from quada.telemetry.rollup import qtype_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.telemetry.event import Event

    Labels = tuple[str, ...]

_SOURCES_MAX: Final = 64  # our choice; events of further logs count as `other`
BUCKETS_S: Final = (
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
_BUCKETS_US: Final = [round(one * 1e6) for one in BUCKETS_S]
_OUTCOMES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP",
                    5: "REFUSED", 9: "NOTAUTH", 16: "BADVERS"}  # fmt: skip


class Metric(NamedTuple):
    """One metric: its name as scraped, its kind, its labels, and what it says."""

    name: str
    kind: str
    labels: Labels
    says: str


METRICS: Final = (
    Metric("quada_queries_total", "counter",
           ("role", "source", "family", "transport", "qtype", "outcome"),
           "Queries of clients, and what they got."),
    Metric("quada_query_failures_total", "counter", ("role", "source", "family", "qtype", "cause"),
           "Queries that failed for a known or unknown cause."),
    Metric("quada_answers_total", "counter", ("role", "source", "provenance"),
           "Answers by why they are what they are; one with several reasons counts for each."),
    Metric("quada_query_duration_seconds", "histogram", ("role", "source", "qtype"),
           "Time from query to answer, where the source says it; answers that were ready count"
           " as 0."),
    Metric("quada_upstream_total", "counter", ("source", "family", "transport", "outcome"),
           "Messages to other servers, and what came back; `unanswered` is nothing."),
    Metric("quada_upstream_duration_seconds", "histogram", ("source", "family"),
           "Time until another server answered, or was given up."),
    Metric("quada_ipv6_fallback_seconds", "histogram", ("source",),
           "Questions asked over IPv6 in vain and then answered over IPv4: how many, and the time"
           " that IPv6 cost each."),
    Metric("quada_alias_answers_total", "counter", ("state",),
           "Answers made of ALIAS records, fresh or stale."),
    Metric("quada_events_lost_total", "counter", (),
           "Events that the collector was too slow for; counts above lack them."),
    Metric("quada_events_sampled_total", "counter", (),
           "Events that were passed over while every n-th was taken; counts above include them."),
    Metric("quada_events_waiting_bytes", "gauge", (),
           "Events that wait on disk for a store that is away."),
    Metric("quada_log_lines_total", "counter", ("source",), "Lines or frames read of a log."),
    Metric("quada_log_lines_unknown_total", "counter", ("source",),
           "Lines or frames of a log that were not understood."),
    Metric("quada_log_trouble", "gauge", ("source",), "1 where a log cannot be read."),
    Metric("quada_output_events_total", "counter", ("output",), "Events handed on."),
    Metric("quada_output_events_lost_total", "counter", ("output",),
           "Events that could not be handed on."),
    Metric("quada_watch_left_out_total", "counter", (),
           "Events of minutes with too many clients and names to keep: samples stood for them."),
    Metric("quada_alerts_open", "gauge", ("kind",), "Open alerts of the watch."),
    Metric("quada_supervisor_up", "gauge", (),
           "1 where the supervisor tells how it is; without it the metrics below are absent."),
    Metric("quada_start_time_seconds", "gauge", (), "When the server started, Unix time."),
    Metric("quada_process_restarts_total", "counter", (), "Processes that ended unasked."),
    Metric("quada_events_written_total", "counter", (), "Events that the servers wrote."),
    Metric("quada_zones", "gauge", (), "Zones that serve."),
    Metric("quada_zones_refused", "gauge", (), "Zones whose newest version was refused."),
    Metric("quada_zone_serial", "gauge", ("zone",), "Serial of the version that serves."),
    Metric("quada_zone_loaded_timestamp_seconds", "gauge", ("zone",),
           "When the version that serves was loaded, Unix time."),
    Metric("quada_zone_signature_expires_timestamp_seconds", "gauge", ("zone",),
           "When the first signature at the apex of a signed zone ends, Unix time."),
    Metric("quada_zone_secondary_refreshed_timestamp_seconds", "gauge", ("zone",),
           "When a primary of a secondary zone last answered, Unix time."),
    Metric("quada_zone_secondary_expires_timestamp_seconds", "gauge", ("zone",),
           "When a secondary zone stops being served unless a primary answers, Unix time."),
    Metric("quada_alias_lookups_total", "counter", (), "Lookups of ALIAS targets."),
    Metric("quada_alias_attempts_total", "counter", (), "Messages of those lookups."),
    Metric("quada_alias_failures_total", "counter", (), "Lookups of ALIAS targets that failed."),
    Metric("quada_alias_lookup_duration_seconds", "histogram", ("family",),
           "Time that a lookup of an ALIAS target took, or until it had failed."),
    Metric("quada_alias_target_lookups_total", "counter", ("target",), "Lookups of one target."),
    Metric("quada_alias_target_failures_total", "counter", ("target",),
           "Lookups of one target that failed."),
    Metric("quada_alias_target_stale", "gauge", ("target",),
           "Families of a target, 0 to 2, of which only old addresses are left to serve; its mean"
           " over time is the stale share."),
    Metric("quada_pool_member_healthy", "gauge", ("pool", "address"),
           "1 where a pool's member passes its checks."),
)  # fmt: skip

LABELS: Final = {
    "role": "authoritative, recursive, unknown",
    "source": f"quada, or the name of a configured log; beyond {_SOURCES_MAX} of them other",
    "family": "6, 4, unknown: the client's; for upstream messages the asked server's, for lookups"
    " of ALIAS targets that of the addresses",
    "transport": "udp, tcp, dot, doh, doq, unknown",
    "qtype": "AAAA, A, HTTPS, other, unknown",
    "outcome": "NODATA, " + ", ".join(_OUTCOMES.values()) + ", other; unknown where the source does"
    " not say or nothing was sent; unanswered for upstream messages",
    "cause": ", ".join(one.name.lower() for one in Cause if one),
    "provenance": ", ".join(one.name.lower() for one in Provenance if one.name),
    "state": "fresh, stale",
    "kind": "a kind of signal",
    "output": "a configured output",
    "zone": "a zone that serves; of more than 1,000 the first by name",
    "target": "a target of ALIAS records in our zones; of more than 1,000 those in trouble first",
    "pool": "a configured pool",
    "address": "a configured member of it",
}


class Histogram:
    """Counts by duration: one for each of `BUCKETS_S` and one beyond, not yet cumulative."""

    __slots__ = ("counts", "sum_us")

    def __init__(self, counts: Iterable[int] = (), sum_us: int = 0) -> None:
        self.counts = list(counts) or [0] * (len(_BUCKETS_US) + 1)
        self.sum_us = sum_us

    def add(self, duration_us: int, weight: int) -> None:
        """Count a duration in microseconds."""
        self.counts[bisect.bisect_left(_BUCKETS_US, duration_us)] += weight
        self.sum_us += duration_us * weight


class Meter:
    """Counts events since it was made. `counters` and `histograms` are by metric and labels."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[Labels, int]] = {
            one.name: {} for one in METRICS if one.kind == "counter"
        }
        self.histograms: dict[str, dict[Labels, Histogram]] = {
            one.name: {} for one in METRICS if one.kind == "histogram"
        }
        self._fallbacks = Fallbacks()
        self._sources: set[str] = set()

    def feed(self, events: Iterable[Event]) -> None:
        """Count events; one that stands for n counts as n."""
        for event in events:
            if event.kind is Kind.UPSTREAM:
                self._feed_upstream(event)
            else:
                self._feed_query(event)

    def source(self, name: str) -> str:
        """Give the label of a source."""
        if name not in self._sources:
            if len(self._sources) >= _SOURCES_MAX:
                return "other"
            self._sources.add(name)
        return name

    def _feed_query(self, event: Event) -> None:
        weight = event.weight
        role = event.role.name.lower() if event.role else "unknown"
        source = self.source(event.source)
        family = str(event.family or "unknown")
        qtype = qtype_class(event.qtype) or "unknown"
        transport = event.transport.name.lower() if event.transport else "unknown"
        self._count(
            "quada_queries_total", (role, source, family, transport, qtype, outcome(event)), weight
        )
        if event.cause:
            cause = event.cause.name.lower()
            self._count("quada_query_failures_total", (role, source, family, qtype, cause), weight)
        if event.provenance:
            for one in event.provenance:
                if one.name is not None:
                    name = one.name.lower()
                    self._count("quada_answers_total", (role, source, name), weight)
            if event.provenance & Provenance.ALIAS:
                state = "stale" if event.provenance & Provenance.STALE else "fresh"
                self._count("quada_alias_answers_total", (state,), weight)
        if event.duration_us is not None:
            name = "quada_query_duration_seconds"
            self._time(name, (role, source, qtype), event.duration_us, weight)

    def _feed_upstream(self, event: Event) -> None:
        weight = event.weight
        source = self.source(event.source)
        family = str(event.upstream_family or event.family or "unknown")
        transport = event.transport.name.lower() if event.transport else "unknown"
        came = "unanswered" if is_unanswered(event) else outcome(event)
        self._count("quada_upstream_total", (source, family, transport, came), weight)
        if event.duration_us is not None:
            name = "quada_upstream_duration_seconds"
            self._time(name, (source, family), event.duration_us, weight)
        found = self._fallbacks.feed(event)
        if found is not None:
            self._time("quada_ipv6_fallback_seconds", (source,), found.cost_us, weight)

    def _count(self, name: str, labels: Labels, weight: int) -> None:
        table = self.counters[name]
        table[labels] = table.get(labels, 0) + weight

    def _time(self, name: str, labels: Labels, duration_us: int, weight: int) -> None:
        table = self.histograms[name]
        found = table.get(labels)
        if found is None:
            found = table[labels] = Histogram()
        found.add(duration_us, weight)


def outcome(event: Event) -> str:
    """Say what came of a query, in one of the words of the label `outcome`."""
    if event.is_nodata:
        return "NODATA"
    return "unknown" if event.rcode is None else _OUTCOMES.get(event.rcode, "other")


def reference() -> str:
    """Write the reference of all metrics in Markdown."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` where `metrics.listen` says, in Prometheus' text format. Counts",
        "begin when the collector starts. Made by `quada config metrics`.",
        "",
        "| metric | kind | labels | |",
        "|---|---|---|---|",
    ]
    for one in METRICS:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.says} |")
    lines += ["", "## Labels", "", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {values} |" for label, values in LABELS.items()]
    lines += [
        "",
        "Nothing that a client or another server writes becomes a label. Buckets of histograms end"
        f" at {', '.join(f'{one:g}' for one in BUCKETS_S)} s.",
    ]
    return "\n".join(lines) + "\n"
