"""Opening the ops store: connections, transactions, tables made once, by whichever process is first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from gtm_dagster.opsstore import tables

BUSY_SECONDS = 30.0
_CREATE_LOCK = 0x67746D5F6F7073
"""Key of PostgreSQL's advisory lock around creating the tables."""


class OpsStoreError(Exception):
    """The ops store cannot be opened, read or written; the message names its address and the database's reason."""


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise OpsStoreError(
            f"ops_url: {url!r} is no database address; give sqlite:////var/lib/gtm/ops.db or postgresql+psycopg://host/name"
        ) from None
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise OpsStoreError(
            f"ops_url: the ops store lives in sqlite or postgresql+psycopg, not in {address.drivername}"
        )
    return address


def _wal(con: sqlite3.Connection) -> None:
    """Switch the file to WAL; SQLite does not wait for other connections by itself when it does that."""
    deadline = time.monotonic() + BUSY_SECONDS
    while con.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            con.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _on_connect(con: Any, _record: object) -> None:
    con.isolation_level = None  # we begin transactions ourselves
    con.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    _wal(con)
    con.execute("PRAGMA synchronous = FULL")
    con.execute("PRAGMA journal_size_limit = 67108864")


def _on_begin(con: Connection) -> None:
    con.exec_driver_sql("BEGIN IMMEDIATE" if con.get_execution_options().get("writes") else "BEGIN")


def _open(url: str) -> Engine:
    address = _address(url)
    if address.get_backend_name() == "postgresql":
        try:
            return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 10})
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise OpsStoreError(
                f"ops_url: {error}; install gtm-dagster[postgres] and write postgresql+psycopg://"
            ) from None
    if not address.database or address.database == ":memory:":
        raise OpsStoreError(f"ops_url: {url!r} names no file; give sqlite:////var/lib/gtm/ops.db")
    try:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpsStoreError(f"{address.database}: cannot make the folder of the ops store ({error})") from None
    engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


class Store:
    """An open ops store: usable from any thread, by any number of processes. Raises OpsStoreError."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        self.address = self._engine.url.render_as_string(hide_password=True)
        self._insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        self._writing = self._engine.execution_options(writes=True)
        try:
            self._prepare()
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self) -> None:
        with self.reading() as con:
            there = inspect(con).has_table(tables.meta.name)
        if not there:
            with self.transaction() as con:
                if self._engine.dialect.name == "postgresql":
                    con.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})
                tables.metadata.create_all(con)
                self._keep(con, tables.meta, key="version", value=str(tables.VERSION))
        with self.reading() as con:
            told = con.execute(select(tables.meta.c.value).where(tables.meta.c.key == "version")).scalar()
        if told != str(tables.VERSION):
            raise OpsStoreError(
                f"{self.address}: its tables are of version {told}, this gtm-dagster knows {tables.VERSION}; "
                "install the version that wrote it, or name another ops_url"
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the store."""
        with self._told(), self._engine.connect() as con:
            yield con

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose writes become durable together, at the end; none of them when an exception leaves it."""
        with self._told(), self._writing.begin() as con:
            yield con

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            if type(error) not in (DatabaseError, OperationalError):
                raise  # a constraint or a statement: a fault of the caller, not of the database
            raise OpsStoreError(f"{self.address}: {' '.join(str(error.orig).split())}") from error

    def _keep(self, con: Connection, table: Table, **values: Any) -> bool:
        """Insert the row unless its key is there; True when it was inserted."""
        made = self._insert(table).values(**values).on_conflict_do_nothing()
        return con.execute(made.returning(*table.primary_key)).first() is not None

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
