"""The SQLite files of a state directory: opened alike, migrated forwards, written one at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def open_database(path: Path, migrations: Sequence[Sequence[str]]) -> sa.Engine:
    """Open a database, making it and bringing its schema up to date.

    Takes `migrations`: for each schema version the statements that lead to it from the one before.
    Raises: ConfigFault for a database of a later quada, or a file that is no database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        if not path.exists():
            path.touch(mode=0o600)
        engine = sa.create_engine(f"sqlite:///{path}")

        @sa.event.listens_for(engine, "connect")
        def _set_up(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # transactions are begun by `writing`, not guessed
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA busy_timeout = 10000")

        with writing(engine) as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if found > len(migrations):
                raise ConfigFault(
                    f"the database has schema {found}, this quada knows {len(migrations)}",
                    place=str(path),
                    remedy="use the quada that wrote it, or a later one",
                )
            for number, statements in enumerate(migrations[found:], found + 1):
                for statement in statements:
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {number}")
    except (OSError, sa.exc.DatabaseError) as error:
        raise ConfigFault(f"cannot open the database: {error}", place=str(path)) from error
    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold the one write transaction; whatever is raised inside leaves everything as it was."""
    with engine.connect() as connection:
        # IMMEDIATE: two writers wait for each other at the start, not at the end.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold a read transaction: everything read in it is of one moment."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("ROLLBACK")
