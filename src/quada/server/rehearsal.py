"""The rehearsal CA, served: ACME over HTTPS, and the validations that it owes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import structlog
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quada.acme.challenges import validation
from quada.acme.issue import Issuer, make_root
from quada.acme.perspectives import Seen, agree
from quada.acme.rehearsal import RehearsalCa
from quada.acme.validate import Mode
from quada.server.sockets import bind_web
from quada.server.validating import Validating, is_reserved, run
from quada.transport.tls import write_pair
from quada.wire.faults import ConfigFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from quada.acme.answers import Work
    from quada.acme.validate import Verdict
    from quada.server.plan import Address
    from quada.server.validating import Performer

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_BODY_OCTETS_MAX: Final = 65_536
_AT_ONCE: Final = 16  # our choice: validations at once; more wait
_EVERYWHERE: Final = frozenset(("::", "0.0.0.0"))
_OWN_DAYS: Final = 398  # of the CA's own certificate, made anew at each start
_ABOUT: Final = "quada rehearsal CA: a test. Its certificates are trusted by nobody.\n"


class Rehearsing(NamedTuple):
    """How to rehearse: where to listen, whom to ask, which rules."""

    address: Address
    state_dir: Path
    name: str = "letsencrypt.org"
    days: float = 90.0
    mode: Mode = Mode.REPLAY
    ports: dict[int, int] = {}  # noqa: RUF012
    is_lab: bool = False
    external: dict[str, bytes] = {}  # noqa: RUF012
    told_url: str = ""
    perspectives: dict[str, Performer] = {}  # noqa: RUF012

    @property
    def url(self) -> str:
        """Where clients reach the CA."""
        host = "localhost" if self.address.host in _EVERYWHERE else self.address.host
        return self.told_url or f"https://{self.address._replace(host=host)}"


def prepare(wish: Rehearsing) -> tuple[Issuer, Path]:
    """Make the issuer with the root of its state directory; gives it and the root's PEM file.

    Raises: ConfigFault where the root cannot be read, ReachFault where it cannot be written.
    """
    root_file, key_file = wish.state_dir / "root.pem", wish.state_dir / "root.key"
    try:
        if not root_file.exists():
            key, root = make_root(time.time())
            write_pair(root_file, key_file, root.public_bytes(serialization.Encoding.PEM), key)
        found = serialization.load_pem_private_key(key_file.read_bytes(), None)
        root = x509.load_pem_x509_certificate(root_file.read_bytes())
    except OSError as error:
        raise ReachFault(
            f"the root cannot be kept: {error.strerror}", place=str(wish.state_dir)
        ) from error
    except ValueError as error:
        raise ConfigFault(f"the root cannot be read: {error}", place=str(root_file)) from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ConfigFault("the root's key is of another kind", place=str(key_file))
    return Issuer(found, root, wish.name, wish.days), root_file


def serve(wish: Rehearsing, validating: Validating, tell: Callable[[str], None]) -> None:
    """Serve, and tell where, until a signal ends it. Raises: ReachFault, ConfigFault."""
    issuer, root_file = prepare(wish)
    ca = RehearsalCa(wish.url, issuer, time.time, dict(wish.external))
    chain, key = wish.state_dir / "server.pem", wish.state_dir / "server.key"
    told = {wish.address.host, "localhost", "::1", "127.0.0.1"} - _EVERYWHERE
    told |= {urlsplit(wish.url).hostname or "localhost"}
    secret = ec.generate_private_key(ec.SECP256R1())
    _, own = issuer.issue(secret.public_key(), sorted(told), time.time(), _OWN_DAYS)
    write_pair(chain, key, own.encode(), secret)
    config = uvicorn.Config(
        make_app(ca, wish, validating, root_file), ssl_certfile=chain, ssl_keyfile=key,
        log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    sockets = bind_web((wish.address,))
    tell(f"rehearsal CA ready: {wish.url}/dir, root {root_file} (a test: trust it nowhere else)")
    uvicorn.Server(config).run(sockets=sockets)


def make_app(
    ca: RehearsalCa, wish: Rehearsing, validating: Validating, root_file: Path
) -> Starlette:
    """Make the HTTP application over a CA."""
    gate = asyncio.Semaphore(_AT_ONCE)
    running: set[asyncio.Task[None]] = set()
    root_octets = root_file.read_bytes()

    async def validate(work: Work, performer: Performer) -> Verdict:
        return await run(
            validation(
                work.kind, work.name, work.token, work.key_authorization,
                issuer=wish.name, mode=wish.mode, ports=wish.ports,
                is_reserved=(lambda _: False) if wish.is_lab else is_reserved,
            ),
            performer,
        )  # fmt: skip

    async def settle(work: Work) -> None:
        async with gate:
            verdict = await validate(work, validating)
            if verdict.problem is None and wish.perspectives:  # only after the local pass
                seen = await asyncio.gather(
                    *(validate(work, one) for one in wish.perspectives.values())
                )
                verdict = agree(verdict, list(map(Seen, wish.perspectives, seen)))
        ca.settle(work.place, verdict)
        said = "valid" if verdict.problem is None else verdict.problem.kind
        why = verdict.problem.detail if verdict.problem else ""
        log.info("validated", name=work.name, challenge=work.kind, result=said, why=why)

    async def answer(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _BODY_OCTETS_MAX:
                return Response(status_code=413)
        made = ca.handle(request.method, request.url.path, body)
        if made.work is not None:
            task = asyncio.create_task(settle(made.work))
            running.add(task)
            task.add_done_callback(running.discard)
        headers = {
            **made.headers,
            "Replay-Nonce": ca.nonce(),
            "Cache-Control": "no-store",
        }
        link = f'<{ca.url}/dir>;rel="index"'
        headers["Link"] = f"{headers['Link']}, {link}" if "Link" in headers else link
        if isinstance(made.body, str):
            return Response(made.body, made.status, headers)
        if made.body is None:
            return Response(status_code=made.status, headers=headers)
        return JSONResponse(made.body, made.status, headers, headers.get("Content-Type"))

    async def about(_: Request) -> Response:
        return Response(_ABOUT, media_type="text/plain")

    async def root(_: Request) -> Response:
        return Response(root_octets, media_type="application/x-pem-file")

    every = ["GET", "HEAD", "POST"]
    return Starlette(routes=[
        Route("/", about), Route("/terms", about), Route("/root.pem", root),
        Route("/{path:path}", answer, methods=every),
    ])  # fmt: skip
