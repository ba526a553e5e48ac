"""HTTP over one given address, bounded in every way: for validators that must not follow a name."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11

HEADER_OCTETS_MAX: Final = 32_768


class Page(NamedTuple):
    """What a server answered; `body` is cut."""

    status: int
    location: str
    server: str
    body: bytes
    tls_version: str
    seconds: float


class NoPage(NamedTuple):
    """Why there was no answer: `stage` is dial, tls, read or protocol."""

    stage: str
    why: str
    seconds: float


class Greeting(NamedTuple):
    """What a TLS server showed: its leaf in DER, the protocol it chose, the version."""

    certificate: bytes
    alpn: str
    tls_version: str
    seconds: float


async def handshake(
    name: str, address: str, port: int, timeout_s: float, alpn: str, *, source: str = ""
) -> Greeting | NoPage:
    """Shake hands with an address under a name, offer one protocol, and verify nothing.

    `source` is the address of ours to come from, empty for any.
    """
    started = time.monotonic()
    stage = "dial"
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                address, port, local_addr=(source, 0) if source else None
            )
            stage = "tls"
            context = _unverified()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols([alpn])
            await writer.start_tls(context, server_hostname=name)
            tls = writer.get_extra_info("ssl_object")
            return Greeting(
                tls.getpeercert(binary_form=True) or b"",
                tls.selected_alpn_protocol() or "",
                tls.version() or "",
                time.monotonic() - started,
            )
    except TimeoutError:
        return NoPage(stage, f"no answer within {timeout_s:.0f} s", time.monotonic() - started)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return NoPage(stage, why, time.monotonic() - started)
    finally:
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.transport.abort()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def fetch(
    url: str,
    address: str,
    port: int,
    timeout_s: float,
    *,
    body_octets: int,
    agent: str,
    source: str = "",
) -> Page | NoPage:
    """GET a URL from an address, whatever its name resolves to; certificates are not verified."""
    started = time.monotonic()
    stage = "dial"
    parts = urlsplit(url)
    context = _unverified() if parts.scheme == "https" else None
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(
                address, port, limit=HEADER_OCTETS_MAX,
                local_addr=(source, 0) if source else None,
            )  # fmt: skip
            tls_version = ""
            if context is not None:
                stage = "tls"
                await writer.start_tls(context, server_hostname=parts.hostname)
                tls_version = writer.get_extra_info("ssl_object").version() or ""
            stage = "read"
            head, body = await exchange(reader, writer, url, body_octets, agent)
    except TimeoutError:
        return NoPage(stage, f"no answer within {timeout_s:.0f} s", time.monotonic() - started)
    except h11.ProtocolError as error:
        return NoPage("protocol", str(error), time.monotonic() - started)
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return NoPage(stage, why, time.monotonic() - started)
    finally:
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.transport.abort()
    headers = {name.decode("ascii", "replace"): value for name, value in head.headers}
    return Page(
        head.status_code,
        headers.get("location", b"").decode("utf-8", "replace"),
        headers.get("server", b"").decode("utf-8", "replace")[:100],
        body,
        tls_version,
        time.monotonic() - started,
    )


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    url: str,
    body_octets: int,
    agent: str,
) -> tuple[h11.Response, bytes]:
    """Send the request and take the head, and the beginning of the body."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_OCTETS_MAX)
    request = h11.Request(
        method="GET",
        target=target.encode("utf-8", "replace"),
        headers=[
            ("Host", parts.netloc), ("User-Agent", agent), ("Accept", "*/*"),
            ("Connection", "close"),
        ],
    )  # fmt: skip
    octets = (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    writer.write(octets)
    await writer.drain()
    head: h11.Response | None = None
    body = b""
    while len(body) <= body_octets:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(4096))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            break
    if head is None:
        raise ConnectionResetError("the connection ended before an answer")
    return head, body[: body_octets + 1]
