"""What was answered to requests with an idempotency key, so that a repeat is no second change.

A key is taken before its request runs and given its answer afterwards. A key whose request never
ended (the process died in between) stays without one: whether its change was made is then unknown,
and a repeat is told so and not run again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.store.database import open_database, writing
from quada.wire.faults import DataFault, PeerFault

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

FILE: Final = "answers.db"
KEEP_S: Final = 24 * 3600  # our choice: Stripe's precedent, longer than any client's retries
KEY_OCTETS_MAX: Final = 255  # our choice: Stripe's precedent
CALLER_KEYS_MAX: Final = 20_000  # our choice: one key every four seconds of a day
CALLER_OCTETS_MAX: Final = 32 << 20
ANSWER_OCTETS_MAX: Final = 1 << 20  # packed; of a larger one only status and headers are kept
_MIGRATIONS: Final = (
    (
        "CREATE TABLE answer (caller BLOB NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL,"
        " run TEXT NOT NULL, at INTEGER NOT NULL, octets INTEGER NOT NULL DEFAULT 0,"
        " status INTEGER, headers TEXT, body BLOB, UNIQUE (caller, key))",
        "CREATE INDEX answer_at ON answer (at)",
        "CREATE INDEX answer_octets ON answer (caller, octets)",
    ),
)


class KeyReused(DataFault):
    """The key came before, with another request."""

    code = "idempotency-key-reused"


class KeyBusy(DataFault):
    """The request of this key is still at work, or ended without an answer."""

    code = "idempotency-key-busy"


class KeysFull(PeerFault):
    """A caller has used more keys than are kept."""

    code = "idempotency-keys-full"


class Answer(NamedTuple):
    """An answer as it was given; `body` is None where it was too large to keep."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


class Answers:
    """The answers of a state directory. Every method is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._run = secrets.token_hex(8)

    @classmethod
    def open(cls, path: Path) -> Answers:
        """Open the file, and make it where there is none. Raises: ConfigFault."""
        return cls(open_database(path, _MIGRATIONS))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def take(self, caller: bytes, key: str, request: bytes, now_s: int) -> Answer | None:
        """Take a key for a request, or give what was answered to it before.

        Takes digests of who calls and of what is asked. Raises: KeyReused for another request,
        KeyBusy for one that has no answer, KeysFull.
        """
        with writing(self._engine) as connection:
            connection.exec_driver_sql("DELETE FROM answer WHERE at <= ?", (now_s - KEEP_S,))
            row = connection.exec_driver_sql(
                "SELECT request, run, status, headers, body FROM answer"
                " WHERE caller = ? AND key = ?",
                (caller, key),
            ).first()
            if row is None:
                self._refuse_full(connection, caller)
                connection.exec_driver_sql(
                    "INSERT INTO answer (caller, key, request, run, at) VALUES (?, ?, ?, ?, ?)",
                    (caller, key, request, self._run, now_s),
                )
                return None
        if row[0] != request:
            raise KeyReused(
                "this key came before with another request", place="Idempotency-Key",
                remedy="a new request needs a new key",
            )  # fmt: skip
        if row[2] is None:
            is_ours = row[1] == self._run
            raise KeyBusy(
                "the first request with this key is still at work" if is_ours else
                "the first request with this key ended without an answer: whether its change was"
                " made is not known",
                place="Idempotency-Key",
                remedy="try again in a moment" if is_ours else
                "look at the zone's history, then use a new key",
            )  # fmt: skip
        headers = tuple((name, value) for name, value in json.loads(row[3]))
        return Answer(row[2], headers, None if row[4] is None else zlib.decompress(row[4]))

    def keep(self, caller: bytes, key: str, answer: Answer) -> None:
        """Give a taken key its answer."""
        packed: bytes | None = zlib.compress(answer.body or b"", 1)
        if packed is not None and len(packed) > ANSWER_OCTETS_MAX:
            packed = None
        headers = json.dumps(answer.headers)
        octets = len(headers) + len(packed or b"")
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "UPDATE answer SET status = ?, headers = ?, body = ?, octets = ?"
                " WHERE caller = ? AND key = ?",
                (answer.status, headers, packed, octets, caller, key),
            )

    def lose(self, caller: bytes, key: str) -> None:
        """Note that a key's request broke off: nobody knows whether its change was made."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "UPDATE answer SET run = '' WHERE caller = ? AND key = ?", (caller, key)
            )

    def release(self, caller: bytes, key: str) -> None:
        """Give a key back: its request was not let run, and may come again."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql(
                "DELETE FROM answer WHERE caller = ? AND key = ? AND status IS NULL", (caller, key)
            )

    @staticmethod
    def _refuse_full(connection: sa.Connection, caller: bytes) -> None:
        """Refuse rather than forget a key: a forgotten one would let a change be made twice."""
        count, octets = connection.exec_driver_sql(
            "SELECT count(*), coalesce(sum(octets), 0) FROM answer WHERE caller = ?",
            (caller,),
        ).one()
        if count >= CALLER_KEYS_MAX or octets >= CALLER_OCTETS_MAX:
            raise KeysFull(
                f"{count} keys of the last day are kept already", place="Idempotency-Key",
                remedy="keys are kept for a day; send requests that need none without one",
            )  # fmt: skip


def digest(*parts: bytes) -> bytes:
    """Give one digest of several parts, each with its length."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()
