"""Who may do what: users, tokens, sessions, and the audit log of it all.

Nothing in this file gives access to whoever copies it: passwords are kept as argon2 hashes, tokens,
sessions and login links as SHA-256 of 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from quada.store.database import open_database, reading, writing
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

FILE: Final = "accounts.db"
SESSION_S: Final = 12 * 3600  # our choice: a working day
LINK_S: Final = 3600
PASSWORD_OCTETS_MIN: Final = 10  # NIST SP 800-63B asks for 8, we for a little more
_AUDIT_MAX: Final = 100_000
_MIGRATIONS: Final = (
    (
        "CREATE TABLE user (name TEXT PRIMARY KEY, password TEXT, scopes TEXT NOT NULL,"
        " created_at INTEGER NOT NULL)",
        "CREATE TABLE token (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,"
        " digest BLOB UNIQUE NOT NULL, scopes TEXT NOT NULL, created_at INTEGER NOT NULL,"
        " expires_at INTEGER)",
        "CREATE TABLE session (digest BLOB PRIMARY KEY, user TEXT NOT NULL, csrf TEXT NOT NULL,"
        " expires_at INTEGER NOT NULL, is_link INTEGER NOT NULL)",
        "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,"
        " who TEXT NOT NULL, place TEXT NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL)",
        "CREATE TABLE record_id (zone BLOB NOT NULL, digest INTEGER NOT NULL, id INTEGER NOT NULL,"
        " PRIMARY KEY (zone, digest)) WITHOUT ROWID",
    ),
)


class Token(NamedTuple):
    """A token as it may be shown: all of it but itself."""

    number: int
    name: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None


class User(NamedTuple):
    """A user; one without a password comes in by a login link only."""

    name: str
    scopes: tuple[str, ...]
    has_password: bool
    created_at: int


class Session(NamedTuple):
    """A login in a browser; `csrf` is what its forms must carry."""

    user: str
    csrf: str


class Audited(NamedTuple):
    """One line of the audit log."""

    at: int
    who: str
    place: str
    what: str
    about: str


class Accounts:
    """The accounts of a state directory. Every method is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._hasher = PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        """What is compared against where there is no such user, so that time tells nothing."""
        return self._hasher.hash(secrets.token_urlsafe())

    @classmethod
    def open(cls, path: Path) -> Accounts:
        """Open the file, and make it where there is none. Raises: ConfigFault."""
        return cls(open_database(path, _MIGRATIONS))

    def close(self) -> None:
        """Close the database: before a fork, and at the end."""
        self._engine.dispose()

    def users(self) -> list[User]:
        """Give all users."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT name, scopes, password IS NOT NULL, created_at FROM user ORDER BY name"
            )
            return [User(r[0], tuple(json.loads(r[1])), bool(r[2]), r[3]) for r in rows]

    def user(self, name: str) -> User | None:
        """Give one user."""
        return next((user for user in self.users() if user.name == name), None)

    def add_user(self, name: str, scopes: tuple[str, ...], now_s: int) -> None:
        """Add a user without a password. Raises: DataFault where the name is taken."""
        with writing(self._engine) as connection:
            if connection.exec_driver_sql("SELECT 1 FROM user WHERE name = ?", (name,)).first():
                raise DataFault("there is such a user", place=name)
            connection.exec_driver_sql(
                "INSERT INTO user VALUES (?, NULL, ?, ?)", (name, json.dumps(scopes), now_s)
            )

    def put_user(self, name: str, scopes: tuple[str, ...], now_s: int) -> None:
        """Add a user whom somebody else vouches for, or give them other scopes."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "INSERT INTO user VALUES (?, NULL, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET scopes = excluded.scopes",
                (name, json.dumps(scopes), now_s),
            )

    def set_password(self, name: str, password: str) -> None:
        """Set a user's password, which ends their sessions. Raises: DataFault for a short one."""
        if len(password) < PASSWORD_OCTETS_MIN:
            raise DataFault(
                f"a password has at least {PASSWORD_OCTETS_MIN} characters", place="password"
            )
        hashed = self._hasher.hash(password)
        with writing(self._engine) as connection:
            done = connection.exec_driver_sql(
                "UPDATE user SET password = ? WHERE name = ?", (hashed, name)
            )
            if not done.rowcount:
                raise DataFault("there is no such user", place=name)
            connection.exec_driver_sql("DELETE FROM session WHERE user = ?", (name,))

    def remove_user(self, name: str) -> None:
        """Remove a user and their sessions. Raises: DataFault where there is none."""
        with writing(self._engine) as connection:
            done = connection.exec_driver_sql("DELETE FROM user WHERE name = ?", (name,))
            if not done.rowcount:
                raise DataFault("there is no such user", place=name)
            connection.exec_driver_sql("DELETE FROM session WHERE user = ?", (name,))

    def check_password(self, name: str, password: str) -> User | None:
        """Give the user whose name and password these are."""
        nobody = self._nobody  # made at the first check, whoever it is for
        with reading(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT password FROM user WHERE name = ?", (name,)
            ).first()
        hashed = row[0] if row is not None and row[0] else nobody
        try:
            self._hasher.verify(hashed, password)
        except (VerifyMismatchError, InvalidHashError):
            return None
        return self.user(name)

    def tokens(self) -> list[Token]:
        """Give all tokens, less what they are."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT id, name, scopes, created_at, expires_at FROM token ORDER BY id"
            )
            return [Token(r[0], r[1], tuple(json.loads(r[2])), r[3], r[4]) for r in rows]

    def add_token(
        self, name: str, scopes: tuple[str, ...], now_s: int, expires_at: int | None = None
    ) -> str:
        """Make a token and give it, this once. Raises: DataFault where the name is taken."""
        secret = "quada_" + secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            if connection.exec_driver_sql("SELECT 1 FROM token WHERE name = ?", (name,)).first():
                raise DataFault("there is a token of that name", place=name)
            connection.exec_driver_sql(
                "INSERT INTO token (name, digest, scopes, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, _digest(secret), json.dumps(scopes), now_s, expires_at),
            )
        return secret

    def remove_token(self, name: str) -> None:
        """Remove a token. Raises: DataFault where there is none."""
        with writing(self._engine) as connection:
            if not connection.exec_driver_sql("DELETE FROM token WHERE name = ?", (name,)).rowcount:
                raise DataFault("there is no such token", place=name)

    def check_token(self, secret: str, now_s: int) -> Token | None:
        """Give the token that this is, unless it has expired."""
        with reading(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT id, name, scopes, created_at, expires_at FROM token WHERE digest = ?",
                (_digest(secret),),
            ).first()
        if row is None or (row[4] is not None and row[4] <= now_s):
            return None
        return Token(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])

    def begin_session(self, user: str, now_s: int) -> str:
        """Begin a session and give its cookie."""
        return self._keep(user, now_s + SESSION_S, now_s, is_link=False)

    def make_link(self, user: str, now_s: int) -> str:
        """Make what a one-time login link carries."""
        return self._keep(user, now_s + LINK_S, now_s, is_link=True)

    def use_link(self, secret: str, now_s: int) -> str | None:
        """Give the user of a login link, which from now on is void."""
        with writing(self._engine) as connection:
            row = connection.exec_driver_sql(
                "DELETE FROM session WHERE digest = ? AND is_link = 1 AND expires_at > ?"
                " RETURNING user",
                (_digest(secret), now_s),
            ).first()
        return None if row is None else str(row[0])

    def session(self, cookie: str, now_s: int) -> Session | None:
        """Give the session a cookie stands for, unless it has expired."""
        with reading(self._engine) as connection:
            row = connection.exec_driver_sql(
                "SELECT user, csrf FROM session"
                " WHERE digest = ? AND is_link = 0 AND expires_at > ?",
                (_digest(cookie), now_s),
            ).first()
        return None if row is None else Session(row[0], row[1])

    def end_session(self, cookie: str) -> None:
        """End a session."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql("DELETE FROM session WHERE digest = ?", (_digest(cookie),))

    def audit(self, at: int, who: str, place: str, what: str, about: str = "") -> None:
        """Write a line of the audit log; the oldest go when it is very long."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "INSERT INTO audit (at, who, place, what, about) VALUES (?, ?, ?, ?, ?)",
                (at, who[:200], place[:200], what, about[:1000]),
            )
            connection.exec_driver_sql(
                "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", (_AUDIT_MAX,)
            )

    def audited(self, limit: int = 100) -> list[Audited]:
        """Give the last lines of the audit log, newest first."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT at, who, place, what, about FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [Audited(*row) for row in rows]

    def kept_ids(self, zone: bytes) -> dict[int, int]:
        """Give the ids of records that were changed since they got them, by their digest now."""
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT digest, id FROM record_id WHERE zone = ?", (zone,)
            )
            return {row[0]: row[1] for row in rows}

    def keep_ids(self, zone: bytes, ids: dict[int, int]) -> None:
        """Keep ids of records whose content changed: digest now to id."""
        with writing(self._engine) as connection:
            for digest, number in ids.items():
                connection.exec_driver_sql(
                    "DELETE FROM record_id WHERE zone = ? AND id = ?", (zone, number)
                )
                if digest != number:
                    connection.exec_driver_sql(
                        "INSERT OR REPLACE INTO record_id VALUES (?, ?, ?)", (zone, digest, number)
                    )

    def _keep(self, user: str, expires_at: int, now_s: int, *, is_link: bool) -> str:
        secret = secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            connection.exec_driver_sql("DELETE FROM session WHERE expires_at <= ?", (now_s,))
            connection.exec_driver_sql(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?)",
                (_digest(secret), user, secrets.token_urlsafe(16), expires_at, int(is_link)),
            )
        return secret


def is_same(one: str, other: str) -> bool:
    """Compare secrets in a time that tells nothing of them."""
    return hmac.compare_digest(one.encode(), other.encode())


def audit_data(line: Audited) -> dict[str, Any]:
    """Give a line of the audit log as JSON data."""
    return line._asdict()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
