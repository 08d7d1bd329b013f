"""Sealed originals of refused events: they lie beside the frames, so that they end before those do.

Each UTC day of receipt has a table of its own, `sealed_20260301`, that goes as a whole. Deleting rows among others is not
enough, even with secure_delete: when SQLite moves the rows that stay, copies of them are left behind in the page, and those
are still there when they end. What is deleted is overwritten, and the write-ahead log that had it is emptied.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.frames import without_sealed
from gtm_dagster.eventlog.log_file import day_of
from gtm_dagster.eventlog.slices import Slices

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 50
"""Originals that one step of a slice deletes."""
_TRIES = 20
_RETRY_SECONDS = 0.005


def keep(con: sqlite3.Connection, first_seq: int, records: Sequence[Record]) -> None:
    """Store the originals of the records at `first_seq` and behind it."""
    rows: dict[str, list[tuple[int, bytes]]] = {}
    for seq, record in enumerate(records, first_seq):
        if record.sealed is not None:
            rows.setdefault(_table(day_of(record.received_us)), []).append((seq, record.sealed))
    for table, those in rows.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} (seq INTEGER PRIMARY KEY, sealed BLOB NOT NULL)")
        con.executemany(f"INSERT INTO {table} VALUES (?, ?)", those)  # noqa: S608 - a name of this module


def _table(day: str) -> str:
    return f"sealed_{day.replace('-', '')}"


def _tables(con: sqlite3.Connection) -> list[str]:
    """The tables of the days that have originals, in the order of their days."""
    names = con.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'sealed_[0-9]*' ORDER BY name"
    )
    return [name for (name,) in names]


def joined(con: sqlite3.Connection, table: pa.Table) -> pa.Table:
    """The records of `table`, which are in the order of their offsets, with their originals; NULL where one has ended."""
    import numpy as np
    import pyarrow as pa

    if not table.num_rows:
        return table
    offsets = table["row_no"].to_numpy()
    bounds = (int(offsets[0]), int(offsets[-1]))
    found: list[tuple[int, bytes]] = []
    for name in _tables(con):
        found += con.execute(f"SELECT seq, sealed FROM {name} WHERE seq BETWEEN ? AND ?", bounds).fetchall()  # noqa: S608 - a name of this module
    if not found:
        return table
    column = table.column("sealed")
    values = [None] * table.num_rows if column.null_count == table.num_rows else column.to_pylist()
    for place, (_, sealed) in zip(np.searchsorted(offsets, [seq for seq, _ in found]), found, strict=True):
        values[place] = sealed
    return table.set_column(table.schema.get_field_index("sealed"), "sealed", pa.array(values, pa.binary()))


def end(slices: Slices, before: str) -> int:
    """End the originals of days before `before` (ISO); returns how many left the table of their day."""
    ended = sum(_end_table(slices, table) for table in _tables(slices.con) if table < _table(before))
    slices.run(lambda con: _inline_step(con, before))
    empty_the_wal(slices)
    return ended


def end_with_frames(slices: Slices) -> None:
    """End the originals of days whose frames have all left the log."""
    con = slices.con
    (first,) = con.execute("SELECT coalesce((SELECT min(first_seq) FROM frames), seq + 1) FROM log").fetchone()
    for table in _tables(con):
        (last,) = con.execute(f"SELECT max(seq) FROM {table}").fetchone()  # noqa: S608 - a name of this module
        if last is None or last < first:
            _end_table(slices, table)


def frames_end(con: sqlite3.Connection, first: int) -> None:
    """To be called in the transaction that deletes frames from offset `first` on: older ones have originals inside."""
    if con.execute("SELECT 1 FROM sealed_state WHERE inline_upto >= ?", (first,)).fetchone():
        _has_ended(con)


def _end_table(slices: Slices, table: str) -> int:
    return slices.run(lambda con: _step(con, table))


def _has_ended(con: sqlite3.Connection) -> None:
    con.execute("UPDATE sealed_state SET endings = endings + 1")


def _step(con: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """Delete the next originals of a day, and with the last ones its table."""
    if table not in _tables(con):
        return 0, False
    seqs = con.execute(f"SELECT seq FROM {table} ORDER BY seq LIMIT ?", (_ROWS,)).fetchall()  # noqa: S608 - a name of this module
    if seqs:
        con.execute(f"DELETE FROM {table} WHERE seq <= ?", seqs[-1])  # noqa: S608 - a name of this module
    if len(seqs) < _ROWS:
        con.execute(f"DROP TABLE {table}")
    _has_ended(con)
    return len(seqs), len(seqs) == _ROWS


def _inline_step(con: sqlite3.Connection, before: str) -> tuple[int, bool]:
    """Rewrite the next frame that an older version wrote, when it is of a day before `before`."""
    after, upto = con.execute("SELECT inline_after, inline_upto FROM sealed_state").fetchone()
    row = con.execute(
        """SELECT first_seq, last_seq, day, payload FROM frames WHERE first_seq > ? AND first_seq <= ?
          ORDER BY first_seq LIMIT 1""",
        (after, upto),
    ).fetchone()
    if row is None or row[2] >= before:
        return 0, False
    first, last, _, payload = row
    frame = without_sealed(first, payload)
    if frame is not None:
        con.execute("UPDATE frames SET payload = ? WHERE first_seq = ?", (frame, first))
        _has_ended(con)
    con.execute("UPDATE sealed_state SET inline_after = ?", (last,))
    return 1, True


def empty_the_wal(slices: Slices) -> bool:
    """Move what the write-ahead log holds into the log's file and cut it to nothing, when it may hold ended originals.

    False when a reader or writer did not allow it within a moment; the next call tries again.
    """
    con = slices.con
    endings, truncated = con.execute("SELECT endings, truncated FROM sealed_state").fetchone()
    if endings == truncated:
        return True
    con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # most of it, and nobody waits
    (patience,) = con.execute("PRAGMA busy_timeout").fetchone()
    con.execute("PRAGMA busy_timeout = 0")  # it keeps writers out while it waits for readers
    try:
        for _ in range(_TRIES):
            if con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0:
                break
            time.sleep(_RETRY_SECONDS)
        else:
            return False
    finally:
        con.execute(f"PRAGMA busy_timeout = {patience}")
    slices.run(lambda con: (con.execute("UPDATE sealed_state SET truncated = ?", (endings,)).rowcount, False))
    return True
