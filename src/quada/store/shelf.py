"""Which token zone keys are in, and which key there is whose: kept beside the keys."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

import quada.wire.names as names
import quada.zones.keys as zone_keys
import quada.zones.signature as signature
from quada.store.held import HeldKeys, TokenAway, TokenPlace
from quada.wire.faults import DataFault
from quada.zones.keys import Key, KeyRole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.store.keys import SignedZone

    KeyMaker = Callable[["SignedZone", KeyRole, frozenset[int]], Key]
    """Makes a key of a role for a zone whose tag is none of those taken."""

metadata: Final = sa.MetaData()
_places: Final = sa.Table(
    "dnssec_token_place",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("module", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("pin_file", sa.Text, nullable=False),
)
# Rows stay when a key has left its zone: it is still in the token, which only its owner empties.
_held: Final = sa.Table(
    "dnssec_token",
    metadata,
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("dnskey", sa.LargeBinary, nullable=False),
    sa.Column("is_used", sa.Integer, nullable=False),
)
_zone_keys: Final = sa.table("dnssec_key", sa.column("zone"), sa.column("dnskey"))


class HeldKey(NamedTuple):
    """A key in a token: `use` is `in use`, `left` (its zone) or `spare` (made and not yet used)."""

    label: str
    zone: str
    dnskey: bytes
    use: str


class TokenShelf:
    """The token of a key store, and what was made in it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._token: HeldKeys | None = None
        metadata.create_all(engine)

    def close(self) -> None:
        """Close the token: before a fork, and at the end."""
        if self._token is not None:
            self._token.close()

    def need(self, zone: str) -> HeldKeys:
        """Give the token. Raises: DataFault where none was named."""
        token = self.token
        if token is None:
            raise _no_token(zone)
        return token

    def use(self, connection: sa.Connection, keys: Iterable[Key]) -> None:
        """Note that keys are a zone's now; what is not noted is spare."""
        labels = [key.label for key in keys if key.label]
        used = sa.update(_held).where(_held.c.label.in_(labels))
        connection.execute(used.values(is_used=1))

    @property
    def token(self) -> HeldKeys | None:
        """Give the token that zone keys are in; None where none was named."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_places)).first()
        if row is None:
            return None
        place = TokenPlace(Path(row.module), row.label, Path(row.pin_file))
        if self._token is None or self._token.place != place:
            if self._token is not None:
                self._token.close()
            self._token = HeldKeys(place)
        return self._token

    def set_token(self, place: TokenPlace) -> None:
        """Name the token that zone keys are in. Raises: TokenAway where it lacks keys in use."""
        held = HeldKeys(place)
        fault = held.missing(one.label for one in self.made() if one.use == "in use")
        held.close()
        if fault:
            raise TokenAway(fault, place=str(place.module), remedy="see `quada dnssec token show`")
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_places))
            connection.execute(
                sa.insert(_places).values(
                    id=1, module=str(place.module), label=place.label, pin_file=str(place.pin_file)
                )
            )

    def made(self) -> list[HeldKey]:
        """Give the keys that were ever made in tokens for zones here."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_held).order_by(_held.c.zone, _held.c.label)).all()
            if not rows:
                return []
            there = sa.select(_zone_keys.c.zone, _zone_keys.c.dnskey)
            used = {(row.zone, row.dnskey) for row in connection.execute(there)}
        return [
            HeldKey(
                row.label, row.zone, row.dnskey,
                "in use" if (row.zone, row.dnskey) in used else "left" if row.is_used else "spare",
            )
            for row in rows
        ]  # fmt: skip

    def make_key(self, signed: SignedZone, role: KeyRole, taken: frozenset[int]) -> Key:
        """Make a key where the zone's policy wants it: here, or in the token.

        A key in the token is noted before anything is done with it: what was made for a version
        that never came is taken by the next. Raises: TokenAway, DataFault where none is named.
        """
        policy = signed.policy.rollover
        if role not in policy.token_roles:
            return make_here(signed, role, taken)
        zone = names.to_text(signed.zone)
        token = self.need(zone)
        for one in self.made():
            flags = int.from_bytes(one.dnskey[:2], "big")
            is_fit = one.dnskey[3] == policy.algorithm and flags == role.flags
            is_free = signature.key_tag(one.dnskey) not in taken
            if (one.zone, one.use) == (zone, "spare") and is_fit and is_free:
                return self._bound(Key(signed.zone, role, one.dnskey), one.label, token)
        while True:
            label = f"{zone} {role} {secrets.token_hex(6)}"
            dnskey = token.make(label, policy.algorithm, role.flags)
            with self._engine.begin() as connection:
                connection.execute(
                    sa.insert(_held).values(label=label, zone=zone, dnskey=dnskey, is_used=0)
                )
            if signature.key_tag(dnskey) not in taken:
                return self._bound(Key(signed.zone, role, dnskey), label, token)

    def _bound(self, key: Key, label: str, token: HeldKeys | None) -> Key:
        """Give a key with what signs with it in the token."""

        def sign(octets: bytes) -> bytes:
            if token is None:
                raise _no_token(names.to_text(key.zone))
            return token.sign(label, octets)

        return key._replace(label=label, held=sign)

    def bound(self, zone: str, keys: list[Key]) -> list[Key]:
        """Give keys of a zone; to those that are in the token, what signs with them there."""
        if all(key.private is not None for key in keys):
            return keys
        wanted = sa.select(_held.c.dnskey, _held.c.label).where(_held.c.zone == zone)
        with self._engine.connect() as connection:
            labels = {row.dnskey: row.label for row in connection.execute(wanted)}
        token = self.token if labels else None
        return [
            self._bound(key, labels[key.dnskey], token) if key.dnskey in labels else key
            for key in keys
        ]


def make_here(signed: SignedZone, role: KeyRole, taken: frozenset[int]) -> Key:
    """Make a key in memory whose tag no other of the zone has."""
    while True:
        key = zone_keys.make_key(signed.zone, role, signed.policy.rollover.algorithm)
        if key.tag not in taken:
            return key


def _no_token(zone: str) -> DataFault:
    return DataFault(
        "keys of the zone are to be in a token, and none is named", place=zone,
        remedy="quada dnssec token set",
    )  # fmt: skip
