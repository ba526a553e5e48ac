"""Signing for the supervisor: content in, signed versions that passed the gate out.

One `SigningDesk` holds what every signed zone was last signed with. Content that changes, keys that
roll and signatures that grow old all lead to one place, `_make`: steps, signatures, gate, save. A
version that the gate refuses is dropped, with the state that wanted it, and the old one serves on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import structlog

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.gate as gate
import quada.zones.rollover as rollover
from quada.store.held import TokenAway
from quada.store.keys import Fallen, Good, StaleSave, bring_key
from quada.wire.faults import DataFault
from quada.zones import Change, diff
from quada.zones.bootstrap import Signals, announced
from quada.zones.chain import plan
from quada.zones.keyset import (
    describe,
    ds_ids,
    key_set,
    unrenewable,
    unsigned_ahead,
    unsigned_online,
    world,
)
from quada.zones.offline import lasts_until
from quada.zones.online import OnlineKeys, is_needed
from quada.zones.sighting import agree
from quada.zones.sign import complete, due, sign_tasks, with_serial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.store.keys import KeyStore, SignedZone
    from quada.store.shelf import KeyMaker
    from quada.wire.records import Record
    from quada.zones import Zone
    from quada.zones.keystate import KeyId, State, Step
    from quada.zones.sighting import Sighting
    from quada.zones.signing import KeySet, Plan, Signing

BATCH: Final = 512  # our choice: RRsets a thread signs or verifies at a time
REFRESH_MAX: Final = 20_000  # our choice: signatures made anew in one round, half a second's work
SLACK_S: Final = 4 * 3600  # our choice: a large zone is refreshed six times a day, not always
HALT_S: Final = 3600  # our choice: after a rollback no key step is tried for an hour
JUMP_S: Final = 300  # our choice: a clock that moves this much by itself is not believed
MAX_SERIAL_STEP: Final = 1 << 31

log = structlog.get_logger()
_T = TypeVar("_T")
_R = TypeVar("_R")


class Made(NamedTuple):
    """A version to serve, and the steps that were taken to it."""

    version: Zone
    steps: list[Step]


class SigningDesk:
    """Signs the zones that the store has keys for. Threads wait for each other."""

    def __init__(self, store: KeyStore, *, threads: int | None = None) -> None:
        self._store = store
        self._threads = threads or min(4, len(os.sched_getaffinity(0)))
        self._content: dict[bytes, Zone] = {}
        self._signings: dict[bytes, Signing] = {}
        self._passed: dict[bytes, Zone] = {}
        self._held: dict[bytes, list[Step]] = {}
        self._used: dict[bytes, Good] = {}
        self._good: dict[bytes, Good] = {}
        self._fallen: dict[bytes, Fallen] = {}
        self._signals = Signals()
        self._signalled: dict[bytes, tuple[Record, ...]] = {}
        self._clock: tuple[float, float] | None = None
        self._is_resumed: set[bytes] = set()
        self._put_off: set[bytes] = set()
        self._lock = threading.Lock()
        self.refused: dict[str, list[str]] = {}

    def take(self, content: Zone) -> None:
        """Take note of content that serves already."""
        self._content[content.origin] = content

    def publish(self, content: Zone, now_s: int) -> Zone:
        """Give the version to serve for new content: itself, where its zone is not signed.

        Content that was rolled back stays so until it is changed.

        Raises: DataFault where the gate refuses; what serves stays.
        """
        origin = content.origin
        with self._lock:
            content = self._unless_fallen(content)
            before = self._content.get(origin)
            is_new = before is None or origin not in self._passed or any(diff(before, content))
            try:
                made = self._retry(content, now_s, is_new=is_new)
            except TokenAway:  # a tick publishes it once the token is back
                self._content[origin] = content
                self._put_off.add(origin)
                raise
            self._content[origin] = content
            self._put_off.discard(origin)
            if made is not None:
                return made.version
            return content if is_new else self._passed[origin]

    def tick(self, now_s: int, monotonic_s: float) -> list[Made]:
        """Do what time asks for: key steps, signatures grown old. Gives versions to serve.

        Takes the wall clock and one that never jumps: where they part, rollovers wait anew.
        """
        self._watch_clock(now_s, monotonic_s)
        out = []
        for origin in self._store.zones():
            content = self._content.get(origin)
            if content is None:
                continue
            try:
                with self._lock:
                    made = self._retry(content, now_s, is_new=origin in self._put_off)
                    self._put_off.discard(origin)
            except DataFault as fault:
                log.error("signing failed, the old version serves", fault=str(fault))
                continue
            if made is not None:
                out.append(made)
        return out

    def _retry(self, content: Zone, now_s: int, *, is_new: bool) -> Made | None:
        """Make a version; anew from the start where somebody changed the keys meanwhile."""
        for _ in range(3):
            signed = self._store.load(content.origin)
            if signed is None:
                return None
            with contextlib.suppress(StaleSave):
                return self._make(signed, content, now_s, is_new=is_new)
        raise DataFault("keys keep changing", place=names.to_text(content.origin))

    def online(self, origin: bytes) -> OnlineKeys | None:
        """Give the keys for answers of the moment; None where the zone has no ALIAS or pools."""
        content, signed = self._content.get(origin), self._store.load(origin)
        if content is None or signed is None:
            return None
        if not _has_online(content):
            return None
        signers = [ring.key for ring in signed.state.rings if ring.signs_zone]
        octets = [(*ident, signed.keys[ident].octets()) for ident in signers]
        return OnlineKeys(origin, tuple(octets)) if octets else None

    def see_parent(self, origin: bytes, sightings: Iterable[Sighting], now_s: int) -> str:
        """Take what the parent's servers said about DS; tell why it does not count, or ""."""
        signed = self._store.load(origin)
        if signed is None:
            return "the zone is not signed here"
        seen, why = agree(sightings, families=frozenset((4, 6)))
        if seen is None:
            return why
        ids = ds_ids(signed.state, origin, seen)
        if ids != signed.state.ds_seen:
            state = rollover.see_ds(signed.state, ids, signed.policy.rollover, now_s)
            try:
                self._store.save(signed._replace(state=state))
            except StaleSave:
                return "the keys were changed meanwhile; it will be looked at again"
            log.info("parent seen", zone=names.to_text(origin), ds=sorted(tag for _, tag in ids))
        return ""

    def found_good(self, origin: bytes, serial: int) -> None:
        """Remember, beyond a restart too, what a version was made of that validated outside."""
        with self._lock:
            used, fallen = self._used.get(origin), self._fall_of(origin)
            if used is None or used.serial != serial or self._good.get(origin) is used:
                return
            self._good[origin] = used
            self._store.keep_good(used, fallen)

    def _fall_of(self, origin: bytes) -> Fallen:
        if origin not in self._fallen:
            self._fallen[origin] = self._store.fallen(origin)
        return self._fallen[origin]

    def _unless_fallen(self, content: Zone) -> Zone:
        """Give content, or the good one in its place where this very content was rolled back."""
        origin = content.origin
        fallen = self._fall_of(origin)
        if not fallen.failed:
            return content
        good = self._good.get(origin) or self._store.good(origin)
        if good is not None and fallen.failed == _digest(content):
            self._good[origin] = good
            name = names.to_text(origin)
            log.warning("this content was rolled back, the good one serves", zone=name)
            return good.content
        self._fallen[origin] = fallen._replace(failed=b"")
        self._store.note_fall(origin, self._fallen[origin])
        return content

    def roll_back(self, origin: bytes, serial: int, now_s: int) -> Made | None:
        """Serve again what last validated from outside: content and keys, under a new serial.

        What went wrong since is forgotten, beliefs about the parent's DS included: they may be what
        was wrong. None where nothing else is known to be good, or the version serves no more.
        Raises: DataFault where the gate refuses it.
        """
        with self._lock:
            good, used = self._good.get(origin) or self._store.good(origin), self._used.get(origin)
            if good is None or used is None or not used.serial == serial != good.serial:
                return None
            signed = self._store.load(origin)
            if signed is None:
                return None
            before, fallen = self._passed.pop(origin), self._fall_of(origin)
            # Where keys and not content were at fault, the content is not to be held back.
            failed = _digest(used.content)
            is_same = failed == _digest(good.content)
            self._fallen[origin] = Fallen(b"" if is_same else failed, now_s + HALT_S)
            back = signed._replace(state=good.state, keys={**signed.keys, **good.keys})
            try:
                made = self._make(back, good.content, now_s, is_new=True)
            except DataFault:
                self._passed[origin], self._fallen[origin] = before, fallen
                raise
            self._content[origin], self._good[origin] = good.content, good
            self._store.note_fall(origin, self._fallen[origin])
            return made

    def away(self) -> dict[bytes, str]:
        """Tell why keys that zones have in a token cannot be used now; "" where they can."""
        labels: dict[str, list[str]] = {}
        for one in self._store.shelf.made():
            if one.use == "in use":
                labels.setdefault(one.zone, []).append(one.label)
        token = self._store.shelf.token if labels else None
        return {
            names.from_text(zone): token.missing(mine) if token is not None else "no token is named"
            for zone, mine in labels.items()
        }

    def secured(self) -> list[Zone]:
        """Give the versions that serve and whose parent has DS: the world validates them."""
        out = []
        for origin, version in list(self._passed.items()):
            signed = self._store.load(origin)
            if signed is not None and signed.state.ds_seen:
                out.append(version)
        return out

    def awaiting_parent(self) -> list[bytes]:
        """Give the zones whose parent is to be looked at."""
        loaded = [self._store.load(origin) for origin in self._store.zones()]
        return [
            signed.zone
            for signed in loaded
            if signed is not None and (signed.state.ds_asked or signed.state.ds_seen)
        ]

    def status(self) -> list[dict[str, Any]]:
        """Tell each signed zone's keys, serial and what is held."""
        out = []
        for origin in self._store.zones():
            signed = self._store.load(origin)
            if signed is not None:
                under = {names.to_text(one.owner) for one in self._signalled.get(origin, ())}
                held = [{"what": s.what, "waits_for": s.held} for s in self._held.get(origin, ())]
                name = names.to_text(origin)
                fallen = self._fallen.get(origin, Fallen())
                if self._clock is not None and self._clock[0] < fallen.halted_until:
                    held.append({"what": "key steps", "waits_for": "an hour after a rollback"})
                out.append(
                    {
                        "zone": name,
                        "serial": signed.serial,
                        "keys": describe(signed.state),
                        "held": held,
                        "refused": self.refused.get(name, []),
                        "is_rolled_back": bool(fallen.failed),
                        "signals": sorted(under),
                        "presigned_until": lasts_until(signed.presigned) or None,
                    }
                )
        return out

    # -------------------------------------------------------------------------------- one version

    def _make(self, signed: SignedZone, content: Zone, now_s: int, *, is_new: bool) -> Made | None:
        """Make, judge and save the next version; None where nothing asks for one."""
        origin, policy = signed.zone, signed.policy
        if content.rrset(origin, codes.DNSKEY) is not None:
            raise DataFault(
                "the content is signed already",
                place=names.to_text(origin),
                remedy="take DNSKEY, RRSIG, NSEC and NSEC3 out of it: quada makes its own",
            )
        max_ttl_s = _max_ttl_s(content)
        state = signed.state
        if origin not in self._is_resumed:
            state = rollover.resume(state, policy.rollover, max_ttl_s, now_s)
        state = rollover.prune(state, now_s)
        if not state.is_signed and not state.rings:
            self._store.remove(origin)  # taken back to unsigned, and nobody remembers otherwise
            return None
        is_pruned = state.rings != signed.state.rings
        is_halted = now_s < self._fall_of(origin).halted_until
        keys = dict(signed.keys)
        if not is_halted:
            state, keys = _with_due_keys(signed, state, now_s, self._store.shelf.make_key)
        ahead, rolling = signed.presigned, policy.rollover

        has_online = _has_online(content)

        def objection(state: State) -> str:
            return unsigned_online(state, keys, has_online=has_online) or unsigned_ahead(
                state, keys, rolling, origin, ahead, now_s
            )

        steps: list[Step] = []
        if not is_halted:
            state, steps = rollover.advance(state, rolling, max_ttl_s, now_s, objection=objection)
        self._held[origin] = [step for step in steps if step.at_s is None]
        taken = [step for step in steps if step.at_s is not None]
        fault = unsigned_online(state, keys, has_online=has_online)
        if fault:
            raise DataFault(
                fault,
                place=names.to_text(origin),
                remedy="have a ZSK here sign them: --ksk-zsk --in-token ksk",
            )
        last = self._signings.get(origin)
        renew = due(last, now_s, REFRESH_MAX, slack_s=SLACK_S) if last is not None else frozenset()
        key_setting = key_set(state, keys, rolling, origin, ahead, now_s)
        if last is not None and key_setting is not None:
            renew -= unrenewable(last.signed, key_setting, policy.signing.refresh_s, now_s)
        is_first = last is None and key_setting is not None
        signals: tuple[Record, ...] = ()
        if key_setting is not None:
            signals = self._signals.records(content, self._content.keys())
        is_new = is_new or signals != self._signalled.get(origin, ())
        if not (is_new or taken or renew or is_first):
            self._announce(content, state, key_setting)
            if is_pruned:  # keys that nobody needs any more are destroyed without a new version
                self._store.save(signed._replace(state=state, keys=keys))
            return None
        unsigned = with_serial(
            content.changed(Change((), signals)) if signals else content,
            _next_serial(content.serial, signed.serial),
        )
        signing, version = None, unsigned
        if key_setting is not None:
            made = plan(last, unsigned, key_setting, policy.signing, renew=renew)
            signing = complete(made, self._sign(made, key_setting, now_s))
            version = signing.signed
        self._judge(version, state, now_s)
        self._store.save(
            signed._replace(state=state, keys=keys, serial=unsigned.serial, max_ttl_s=max_ttl_s)
        )
        self._is_resumed.add(origin)
        self._passed[origin] = version
        self._signalled[origin] = signals
        self._used[origin] = Good(content, state, keys, unsigned.serial)
        self._announce(content, state, key_setting)
        if signing is not None:
            self._signings[origin] = signing
        else:
            self._signings.pop(origin, None)
        for step in taken:
            log.info("key step", zone=names.to_text(origin), what=step.what, why=step.why)
        return Made(version, taken)

    def _announce(self, content: Zone, state: State, keys: KeySet | None) -> None:
        """Have a child without DS signalled where its name servers' names are ours (RFC 9615)."""
        may = state.is_signed and not state.ds_seen
        self._signals.put(content.origin, announced(content, keys) if may else None)

    def _judge(self, version: Zone, state: State, now_s: int) -> None:
        name = names.to_text(version.origin)
        held = world(state, version.origin)
        case = gate.open_case(version, self._passed.get(version.origin), held, now_s)
        refusals = gate.close_case(case, self._spread(gate.verify, case.checks))
        if refusals:
            self.refused[name] = [str(refusal) for refusal in refusals]
            raise DataFault(
                f"the gate refuses this version: {refusals[0]}",
                place=name,
                remedy="the version before it goes on serving; see `quada dnssec status`",
            )
        self.refused.pop(name, None)

    def _sign(self, made: Plan, keys: KeySet, now_s: int) -> list[tuple[bytes, ...]]:
        origin = made.unsigned.origin
        return self._spread(
            lambda batch: sign_tasks(origin, batch, keys, made.policy, now_s), made.tasks
        )

    def _spread(self, work: Callable[[list[_T]], list[_R]], items: list[_T]) -> list[_R]:
        """Do work over threads: signing and verifying leave the interpreter free."""
        if len(items) <= BATCH or self._threads == 1:
            return work(items)
        batches = [items[at : at + BATCH] for at in range(0, len(items), BATCH)]
        with ThreadPoolExecutor(self._threads) as pool:
            return [result for batch in pool.map(work, batches) for result in batch]

    def _watch_clock(self, now_s: int, monotonic_s: float) -> None:
        before, self._clock = self._clock, (now_s, monotonic_s)
        if before is None:
            return
        jump_s = (now_s - before[0]) - (monotonic_s - before[1])
        if abs(jump_s) > JUMP_S:
            log.warning("the clock jumped; key rollovers wait anew", seconds=round(jump_s))
            self._is_resumed.clear()


def _with_due_keys(
    signed: SignedZone, state: State, now_s: int, make: KeyMaker
) -> tuple[State, dict[KeyId, Any]]:
    keys = dict(signed.keys)
    for role, why in rollover.due(state, signed.policy.rollover, now_s):
        state = bring_key(signed, state, keys, role, now_s, make)
        log.info("new key", zone=names.to_text(signed.zone), role=str(role), why=why)
    return state, keys


def _has_online(content: Zone) -> bool:
    """Tell whether answers of a zone are made, and so signed, when they are asked for."""
    return any(is_needed(rrset.rdtype for rrset in node) for node in content.nodes.values())


def _max_ttl_s(zone: Zone) -> int:
    return max((rrset.ttl for node in zone.nodes.values() for rrset in node), default=0)


def _digest(zone: Zone) -> bytes:
    """Give a digest of a zone's records, whatever their order."""
    made = hashlib.sha256()
    for one in sorted(zone.records()):
        made.update(repr(one).encode())
    return made.digest()


def _next_serial(content: int, served: int) -> int:
    """Give the serial to serve: the content's, unless one as great was served (RFC 1982).

    Before the first signed version the content itself may have been served, under its own serial.
    """
    served = served or content
    is_greater = 0 < (content - served) % (1 << 32) < MAX_SERIAL_STEP
    return content if is_greater else (served + 1) % (1 << 32) or 1
