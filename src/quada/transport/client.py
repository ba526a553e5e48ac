"""The client that performs an Ask: one question out, its answer or the reason there is none."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Final

from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence, Transport

_MESSAGE_OCTETS: Final = 65_535
_STRAYS_MAX: Final = 32  # our choice: wrong answers looked at before the wait is called off


class Client:
    """Performs Asks over UDP and TCP, each on a socket and port of its own (RFC 5452 9.2)."""

    async def perform(self, ask: Ask) -> Outcome:
        """Send a query and wait. Never raises for what the network does."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(ask.timeout_s):
                if ask.to.transport is Transport.UDP:
                    message = await self._over_udp(ask)
                elif ask.to.transport is Transport.TCP:
                    message = await self._over_tcp(ask)
                else:
                    return NoReply(ask, Silence.UNREACHABLE, 0.0, "this client speaks Do53 only")
        except TimeoutError:
            return NoReply(ask, Silence.TIMEOUT, time.monotonic() - started)
        except ConnectionRefusedError:
            return NoReply(ask, Silence.REFUSED, time.monotonic() - started)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return NoReply(ask, Silence.RESET, time.monotonic() - started, str(error))
        except OSError as error:
            detail = error.strerror or str(error)
            return NoReply(ask, Silence.UNREACHABLE, time.monotonic() - started, detail)
        elapsed = time.monotonic() - started
        if message is None:
            return NoReply(ask, Silence.GARBAGE, elapsed)
        return Reply(ask, message, elapsed)

    async def _over_udp(self, ask: Ask) -> bytes | None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ask.to.family == 6 else socket.AF_INET
        query_id = secrets.token_bytes(2)
        query = query_id + ask.query[2:]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            # A connected socket hears only the server asked, and its ICMP errors.
            sock.connect((ask.to.address, ask.to.port))
            await loop.sock_sendall(sock, query)
            for _ in range(_STRAYS_MAX):
                message = await loop.sock_recv(sock, _MESSAGE_OCTETS)
                if is_answer(message, query):
                    return ask.query[:2] + message[2:]
        return None

    async def _over_tcp(self, ask: Ask) -> bytes | None:
        reader, writer = await asyncio.open_connection(ask.to.address, ask.to.port)
        try:
            writer.write(len(ask.query).to_bytes(2, "big") + ask.query)
            for _ in range(_STRAYS_MAX):
                size = int.from_bytes(await reader.readexactly(2), "big")
                message = await reader.readexactly(size)
                if is_answer(message, ask.query):
                    return message
        finally:
            writer.close()
        return None


def is_answer(message: bytes, query: bytes) -> bool:
    """Tell whether a message answers a query: id, QR, opcode, and the question echoed.

    A response without question is taken from servers that could not read it (RFC 5452 9.1).
    """
    if len(message) < 12 or message[:2] != query[:2] or not message[2] & 0x80:
        return False
    if (message[2] ^ query[2]) & 0x78:
        return False
    if message[4:6] == b"\x00\x00":
        return message[3] & 0xF != 0
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    return message[12:end].lower() == query[12:end].lower()
