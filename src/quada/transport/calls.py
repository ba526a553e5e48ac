"""Performing a Call: connect, perhaps shake hands, perhaps GET; bounded, and following nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from typing import Final

import h11

from quada import __version__
from quada.transport.fetch import HEADER_OCTETS_MAX, exchange
from quada.transport.ping import ping
from quada.wire.call import REFUSED, Call, Called, CallKind

_BODY_OCTETS: Final = 16_384
_GREETING_OCTETS: Final = 1_024
_AGENT: Final = f"quada-doctor/{__version__}"
_TIMESTAMPS: Final = 1  # TCPI_OPT_TIMESTAMPS, and tcpi_snd_mss: linux/tcp.h
_SND_MSS_AT: Final = 16
_TIMESTAMP_OCTETS: Final = 12  # RFC 7323 appendix A
_TLS: Final = (CallKind.TLS, CallKind.HTTPS)


async def call(wanted: Call, ca_file: str = "") -> Called:
    """Perform one call. Never raises for what the network does.

    A certificate that is not believed is told, and the call made again without belief: what the
    service says is wanted all the same. `ca_file` is trusted in place of the system's CAs.
    """
    if wanted.kind is CallKind.PING:
        return await ping(wanted)
    made = await _once(wanted, ca_file, believes=True)
    if made.certificate_fault:
        again = await _once(wanted, ca_file, believes=False)
        return again._replace(certificate_fault=made.certificate_fault, dial_s=made.dial_s)
    return made


async def _once(wanted: Call, ca_file: str, *, believes: bool) -> Called:
    began = time.monotonic()
    stage, dial_s, expires_at = "dial", 0.0, 0.0
    segment_octets = 0
    writer: asyncio.StreamWriter | None = None

    def ended(why: str, **more: str) -> Called:
        elapsed = time.monotonic() - began
        fault = more.get("certificate_fault", "")
        return Called(wanted, stage, why, dial_s or elapsed, elapsed, fault)

    try:
        async with asyncio.timeout(wanted.timeout_s):
            reader, writer = await asyncio.open_connection(
                wanted.address, wanted.port, limit=HEADER_OCTETS_MAX
            )
            dial_s = time.monotonic() - began
            segment_octets = _segment(writer.get_extra_info("socket"))
            if wanted.kind in _TLS:
                stage = "tls"
                context = _context(ca_file, believes=believes)
                await writer.start_tls(context, server_hostname=wanted.name or wanted.address)
                expires_at = _expiry(writer)
            stage = "read"
            made = await _talk(wanted, reader, writer)
            total_s = time.monotonic() - began
            return made._replace(
                dial_s=dial_s, total_s=total_s, expires_at=expires_at,
                segment_octets=segment_octets,
            )  # fmt: skip
    except TimeoutError:
        return ended(f"nothing within {wanted.timeout_s:.0f} s")
    except ssl.SSLCertVerificationError as error:
        return ended(error.verify_message, certificate_fault=error.verify_message or "not believed")
    except ConnectionRefusedError:
        return ended(REFUSED)
    except h11.ProtocolError as error:
        stage = "protocol"
        return ended(str(error))
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        return ended(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    finally:
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.transport.abort()


async def _talk(wanted: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Called:
    if wanted.kind in (CallKind.HTTP, CallKind.HTTPS):
        url = f"{wanted.kind}://{wanted.name or f'[{wanted.address}]'}{wanted.path}"
        head, body = await exchange(reader, writer, url, _BODY_OCTETS, _AGENT)
        location = next((v for k, v in head.headers if k == b"location"), b"")
        text = location.decode("utf-8", "replace")
        return Called(wanted, status=head.status_code, location=text, body=body[:_BODY_OCTETS])
    if wanted.kind is CallKind.SMTP:
        line = await reader.readline()
        digits = line[:3].decode("ascii", "replace")
        status = int(digits) if digits.isdecimal() else 0
        return Called(wanted, status=status, body=line[:_GREETING_OCTETS])
    return Called(wanted)


def _segment(sock: socket.socket) -> int:
    """Give the MSS that the other side announced, or the path allows, whichever is less.

    Linux counts the timestamps that each segment carries off: what was announced has them.
    """
    info = getattr(socket, "TCP_INFO", None)
    if info is None:
        return 0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, info, 24)
    except OSError:
        return 0
    has_timestamps = bool(told[5] & _TIMESTAMPS)
    (segment,) = struct.unpack_from("=I", told, _SND_MSS_AT)
    return min(65_535, int(segment) + (_TIMESTAMP_OCTETS if has_timestamps else 0))


def _expiry(writer: asyncio.StreamWriter) -> float:
    """When the leaf ends; OpenSSL tells that of believed certificates alone."""
    leaf = writer.get_extra_info("ssl_object").getpeercert() or {}
    end = leaf.get("notAfter")
    return ssl.cert_time_to_seconds(end) if end else 0.0


def _context(ca_file: str, *, believes: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.set_alpn_protocols(["http/1.1"])
    if not believes:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
