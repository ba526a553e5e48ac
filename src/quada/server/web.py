"""The web process: API and console in a process of their own, beside the workers.

It shares no socket and no memory with what answers queries. It writes to the store, as the command
line does, and asks the supervisor by the control socket.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn

import quada.server.control as control
from quada.api.access import ADMIN
from quada.api.http import make_app
from quada.api.operations import Operations
from quada.config.shown import shown_settings
from quada.console.site import add_console
from quada.server.looking import LAB_RANGES, look, make_observer, read_logged
from quada.server.ring import open_rings, take_events
from quada.server.vantage import watch_from_agents
from quada.store.accounts import FILE, Accounts
from quada.store.alerts import FILE as ALERTS_FILE
from quada.store.alerts import AlertStore
from quada.store.spans import Span, read_span
from quada.store.zones import ZoneStore
from quada.transport.door import TlsDoor
from quada.transport.guests import StreamLimits
from quada.transport.tls import keep_current
from quada.wire.faults import Fault

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from quada.config.settings import OidcSection
    from quada.console.oidc import Provider
    from quada.doctor import Observation
    from quada.doctor.incident import Logged
    from quada.server.plan import Plan
    from quada.telemetry.event import Event
    from quada.transport.tls import Certificate

log: structlog.stdlib.BoundLogger = structlog.get_logger()
FIRST_USER: Final = "admin"
_BACK: Final = 1_000  # events a follower may have missed while its page was loading
_KEEP_ALIVE_S: Final = 30
_WARM_S: Final = 1.0
_CONNECTIONS_MAX: Final = 512


class Running:
    """The running server as operations ask it: control socket, event rings, and its view out."""

    def __init__(self, plan: Plan) -> None:
        self._control_path = plan.control_path
        self._events_dir = plan.events_dir
        self._state_dir = plan.state_dir
        self._resolver = plan.settings.resolver

    def command(self, wanted: str, /, **arguments: Any) -> Any:
        """Give the supervisor a command. Raises: ReachFault."""
        return control.command(self._control_path, wanted, **arguments)

    @property
    def ignores(self) -> frozenset[str]:
        """Give what is well here: with roots of one's own, a lab's addresses too."""
        return LAB_RANGES if self._resolver.root_hints else frozenset()

    def look(self, name: str) -> AsyncIterator[str | Observation]:
        """Look at a domain from this machine."""
        observer = make_observer(self._resolver.root_hints, self._resolver.trust_anchor)
        return look(observer, observer.observe(name), ignores=self.ignores)

    def logged(self, name: str, minutes: int) -> Logged:
        """Give what stored events say of a name. Raises: ReachFault."""
        return read_logged(self._state_dir, name, minutes)

    def span(self, start_s: int, slice_s: int, slice_count: int) -> Span:
        """Give the counts of a span of stored events. Raises: ReachFault."""
        return read_span(self._state_dir / "history", start_s, slice_s, slice_count)

    def recent(self, count: int) -> list[Event]:
        """Give the last events of all workers, oldest first."""
        readers = open_rings(self._events_dir, back=count)
        found = take_events(readers)
        for reader in readers:
            reader.close()
        return found[-count:]

    def following(self, since_ns: int | None = None) -> Callable[[], list[Event]]:
        """Give what gives the events since its last call, or at first since a time."""
        readers = open_rings(self._events_dir, back=0 if since_ns is None else _BACK)

        def take() -> list[Event]:
            return [event for event in take_events(readers) if event.at_ns > (since_ns or 0)]

        return take


async def serve_web(
    plan: Plan, sockets: list[socket.socket], url: str, certificate: Certificate | None = None
) -> None:
    """Serve API and console until SIGTERM, over HTTPS where there is a certificate."""
    accounts = Accounts.open(plan.state_dir / FILE)
    store = ZoneStore.open(plan.store_path)
    running = Running(plan)
    alerts = AlertStore.open(plan.state_dir / ALERTS_FILE)
    operations = Operations(store, accounts, alerts, running, lambda: int(time.time()))
    if not accounts.users():
        first_link(accounts, url)
    app = make_app(
        operations, plan.state_dir, requests_per_hour=plan.settings.api.requests_per_hour
    )
    provider = _provider(plan.settings.oidc, url)
    add_console(app, operations, provider, shown_settings(plan.settings))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S, limit_concurrency=_CONNECTIONS_MAX,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    beside = [asyncio.create_task(keep_warm(operations))]

    def tell(pool: str, vantage: str, results: list[dict[str, Any]]) -> None:
        running.command("pool-seen", pool=pool, vantage=vantage, results=results)

    beside.append(asyncio.create_task(watch_from_agents(plan.pools, app.state.desk, tell)))
    if certificate is not None:
        config.load()
        # Not uvicorn's own TLS: it counts nobody before hands are shaken, and follows no new files.
        door = TlsDoor(
            certificate.context("http/1.1"), StreamLimits(connections_max=_CONNECTIONS_MAX)
        )
        speak: Any = config.http_protocol_class
        behind: Any = lambda **given: door.open(speak(**given))  # noqa: E731 - a factory
        config.http_protocol_class = behind
        beside.append(asyncio.create_task(keep_current(certificate)))
    await uvicorn.Server(config).serve(sockets=sockets)
    for task in beside:
        task.cancel()


def _provider(settings: OidcSection, url: str) -> Provider | None:
    """Give the provider of identities, if one is set; nobody else pays for its library."""
    if not settings.issuer:
        return None
    from quada.console.oidc import Provider

    return Provider(settings, url)


async def keep_warm(operations: Operations) -> None:
    """Have large zones ready to be paged and searched, also after others changed them."""
    while True:
        try:
            await asyncio.to_thread(operations.warm)
        except Fault as fault:  # who asks for a page is told what is wrong with the store
            log.warning("large zones are not made ready", fault=str(fault))
        await asyncio.sleep(_WARM_S)


def first_link(accounts: Accounts, url: str) -> None:
    """Make the first user, and print the only way in: a link that works once."""
    now_s = int(time.time())
    accounts.add_user(FIRST_USER, (ADMIN,), now_s)
    link = accounts.make_link(FIRST_USER, now_s)
    print(f"console: {url}/login?once={link} (once, within the hour)", flush=True)


def run_web(
    plan: Plan, sockets: list[socket.socket], url: str, certificate: Certificate | None = None
) -> None:
    """Run the web process."""
    asyncio.run(serve_web(plan, sockets, url, certificate))
