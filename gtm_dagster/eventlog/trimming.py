"""What leaves the log, and when: frames that are landed, ids past `dedup_days`, old counts of the edge.

Each goes in the order it is stored in, so that a slice touches pages that lie side by side, and a look for what is due
costs the same however much is kept. A call that is killed or runs out of time leaves the rest to the next one.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from gtm_dagster.eventlog import accepted_ids
from gtm_dagster.eventlog.refusals import REFUSAL_DAYS
from gtm_dagster.eventlog.sealed_tables import empty_the_wal, end_with_frames, frames_end
from gtm_dagster.eventlog.slices import Slices, in_slices

MAY_LAG = ("stream", "triggers")
"""Consumers that keep their own offset: they hold the log for IDLE_DAYS longer, not for ever."""
IDLE_DAYS = 3
EDGE_COUNT_DAYS = 400
"""Days that the counts of the edge's answers are kept."""
_FRAMES, _BYTES = 100, 500_000
"""What one step of a slice deletes at most, but one frame at least."""
_log = logging.getLogger("gtm_dagster.eventlog")


def trim(path: Path, before: date, dedup_days: int, seconds: float) -> int:
    """As SqliteEventLog.trim, for at most about `seconds`."""
    with in_slices(path, seconds) as slices:
        deleted = _trim_frames(slices, path, before)
        end_with_frames(slices)
        slices.con.execute("PRAGMA secure_delete = FAST")  # digests: no page is written only to overwrite them
        forget_before = before - timedelta(days=dedup_days)
        slices.run(lambda con: accepted_ids.forget(con, forget_before))
        slices.run(lambda con: accepted_ids.forget_hashed(con, forget_before))
        slices.run(lambda con: accepted_ids.forget_refused(con, forget_before))
        counted_before = (before - timedelta(days=EDGE_COUNT_DAYS)).isoformat()
        slices.run(
            lambda con: (con.execute("DELETE FROM edge_counts WHERE day < ?", (counted_before,)).rowcount, False)
        )
        refused_before = (before - timedelta(days=REFUSAL_DAYS)).isoformat()
        slices.run(lambda con: (con.execute("DELETE FROM refusals WHERE day < ?", (refused_before,)).rowcount, False))
        empty_the_wal(slices)
        return deleted


def _trim_frames(slices: Slices, path: Path, before: date) -> int:
    consumers = dict(slices.con.execute("SELECT name, seq FROM consumers"))
    deleted = _delete_frames(slices, before.isoformat(), min(consumers.values(), default=0))
    idle_day = (before - timedelta(days=IDLE_DAYS)).isoformat()
    lasting = min((seq for name, seq in consumers.items() if name not in MAY_LAG), default=0)
    unread = _delete_frames(slices, idle_day, lasting)
    if unread:
        _warn(path, consumers, lasting, unread, idle_day)
    return deleted + unread


def _warn(path: Path, consumers: Mapping[str, int], lasting: int, unread: int, idle_day: str) -> None:
    for name, seq in sorted(consumers.items()):
        if seq < lasting:
            _log.warning(
                "%s: consumer %s stands still at offset %d; %d events of days before %s leave the log unread by it",
                path, name, seq, unread, idle_day,
            )  # fmt: skip


def _delete_frames(slices: Slices, before_day: str, upto: int) -> int:
    """Delete frames of days before `before_day` up to offset `upto`; returns their records."""
    end = end_before(slices.con, before_day, upto)
    return slices.run(lambda con: _frames_step(con, end))


def end_before(con: sqlite3.Connection, before_day: str, upto: int) -> int:
    """The last offset of the frames of days before `before_day` that end at offset `upto` or earlier; found by halving.

    Frames are in order of receipt. Where a clock went wrong for a while, an older frame behind a newer one ends it too.
    """
    (low,) = con.execute("SELECT coalesce(min(first_seq) - 1, ?) FROM frames", (upto,)).fetchone()
    high = upto
    while low < high:
        middle = (low + high + 1) // 2
        first, last, day = con.execute(
            "SELECT first_seq, last_seq, day FROM frames WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
            (middle,),
        ).fetchone()
        if last <= upto and day < before_day:
            low = max(last, middle)
        else:
            high = first - 1
    return int(low)


def _frames_step(con: sqlite3.Connection, end: int) -> tuple[int, bool]:
    rows = con.execute(
        "SELECT first_seq, last_seq, length(payload) FROM frames WHERE first_seq <= ? ORDER BY first_seq LIMIT ?",
        (end, _FRAMES),
    )
    found = rows.fetchall()
    records = size = upto = 0
    for first, last, length in found:
        if size and size + length > _BYTES:
            break
        records, size, upto = records + last - first + 1, size + length, last
    if found:
        con.execute("DELETE FROM frames WHERE first_seq <= ?", (upto,))
        frames_end(con, found[0][0])
    return records, bool(found)
