"""/metrics: what the collector counted and what the supervisor tells, as Prometheus takes it.

Served by the collector's process: it has seen the events, and the servers need not be asked for
them. A scrape that the supervisor does not answer still gives the counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as PrometheusCollector
from prometheus_client.registry import CollectorRegistry

import quada.server.control as control
from quada.telemetry.metrics import BUCKETS_S, METRICS, Histogram, Meter, Metric
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
    from pathlib import Path

    from prometheus_client.metrics_core import Metric as Family

    from quada.server.collector import Collector
    from quada.server.outputs import Output
    from quada.server.watching import Watcher

    Message = MutableMapping[str, Any]

_ZONES_MAX: Final = 1_000  # our choice: more series than this of one label are their own trouble
_CONNECTIONS_MAX: Final = 32
_BOUNDS: Final = [*(repr(bound) for bound in BUCKETS_S), "+Inf"]


class Exposition(PrometheusCollector):
    """All metrics at the moment of a scrape."""

    def __init__(
        self,
        collector: Collector,
        watcher: Watcher | None,
        control_path: Path,
        outputs: Sequence[Output] = (),
    ) -> None:
        self.meter = Meter()
        self._collector = collector
        self._watcher = watcher
        self._control_path = control_path
        self._outputs = outputs
        self._status: dict[str, Any] | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Give the text, and its content type for what the scraper accepts."""
        self._status = None
        with contextlib.suppress(ReachFault, ValueError):
            self._status = await asyncio.to_thread(control.command, self._control_path, "status")
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """Give every metric that there is something of."""
        told, timed = self._own(), dict(self.meter.histograms)
        if self._status is not None:
            told |= _supervisor(self._status)
            timed["quada_alias_lookup_duration_seconds"] = {
                (family,): Histogram(one["counts"], one["sum_us"])
                for family, one in self._status["alias"]["durations"].items()
            }
        for metric in METRICS:
            if metric.kind == "histogram":
                yield _histogram(metric, timed.get(metric.name, {}))
                continue
            values = self.meter.counters.get(metric.name) or told.get(metric.name)
            if values:
                yield _plain(metric, values)

    def describe(self) -> list[Family]:
        """Say nothing in advance: the registry has no other collector to confuse with."""
        return []

    def _own(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Tell what the collector and the watch know of themselves."""
        logs = self._collector.logs()
        named = {self.meter.source(name): one for name, one in logs.items()}
        told: dict[str, dict[tuple[str, ...], float]] = {
            "quada_events_lost_total": {(): self._collector.lost_count},
            "quada_events_waiting_bytes": {(): self._collector.waiting_octets},
            "quada_events_sampled_total": {(): self._collector.sampled_count},
            "quada_log_lines_total": {(n,): one.get("lines", 0) for n, one in named.items()},
            "quada_log_lines_unknown_total": {
                (n,): one.get("unknown", 0) for n, one in named.items()
            },
            "quada_log_trouble": {(n,): bool(one["trouble"]) for n, one in named.items()},
            "quada_output_events_total": {(o.name,): o.sent_count for o in self._outputs},
            "quada_output_events_lost_total": {(o.name,): o.lost_count for o in self._outputs},
            "quada_supervisor_up": {(): self._status is not None},
        }
        if self._watcher is not None:
            kinds = Counter(self._watcher.open_kinds())
            told["quada_watch_left_out_total"] = {(): self._watcher.left_out_count}
            told["quada_alerts_open"] = {(kind,): count for kind, count in kinds.items()}
        return told


def _supervisor(status: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    """Tell what the supervisor says of itself, its zones, lookups and pools."""
    zones = status["zones"][:_ZONES_MAX]
    secondaries = status["secondaries"][:_ZONES_MAX]

    def of(rows: list[dict[str, Any]], key: str) -> dict[tuple[str, ...], float]:
        return {(one["zone"],): one[key] for one in rows if one.get(key) is not None}

    alias = status["alias"]
    return {
        "quada_start_time_seconds": {(): status["started_at"]},
        "quada_process_restarts_total": {(): status["restarts"]},
        "quada_events_written_total": {(): status["events"]["written"]},
        "quada_zones": {(): len(status["zones"])},
        "quada_zones_refused": {(): len(status["refused"])},
        "quada_zone_serial": of(zones, "serial"),
        "quada_zone_loaded_timestamp_seconds": of(zones, "loaded_at"),
        "quada_zone_signature_expires_timestamp_seconds": of(zones, "signature_expires_at"),
        "quada_zone_secondary_refreshed_timestamp_seconds": of(secondaries, "refreshed_at"),
        "quada_zone_secondary_expires_timestamp_seconds": of(secondaries, "expires_at"),
        "quada_alias_lookups_total": {(): alias["lookups"]},
        "quada_alias_attempts_total": {(): alias["attempts"]},
        "quada_alias_failures_total": {(): alias["failures"]},
        **{
            f"quada_alias_target_{name}": {(one["target"],): one[key] for one in alias["targets"]}
            for name, key in (
                ("lookups_total", "lookups"),
                ("failures_total", "failures"),
                ("stale", "stale_families"),
            )
        },
        "quada_pool_member_healthy": {
            (one["pool"], one["address"]): one["is_healthy"] for one in status["pools"]
        },
    }


def _histogram(metric: Metric, values: dict[tuple[str, ...], Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.says, labels=metric.labels)
    for labels, found in values.items():
        buckets = list(zip(_BOUNDS, accumulate(found.counts), strict=True))
        family.add_metric(labels, buckets, found.sum_us / 1e6)
    return family


def _plain(metric: Metric, values: dict[tuple[str, ...], Any]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.says, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the collector."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_metrics(
    exposition: Exposition, sockets: Sequence[socket.socket], until: asyncio.Event
) -> None:
    """Serve /metrics at bound sockets until told to end."""

    async def app(
        scope: Message,
        _receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["path"] != "/metrics" or scope["method"] not in ("GET", "HEAD"):
            status, body, kind = 404, b"/metrics\n", "text/plain"
        else:
            headers = dict(scope["headers"])
            accept = headers.get(b"accept", b"").decode("latin-1")
            body, kind = await exposition.scrape(accept)
            status = 200
        await send(
            {"type": "http.response.start", "status": status,
             "headers": [(b"content-type", kind.encode()),
                         (b"content-length", str(len(body)).encode())]}
        )  # fmt: skip
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        limit_concurrency=_CONNECTIONS_MAX, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    await until.wait()
    server.should_exit = True
    await serving
