"""The log's one writer thread: whatever has queued up is committed together.

Deduplication, frames, counts and offsets go into one transaction, so an acknowledged event is durable and stored once.
"""

from __future__ import annotations

import errno
import os
import queue
import sqlite3
import threading
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.accepted_ids import statuses_of
from gtm_dagster.eventlog.frames import pack
from gtm_dagster.eventlog.log import AppendResult, EventLogError
from gtm_dagster.eventlog.log_file import connect, day_of
from gtm_dagster.storage.disk_space import full_disk

MAX_PRODUCERS = 1000
"""Heartbeats kept at once; a further producer is refused."""
FORGOTTEN_US = 86_400_000_000
"""A producer that is silent for this long is forgotten (24 h)."""
REPLACED_US = 90_000_000
"""An instance that misses three beats while another of its producer beats is gone (90 s)."""
_GROUP_RECORDS = 5_000


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat to store; `closing` forgets the instance."""

    producer: str
    instance: str
    ts_us: int
    received_us: int
    closing: bool


Item = tuple[list[Record] | Beat, Future[Any]]
"""What the writer takes: records to append or a heartbeat, and who waits for the outcome."""


class GroupCommit:
    """Takes items from any thread and commits them to the log at `path`; its thread starts with the first item."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.Queue[Item | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def submit(self, item: list[Record] | Beat) -> Future[Any]:
        """Queue records or a heartbeat; the future is done when they are durable."""
        if self._closed:
            raise EventLogError(f"{self.path}: the event log is closed")
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="eventlog-writer", daemon=True)
                self._thread.start()
        future: Future[Any] = Future()
        self._queue.put((item, future))
        return future

    def waiting(self) -> int:
        """Items that wait for the writer."""
        return self._queue.qsize()

    def fault(self) -> str | None:
        """Why nothing is committed any more, None while the thread lives or was not needed yet."""
        with self._starting:
            dead = self._thread is not None and not self._thread.is_alive()
        return f"{self.path}: the thread that writes it has ended" if dead else None

    def close(self) -> None:
        """Commit what waits and stop."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        con: sqlite3.Connection | None = None
        try:
            stop = False
            while not stop:
                group: list[Item] = []
                size = 0
                item = self._queue.get()
                while item is not None:
                    group.append(item)
                    size += len(item[0]) if isinstance(item[0], list) else 1
                    if size >= _GROUP_RECORDS:
                        break
                    try:
                        item = self._queue.get_nowait()
                    except queue.Empty:
                        break
                else:
                    stop = True
                if group:
                    try:
                        con = con or connect(self.path)
                    except EventLogError as error:  # tried again with the next group
                        for _, future in group:
                            future.set_exception(error)
                        continue
                    self._commit_group(con, group)
        finally:
            if con is not None:
                con.close()

    def _commit_group(self, con: sqlite3.Connection, group: list[Item]) -> None:
        try:
            con.execute("BEGIN IMMEDIATE")
            appended = iter(store(con, self.path, [item for item, _ in group if isinstance(item, list)]))
            results = [next(appended) if isinstance(item, list) else store_beat(con, item) for item, _ in group]
            con.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  (the writer thread outlives any batch)
            if con.in_transaction:
                con.execute("ROLLBACK")
            if len(group) > 1 and not isinstance(error, sqlite3.Error):
                for one in group:  # a batch that cannot be packed must not take its neighbours along, nor the writer
                    self._commit_group(con, [one])
                return
            for _, future in group:
                future.set_exception(
                    EventLogError(f"{self.path}: cannot be written ({error}){full_disk(self.path.parent)}")
                )
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)


def store(con: sqlite3.Connection, path: Path, batches: list[list[Record]]) -> list[AppendResult]:
    """Deduplicate, number, pack and count the batches in the transaction of `con`."""
    seq = con.execute("SELECT seq FROM log").fetchone()[0]
    records = batches[0] if len(batches) == 1 else [record for batch in batches for record in batch]
    statuses = statuses_of(con, records)
    stored = [
        record for record, status in zip(records, statuses, strict=True) if status not in ("duplicate", "conflict")
    ]
    if stored:
        last = seq + len(stored)
        con.execute(
            "INSERT INTO frames VALUES (?, ?, ?, ?)", (seq + 1, last, day_of(stored[-1].received_us), pack(stored))
        )
        con.execute("UPDATE log SET seq = ?", (last,))
    if records:
        _count(con, records, statuses)
    else:
        # An empty append proves that the disk takes a write; SQLite skips a write that changes nothing, and finds
        # room for so little in its own log when the disk has none for events.
        if full_disk(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        con.execute("INSERT INTO consumers VALUES ('', 0)")
        con.execute("DELETE FROM consumers WHERE name = ''")
    return _results(seq, batches, statuses)


def _count(con: sqlite3.Connection, records: list[Record], statuses: list[str]) -> None:
    counts = Counter(zip([record.received_us for record in records], statuses, strict=True))
    con.executemany(
        "INSERT INTO edge_counts VALUES (?, ?, ?) ON CONFLICT (day, status) DO UPDATE SET n = n + excluded.n",
        [(day_of(received_us), status, n) for (received_us, status), n in counts.items()],
    )


def _results(seq: int, batches: list[list[Record]], statuses: list[str]) -> list[AppendResult]:
    """One result a batch; the first record stored has the offset behind `seq`."""
    results = []
    start = 0
    for batch in batches:
        own = statuses[start : start + len(batch)]
        start += len(batch)
        duplicates = own.count("duplicate") + own.count("conflict")
        first, seq = seq + 1, seq + len(own) - duplicates
        results.append(AppendResult(first, seq, own.count("accepted"), duplicates, own))
    return results


def store_beat(con: sqlite3.Connection, beat: Beat) -> bool:
    """Store a heartbeat; False when MAX_PRODUCERS others are remembered."""
    mine = (beat.producer, beat.instance)
    con.execute("DELETE FROM heartbeats WHERE received_us < ?", (beat.received_us - FORGOTTEN_US,))
    if beat.closing:
        con.execute("DELETE FROM heartbeats WHERE producer = ? AND instance = ?", mine)
        return True
    gone = beat.received_us - REPLACED_US
    con.execute("DELETE FROM heartbeats WHERE producer = ? AND received_us < ?", (beat.producer, gone))
    known = con.execute("SELECT count(*) FROM heartbeats WHERE producer = ? AND instance = ?", mine).fetchone()[0]
    if not known and con.execute("SELECT count(*) FROM heartbeats").fetchone()[0] >= MAX_PRODUCERS:
        return False
    con.execute("INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?, ?)", (*mine, beat.ts_us, beat.received_us))
    return True
