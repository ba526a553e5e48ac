"""Key rollovers: no step is taken while any resolver could be left without a chain of trust.

Instead of one script a method, there is one invariant. What resolvers may hold is known: versions
of the parent's DS, of our DNSKEY RRset and of our signatures, each until its TTL and the time to
reach every server have passed (RFC 7583 3). A step is admissible when every combination of those,
with the new version among them, still validates (`unsound`). ZSK pre-publication, KSK
double-signature and double-DS, CSK and algorithm rollovers (RFC 6781 4.1), enabling and disabling
all follow; what is not admissible yet is held, and the reason is the combination that would break.

All times are seconds; nothing here reads a clock, a zone or a parent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import quada.zones.signature as signature
from quada.zones.keys import KeyRole
from quada.zones.keystate import Keys, Ring, Step, View, key_id, name_of, tags_of
from quada.zones.wishes import wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.zones.keystate import Ids, KeyId, RolloverPolicy, State

MAX_FORECAST_STEPS: Final = 64  # our choice: a rollover has at most six


# ---------------------------------------------------------------------------------- the invariant


def unsound(state: State) -> str:
    """Find a combination of versions in resolvers' hands that does not validate; "" for none.

    Every algorithm of a DS set must sign the DNSKEY RRset, and every algorithm of a DNSKEY RRset
    must sign the zone: some validators insist on it.
    RFC: 4035 2.2, 6840 5.11
    """
    for ds in _contents(state.ds) | {state.ds_asked}:  # the parent may follow at any time
        for keys in state.dnskeys:
            # Without DS there is no way in to be broken; but DNSKEY and signatures must fit all
            # the same, for those who trust the key by hand. What is unsigned breaks nobody then.
            reason = _entry_fault(ds, _keys(keys)) if ds else ""
            if reason:
                return reason + _until(keys)
            for made in state.signatures:
                if not ds and not (_keys(keys).published and _ids(made)):
                    continue
                reason = _signature_fault(ds, _keys(keys), _ids(made))
                if reason:
                    return reason + _until(min(keys, made, key=_end))
    return ""


def _entry_fault(ds: Ids, keys: Keys) -> str:
    entry = ds & keys.published & keys.signed_by
    if not entry:
        here = tags_of(keys.published)
        return f"DS of {tags_of(ds)} leads to no key in the DNSKEY RRset with {here}"
    missing = _algorithms(ds) - _algorithms(entry)
    if missing:
        return f"DS has algorithm {min(missing)}, by which the DNSKEY RRset is not signed"
    return ""


def _signature_fault(ds: Ids, keys: Keys, made: Ids) -> str:
    fit = made & keys.published
    if not made:
        return f"data without signatures do not fit the DNSKEY RRset {tags_of(keys.published)}"
    if not fit:
        return (
            f"signatures by {tags_of(made)} do not fit the DNSKEY RRset {tags_of(keys.published)}"
        )
    missing = (_algorithms(keys.published) | _algorithms(ds)) - _algorithms(fit)
    if missing:
        number = min(missing)
        name = signature.ALGORITHM_NAMES.get(number, str(number))
        return f"{name} is announced, but some signatures by it are missing or fit no DNSKEY"
    return ""


# --------------------------------------------------------------------------------- what is served


def serve(state: State, max_ttl_s: int, policy: RolloverPolicy, now_s: int) -> State:
    """Take note that what the rings say is served from now on.

    Versions served before stay in resolvers' hands for their TTL and the time to reach all servers;
    `max_ttl_s` is the zone's largest TTL. A DS set that is asked for counts as held from now on.
    """
    keys = Keys(
        frozenset(ring.key for ring in state.rings if ring.is_published),
        frozenset(ring.key for ring in state.rings if ring.is_published and ring.signs_keys),
    )
    made = frozenset(ring.key for ring in state.rings if ring.signs_zone)
    lag_s = policy.propagation_s
    ds, asked = state.ds, state.ds_asked
    if asked not in (state.ds_wanted, state.ds_seen) and asked:
        # What was asked for and is no more may still have been followed unseen.
        ds = (*ds, View(asked, now_s + policy.ds_ttl_s + policy.parent_s))
    return state._replace(
        dnskeys=_advance(state.dnskeys, keys, now_s, policy.dnskey_ttl_s + lag_s),
        signatures=_advance(state.signatures, made, now_s, max_ttl_s + lag_s),
        ds=ds,
        ds_asked=state.ds_wanted,
    )


def see_ds(state: State, seen: Ids, policy: RolloverPolicy, now_s: int) -> State:
    """Take note of the DS set that every server of the parent was seen with."""
    hold_s = policy.ds_ttl_s + policy.parent_s
    return state._replace(ds_seen=seen, ds=_advance(state.ds, seen, now_s, hold_s))


def resume(state: State, policy: RolloverPolicy, max_ttl_s: int, now_s: int) -> State:
    """Take a state up again after a time in which nobody knows what was served.

    Until now secondaries may have gone on with an older version, so what lingered lingers anew.
    """
    lag_s = policy.propagation_s

    def extend(views: tuple[View, ...], hold_s: int) -> tuple[View, ...]:
        return tuple(
            view if view.until_s is None else View(view.content, max(view.until_s, now_s + hold_s))
            for view in views
        )

    return state._replace(
        dnskeys=extend(state.dnskeys, policy.dnskey_ttl_s + lag_s),
        signatures=extend(state.signatures, max_ttl_s + lag_s),
    )


def prune(state: State, now_s: int) -> State:
    """Forget versions nobody holds any more, and keys that are going and do nothing."""
    state = state._replace(
        dnskeys=_unexpired(state.dnskeys, now_s),
        signatures=_unexpired(state.signatures, now_s),
        ds=_unexpired(state.ds, now_s),
    )
    held = set().union(*(_keys(view).published for view in state.dnskeys))
    held = held.union(*_contents(state.signatures), *_contents(state.ds))
    kept = tuple(
        ring for ring in state.rings if ring.is_staying or not ring.is_idle or ring.key in held
    )
    return state._replace(rings=kept)


# -------------------------------------------------------------------------------------- the steps


def advance(
    state: State,
    policy: RolloverPolicy,
    max_ttl_s: int,
    now_s: int,
    *,
    objection: Callable[[State], str] | None = None,
) -> tuple[State, list[Step]]:
    """Take every step that is admissible now; give the state to serve, and steps taken and held.

    The caller publishes what the state says and keeps it, or keeps the old one if it cannot. It may
    have an objection to a state, in words: then only steps up to the last one without are taken.
    """
    base = state = prune(state, now_s)
    taken: list[Step] = []
    served, served_count = base, 0
    while True:
        held: list[Step] = []
        for what, why, wanted in wishes(state, policy):
            # From the base: what several steps pass through between them is never served.
            candidate = serve(base._replace(rings=wanted.rings), max_ttl_s, policy, now_s)
            fault = unsound(candidate)
            if not fault:
                state = candidate
                taken.append(Step(now_s, what, why))
                if objection is None or not objection(state):
                    served, served_count = state, len(taken)
                break
            held.append(Step(None, what, why, fault))
        else:
            if served_count < len(taken) and objection is not None:
                why_not = objection(state)
                put_off = [one._replace(at_s=None, held=why_not) for one in taken[served_count:]]
                return served, [*taken[:served_count], *put_off, *_waiting(served)]
            return state, [*taken, *held, *_waiting(state)]


def _waiting(state: State) -> list[Step]:
    wanted = state.ds_wanted
    if state.ds_seen is None and not wanted:
        return []
    if state.ds_seen == wanted:
        return []
    what = f"parent publishes DS of {tags_of(wanted)}" if wanted else "parent removes DS"
    seen = tags_of(state.ds_seen) if state.ds_seen else "none"
    return [Step(None, what, "CDS and CDNSKEY ask for it", f"the parent was seen with {seen}")]


# ------------------------------------------------------------------------------- starting, ending


def add_key(
    state: State, role: KeyRole, dnskey: bytes, now_s: int, *, replaces: Ids = frozenset()
) -> State:
    """Bring in a key that is to stay; those it replaces are to go once they can be spared."""
    key = key_id(dnskey)
    rings = tuple(
        ring._replace(is_staying=False) if ring.key in replaces else ring for ring in state.rings
    )
    return state._replace(rings=(*rings, Ring(key, role, dnskey, now_s)))


def withdraw(state: State, key: KeyId) -> State:
    """Turn a rollover round: the key is to go, and those of its role that were going stay."""
    role = next((ring.role for ring in state.rings if ring.key == key), None)
    return state._replace(
        rings=tuple(
            ring._replace(is_staying=ring.key != key) if ring.role is role else ring
            for ring in state.rings
        )
    )


def due(state: State, policy: RolloverPolicy, now_s: int) -> list[tuple[KeyRole, str]]:
    """Give the roles that need a new key now, and why.

    Nothing is due while a rollover is under way, nor in a frozen span.
    """
    if not state.is_signed or any(not ring.is_staying for ring in state.rings):
        return []
    if any(start <= now_s < end for start, end in policy.frozen):
        return []
    out = []
    for role in policy.roles:
        here = list(state.staying(role))
        lifetime_s = policy.zsk_lifetime_s if role is KeyRole.ZSK else policy.ksk_lifetime_s
        if not here:
            out.append((role, f"the zone has no {role.upper()}"))
        elif here[0].key[0] != policy.algorithm:
            out.append((role, f"the policy's algorithm is {policy.algorithm}"))
        elif lifetime_s and here[0].made_at + lifetime_s <= now_s:
            out.append((role, f"{name_of(here[0])} has reached its lifetime"))
    return out


def forecast(
    state: State, policy: RolloverPolicy, max_ttl_s: int, now_s: int, *, parent_lag_s: int = 3600
) -> list[Step]:
    """Tell the steps to come: what, when at the earliest, why.

    Assumes that the parent follows `parent_lag_s` after it is asked; steps that hang on it say so.
    """
    out: list[Step] = []
    hangs = False
    for _ in range(MAX_FORECAST_STEPS):
        state, steps = advance(state, policy, max_ttl_s, now_s)
        for step in steps:
            if step.at_s is not None:
                note = "once the parent has been seen with the DS" if hangs else ""
                out.append(step._replace(held=note))
        if state.ds_seen != state.ds_wanted and (state.ds_wanted or state.ds_seen):
            now_s += parent_lag_s
            hangs = True
            state = see_ds(state, state.ds_wanted, policy, now_s)
            what = (
                f"parent has DS of {tags_of(state.ds_wanted)}" if state.ds_wanted else "DS is gone"
            )
            out.append(Step(now_s, what, "the parent's part", "expected, not known"))
            continue
        ends = [v.until_s for v in (*state.dnskeys, *state.signatures, *state.ds) if v.until_s]
        if not ends:
            break
        now_s = max(now_s + 1, min(ends))
    return out


# ----------------------------------------------------------------------------------------- pieces


def _advance(
    views: tuple[View, ...], content: Keys | Ids, now_s: int, hold_s: int
) -> tuple[View, ...]:
    """Put a version in the place of the one that is served; that one lingers."""
    if any(view.content == content and view.until_s is None for view in views):
        return views
    lingering = tuple(
        view if view.until_s is not None else view._replace(until_s=now_s + hold_s)
        for view in views
        if view.content != content
    )
    return (View(content), *lingering)


def _unexpired(views: tuple[View, ...], now_s: int) -> tuple[View, ...]:
    return tuple(view for view in views if view.until_s is None or view.until_s > now_s)


def _keys(view: View) -> Keys:
    assert isinstance(view.content, Keys)
    return view.content


def _ids(view: View) -> Ids:
    assert isinstance(view.content, frozenset)
    return view.content


def _contents(views: Iterable[View]) -> set[Ids]:
    return {_ids(view) for view in views}


def _algorithms(keys: Iterable[KeyId]) -> set[int]:
    return {algorithm for algorithm, _ in keys}


def _end(view: View) -> float:
    return float("inf") if view.until_s is None else view.until_s


def _until(view: View) -> str:
    if view.until_s is None:
        return ""
    at = datetime.fromtimestamp(view.until_s, UTC)
    return f"; resolvers may hold it until {at:%Y-%m-%dT%H:%M:%SZ}"
