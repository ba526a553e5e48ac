"""Calling a service, as data: what is asked of whoever probes TCP, TLS and HTTP, and what came.

`ask` is for DNS messages; a Call is for everything else that a name may lead to. Doctor makes
Calls, `transport` or an agent performs them, and neither knows the other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

REFUSED: Final = "refused"
"""Why a dial failed where the host said that nobody listens: it was let through so far."""

PING_OCTETS_MIN: Final = 64
PING_OCTETS_MAX: Final = 1_500
"""What a ping may have: a header and something to know it by, and Ethernet's MTU."""


class CallKind(StrEnum):
    """How far a call goes: each kind does what those before it do; a ping is by itself."""

    PING = "ping"  # an ICMP or ICMPv6 echo of `octets`, IP header included
    TCP = "tcp"  # connect, and hang up
    SMTP = "smtp"  # and read the greeting
    TLS = "tls"  # and shake hands under a name
    HTTP = "http"  # GET without TLS
    HTTPS = "https"  # GET over TLS


class Call(NamedTuple):
    """One service at one address. `name` is the host asked for, and whom TLS must prove to be.

    A ping has no port, and is `octets` long as a packet.
    """

    address: str
    port: int
    kind: CallKind
    name: str = ""
    timeout_s: float = 4.0
    path: str = "/"
    octets: int = 0

    @property
    def family(self) -> int:
        """6 for an IPv6 address, 4 for an IPv4 one."""
        return 6 if ":" in self.address else 4


class Called(NamedTuple):
    """What came of a Call.

    `stage` is empty where all went well, else where it ended: dial, tls, read, protocol or refused
    (by who should have called). `certificate_fault` says why the certificate is not believed, and
    does not end a call; `expires_at` is when one that is believed ends (Unix seconds, 0 where there
    is none). `body` is the beginning of what was sent. `segment_octets` is the largest TCP segment
    (MSS) that may be sent there, 0 where that is not known.
    """

    call: Call
    stage: str = ""
    why: str = ""
    dial_s: float = 0.0
    total_s: float = 0.0
    certificate_fault: str = ""
    status: int = 0
    location: str = ""
    body: bytes = b""
    expires_at: float = 0.0
    segment_octets: int = 0

    @property
    def is_open(self) -> bool:
        """Whether somebody took the connection."""
        return self.stage not in ("dial", "refused")
