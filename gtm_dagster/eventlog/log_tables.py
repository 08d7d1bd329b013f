"""The tables of events.db and the migrations that make them, in order.

`tail` is a view since `0002_identity`: a program from before logs had an identity inserts into it when it opens the file,
and SQLite answers with the trigger's sentence before anything is read or written.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gtm_dagster.eventlog.refusals import TABLE as _REFUSALS
from gtm_dagster.storage.migrations import NEWER, Migration, migrate, pending

_INITIAL = (
    "CREATE TABLE IF NOT EXISTS frames (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, day TEXT NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS dedup (id_key BLOB PRIMARY KEY, content BLOB NOT NULL, day TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS dedup_day ON dedup (day)",
    "CREATE TABLE IF NOT EXISTS edge_counts (day TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, status)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS consumers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tail (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO tail VALUES (1, 0)",
    "CREATE TABLE IF NOT EXISTS heartbeats (producer TEXT NOT NULL, instance TEXT NOT NULL, ts_us INTEGER NOT NULL, received_us INTEGER NOT NULL, PRIMARY KEY (producer, instance)) WITHOUT ROWID",
)

# `seq`: the newest offset. `unnamed_seq`: the newest offset when the log got its identity; positions up to it may lack
# the id. `gap_seq`: records up to it may be missing, a person accepted that.
_IDENTITY = (
    """CREATE TABLE log (only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, seq INTEGER NOT NULL,
      unnamed_seq INTEGER, gap_seq INTEGER NOT NULL)""",
    "INSERT INTO log SELECT 1, ?, seq, nullif(seq, 0), 0 FROM tail",
    "DROP TABLE tail",
    "CREATE VIEW tail AS SELECT only, seq FROM log",
    f"CREATE TRIGGER tail_is_a_view INSTEAD OF INSERT ON tail BEGIN SELECT RAISE(ABORT, '{NEWER}'); END",
    """CREATE TABLE accepted (n INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
      kind TEXT NOT NULL, log_id TEXT NOT NULL, seq INTEGER NOT NULL)""",
)

# Ids by the time they were made at, where they tell it. `dedup` has those of before; nothing is added to it.
_IDS_BY_TIME = (
    "CREATE TABLE known_ids (id_key BLOB PRIMARY KEY, content BLOB NOT NULL, day INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX known_ids_day ON known_ids (day)",
)

# Sealed originals lie in a table a day, which `sealed_tables` makes and drops. `inline_after`, `inline_upto`: frames with
# offsets between may have some inside, as versions before this migration wrote them. The WAL may hold bytes of ended ones
# while `endings` is not `truncated`.
_SEALED_APART = (
    """CREATE TABLE sealed_state (only INTEGER PRIMARY KEY CHECK (only = 1), inline_after INTEGER NOT NULL,
      inline_upto INTEGER NOT NULL, endings INTEGER NOT NULL, truncated INTEGER NOT NULL)""",
    "INSERT INTO sealed_state SELECT 1, 0, seq, 0, 0 FROM log",
)

# Producers are their write key's; rows of before say no key.
_KEYED_HEARTBEATS = (
    """CREATE TABLE keyed_heartbeats (write_key TEXT NOT NULL, producer TEXT NOT NULL, instance TEXT NOT NULL,
      ts_us INTEGER NOT NULL, received_us INTEGER NOT NULL, skew_us INTEGER,
      PRIMARY KEY (write_key, producer, instance)) WITHOUT ROWID""",
    "INSERT INTO keyed_heartbeats SELECT '', producer, instance, ts_us, received_us, NULL FROM heartbeats",
    "DROP TABLE heartbeats",
    "ALTER TABLE keyed_heartbeats RENAME TO heartbeats",
)

# Where each id lies: `seq` of an accepted one, six bytes with the highest first (NULL: remembered before this migration),
# and the offsets of the refused events of an id.
_IDS_WITH_OFFSETS = (
    "ALTER TABLE known_ids ADD COLUMN seq BLOB",
    """CREATE TABLE refused_ids (id_key BLOB NOT NULL, seq INTEGER NOT NULL, day INTEGER NOT NULL,
      PRIMARY KEY (id_key, seq)) WITHOUT ROWID""",
    "CREATE INDEX refused_ids_day ON refused_ids (day)",
)


def new_log_id() -> str:
    """A fresh identity, 16 hex characters."""
    return secrets.token_hex(8)


def _initial(con: sqlite3.Connection) -> None:
    for statement in _INITIAL:
        con.execute(statement)


def _identity(con: sqlite3.Connection) -> None:
    for statement in _IDENTITY:
        con.execute(statement, (new_log_id(),) if "?" in statement else ())


def _ids_by_time(con: sqlite3.Connection) -> None:
    for statement in _IDS_BY_TIME:
        con.execute(statement)


def _sealed_apart(con: sqlite3.Connection) -> None:
    for statement in _SEALED_APART:
        con.execute(statement)


def _keyed_heartbeats(con: sqlite3.Connection) -> None:
    for statement in _KEYED_HEARTBEATS:
        con.execute(statement)


def _refusals(con: sqlite3.Connection) -> None:
    con.execute(_REFUSALS)


def _ids_with_offsets(con: sqlite3.Connection) -> None:
    for statement in _IDS_WITH_OFFSETS:
        con.execute(statement)


MIGRATIONS = (
    Migration("0001_initial", _initial),
    Migration("0002_identity", _identity),
    Migration("0003_ids_by_time", _ids_by_time),
    Migration("0004_sealed_apart", _sealed_apart),
    Migration("0005_keyed_heartbeats", _keyed_heartbeats),
    Migration("0006_refusals", _refusals),
    Migration("0007_ids_with_offsets", _ids_with_offsets),
)


def prepare(
    con: sqlite3.Connection, path: Path, migrations: Sequence[Migration[sqlite3.Connection]] = MIGRATIONS
) -> list[str]:
    """Bring the file to the newest tables; returns the migrations applied. Takes the write lock only to migrate.

    Raises NewerFormatError, and changes nothing, when the file has seen a migration that is not known here.
    """
    if not pending(_applied(con), migrations, path):
        return []
    con.execute("BEGIN IMMEDIATE")
    try:
        con.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
        done = migrate(con, migrations, path, _applied, _record)
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise
    return done


def _applied(con: sqlite3.Connection) -> list[str]:
    if not con.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchall():
        return []
    return [row[0] for row in con.execute("SELECT name FROM migrations ORDER BY name")]


def _record(con: sqlite3.Connection, name: str) -> None:
    con.execute("INSERT INTO migrations VALUES (?, ?)", (name, datetime.now(UTC).isoformat(timespec="seconds")))
