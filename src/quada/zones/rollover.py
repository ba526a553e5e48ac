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
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.zones.signature as signature
from quada.zones.keys import KeyRole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DAY_S: Final = 86_400
MAX_FORECAST_STEPS: Final = 64  # our choice: a rollover has at most six

KeyId = tuple[int, int]
"""Algorithm and tag. No two keys of a zone share them: makers of keys see to that."""

Ids = frozenset[KeyId]


class Method(StrEnum):
    """How a KSK is rolled (RFC 6781 4.1.2)."""

    DOUBLE_SIGNATURE = "double-signature"
    DOUBLE_DS = "double-ds"


class RolloverPolicy(NamedTuple):
    """Lifetimes and delays. A lifetime of 0 means: until somebody says so.

    `propagation_s` is how long a version may take to reach all our servers, `parent_s` the same for
    the parent's (Dprp in RFC 7583 2). `frozen` are spans in which no rollover starts.
    """

    algorithm: int = signature.ECDSAP256SHA256
    has_csk: bool = True
    zsk_lifetime_s: int = 90 * DAY_S
    ksk_lifetime_s: int = 0
    method: Method = Method.DOUBLE_SIGNATURE
    dnskey_ttl_s: int = 3600
    ds_ttl_s: int = 86_400
    propagation_s: int = 300
    parent_s: int = 3600
    frozen: tuple[tuple[int, int], ...] = ()

    @property
    def roles(self) -> tuple[KeyRole, ...]:
        """The roles a zone's keys have."""
        return (KeyRole.CSK,) if self.has_csk else (KeyRole.KSK, KeyRole.ZSK)


class Ring(NamedTuple):
    """One key's place: whether it is to stay, and the four things it may be doing.

    `wants_ds` means that CDS asks the parent for its DS.
    """

    key: KeyId
    role: KeyRole
    dnskey: bytes
    made_at: int
    is_staying: bool = True
    is_published: bool = False
    signs_keys: bool = False
    signs_zone: bool = False
    wants_ds: bool = False

    @property
    def is_idle(self) -> bool:
        """True where it does nothing at all."""
        return not (self.is_published or self.signs_keys or self.signs_zone or self.wants_ds)


class Keys(NamedTuple):
    """A DNSKEY RRset as resolvers hold it: the keys in it, and those that signed it."""

    published: Ids
    signed_by: Ids


class View(NamedTuple):
    """A version that resolvers may hold: until `until_s`, or None while it is being served."""

    content: Keys | Ids
    until_s: int | None = None


class State(NamedTuple):
    """All that is known of a zone's keys. A value: a refused step leaves no trace.

    `is_signed` False takes the zone back to unsigned. `ds_seen` is what the parent was last seen
    with, None before anybody looked; `ds_asked` what CDS asked for last.
    """

    rings: tuple[Ring, ...] = ()
    dnskeys: tuple[View, ...] = (View(Keys(frozenset(), frozenset())),)
    signatures: tuple[View, ...] = (View(frozenset()),)
    ds: tuple[View, ...] = (View(frozenset()),)
    ds_seen: Ids | None = None
    ds_asked: Ids = frozenset()
    is_signed: bool = True

    @property
    def ds_wanted(self) -> Ids:
        """The keys whose DS the parent should have."""
        return frozenset(ring.key for ring in self.rings if ring.wants_ds)

    def staying(self, role: KeyRole) -> Iterator[Ring]:
        """Give the keys of a role that are to stay."""
        return (ring for ring in self.rings if ring.role is role and ring.is_staying)


class Step(NamedTuple):
    """A step taken or to come: when, what, why then. `held` names what it waits for."""

    at_s: int | None
    what: str
    why: str
    held: str = ""


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
        return f"DS of {_text(ds)} leads to no key in the DNSKEY RRset with {_text(keys.published)}"
    missing = _algorithms(ds) - _algorithms(entry)
    if missing:
        return f"DS has algorithm {min(missing)}, by which the DNSKEY RRset is not signed"
    return ""


def _signature_fault(ds: Ids, keys: Keys, made: Ids) -> str:
    fit = made & keys.published
    if not made:
        return f"data without signatures do not fit the DNSKEY RRset {_text(keys.published)}"
    if not fit:
        return f"signatures by {_text(made)} do not fit the DNSKEY RRset {_text(keys.published)}"
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


class Sighting(NamedTuple):
    """What one server of the parent said about our DS, over one family; None for no answer."""

    server: str
    family: int
    ds: frozenset[bytes] | None


def agree(
    sightings: Iterable[Sighting], *, families: frozenset[int]
) -> tuple[frozenset[bytes] | None, str]:
    """Give the DS set all parent servers agree on, or None and why there is none.

    Takes the families that must have been heard: normally both, so that a parent whose IPv6 servers
    lag does not count as done.
    """
    heard: dict[int, set[frozenset[bytes]]] = {}
    silent = []
    for server, family, ds in sightings:
        if ds is None:
            silent.append(f"{server} over IPv{family}")
        else:
            heard.setdefault(family, set()).add(ds)
    unheard = sorted(families - heard.keys(), reverse=True)
    if unheard:
        return None, f"no server of the parent answered over IPv{unheard[0]}"
    said = set().union(*heard.values()) if heard else set()
    if len(said) != 1:
        return None, "the parent's servers disagree about DS" if said else "nobody was asked"
    if silent:
        return None, f"{silent[0]} did not answer"
    return said.pop(), ""


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
    state: State, policy: RolloverPolicy, max_ttl_s: int, now_s: int
) -> tuple[State, list[Step]]:
    """Take every step that is admissible now; give the state to serve, and steps taken and held.

    The caller publishes what the state says and keeps it, or keeps the old one if it cannot.
    """
    base = state = prune(state, now_s)
    taken: list[Step] = []
    while True:
        held: list[Step] = []
        for what, why, wanted in _wishes(state, policy):
            # From the base: what several steps pass through between them is never served.
            candidate = serve(base._replace(rings=wanted.rings), max_ttl_s, policy, now_s)
            fault = unsound(candidate)
            if not fault:
                state = candidate
                taken.append(Step(now_s, what, why))
                break
            held.append(Step(None, what, why, fault))
        else:
            return state, [*taken, *held, *_waiting(state)]


def _waiting(state: State) -> list[Step]:
    wanted = state.ds_wanted
    if state.ds_seen is None and not wanted:
        return []
    if state.ds_seen == wanted:
        return []
    what = f"parent publishes DS of {_text(wanted)}" if wanted else "parent removes DS"
    seen = _text(state.ds_seen) if state.ds_seen else "none"
    return [Step(None, what, "CDS and CDNSKEY ask for it", f"the parent was seen with {seen}")]


def _wishes(state: State, policy: RolloverPolicy) -> Iterator[tuple[str, str, State]]:
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
            f"ask the parent for DS of {_text(wanted)}",
            "all resolvers that hold DNSKEY have the key",
            _change_all(state, lambda ring: ring._replace(wants_ds=ring.key in wanted)),
        )
    for ring in state.rings:
        if not ring.is_staying:
            yield from _wishes_of_going(state, ring)


def _wishes_of_staying(
    state: State, ring: Ring, *, has_double_ds: bool
) -> Iterator[tuple[str, str, State]]:
    name = _name(ring)
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
                    f"ask the parent for DS of {name} beside {_name(predecessor)}",
                    "double-DS: the parent goes first (RFC 6781 4.1.2)",
                    _change(state, ring, wants_ds=True),
                )
                return
            swapped = _change(state, ring, is_published=True, signs_keys=True)
            yield (
                f"publish {name} in place of {_name(predecessor)}",
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
        instead = f" in place of {_name(rivals[0])}" if rivals else ""
        yield (
            f"sign the zone with {name}{instead}",
            "all resolvers that hold DNSKEY have the key",
            after,
        )


def _wishes_of_going(state: State, ring: Ring) -> Iterator[tuple[str, str, State]]:
    """Give what a going key may stop; only once one that stays does its part, DS or no DS."""
    name = _name(ring)
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
            out.append((role, f"{_name(here[0])} has reached its lifetime"))
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
            what = f"parent has DS of {_text(state.ds_wanted)}" if state.ds_wanted else "DS is gone"
            out.append(Step(now_s, what, "the parent's part", "expected, not known"))
            continue
        ends = [v.until_s for v in (*state.dnskeys, *state.signatures, *state.ds) if v.until_s]
        if not ends:
            break
        now_s = max(now_s + 1, min(ends))
    return out


# ----------------------------------------------------------------------------------------- pieces


def key_id(dnskey: bytes) -> KeyId:
    """Give a key's algorithm and tag."""
    return dnskey[3], signature.key_tag(dnskey)


def _predecessor(state: State, ring: Ring) -> Ring | None:
    return next((r for r in state.rings if r.role is ring.role and not r.is_staying), None)


def _change(state: State, ring: Ring, **fields: Any) -> State:
    return state._replace(
        rings=tuple(r._replace(**fields) if r.key == ring.key else r for r in state.rings)
    )


def _change_all(state: State, change: Callable[[Ring], Ring]) -> State:
    return state._replace(rings=tuple(change(ring) for ring in state.rings))


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


def _text(keys: Iterable[KeyId]) -> str:
    return " and ".join(str(tag) for _, tag in sorted(keys)) or "no key"


def _name(ring: Ring) -> str:
    algorithm = signature.ALGORITHM_NAMES.get(ring.key[0], str(ring.key[0]))
    return f"{ring.role.upper()} {ring.key[1]} ({algorithm})"
