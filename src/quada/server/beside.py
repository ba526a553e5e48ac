"""The processes beside the workers: collector, web, orders of certificates, checks of zones."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from quada.server.processes import fork_beside, send_signal, wait_for
from quada.server.sockets import bind_web

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.server.plan import Plan
    from quada.transport.tls import Certificate

COLLECTOR, WEB, ORDERS, CHECKS = "collector", "web", "orders", "checks"


class Beside:
    """Binds what they listen on before privileges go, forks them, ends the collector last.

    `forget` closes, in a child, what only the supervisor may hold. Raises: ReachFault where an
    address cannot be bound.
    """

    def __init__(
        self, plan: Plan, forget: Callable[[], None], certificate: Certificate | None
    ) -> None:
        self._plan = plan
        self._certificate = certificate if plan.settings.api.tls else None
        self._forget = forget
        self._web_sockets = bind_web(plan.api_listen)
        self._metrics_sockets = bind_web(plan.metrics_listen)
        self._acme_sockets = bind_web(plan.acme_listen)
        self._runs: dict[str, Callable[[], None]] = {}
        if plan.has_collector:
            self._runs[COLLECTOR] = self._collect
        if self._web_sockets:
            self._runs[WEB] = self._serve_web
        if plan.settings.acme.directory:
            self._runs[ORDERS] = self._order
        if plan.checks_zones or plan.settings.doctor.incident_on:
            self._runs[CHECKS] = self._check
        self._pids: dict[str, int] = {}

    def start(self) -> None:
        """Fork them all."""
        for name in self._runs:
            self.fork(name)

    def fork(self, name: str) -> None:
        """Fork one."""
        self._pids[name] = fork_beside(self._runs[name])

    def name_of(self, pid: int) -> str:
        """Say which process this is; empty for none of these."""
        return next((name for name, known in self._pids.items() if known == pid), "")

    async def end(self, workers: list[int]) -> None:
        """End the workers and all of these; the collector last, so that it sees the last events."""
        pids = [*workers, *(pid for name, pid in self._pids.items() if name != COLLECTOR)]
        last = [pid for name, pid in self._pids.items() if name == COLLECTOR]
        for some in (pids, last):
            for pid in some:
                send_signal(pid, signal.SIGTERM)
            await wait_for(some)

    def _collect(self) -> None:
        # The order to end waits until the collector can obey it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        from quada.server.collector import collect

        asyncio.run(collect(self._plan, self._metrics_sockets))

    def _serve_web(self) -> None:
        from quada.server.web import run_web

        self._forget()
        scheme = "https" if self._certificate is not None else "http"
        url = self._plan.settings.api.url or f"{scheme}://{self._plan.api_listen[0]}"
        run_web(self._plan, self._web_sockets, url.rstrip("/"), self._certificate)

    def _order(self) -> None:
        from quada.server.certificates import keep_renewed

        self._forget()
        keep_renewed(self._plan, self._acme_sockets)

    def _check(self) -> None:
        from quada.server.checking import check_zones

        self._forget()
        check_zones(self._plan)
