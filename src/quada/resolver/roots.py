"""The root servers, as IANA publishes them (iana.org/domains/root/servers), IPv6 first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.cache import Delegation
from quada.resolver.heard import SERVERS_MAX, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.wire.records import Record

_ROOTS: Final = (
    ("a", "2001:503:ba3e::2:30", "198.41.0.4"),
    ("b", "2801:1b8:10::b", "170.247.170.2"),
    ("c", "2001:500:2::c", "192.33.4.12"),
    ("d", "2001:500:2d::d", "199.7.91.13"),
    ("e", "2001:500:a8::e", "192.203.230.10"),
    ("f", "2001:500:2f::f", "192.5.5.241"),
    ("g", "2001:500:12::d0d", "192.112.36.4"),
    ("h", "2001:500:1::53", "198.97.190.53"),
    ("i", "2001:7fe::53", "192.36.148.17"),
    ("j", "2001:503:c27::2:30", "192.58.128.30"),
    ("k", "2001:7fd::1", "193.0.14.129"),
    ("l", "2001:500:9f::42", "199.7.83.42"),
    ("m", "2001:dc3::35", "202.12.27.33"),
)


def built_in_roots() -> Delegation:
    """Give the built-in hints as a delegation of the root that never expires."""
    glue = {
        names.from_text(f"{letter}.root-servers.net."): addresses
        for letter, *rest in _ROOTS
        for addresses in (tuple(rest),)
    }
    return Delegation(names.ROOT, tuple(glue), glue, float("inf"))


def roots_of(records: Iterable[Record]) -> Delegation:
    """Make the root's delegation of a hints file's records, or a priming answer's (RFC 8109)."""
    servers: list[bytes] = []
    glue: dict[bytes, tuple[str, ...]] = {}
    for record in records:
        if record.rdtype == codes.NS:
            servers.append(record.rdata.lower())
        elif address := address_of(record):
            glue[record.owner] = (*glue.get(record.owner, ()), address)
    used = tuple(servers[:SERVERS_MAX])
    return Delegation(names.ROOT, used, {s: glue[s] for s in used if s in glue}, float("inf"))
