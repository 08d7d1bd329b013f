"""events.db as a file: its connections, its identity and range, and what a person accepted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from gtm_dagster.eventlog.frames import to_rows
from gtm_dagster.eventlog.log import Acceptance, EventLogError
from gtm_dagster.eventlog.log_identity import LogState
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.private_dir import private_dir

ACCEPTANCES = 1000
"""Rows of what people accepted that are kept, the newest."""
_1970 = date(1970, 1, 1).toordinal()


FileId = tuple[int, int]
"""Device and inode: another file of the same name has another one."""


def file_id(path: Path) -> FileId | None:
    """Which file lies at `path`, None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def connect(path: Path, *, new: bool = False, busy_seconds: float = 30) -> sqlite3.Connection:
    """A connection that commits durably, and waits `busy_seconds` for a lock; `new` makes a file that is missing.

    Raises EventLogError when the file cannot be opened.
    """
    con = None
    try:
        if new:
            private_dir(path.parent)
        place = f"{path.absolute().as_uri()}?mode={'rwc' if new else 'rw'}"
        con = sqlite3.connect(place, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA journal_size_limit = 67108864")
    except (sqlite3.Error, OSError) as error:
        if con is not None:
            con.close()
        raise EventLogError(f"{path}: cannot open the event log ({error}){full_disk(path.parent, error)}") from error
    return con


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a log that exists, closed afterwards; what SQLite refuses is raised as EventLogError."""
    con = connect(path)
    try:
        yield con
    except sqlite3.Error as error:
        raise EventLogError(f"{path}: {error}{full_disk(path.parent, error)}") from error
    finally:
        con.close()


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection has the lock that was asked for."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def transaction(con: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT; rolled back when the body raises."""
    con.execute("BEGIN IMMEDIATE")
    try:
        yield
        con.execute("COMMIT")
    finally:
        if con.in_transaction:
            con.execute("ROLLBACK")


def state_of(con: sqlite3.Connection, path: Path) -> LogState:
    """The log's identity and range, read in one statement: the writer goes on meanwhile."""
    log_id, seq, unnamed, gap, first, continued = con.execute(
        """SELECT log_id, seq, unnamed_seq, gap_seq, coalesce((SELECT min(first_seq) FROM frames), seq + 1),
          (SELECT group_concat(DISTINCT log_id) FROM accepted WHERE kind <> 'trimmed') FROM log"""
    ).fetchone()
    ids = frozenset() if continued is None else frozenset(continued.split(","))
    return LogState(str(path), log_id, first, seq, unnamed, gap, ids)


def receipt_of(con: sqlite3.Connection, seq: int) -> int | None:
    """When the record at `seq` was received, None when it is not kept."""
    row = con.execute(
        "SELECT first_seq, last_seq, payload FROM frames WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1", (seq,)
    ).fetchone()
    if row is None or row[1] < seq:
        return None
    return int(to_rows([row], ("received_us",))[seq - row[0]][0])


def newest_receipt(path: Path) -> tuple[int, int | None]:
    """The newest offset of a log that exists, and when its record was received (microseconds UTC; None: it is not kept).

    Raises EventLogError, also for a log of an older version.
    """
    with reading(path) as con:
        seq = int(con.execute("SELECT seq FROM log").fetchone()[0])
        return seq, receipt_of(con, seq)


def record_acceptance(con: sqlite3.Connection, found: Acceptance, reason: str, actor: str) -> None:
    """One row for each log superseded, one for a gap; consumers of a superseded log read this one from its beginning."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    kind = "restored" if found.renamed_from else "other"
    rows = [(at, actor, reason, kind, log_id, found.gap_seq) for log_id in found.continues]
    if "trimmed" in found.kinds:
        rows.append((at, actor, reason, "trimmed", found.log_id, found.gap_seq))
    con.executemany("INSERT INTO accepted (at, actor, reason, kind, log_id, seq) VALUES (?, ?, ?, ?, ?, ?)", rows)
    con.execute("DELETE FROM accepted WHERE n <= (SELECT max(n) FROM accepted) - ?", (ACCEPTANCES,))
    con.execute("UPDATE log SET log_id = ?, gap_seq = ?", (found.log_id, found.gap_seq))
    if found.renamed_from:
        con.execute("UPDATE log SET unnamed_seq = NULL")
    if found.continues:
        con.execute("UPDATE consumers SET seq = min(seq, ?)", (found.gap_seq,))


def day_of(us: int) -> str:
    """The UTC day of a moment, ISO."""
    return date.fromordinal(_1970 + us // 86_400_000_000).isoformat()
