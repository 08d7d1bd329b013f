"""An open ops store: connections and transactions, over tables that are brought up to date when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, OperationalError

from gtm_dagster.opsstore.database import (
    FileIdentity,
    OpsStoreError,
    OpsStoreReplacedError,
    file_of,
    identity_of,
    open_engine,
)
from gtm_dagster.opsstore.ops_migrations import MIGRATIONS, applied, bring_up
from gtm_dagster.storage.migrations import NewerFormatError, pending

_MIGRATION_LOCK = 0x67746D5F6F7073
"""Key of PostgreSQL's advisory lock around migrating."""


class Store:
    """An open ops store: usable from any thread, by any number of processes. Raises OpsStoreError.

    Opening migrates a store that an older version wrote (`migrate`: else refuses it), and refuses one that a newer version
    wrote.
    """

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        self._engine = open_engine(url)
        self.address = self._engine.url.render_as_string(hide_password=True)
        self._insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        self._writing = self._engine.execution_options(writes=True)
        postgres = self._engine.dialect.name == "postgresql"  # there each statement would see a state of its own
        self._file: Path | None = None
        self._identity: FileIdentity | None = None
        self._seeing = self._engine.execution_options(isolation_level="REPEATABLE READ") if postgres else self._engine
        try:
            self._prepare(migrate)
        except NewerFormatError as error:
            self._engine.dispose()
            raise OpsStoreError(f"{error}, or name another ops_url") from None
        except BaseException:
            self._engine.dispose()
            raise
        self._file = file_of(self._engine)
        self._identity = None if self._file is None else identity_of(self._file)

    def check_file(self) -> None:
        """Raises OpsStoreReplacedError when the store's file was deleted or replaced since it was opened.

        What would be written then would go into a file that nobody reads any more.
        """
        if self._file is None:
            return
        now = identity_of(self._file)
        if now != self._identity:
            what = "was deleted" if now is None else "was replaced by another file"
            raise OpsStoreReplacedError(
                f"{self._file}: the ops store {what} while it was open; stop what uses it, put the file back from a backup "
                "(or arm the guards again: a new one knows none of them), and start again"
            )

    def _prepare(self, migrate: bool) -> None:
        with self.reading() as con:
            if not pending(applied(con, self.address), MIGRATIONS, self.address):
                return
        if not migrate:
            raise OpsStoreError(f"{self.address}: written by an older version; `gtm stream` or `gtm dev` brings it up")
        with self.transaction() as con:
            if self._engine.dialect.name == "postgresql":
                con.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            bring_up(con, self.address)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the store."""
        self.check_file()  # a connection to a file that is gone would make an empty one
        with self._errors(), self._seeing.connect() as con:
            yield con

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose writes become durable together, at the end; none of them when an exception leaves it."""
        self.check_file()
        with self._errors(), self._writing.begin() as con:
            yield con

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            if type(error) not in (DatabaseError, OperationalError):
                raise  # a constraint or a statement: a fault of the caller, not of the database
            raise OpsStoreError(f"{self.address}: {' '.join(str(error.orig).split())}") from error

    def _insert_new(self, con: Connection, table: Table, **values: Any) -> bool:
        """Insert the row unless its key is there; True when it was inserted."""
        statement = self._insert(table).values(**values).on_conflict_do_nothing()
        return con.execute(statement.returning(*table.primary_key)).first() is not None

    def _put(self, con: Connection, table: Table, **values: Any) -> None:
        """Insert the row, or overwrite the one with its key."""
        keys = [column.name for column in table.primary_key]
        rest = {name: value for name, value in values.items() if name not in keys}
        con.execute(self._insert(table).values(**values).on_conflict_do_update(index_elements=keys, set_=rest))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
