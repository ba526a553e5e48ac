"""Records as octets: what zones hold, transfers carry, caches keep and signatures cover."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One record of class IN: lower-cased owner, type, TTL in seconds, uncompressed RDATA."""

    owner: bytes
    rdtype: int
    ttl: int
    rdata: bytes


class RRset(NamedTuple):
    """Records of one owner and type, in order. RRSIGs of all types at a name are one RRset.

    The TTL is one for all (RFC 2181 5.2); the exception, RRSIGs of different types (RFC 4034 3), is
    resolved where they are served: a signature takes the TTL of what it covers.
    """

    rdtype: int
    ttl: int
    rdatas: tuple[bytes, ...]
