"""What an authority is told once, and the work it puts off (see `wire.respond.Deferred`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.edns as edns
from quada.wire.limit import LimitSettings

if TYPE_CHECKING:
    from quada.authority.find import Wanted
    from quada.wire.question import Question

_DEFAULT_LIMIT: Final = LimitSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """What an authority is told once.

    `is_cyclic` moves the order of addresses on every second. `nsid` and `version` are given only
    where they are set. `cookie_secret` of 16 octets is shared by all servers of a name
    (RFC 9018 3); without one, cookies are ignored.
    """

    udp_payload_octets: int = edns.UDP_PAYLOAD_OCTETS
    is_minimal: bool = True
    is_cyclic: bool = False
    nsid: bytes = b""
    version: str = ""
    cookie_secret: bytes = b""
    limit: LimitSettings = _DEFAULT_LIMIT
    worker: int = 0


class Transfer(NamedTuple):
    """Deferred work: AXFR or IXFR. `question` is parsed, the packet's TSIG not yet verified."""

    question: Question
    origin: bytes


class Notified(NamedTuple):
    """Deferred work: a NOTIFY for a zone."""

    question: Question
    origin: bytes


class Update(NamedTuple):
    """Deferred work: an UPDATE of a zone."""

    question: Question
    origin: bytes


class Lookup(NamedTuple):
    """Deferred work: targets to look up; ask again with `settle` when they are, or time is up."""

    wanted: Wanted


class Signed(NamedTuple):
    """Deferred work: an ordinary query with TSIG, to verify, answer and sign."""

    question: Question


Work = Transfer | Notified | Update | Lookup | Signed
