"""Housekeeping under the write lock in slices: an append waits for one of them at most.

A slice removes for SLICE_SECONDS at most and commits; the slower the disk, the less it removes, so that it keeps the lock
for about LOCKED_SECONDS. The pause behind it is as long, so the log's writer gets its turn; what was written goes into the log's file
meanwhile, without a lock, so the write-ahead log stays short and the writer finds none of it to move.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gtm_dagster.eventlog.log import EventLogError
from gtm_dagster.eventlog.log_file import connect, is_busy, transaction
from gtm_dagster.storage.disk_space import full_disk

SLICE_SECONDS, LOCKED_SECONDS = 0.01, 0.02
_SHORTEST_SECONDS, _GROWTH = 0.001, 1.5
CALL_SECONDS = 30.0
"""How long one call of `trim` or `end_sealed` works; what is left goes the next time."""


class Slices:
    """Slices over one connection, for `seconds` in all; `busy` once another writer did not let it in."""

    def __init__(self, con: sqlite3.Connection, seconds: float) -> None:
        self.con = con
        self.busy = False
        self._until = time.monotonic() + seconds
        self._slice = _SHORTEST_SECONDS

    def over(self) -> bool:
        """Whether this call has done enough."""
        return self.busy or time.monotonic() >= self._until

    def run(self, step: Callable[[sqlite3.Connection], tuple[int, bool]]) -> int:
        """Call `step` until nothing is left or the time is over; returns the sum of what it counts.

        `step` removes a little in the transaction of its connection, in a millisecond or so, and returns what it
        counts and whether there may be more.
        """
        total, more = 0, True
        while more and not self.over():
            try:
                with transaction(self.con):
                    start, n = time.monotonic(), 0
                    while more and time.monotonic() - start < self._slice:
                        removed, more = step(self.con)
                        n += removed
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                self.busy = True
                break
            total += n
            locked = time.monotonic() - start
            fitting = self._slice * min(LOCKED_SECONDS / locked, _GROWTH)
            self._slice = min(max(fitting, _SHORTEST_SECONDS), SLICE_SECONDS)
            if more:
                self.con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                time.sleep(locked)
        return total


@contextmanager
def in_slices(path: Path, seconds: float) -> Iterator[Slices]:
    """Slices over a connection of their own to the log at `path`. Raises EventLogError when SQLite refuses one."""
    con = connect(path)
    try:
        con.execute("PRAGMA secure_delete = ON")
        con.execute("PRAGMA wal_autocheckpoint = 0")  # it would be part of the commit
        yield Slices(con, seconds)
    except sqlite3.Error as error:
        raise EventLogError(f"{path}: {error}{full_disk(path.parent, error)}") from error
    finally:
        con.close()
