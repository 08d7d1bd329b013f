"""`triggers.db` as a file: its connections and the migrations that make its tables."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gtm_dagster.delivery.message_store import CHECKPOINT
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.migrations import Migration, migrate, pending
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.triggers.trigger_tables import BY_EVENT, DECIDED, ERASED, NEWEST, OUTBOX_BY_ROWID, SCHEMA, SHARDS

FILE_NAME = "triggers.db"
_BUSY_SECONDS = 10.0
_making = threading.Lock()


class TriggerDbError(Exception):
    """The file cannot be opened, read or written; the message names it and the reason."""


def trigger_db_path(state_dir: Path) -> Path:
    """Where a deployment keeps the state of its triggers."""
    return state_dir / FILE_NAME


def open_trigger_db(path: Path) -> sqlite3.Connection:
    """A connection that commits durably; the file is made (0600) and brought to the newest tables.

    Raises TriggerDbError; NewerFormatError, and changes nothing, for a file of a newer version.
    """
    try:
        private_dir(path.parent)
        _make_file(path)
        con = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise failure(path, error) from error
    try:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA secure_delete = ON")  # what is erased leaves no bytes in the file
        con.execute("PRAGMA journal_size_limit = 67108864")
        con.execute(CHECKPOINT)
        con.execute("PRAGMA cache_size = -16000")  # kB: states of persons who are not in memory
        _prepare(con, path)
    except sqlite3.Error as error:
        con.close()
        raise failure(path, error) from error
    except BaseException:
        con.close()
        raise
    return con


@contextmanager
def reading_trigger_db(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists and changes nothing; rows are `sqlite3.Row`.

    Raises TriggerDbError, NewerFormatError.
    """
    try:
        con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    except sqlite3.Error as error:
        raise failure(path, error) from error
    try:
        con.execute("PRAGMA query_only = ON")
        if pending(_applied(con), MIGRATIONS, path):
            raise TriggerDbError(f"{path}: its tables are not made yet; `gtm stream` makes them when it starts")
        con.row_factory = sqlite3.Row
        con.execute("BEGIN")
        yield con
    except sqlite3.Error as error:
        raise failure(path, error) from error
    finally:
        con.close()


def failure(path: Path, error: Exception) -> TriggerDbError:
    """What went wrong with the file, and whether its disk is full."""
    return TriggerDbError(f"{path}: the trigger state cannot be used ({error}){full_disk(path.parent, error)}")


def _make_file(path: Path) -> None:
    """An empty file (0600), where there is none.

    One that is there must not be opened: to close a descriptor drops all locks that this process has on the file, those of
    its SQLite connections too, and then whoever closes the file elsewhere deletes the WAL they write to.
    """
    with _making:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _run(con: sqlite3.Connection, script: str) -> None:
    """Statement by statement, in the caller's transaction (`executescript` would commit it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            con.execute(statement)
            statement = ""


def _fewer_pages(con: sqlite3.Connection) -> None:
    """The outbox of older files is a tree by its ids; a file that begins now has rowids from the start."""
    (outbox,) = con.execute("SELECT sql FROM sqlite_master WHERE name = 'outbox'").fetchone()
    if "WITHOUT ROWID" in outbox:
        _run(con, OUTBOX_BY_ROWID)
    _run(con, DECIDED)


MIGRATIONS: tuple[Migration, ...] = (
    Migration("0001_initial", lambda con: _run(con, SCHEMA)),
    Migration("0002_erased", lambda con: _run(con, ERASED)),
    Migration("0003_newest", lambda con: _run(con, NEWEST)),
    Migration("0004_by_event", lambda con: _run(con, BY_EVENT)),
    Migration("0005_shards", lambda con: _run(con, SHARDS)),
    Migration("0006_fewer_pages", lambda con: _fewer_pages(con)),
)


def _prepare(con: sqlite3.Connection, path: Path) -> None:
    if not pending(_applied(con), MIGRATIONS, path):
        return
    con.execute("BEGIN IMMEDIATE")
    try:
        con.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
        migrate(con, MIGRATIONS, path, _applied, _record)
        con.execute("COMMIT")
    finally:
        if con.in_transaction:
            con.execute("ROLLBACK")


def _applied(con: sqlite3.Connection) -> list[str]:
    if not con.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchall():
        return []
    return [row[0] for row in con.execute("SELECT name FROM migrations ORDER BY name")]


def _record(con: sqlite3.Connection, name: str) -> None:
    con.execute("INSERT INTO migrations VALUES (?, ?)", (name, datetime.now(UTC).isoformat(timespec="seconds")))
