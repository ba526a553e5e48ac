"""Where ALIAS and pools enter an answer: from a node to the addresses it stands for now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import quada.wire.codes as codes
from quada.authority.alias import (
    EDE_NO_REACHABLE_AUTHORITY,
    EDE_STALE,
    HELD_MAX_S,
    MAX_ADDRESSES,
    MAX_CHAIN,
    Found,
    Source,
)
from quada.authority.find import Book, Expansion, Wanted, find_answer
from quada.telemetry.event import Provenance
from quada.zones import Node, RRset, find

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.authority.alias import View
    from quada.authority.pool import PoolState
    from quada.authority.served import Served


class ExpandingBook(Book):
    """Zones, and what their ALIAS and codes.POOL records stand for.

    `chance` gives numbers in [0, 1) for weighted pools. `is_last` is set while answers are made for
    clients that may wait no longer.
    """

    def __init__(
        self, aliases: View | None, pools: dict[str, PoolState], chance: Callable[[], float]
    ) -> None:
        super().__init__()
        self.aliases = aliases
        self.pools = pools
        self.is_last = False
        self._chance = chance
        self._depth = 0

    def expand(
        self, zone: Served, owner: bytes, node: Node, rdtype: int
    ) -> Expansion | Wanted | None:
        """Give the addresses of a node's pool or ALIAS records; None where it has neither."""
        pool = find(node, codes.POOL)
        if pool is not None:
            return self._expand_pool(pool, rdtype)
        alias = find(node, codes.ALIAS)
        return None if alias is None else self._expand_alias(alias, rdtype)

    def _expand_pool(self, rrset: RRset, rdtype: int) -> Expansion:
        rdata = rrset.rdatas[0]
        name = rdata[1 : 1 + rdata[0]].decode("utf-8", "replace")
        state = self.pools.get(name)
        if state is None:
            return self._failure(f"there is no pool named {name}")
        draws = [self._chance() for _ in range(state.pool.answer_count)]
        rdatas = state.choose(rdtype, draws)
        return Expansion(rdatas, min(rrset.ttl, state.pool.ttl_s), Provenance.POOL)

    def _expand_alias(self, rrset: RRset, rdtype: int) -> Expansion | Wanted:
        """Join what all targets of a name give; one unknown target keeps the client waiting."""
        addresses: dict[bytes, None] = {}
        ttl_s = rrset.ttl
        held_s = HELD_MAX_S
        provenance = Provenance.ALIAS
        failed: Expansion | None = None
        wanted: list[bytes] = []
        ede, detail = -1, ""
        for rdata in rrset.rdatas:
            part = self._expand_target(rdata.lower(), rdtype)
            if isinstance(part, Wanted):
                wanted += part.targets
            elif part.is_failure:
                failed = part
            else:
                addresses.update(dict.fromkeys(part.rdatas))
                ttl_s = min(ttl_s, part.ttl_s)
                held_s = min(held_s, part.held_s)
                provenance |= part.provenance
                if part.detail:
                    ede, detail = part.ede, part.detail
        if wanted:
            return Wanted(tuple(wanted), rdtype)
        if not addresses and failed is not None:
            return failed
        if failed is not None:
            held_s = 1
        made = Expansion(tuple(addresses)[:MAX_ADDRESSES], ttl_s, provenance, held_s=held_s)
        return made._replace(ede=ede, detail=detail) if detail else made

    def _expand_target(self, target: bytes, rdtype: int) -> Expansion | Wanted:
        if self._depth >= MAX_CHAIN:
            return self._failure("alias loop")
        if self.zone_for(target) is not None:
            local = self._expand_here(target, rdtype)
            if local is not None:
                return local
        if self.aliases is None:
            return self._failure("no resolver is set for ALIAS")
        standing = self.aliases.standing(target, rdtype, self.now_s, is_last=self.is_last)
        if standing is None:
            return Wanted((target,), rdtype)
        if standing.source is Source.FAILED:
            return self._failure(standing.expansion.detail)
        if standing.source is Source.STALE:
            return Expansion(
                standing.expansion.addresses,
                standing.ttl_s,
                Provenance.ALIAS | Provenance.STALE,
                ede=EDE_STALE,
                detail="the ALIAS target could not be looked up",
            )
        has_addresses = standing.expansion.found is Found.ADDRESSES
        return Expansion(
            standing.expansion.addresses if has_addresses else (),
            standing.ttl_s,
            Provenance.ALIAS | Provenance.CACHED,
            held_s=standing.held_s,
        )

    def _expand_here(self, target: bytes, rdtype: int) -> Expansion | Wanted | None:
        """Answer for a target in our own zones; None where it is delegated away."""
        self._depth += 1
        try:
            result = find_answer(self, target, rdtype, is_do=False, is_full=False)
        finally:
            self._depth -= 1
        if result.wanted is not None:
            return result.wanted
        if not result.is_authoritative:
            return None
        rdatas = [rdata for i in result.answer if i.rdtype == rdtype for rdata in i.rdatas]
        if not rdatas and result.detail:
            return self._failure(result.detail)
        ttl_s = min((item.ttl_s for item in result.answer), default=0x7FFFFFFF)
        held_s = result.moment_s or HELD_MAX_S  # a change of our own zones ends all moments
        return Expansion(tuple(rdatas), ttl_s, Provenance.ALIAS, held_s=held_s)

    def _failure(self, detail: str) -> Expansion:
        settings = self.aliases.settings if self.aliases else None
        return Expansion(
            (),
            settings.negative_ttl_s if settings else 5,
            Provenance.ALIAS,
            is_failure=True,
            is_servfail=settings is not None and not settings.is_failure_empty,
            ede=EDE_NO_REACHABLE_AUTHORITY,
            detail=detail,
        )
