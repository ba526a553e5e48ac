"""What a rollover would do next: wishes in the order they are to be tried.

Whether one is admissible is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quada.zones.keys import KeyRole
from quada.zones.keystate import Method, Ring, State, name_of, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quada.zones.keystate import RolloverPolicy


def wishes(state: State, policy: RolloverPolicy) -> Iterator[tuple[str, str, State]]:
    """Give the next wishes, in the order they are to be tried: what, why, and the state after."""
    if not state.is_signed:
        yield from _wishes_to_end(state)
        return
    has_double_ds = policy.method is Method.DOUBLE_DS
    for ring in state.rings:
        if ring.is_staying:
            yield from _wishes_of_staying(state, ring, has_double_ds=has_double_ds)
    wanted = frozenset(r.key for r in state.rings if r.is_staying and r.role.has_ds)
    is_known = all(r.is_published for r in state.rings if r.key in wanted)
    if wanted and state.ds_wanted != wanted and is_known and not _is_awaiting_double(state):
        yield (
            f"ask the parent for DS of {tags_of(wanted)}",
            "all resolvers that hold DNSKEY have the key",
            _change_all(state, lambda ring: ring._replace(wants_ds=ring.key in wanted)),
        )
    for ring in state.rings:
        if not ring.is_staying:
            yield from _wishes_of_going(state, ring)


def _wishes_of_staying(
    state: State, ring: Ring, *, has_double_ds: bool
) -> Iterator[tuple[str, str, State]]:
    name = name_of(ring)
    signs_zone = ring.role.signs_zone
    rivals = [
        r for r in state.rings if r.signs_zone and not r.is_staying and r.key[0] == ring.key[0]
    ]
    is_new_algorithm = all(r.key[0] != ring.key[0] for r in state.rings if r.signs_zone)
    if signs_zone and not ring.signs_zone and not ring.is_published and is_new_algorithm:
        as_well = " as well" if any(r.signs_zone for r in state.rings) else ""
        yield (
            f"sign the zone with {name}{as_well}",
            "a DNSKEY's algorithm must have signed everything before it appears (RFC 6781 4.1.4)",
            _change(state, ring, signs_zone=True),
        )
    predecessor = _predecessor(state, ring)
    if not ring.is_published:
        if has_double_ds and predecessor is not None and _may_double_ds(ring, predecessor):
            if not ring.wants_ds:
                yield (
                    f"ask the parent for DS of {name} beside {name_of(predecessor)}",
                    "double-DS: the parent goes first (RFC 6781 4.1.2)",
                    _change(state, ring, wants_ds=True),
                )
                return
            swapped = _change(state, ring, is_published=True, signs_keys=True)
            yield (
                f"publish {name} in place of {name_of(predecessor)}",
                "all resolvers that hold DS have both",
                _change(swapped, predecessor, is_published=False, signs_keys=False),
            )
            return
        yield (
            f"publish {name}",
            "resolvers must know a key before they need it",
            _change(state, ring, is_published=True, signs_keys=ring.role.has_ds),
        )
    elif signs_zone and not ring.signs_zone:
        after = _change(state, ring, signs_zone=True)
        for rival in rivals:
            after = _change(after, rival, signs_zone=False)
        instead = f" in place of {name_of(rivals[0])}" if rivals else ""
        yield (
            f"sign the zone with {name}{instead}",
            "all resolvers that hold DNSKEY have the key",
            after,
        )


def _wishes_of_going(state: State, ring: Ring) -> Iterator[tuple[str, str, State]]:
    """Give what a going key may stop; only once one that stays does its part, DS or no DS."""
    name = name_of(ring)
    heirs = [r for r in state.rings if r.is_staying and r.is_published]
    has_signer = any(r.signs_zone for r in heirs) or not ring.role.signs_zone
    has_entry = any(r.signs_keys for r in heirs) or not ring.role.has_ds
    if not (has_signer and has_entry):
        return
    if ring.signs_zone:
        yield (
            f"stop signing the zone with {name}",
            "no resolver holds a DNSKEY RRset that needs it",
            _change(state, ring, signs_zone=False),
        )
    if ring.is_published:
        yield (
            f"remove {name}",
            "no resolver holds a signature or DS that needs it",
            _change(state, ring, is_published=False, signs_keys=False),
        )


def _wishes_to_end(state: State) -> Iterator[tuple[str, str, State]]:
    if state.ds_wanted:
        after = _change_all(state, lambda ring: ring._replace(wants_ds=False))
        yield "ask the parent to remove DS", "an unsigned zone must have none (RFC 8078 4)", after
        return
    if any(not ring.is_idle for ring in state.rings):
        after = _change_all(state, lambda ring: Ring(*ring[:4], is_staying=False))
        yield "remove all keys and signatures", "no resolver holds DS any more", after


def _may_double_ds(ring: Ring, predecessor: Ring) -> bool:
    """Another algorithm's DS may not come first: the zone is not signed by it (RFC 6781 4.1.4)."""
    return ring.role is KeyRole.KSK and ring.key[0] == predecessor.key[0]


def _is_awaiting_double(state: State) -> bool:
    """Double-DS: the second DS request waits until the new key is the one published."""
    return any(r.is_staying and r.wants_ds and not r.is_published for r in state.rings)


def _predecessor(state: State, ring: Ring) -> Ring | None:
    return next((r for r in state.rings if r.role is ring.role and not r.is_staying), None)


def _change(state: State, ring: Ring, **fields: Any) -> State:
    return state._replace(
        rings=tuple(r._replace(**fields) if r.key == ring.key else r for r in state.rings)
    )


def _change_all(state: State, change: Callable[[Ring], Ring]) -> State:
    return state._replace(rings=tuple(change(ring) for ring in state.rings))
