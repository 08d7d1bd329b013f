"""The log's one writer thread: whatever has queued up is committed together, and nothing that fails ends it.

Who waits is always answered: with the outcome, or with an EventLogError that says why there is none.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.group_commit import Beat, Drain, stored
from gtm_dagster.eventlog.log import EventLogError
from gtm_dagster.eventlog.log_file import FileId, connect, file_id, is_busy
from gtm_dagster.eventlog.refusals import Refusals
from gtm_dagster.storage.disk_space import full_disk

CLOSE_SECONDS = 10.0
"""How long `close` waits for what is queued; what is not committed by then fails."""
LOCK_SECONDS = 30.0
"""How long a group waits for another process that writes to the file."""
STALLED_SECONDS = 35.0
"""A commit that takes this long is a fault of the writer."""
_RETRY_SECONDS = 0.001
"""SQLite's own waiting sleeps up to 100 ms, and misses the pauses that `in_slices` leaves."""
_GROUP_RECORDS = 5_000
_GATHER_SECONDS, _ENOUGH_RECORDS = 0.004, 1_000
"""Where the newest commit had several items more may come for so long, unless so many wait: a commit costs up to 1 ms of CPU
beside its records (PostgreSQL's commit_delay is the same)."""
_log = logging.getLogger("gtm_dagster.eventlog")

Item = list[Record] | Beat | Refusals | Drain
"""What the writer takes: records to append, a heartbeat, counts of what the edge refused, or the wish to move on what is
spooled."""
Store = Callable[[sqlite3.Connection, Path, Sequence[Item]], list[Any]]
"""Stores items in the transaction of a connection; returns the outcome of each."""
Entry = tuple[Item, Future[Any]]
"""An item and who waits for its outcome."""
_OF_THE_FILE = (sqlite3.OperationalError, sqlite3.ProgrammingError, EventLogError)
"""What no other batch would escape."""


class LogWriter:
    """Takes items from any thread and commits them to the log at `path`; its thread starts with the first item.

    `file`: the file that is the log; when another one takes its place, nothing is written any more.
    """

    def __init__(self, path: Path, file: FileId | None, store: Store | None = None) -> None:
        self.path = path
        self._stored = store
        self._file = file
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._con: sqlite3.Connection | None = None
        self._group: list[Entry] = []
        self._waiting = 0
        self._closed = False
        self._give_up_at = float("inf")
        self._committing_since: float | None = None
        self._fault: str | None = None

    def submit(self, item: Item) -> Future[Any]:
        """Queue records or a heartbeat; the future is done when they are durable.

        Raises EventLogError when the log is closed, or when its writer cannot be started.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise EventLogError(f"{self.path}: the event log is closed")
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._waiting += _size(item)
            self._queue.put((item, future))
        return future

    def waiting(self) -> int:
        """Records that are queued or being committed; a heartbeat counts as one."""
        return self._waiting

    def fault(self) -> str | None:
        """None while commits succeed; else why the newest did not, or why the writer ended."""
        since = self._committing_since
        if since is not None and time.monotonic() - since > STALLED_SECONDS:
            return f"{self.path}: a commit has been going on for {time.monotonic() - since:.0f} s"
        return self._displaced() or self._fault

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Commit what waits and stop; what is not committed within `seconds` fails."""
        with self._lock:
            self._closed = True
            self._give_up_at = time.monotonic() + seconds
            thread = self._thread
            if thread is None:
                return
            self._queue.put(None)
        thread.join(seconds)
        if thread.is_alive():
            queued = self._queued()
            self._release(queued)
            self._queue.put(None)
            _fail([*self._group, *queued], f"{self.path}: closed, and not committed within {seconds:g} s")

    def _start(self) -> None:
        try:
            thread = threading.Thread(target=self._run, name="eventlog-writer", daemon=True)
            thread.start()
        except RuntimeError as error:  # no more threads
            self._fault = f"{self.path}: its writer cannot be started ({error})"
            raise EventLogError(self._fault) from error
        self._thread = thread

    def _run(self) -> None:
        try:
            more, crowded = True, False
            while more:
                more = self._take(crowded)
                self._committing_since = time.monotonic()
                if self._group:
                    self._commit(self._group)
                self._committing_since = None
                crowded = len(self._group) > 1
                self._release(self._group)
                self._group = []
        except BaseException as error:  # noqa: BLE001  (answered here; the next item starts another thread)
            _log.exception("%s: its writer ended", self.path)
            self._disconnect()
            self._end(error)
        else:
            self._disconnect()

    def _take(self, crowded: bool) -> bool:
        """Wait for an item and take what else is queued, up to a group; False when the log is closed."""
        size = 0
        entry = self._queue.get()
        if crowded and self._waiting < _ENOUGH_RECORDS:
            time.sleep(_GATHER_SECONDS)
        while entry is not None:
            item, future = entry
            size += _size(item)
            if _claimed(future):
                self._group.append(entry)
            else:
                self._release([entry])
            if size >= _GROUP_RECORDS:
                return True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _commit(self, group: list[Entry]) -> None:
        try:
            results = self._store([item for item, _ in group])
        except Exception as error:  # noqa: BLE001  (the writer outlives any batch)
            if len(group) > 1 and not isinstance(error, _OF_THE_FILE):
                for one in group:  # a batch that cannot be packed must not take its neighbours along
                    self._commit([one])
                return
            if isinstance(error, sqlite3.Error):
                self._disconnect()  # the next group has a connection of its own
            reason = str(error)
            if not isinstance(error, EventLogError):
                reason = f"{self.path}: cannot be written ({error}){full_disk(self.path.parent, error)}"
            if isinstance(error, (*_OF_THE_FILE, OSError)):
                self._fault = reason
            _fail(group, reason)
        else:
            self._fault = None
            for (_, future), result in zip(group, results, strict=True):
                _resolve(future, result)

    def _store(self, items: Sequence[Item]) -> list[Any]:
        """The outcome of each item, durable together. Raises whatever is wrong; then nothing of them is stored."""
        con = self._begun()
        try:
            results = (self._stored or stored)(con, self.path, items)
            con.execute("COMMIT")
        except BaseException:
            try:
                if con.in_transaction:
                    con.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()
            raise
        return results

    def _begun(self) -> sqlite3.Connection:
        """The writer's connection, in a transaction; another one when it broke since the last group."""
        try:
            con = self._connected()
            self._begin(con)
        except sqlite3.Error as error:
            if is_busy(error):
                raise
            self._disconnect()
            con = self._connected()
            self._begin(con)
        return con

    def _begin(self, con: sqlite3.Connection) -> None:
        """Take the write lock; raises what SQLite says when another process keeps it for LOCK_SECONDS."""
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                con.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > min(until, self._give_up_at):
                    raise
            time.sleep(_RETRY_SECONDS)

    def _connected(self) -> sqlite3.Connection:
        """The writer's connection. Raises EventLogError when the file at the log's path is not the one it writes."""
        if displaced := self._displaced():
            self._disconnect()
            raise EventLogError(displaced)
        if self._con is None:
            self._con = connect(self.path)  # waits: another process may be opening it, and reading its write-ahead log
            self._con.execute("PRAGMA busy_timeout = 0")  # from here on `_begin` waits
            # Pages that split leave no copies behind of what ends later; it writes no page that is not written anyway.
            self._con.execute("PRAGMA secure_delete = FAST")
        return self._con

    def _displaced(self) -> str | None:
        """What to say when the log's path leads to another file, or to none: appending would go into a deleted one."""
        found = file_id(self.path)
        if found == self._file:
            return None
        what = "the event log is gone from its place" if found is None else "another file took the event log's place"
        return (
            f"{self.path}: {what}, nothing is stored; put it back, or restart this process to go on with what is there"
        )

    def _disconnect(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            with suppress(sqlite3.Error):
                con.close()

    def _end(self, error: BaseException) -> None:
        """Answer everybody who waits: this thread does not go on."""
        with self._lock:
            self._thread = None
            entries = [*self._group, *self._queued()]
        self._group, self._committing_since = [], None
        self._fault = f"{self.path}: its writer ended ({type(error).__name__}: {error})"
        self._release(entries)
        _fail(entries, self._fault)

    def _queued(self) -> list[Entry]:
        """What is queued, taken off the queue."""
        entries: list[Entry] = []
        while True:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return entries
            if entry is not None:
                entries.append(entry)

    def _release(self, entries: Iterable[Entry]) -> None:
        """These items wait no more."""
        size = sum(_size(item) for item, _ in entries)
        with self._lock:
            self._waiting -= size


def _size(item: Item) -> int:
    return max(len(item), 1) if isinstance(item, list) else 1


def _claimed(future: Future[Any]) -> bool:
    """Whether somebody still waits; from now on the future cannot be cancelled."""
    try:
        return future.set_running_or_notify_cancel()
    except (InvalidStateError, RuntimeError):  # completed by somebody else
        return False


def _resolve(future: Future[Any], result: Any) -> None:
    with suppress(InvalidStateError):  # failed by `close`
        future.set_result(result)


def _fail(entries: Iterable[Entry], reason: str) -> None:
    for _, future in entries:
        with suppress(InvalidStateError):
            future.set_exception(EventLogError(reason))
