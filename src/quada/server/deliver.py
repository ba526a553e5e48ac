"""What the supervisor delivers to workers, and what they report back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from quada.authority import Authority, PoolState
    from quada.authority.alias import Expansion
    from quada.zones import Change, Zone
    from quada.zones.online import OnlineKeys


class PutZone(NamedTuple):
    """Serve this version instead of any other."""

    zone: Zone


class ChangeZone(NamedTuple):
    """Serve the version that this change makes of the present one."""

    origin: bytes
    change: Change


class DropZone(NamedTuple):
    """Stop serving a zone."""

    origin: bytes


class ExpireZone(NamedTuple):
    """Answer SERVFAIL: the primaries were out of reach for too long."""

    origin: bytes


class PutSigner(NamedTuple):
    """Sign a zone's ALIAS and pool answers with these keys."""

    keys: OnlineKeys


class AliasNews(NamedTuple):
    """What the ALIAS keeper found."""

    expansions: list[Expansion]


class PoolNews(NamedTuple):
    """A pool as it stands now."""

    state: PoolState


class Explain(NamedTuple):
    """Resolve this and tell how; the report carries the number."""

    number: int
    qname: bytes
    qtype: int


class Flush(NamedTuple):
    """Forget a name, or everything at and below it."""

    name: bytes
    is_subtree: bool


class TellShadow(NamedTuple):
    """Tell what would not have been reached over IPv6 alone; the report carries the number."""

    number: int


class Explained(NamedTuple):
    """What a resolver worker was asked to tell."""

    number: int
    told: Any


class Ready(NamedTuple):
    """A worker serves."""

    pid: int


class AliasWanted(NamedTuple):
    """A worker needs these targets looked up."""

    targets: tuple[bytes, ...]


class AliasAsked(NamedTuple):
    """Queries used these targets since the last report."""

    targets: tuple[bytes, ...]


class ZoneNotified(NamedTuple):
    """A NOTIFY came for a zone (RFC 1996)."""

    origin: bytes
    address: str


Delivery = (
    PutZone
    | ChangeZone
    | DropZone
    | ExpireZone
    | PutSigner
    | AliasNews
    | PoolNews
    | Explain
    | Flush
    | TellShadow
)
Report = Ready | Explained | AliasWanted | AliasAsked | ZoneNotified


def apply_delivery(authority: Authority, delivery: Delivery) -> None:
    """Do to an authority what a delivery says."""
    if isinstance(delivery, PutZone):
        authority.put(delivery.zone)
    elif isinstance(delivery, ChangeZone):
        authority.change(delivery.origin, delivery.change)
    elif isinstance(delivery, DropZone):
        authority.drop(delivery.origin)
    elif isinstance(delivery, ExpireZone):
        authority.expire(delivery.origin)
    elif isinstance(delivery, PutSigner):
        authority.sign_with(delivery.keys)
    elif isinstance(delivery, AliasNews):
        if authority.book.aliases is not None:
            for expansion in delivery.expansions:
                authority.book.aliases.put(expansion)
    elif isinstance(delivery, PoolNews):
        authority.book.pools[delivery.state.pool.name] = delivery.state
        authority.forget()
