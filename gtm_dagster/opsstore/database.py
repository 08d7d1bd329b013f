"""The database of the ops store: an SQLite file (default) or PostgreSQL, as a SQLAlchemy engine."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from gtm_dagster.settings.secret_text import shown_url
from gtm_dagster.storage.private_dir import private_dir

BUSY_SECONDS = 30.0


class OpsStoreError(Exception):
    """The ops store cannot be opened, read or written; the message names its address and the database's reason."""


class OpsStoreReplacedError(OpsStoreError):
    """The file of the ops store is no longer the one that was opened: it was deleted, or another one lies in its place."""


FileIdentity = tuple[int, int]
"""(device, inode)."""


def file_of(engine: Engine) -> Path | None:
    """The file of an SQLite store, None for another database."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def identity_of(path: Path) -> FileIdentity | None:
    """Which file lies at the path; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def open_engine(url: str) -> Engine:
    """An engine for the address; nothing is connected yet. A connection with the option `writes` begins as a writer.

    Raises OpsStoreError when the address cannot work.
    """
    address = _address(url)
    if address.get_backend_name() == "postgresql":
        try:
            return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 10})
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise OpsStoreError(
                f"ops_url: {error}; install gtm-dagster[postgres] and write postgresql+psycopg://"
            ) from None
    if not address.database or address.database == ":memory:":
        raise OpsStoreError(f"ops_url: {shown_url(url)!r} names no file; give sqlite:////var/lib/gtm/ops.db")
    try:
        private_dir(Path(address.database).parent)
    except OSError as error:
        raise OpsStoreError(f"{address.database}: cannot make the folder of the ops store ({error})") from None
    engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise OpsStoreError(
            f"ops_url: {shown_url(url)!r} is not a database address; give sqlite:////var/lib/gtm/ops.db or postgresql+psycopg://host/name"
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
