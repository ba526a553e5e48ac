"""Signing keys and rollover states at rest: what a zone's signatures hang on outlives the process.

Private halves are sealed (AES-256-GCM) with a key in a file of its own, so that a copied database
gives nothing away. A save is one transaction and fails where somebody else saved in between.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa

import quada.wire.names as names
import quada.zones.keys as zone_keys
from quada.store.journal import pack_records, unpack_records
from quada.store.shelf import TokenShelf
from quada.wire.faults import ConfigFault, DataFault
from quada.zones import Zone
from quada.zones.keys import Key, KeyRole
from quada.zones.keyset import read_state, write_state
from quada.zones.keystate import Method, RolloverPolicy, State, key_id
from quada.zones.offline import read_response, write_response
from quada.zones.rollover import add_key
from quada.zones.signing import SigningPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from quada.store.shelf import KeyMaker
    from quada.zones.keystate import KeyId
    from quada.zones.offline import Presigned

metadata: Final = sa.MetaData()
_zones: Final = sa.Table(
    "dnssec_zone",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("max_ttl_s", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
_keys: Final = sa.Table(
    "dnssec_key",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("algorithm", sa.Integer, primary_key=True),
    sa.Column("tag", sa.Integer, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("dnskey", sa.LargeBinary, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
_offline: Final = sa.Table(
    "dnssec_offline",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("spares", sa.Text, nullable=False),
    sa.Column("presigned", sa.Text, nullable=False),
)
_good: Final = sa.Table(
    "dnssec_good",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("keys", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("failed", sa.LargeBinary, nullable=False),
    sa.Column("halted_until", sa.BigInteger, nullable=False),
)


class StaleSave(DataFault):
    """Somebody else saved the zone's keys since they were loaded."""

    code = "stale-save"


class ZonePolicy(NamedTuple):
    """How one zone is signed, and how its keys roll."""

    signing: SigningPolicy = SigningPolicy()
    rollover: RolloverPolicy = RolloverPolicy()


class SignedZone(NamedTuple):
    """What the store knows of a signed zone. `serial` is the last one served; 0 before the first.

    `max_ttl_s` is the zone's largest TTL; `revision` is the store's, and tells whether somebody
    saved in between. With an offline KSK: `spares` are ZSKs made ahead, in the order they will be
    taken, and `presigned` is what the KSK has signed.
    """

    zone: bytes
    policy: ZonePolicy = ZonePolicy()
    state: State = State()
    keys: dict[KeyId, Key] = {}  # noqa: RUF012 - never changed
    serial: int = 0
    max_ttl_s: int = 3600
    revision: int = 0
    spares: tuple[KeyId, ...] = ()
    presigned: tuple[Presigned, ...] = ()


class Good(NamedTuple):
    """What a version that validated outside was made of."""

    content: Zone
    state: State
    keys: dict[KeyId, Key]
    serial: int


class Fallen(NamedTuple):
    """What was rolled back: a digest of the content that failed, and until when keys stay put."""

    failed: bytes = b""
    halted_until: int = 0


class KeyStore:
    """Keys and states in a database. Every method is one transaction."""

    def __init__(self, engine: sa.Engine, sealing_key: bytes) -> None:
        self._engine = engine
        self._sealing_key = sealing_key
        self.shelf = TokenShelf(engine)
        metadata.create_all(engine)

    @classmethod
    def open(cls, state_dir: Path, sealing_key_file: Path | None = None) -> KeyStore:
        """Open the store of a state directory, and make it and its sealing key where they are not.

        Raises: ConfigFault where the sealing key's file is not a key's.
        """
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        path = state_dir / "keys.db"
        if not path.exists():
            path.touch(mode=0o600)
        engine = sa.create_engine(f"sqlite:///{path}")

        @sa.event.listens_for(engine, "connect")
        def _set_up(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA busy_timeout = 10000")

        return cls(engine, _sealing_key(sealing_key_file or state_dir / "sealing.key"))

    def close(self) -> None:
        """Close the database and the token: before a fork, and at the end."""
        self._engine.dispose()
        self.shelf.close()

    def zones(self) -> list[bytes]:
        """Give the zones that are signed, or are being taken back."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_zones.c.zone).order_by(_zones.c.zone))
            return [names.from_text(row.zone) for row in rows]

    def load(self, zone: bytes) -> SignedZone | None:
        """Load a zone's keys and state; None where it is not signed here.

        Raises: DataFault where the sealing key is not the one it was saved with.
        """
        text = names.to_text(zone)
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_zones).where(_zones.c.zone == text)).first()
            if row is None:
                return None
            made = connection.execute(sa.select(_keys).where(_keys.c.zone == text)).all()
            ahead = connection.execute(sa.select(_offline).where(_offline.c.zone == text)).first()
        keys = [
            zone_keys.unseal(zone, KeyRole(k.role), k.dnskey, k.sealed, self._sealing_key)
            for k in made
        ]
        keys = self.shelf.bound(text, keys)
        return SignedZone(
            zone,
            _read_policy(row.policy),
            read_state(row.state),
            {key_id(key.dnskey): key for key in keys},
            row.serial,
            row.max_ttl_s,
            row.revision,
            tuple((one[0], one[1]) for one in json.loads(ahead.spares)) if ahead else (),
            tuple(read_response(ahead.presigned, text)[1]) if ahead else (),
        )

    def save(self, signed: SignedZone) -> SignedZone:
        """Save a zone whole; give it with its new revision.

        Keys that the state no longer has are destroyed. Raises: StaleSave where somebody else saved
        since it was loaded; load again and redo.
        """
        text = names.to_text(signed.zone)
        if signed.policy.rollover.token_roles:
            self.shelf.need(text)
        values = {
            "policy": _write_policy(signed.policy),
            "state": write_state(signed.state),
            "serial": signed.serial,
            "max_ttl_s": signed.max_ttl_s,
            "revision": signed.revision + 1,
        }
        kept = {ring.key for ring in signed.state.rings}
        spares = tuple(one for one in signed.spares if one not in kept)
        kept.update(spares)
        with self._begin() as connection:
            if signed.revision == 0:
                known = connection.execute(sa.select(_zones.c.zone).where(_zones.c.zone == text))
                changed = 0 if known.first() else 1
                if changed:
                    connection.execute(sa.insert(_zones).values(zone=text, **values))
            else:
                same = (_zones.c.zone == text) & (_zones.c.revision == signed.revision)
                changed = connection.execute(
                    sa.update(_zones).where(same).values(**values)
                ).rowcount
            if not changed:
                raise StaleSave("keys were changed meanwhile", place=text, remedy="try again")
            connection.execute(sa.delete(_keys).where(_keys.c.zone == text))
            rows = [self._row(text, key) for ident, key in signed.keys.items() if ident in kept]
            if rows:
                connection.execute(sa.insert(_keys), rows)
                self.shelf.use(connection, signed.keys.values())
            connection.execute(sa.delete(_offline).where(_offline.c.zone == text))
            if spares or signed.presigned:
                ahead = write_response(signed.zone, signed.presigned)
                values = {"zone": text, "spares": json.dumps(spares), "presigned": ahead}
                connection.execute(sa.insert(_offline).values(**values))
        keys = {ident: key for ident, key in signed.keys.items() if ident in kept}
        return signed._replace(keys=keys, revision=signed.revision + 1, spares=spares)

    def keep_good(self, good: Good, fallen: Fallen) -> None:
        """Keep what a version was made of that validated outside, in place of the one before."""
        text = names.to_text(good.content.origin)
        keys = [self._row(text, key) for key in good.keys.values()]
        kept = [[row["role"], row["dnskey"].hex(), row["sealed"].hex()] for row in keys]
        content = zlib.compress(pack_records(good.content.records()), 1)
        with self._begin() as connection:
            connection.execute(sa.delete(_good).where(_good.c.zone == text))
            connection.execute(
                sa.insert(_good).values(
                    zone=text, serial=good.serial, state=write_state(good.state),
                    keys=json.dumps(kept), content=content, **fallen._asdict(),
                )
            )  # fmt: skip

    def good(self, zone: bytes) -> Good | None:
        """Give what was kept of a zone's last good version. Raises: DataFault; see `load`."""
        text = names.to_text(zone)
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_good).where(_good.c.zone == text)).first()
        if row is None:
            return None
        keys = [
            zone_keys.unseal(
                zone, KeyRole(role), bytes.fromhex(dnskey), bytes.fromhex(sealed), self._sealing_key
            )
            for role, dnskey, sealed in json.loads(row.keys)
        ]
        keys = self.shelf.bound(text, keys)
        content = Zone.build(zone, unpack_records(zlib.decompress(row.content)))
        return Good(
            content, read_state(row.state), {key_id(key.dnskey): key for key in keys}, row.serial
        )

    def note_fall(self, zone: bytes, fallen: Fallen) -> None:
        """Note that a zone was rolled back to its good version."""
        with self._begin() as connection:
            same = _good.c.zone == names.to_text(zone)
            connection.execute(sa.update(_good).where(same).values(**fallen._asdict()))

    def fallen(self, zone: bytes) -> Fallen:
        """Tell what of a zone was rolled back."""
        wanted = sa.select(_good.c.failed, _good.c.halted_until)
        with self._engine.connect() as connection:
            row = connection.execute(wanted.where(_good.c.zone == names.to_text(zone))).first()
        return Fallen() if row is None else Fallen(row.failed, row.halted_until)

    def remove(self, zone: bytes) -> None:
        """Forget a zone and destroy its keys."""
        text = names.to_text(zone)
        with self._begin() as connection:
            connection.execute(sa.delete(_good).where(_good.c.zone == text))
            connection.execute(sa.delete(_keys).where(_keys.c.zone == text))
            connection.execute(sa.delete(_offline).where(_offline.c.zone == text))
            connection.execute(sa.delete(_zones).where(_zones.c.zone == text))

    def _row(self, zone: str, key: Key) -> dict[str, Any]:
        algorithm, tag = key_id(key.dnskey)
        return {
            "zone": zone,
            "algorithm": algorithm,
            "tag": tag,
            "role": str(key.role),
            "dnskey": key.dnskey,
            "sealed": zone_keys.seal(key, self._sealing_key, secrets.token_bytes(12)),
        }

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            # IMMEDIATE: two writers wait for each other at the start, not at the end.
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


def bring_key(
    signed: SignedZone,
    state: State,
    keys: dict[KeyId, Key],
    role: KeyRole,
    now_s: int,
    make: KeyMaker,
) -> State:
    """Bring in a key of a role that replaces those there: a spare one, or one that is made.

    Puts it into `keys`. `make` is a shelf's `make_key`, or `make_here` where nothing is saved.
    """
    there = {ring.key for ring in state.rings}
    spare = next((one for one in signed.spares if one not in there), None)
    if role is KeyRole.ZSK and spare is not None:
        key = keys[spare]
    else:
        key = make(signed, role, taken_tags(keys))
        keys[key_id(key.dnskey)] = key
    replaces = frozenset(ring.key for ring in state.staying(role))
    return add_key(state, role, key.dnskey, now_s, replaces=replaces)


def taken_tags(keys: Mapping[KeyId, Key]) -> frozenset[int]:
    """Give the tags that a new key of the zone must not have."""
    return frozenset(tag for _, tag in keys)


def _sealing_key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(zone_keys.SEAL_OCTETS))
            file.flush()
            os.fsync(file.fileno())
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigFault(f"cannot read it: {error.strerror}", place=str(path)) from error
    if len(key) != zone_keys.SEAL_OCTETS:
        raise ConfigFault(
            f"a sealing key has {zone_keys.SEAL_OCTETS} octets, this file {len(key)}",
            place=str(path),
            remedy="put the right file back: keys cannot be read without it",
        )
    return key


def _write_policy(policy: ZonePolicy) -> str:
    signing = {**policy.signing._asdict(), "nsec3_salt": policy.signing.nsec3_salt.hex()}
    return json.dumps({"signing": signing, "rollover": policy.rollover._asdict()})


def _read_policy(text: str) -> ZonePolicy:
    made = json.loads(text)
    signing, rolling = made["signing"], made["rollover"]
    signing["nsec3_salt"] = bytes.fromhex(signing["nsec3_salt"])
    rolling["method"] = Method(rolling["method"])
    rolling["frozen"] = tuple((start, end) for start, end in rolling["frozen"])
    rolling["token_roles"] = tuple(map(KeyRole, rolling.get("token_roles", ())))
    return ZonePolicy(SigningPolicy(**signing), RolloverPolicy(**rolling))
