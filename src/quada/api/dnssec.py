"""Keys and signing over HTTP: state, plan, DS, and the changes that `quada dnssec` makes.

The server acts on what is saved here at once where it runs, else at its start.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

import quada.api.signing as signing
import quada.wire.names as names
from quada.api.access import Caller
from quada.api.operations import NotFound, Operations
from quada.api.problem import RESPONSES
from quada.api.records import read_owner
from quada.api.trial import DryRun
from quada.store.keys import KeyStore, SignedZone, StaleSave
from quada.store.shelf import make_here
from quada.wire.faults import ReachFault
from quada.zones.keys import Key, KeyRole

_TRIES: Final = 3
_TAGS_MAX: Final = 64


class RollBody(BaseModel):
    """Which keys to replace; `is_cancelled` turns a rollover under way round."""

    role: str = Field("", description="ksk, zsk or csk; empty is all.", max_length=10)
    algorithm: str = Field("", description="Change the zone to this algorithm.", max_length=40)
    is_cancelled: bool = False


class SeenBody(BaseModel):
    """Tags of the keys whose DS the parent has; empty is none."""

    tags: list[Annotated[int, Field(ge=0, le=0xFFFF)]] = Field(max_length=_TAGS_MAX)


class KeyView(BaseModel):
    """One key and what it does."""

    tag: int
    algorithm: str
    role: str
    state: str
    signs_zone: bool
    signs_keys: bool
    has_ds: bool
    wants_ds: bool
    made_at: int


class StepView(BaseModel):
    """A step to come; `held` says what it waits for."""

    at_s: int | None
    what: str
    why: str
    held: str


class RollView(BaseModel):
    """A rollover that a lifetime will start."""

    at_s: int
    what: str


class Plan(BaseModel):
    """What is to come."""

    steps: list[StepView]
    rollovers: list[RollView]


class Signed(BaseModel):
    """A zone's keys. `server` is what the running server adds: what is held, refused, seen.

    `in_token` are the tags of those that are in a token.
    """

    zone: str
    is_signed: bool
    is_staying_signed: bool
    serial: int
    keys: list[KeyView]
    in_token: list[int] = []
    server: dict[str, Any] | None = None


class Changed(Signed):
    """A zone's keys after a change, what comes next, and what the server did at once."""

    plan: Plan
    is_live: bool
    steps: list[str]


class Ds(BaseModel):
    """The DS records the parent should have now, as zone text; none while it must not."""

    zone: str
    ds: list[str]


class ZoneKeys:
    """The key operations with their callers; opens the key store when there is one."""

    def __init__(self, operations: Operations, state_dir: Path) -> None:
        self._operations = operations
        self._state_dir = state_dir
        self._store: KeyStore | None = None

    def signed(self, caller: Caller) -> list[SignedZone]:
        """Give the signed zones a caller may see."""
        store = self._open()
        found = [store.load(one) for one in store.zones() if caller.may_see(one)] if store else []
        return [one for one in found if one is not None]

    def find(self, caller: Caller, name: str) -> tuple[bytes, SignedZone | None]:
        """Give a zone's origin, and its keys where it has some. Raises: NotFound."""
        origin = self._origin(caller, name)
        store = self._open()
        return origin, store.load(origin) if store else None

    def load(self, caller: Caller, name: str) -> SignedZone:
        """Give a zone's keys. Raises: NotFound where it is not signed here."""
        _, found = self.find(caller, name)
        if found is None:
            raise NotFound("the zone is not signed here", place="zone")
        return found

    def change(
        self,
        caller: Caller,
        name: str,
        what: str,
        alter: Callable[[SignedZone | None, bytes], SignedZone],
        *,
        is_trial: bool,
    ) -> Changed:
        """Change a zone's keys and have the server act; a trial only tells what would come.

        Raises: Denied, NotFound, DataFault, StaleSave.
        """
        caller.need_admin()
        for attempt in range(_TRIES):
            origin, known = self.find(caller, name)
            after = alter(known, origin)
            told = self._told(after)
            if is_trial:
                return Changed(**told, is_live=False, steps=[])
            try:
                self._made().save(after)
                break
            except StaleSave:  # the server ticked meanwhile: look again
                if attempt == _TRIES - 1:
                    raise
        self._operations.audit(caller, f"dnssec: {what}", names.to_text(origin))
        try:
            steps, is_live = self._operations.server.command("dnssec-tick"), True
        except ReachFault:
            steps, is_live = [], False
        _, saved = self.find(caller, name)
        return Changed(**self._told(saved or after), is_live=is_live, steps=steps)

    def make_key(self, signed: SignedZone, role: KeyRole, taken: frozenset[int]) -> Key:
        """Make a key where the zone's policy wants it; see the store's."""
        return self._made().shelf.make_key(signed, role, taken)

    def view(self, origin: bytes, signed: SignedZone | None) -> Signed:
        """Give a zone's keys with what the running server knows of them."""
        if signed is None:
            return Signed(
                zone=names.to_text(origin), is_signed=False, is_staying_signed=False, serial=0,
                keys=[],
            )  # fmt: skip
        name = names.to_text(origin)
        try:
            rows = self._operations.server.command("status")["dnssec"]
        except ReachFault:
            rows = []
        server = next((row for row in rows if row["zone"] == name), None)
        return Signed(**signing.signed_data(signed), is_signed=True, server=server)

    def _told(self, signed: SignedZone) -> dict[str, Any]:
        told = signing.outlook(signed, self._operations.now())
        plan = Plan.model_validate(signing.outlook_data(told))
        return {**signing.signed_data(signed), "is_signed": True, "plan": plan}

    def _origin(self, caller: Caller, name: str) -> bytes:
        """Find a zone: in the store, or one of the server's that comes from a file."""
        try:
            return self._operations.zone_view(caller, name).origin
        except NotFound:
            origin = read_owner(name if name.endswith(".") else f"{name}.", names.ROOT)
            if not caller.may_see(origin) or not self._is_ours(origin):
                raise
            return origin

    def _is_ours(self, origin: bytes) -> bool:
        store = self._open()
        if store is not None and store.load(origin) is not None:
            return True
        try:
            rows = self._operations.server.command("status")["zones"]
        except ReachFault:
            return False
        return any(row["zone"] == names.to_text(origin) for row in rows)

    def _open(self) -> KeyStore | None:
        if self._store is None and (self._state_dir / "keys.db").exists():
            self._store = KeyStore.open(self._state_dir)
        return self._store

    def _made(self) -> KeyStore:
        if self._store is None:
            self._store = KeyStore.open(self._state_dir)
        return self._store


def make_router(
    operations: Operations, caller_of: Callable[..., Caller], keys: ZoneKeys
) -> APIRouter:
    """Make the routes. Takes what gives a request's caller, and the key operations."""
    router = APIRouter(prefix="/quada/v1", tags=["quada"], responses=RESPONSES)
    Who = Annotated[Caller, Depends(caller_of)]
    path = "/zones/{zone}/dnssec"

    @router.get("/dnssec")
    def every(caller: Who) -> list[Signed]:
        return [keys.view(one.zone, one) for one in keys.signed(caller)]

    @router.get(path)
    def state(zone: str, caller: Who) -> Signed:
        return keys.view(*keys.find(caller, zone))

    @router.get(f"{path}/plan")
    def plan(zone: str, caller: Who) -> Plan:
        told = signing.outlook(keys.load(caller, zone), operations.now())
        return Plan.model_validate(signing.outlook_data(told))

    @router.get(f"{path}/ds")
    def ds(zone: str, caller: Who) -> Ds:
        signed = keys.load(caller, zone)
        return Ds(zone=names.to_text(signed.zone), ds=signing.ds_lines(signed))

    @router.put(path)
    def enable(zone: str, wanted: signing.Wanted, caller: Who, dry_run: DryRun = False) -> Changed:
        return keys.change(
            caller, zone, "enabled",
            lambda known, origin: signing.enable(known, origin, wanted), is_trial=dry_run,
        )  # fmt: skip

    @router.delete(path)
    def disable(zone: str, caller: Who, dry_run: DryRun = False) -> Changed:
        return keys.change(
            caller, zone, "disabled",
            lambda known, _: signing.disable(_there(known)), is_trial=dry_run,
        )  # fmt: skip

    @router.post(f"{path}/rollover")
    def rollover(zone: str, body: RollBody, caller: Who, dry_run: DryRun = False) -> Changed:
        def alter(known: SignedZone | None, _: bytes) -> SignedZone:
            if body.is_cancelled:
                return signing.turn_back(_there(known))
            return signing.roll(
                _there(known), operations.now(), role=body.role, algorithm=body.algorithm,
                make=make_here if dry_run else keys.make_key,
            )  # fmt: skip

        what = "rollover turned back" if body.is_cancelled else f"rollover {body.role}".rstrip()
        return keys.change(caller, zone, what, alter, is_trial=dry_run)

    @router.post(f"{path}/seen")
    def seen(zone: str, body: SeenBody, caller: Who, dry_run: DryRun = False) -> Changed:
        return keys.change(
            caller, zone, f"parent has DS of {body.tags}",
            lambda known, _: signing.see(_there(known), body.tags, operations.now()),
            is_trial=dry_run,
        )  # fmt: skip

    return router


def _there(known: SignedZone | None) -> SignedZone:
    if known is None:
        raise NotFound("the zone is not signed here", place="zone")
    return known
