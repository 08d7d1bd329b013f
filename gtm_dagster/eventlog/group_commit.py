"""What one commit of the log stores: whatever has queued up, in one transaction.

Deduplication, frames, sealed originals, counts and offsets go together, so an acknowledged event is durable and stored once.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import sealed_tables
from gtm_dagster.eventlog.accepted_ids import statuses_of
from gtm_dagster.eventlog.frames import pack
from gtm_dagster.eventlog.log import AppendResult
from gtm_dagster.eventlog.log_file import day_of
from gtm_dagster.eventlog.refusals import Refusals, store_refusals
from gtm_dagster.storage.disk_space import full_disk

MAX_PRODUCERS = 1000
"""Heartbeats kept at once, by write key; a further producer of that key is refused."""
FORGOTTEN_US = 86_400_000_000
"""A producer that is silent for this long is forgotten (24 h)."""
REPLACED_US = 90_000_000
"""An instance that misses three beats while another of its producer beats is gone (90 s)."""


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat to store; `closing` forgets the instance."""

    producer: str
    instance: str
    ts_us: int
    received_us: int
    closing: bool
    write_key: str = ""
    skew_us: int | None = None


class Drain(msgspec.Struct, frozen=True):
    """Bring on what is spooled; only a log that has a spool gets one."""


def stored(con: sqlite3.Connection, path: Path, items: Sequence[list[Record] | Beat | Refusals | Drain]) -> list[Any]:
    """The outcome of each item, all stored in the transaction of `con`: AppendResults, of heartbeats bools, of refusals
    their number.
    """
    appended = iter(store(con, path, [item for item in items if isinstance(item, list)]))

    def outcome(item: list[Record] | Beat | Refusals | Drain) -> Any:
        if isinstance(item, list):
            return next(appended)
        if isinstance(item, Beat):
            return store_beat(con, item)
        return store_refusals(con, item) if isinstance(item, Refusals) else 0

    return [outcome(item) for item in items]


def kept(con: sqlite3.Connection, seq: int, new: list[Record]) -> None:
    """Store records behind offset `seq` as a frame and their originals."""
    last = seq + len(new)
    con.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", (seq + 1, last, day_of(new[-1].received_us), pack(new)))
    sealed_tables.keep(con, seq + 1, new)
    con.execute("UPDATE log SET seq = ?", (last,))


def store(
    con: sqlite3.Connection,
    path: Path,
    batches: list[list[Record]],
    keep: Callable[[sqlite3.Connection, int, list[Record]], None] = kept,
) -> list[AppendResult]:
    """Deduplicate and count the batches in the transaction of `con`, and `keep` what is new."""
    seq = con.execute("SELECT seq FROM log").fetchone()[0]
    records = batches[0] if len(batches) == 1 else [record for batch in batches for record in batch]
    statuses, offsets = statuses_of(con, records, seq)
    new = [record for record, status in zip(records, statuses, strict=True) if status not in ("duplicate", "conflict")]
    if new:
        keep(con, seq, new)
    if records:
        _count(con, records, statuses)
    if not all(batches):
        # An empty append proves that the disk takes a write; SQLite skips a write that changes nothing, and finds
        # room for so little in its own log when the disk has none for events. The events of a group that fails by it
        # are committed without it.
        if full_disk(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        con.execute("INSERT INTO consumers VALUES ('', 0)")
        con.execute("DELETE FROM consumers WHERE name = ''")
    return _results(seq, batches, statuses, offsets)


def _count(con: sqlite3.Connection, records: list[Record], statuses: list[str]) -> None:
    counts = Counter(zip([record.received_us for record in records], statuses, strict=True))
    con.executemany(
        "INSERT INTO edge_counts VALUES (?, ?, ?) ON CONFLICT (day, status) DO UPDATE SET n = n + excluded.n",
        [(day_of(received_us), status, n) for (received_us, status), n in counts.items()],
    )


def _results(
    seq: int, batches: list[list[Record]], statuses: list[str], offsets: list[int | None]
) -> list[AppendResult]:
    """One result a batch; the first record stored has the offset behind `seq`."""
    results = []
    start = 0
    for batch in batches:
        own, own_offsets = statuses[start : start + len(batch)], offsets[start : start + len(batch)]
        start += len(batch)
        duplicates = own.count("duplicate") + own.count("conflict")
        first, seq = seq + 1, seq + len(own) - duplicates
        results.append(AppendResult(first, seq, own.count("accepted"), duplicates, own, own_offsets))
    return results


def store_beat(con: sqlite3.Connection, beat: Beat) -> bool:
    """Store a heartbeat; False when MAX_PRODUCERS others of its write key are remembered.

    A producer is its key's: a heartbeat of another key under the same name neither moves nor ends it.
    """
    mine = (beat.write_key, beat.producer, beat.instance)
    con.execute("DELETE FROM heartbeats WHERE received_us < ?", (beat.received_us - FORGOTTEN_US,))
    if beat.closing:
        con.execute("DELETE FROM heartbeats WHERE write_key = ? AND producer = ? AND instance = ?", mine)
        return True
    gone = beat.received_us - REPLACED_US
    con.execute("DELETE FROM heartbeats WHERE write_key = ? AND producer = ? AND received_us < ?", (*mine[:2], gone))
    if beat.write_key:  # stored by a version that did not know whose it is
        con.execute("DELETE FROM heartbeats WHERE write_key = '' AND producer = ?", (beat.producer,))
    known = con.execute(
        "SELECT count(*) FROM heartbeats WHERE write_key = ? AND producer = ? AND instance = ?", mine
    ).fetchone()[0]
    of_key = con.execute("SELECT count(*) FROM heartbeats WHERE write_key = ?", (beat.write_key,)).fetchone()[0]
    if not known and of_key >= MAX_PRODUCERS:
        return False
    con.execute(
        "INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?, ?, ?, ?)",
        (*mine, beat.ts_us, beat.received_us, beat.skew_us),
    )
    return True
