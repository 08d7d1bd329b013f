"""The order of a topic: which records of which partition have which offsets of the log.

A topic orders the records of a partition and no more; the log's readers count in one sequence. Whoever reads first gives the
records that are new in each partition the next offsets and commits that before anybody reads them, so that all readers of
this state directory see the same sequence for ever. A person's events are in one partition, so they keep their order.
The file is of one topic (by the topic's own id) and has the identity that readers remember.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gtm_dagster.eventlog.log import EventLogError, LogChangedError
from gtm_dagster.eventlog.log_file import connect
from gtm_dagster.eventlog.log_identity import WAY_OUT
from gtm_dagster.eventlog.log_tables import new_log_id, prepare
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.migrations import Migration

RANGE_RECORDS = 5_000
"""Records of one range: many new ones of several partitions take turns, as they came."""

Bounds = Mapping[int, tuple[int, int]]
"""By partition: the oldest offset that the broker keeps, and the one behind the newest."""

# `frames`, `log`, `accepted` and `consumers` are as in events.db, whose functions read them; a frame here is a range of a
# partition.
_TABLES = (
    "CREATE TABLE log (only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, seq INTEGER NOT NULL, unnamed_seq INTEGER, gap_seq INTEGER NOT NULL)",
    """CREATE TABLE accepted (n INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
      kind TEXT NOT NULL, log_id TEXT NOT NULL, seq INTEGER NOT NULL)""",
    "CREATE TABLE consumers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE frames (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, part INTEGER NOT NULL, first_offset INTEGER NOT NULL)",
    "CREATE INDEX frames_of_part ON frames (part, first_offset)",
    "CREATE TABLE parts (part INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL)",
)


def _initial(con: sqlite3.Connection) -> None:
    for statement in _TABLES:
        con.execute(statement)
    con.execute("INSERT INTO log VALUES (1, ?, 0, NULL, 0)", (new_log_id(),))


INDEX_MIGRATIONS = (Migration("index_0001_initial", _initial),)


class Range(NamedTuple):
    """Offsets of the log, and the partition's offset of the first of them."""

    first_seq: int
    last_seq: int
    part: int
    first_offset: int

    @property
    def end(self) -> int:
        """The partition's offset behind the last record."""
        return self.first_offset + self.last_seq - self.first_seq + 1


def make(path: Path) -> None:
    """Bring the file to the newest tables. Raises EventLogError, NewerFormatError."""
    con = connect(path, new=True)
    try:
        prepare(con, path, INDEX_MIGRATIONS)
    except sqlite3.Error as error:
        raise EventLogError(
            f"{path}: cannot prepare the index of the topic ({error}){full_disk(path.parent, error)}"
        ) from error
    finally:
        con.close()


def ends(con: sqlite3.Connection) -> dict[int, int]:
    """By partition the offset behind the last one that has a place in the log."""
    return dict(con.execute("SELECT part, next_offset FROM parts"))


def extend(con: sqlite3.Connection, bounds: Bounds, place: str) -> int:
    """Give what is new in the partitions the next offsets, in the transaction of `con`; returns the log's newest one.

    Raises LogChangedError when a partition lost records that have no place yet, or ends before one that has.
    """
    ended = ends(con)
    for part, (low, high) in sorted(bounds.items()):
        at = ended.get(part, 0)
        if high < at:
            raise _changed(
                place, part, f"ends at offset {high}, and records up to {at - 1} of it are in the log", "restored"
            )
        if low > at:
            raise _changed(
                place,
                part,
                f"begins at offset {low}, offsets {at} to {low - 1} left it before they were read",
                "trimmed",
            )
    (seq,) = con.execute("SELECT seq FROM log").fetchone()
    first = seq
    open_parts = {part: ended.get(part, 0) for part, (_, high) in sorted(bounds.items()) if ended.get(part, 0) < high}
    while open_parts:
        for part, at in list(open_parts.items()):
            n = min(bounds[part][1] - at, RANGE_RECORDS)
            con.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", (seq + 1, seq + n, part, at))
            seq += n
            open_parts[part] = at + n
            if open_parts[part] == bounds[part][1]:
                del open_parts[part]
    if seq > first:
        con.execute("UPDATE log SET seq = ?", (seq,))
        con.executemany(
            "INSERT INTO parts VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET next_offset = excluded.next_offset",
            [(part, high) for part, (_, high) in bounds.items()],
        )
    return int(seq)


def is_behind(con: sqlite3.Connection, bounds: Bounds) -> bool:
    """Whether `extend` has something to do or to say."""
    ended = ends(con)
    return any(ended.get(part, 0) != high or low > high for part, (low, high) in bounds.items())


def skip(con: sqlite3.Connection, bounds: Bounds) -> list[int]:
    """Go on at what the broker has, in partitions that lost records; returns them."""
    ended = ends(con)
    lost = [part for part, (low, high) in sorted(bounds.items()) if not low <= ended.get(part, 0) <= high]
    con.executemany(
        "INSERT INTO parts VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET next_offset = excluded.next_offset",
        [(part, bounds[part][0] if ended.get(part, 0) < bounds[part][0] else bounds[part][1]) for part in lost],
    )
    return lost


def cut(con: sqlite3.Connection, bounds: Bounds) -> int:
    """Forget the ranges up to the last one of which the broker has deleted records; returns how many records."""
    last = 0
    for part, (low, _) in bounds.items():
        row = con.execute(
            "SELECT last_seq FROM frames WHERE part = ? AND first_offset < ? ORDER BY first_offset DESC LIMIT 1",
            (part, low),
        ).fetchone()
        last = max(last, row[0] if row else 0)
    (gone,) = con.execute(
        "SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM frames WHERE first_seq <= ?", (last,)
    ).fetchone()
    if gone:
        con.execute("DELETE FROM frames WHERE first_seq <= ?", (last,))
    return int(gone)


def ranges_behind(con: sqlite3.Connection, after: int, limit: int) -> list[Range]:
    """The ranges behind offset `after`, the first one cut to begin there, until they have at least `limit` records."""
    found: list[Range] = []
    size = 0
    cursor = con.execute(
        """SELECT first_seq, last_seq, part, first_offset FROM frames
          WHERE first_seq >= coalesce((SELECT max(first_seq) FROM frames WHERE first_seq <= ?1 + 1), 0) AND last_seq > ?1
          ORDER BY first_seq""",
        (after,),
    )
    for row in cursor:
        each = Range(*row)
        if each.first_seq <= after:
            each = Range(after + 1, each.last_seq, each.part, each.first_offset + after + 1 - each.first_seq)
        found.append(each)
        size += each.last_seq - each.first_seq + 1
        if size >= limit:
            break
    cursor.close()
    return found


def seq_before(con: sqlite3.Connection, offsets: Mapping[int, int]) -> int:
    """An offset behind which all records lie that are, in their partition, at these offsets or behind."""
    (seq,) = con.execute("SELECT seq FROM log").fetchone()
    first = seq + 1
    for part, offset in offsets.items():
        row = con.execute(
            """SELECT min(first_seq + max(?2 - first_offset, 0)) FROM frames
              WHERE part = ?1 AND first_offset + last_seq - first_seq >= ?2""",
            (part, offset),
        ).fetchone()
        first = min(first, row[0] if row[0] is not None else first)
    return int(first) - 1


def _changed(place: str, part: int, found: str, kind: str) -> LogChangedError:
    return LogChangedError(f"{place}: partition {part} {found}; restore the topic, {WAY_OUT}", kind)
