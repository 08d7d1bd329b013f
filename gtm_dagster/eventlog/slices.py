"""Housekeeping under the write lock in slices: an append waits for one of them at most.

A slice takes SLICE_SECONDS and its commit, and the pause behind it is at least as long, so the log's writer gets its turn.
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

SLICE_SECONDS = 0.01
"""How long a slice goes on removing; its commit comes on top."""
CALL_SECONDS = 30.0
"""How long one call of `trim` or `end_sealed` works; what is left goes the next time."""


class Slices:
    """Slices over one connection, for `seconds` in all; `busy` once another writer did not let it in."""

    def __init__(self, con: sqlite3.Connection, seconds: float) -> None:
        self.con = con
        self.busy = False
        self._until = time.monotonic() + seconds

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
            start = time.monotonic()
            try:
                with transaction(self.con):
                    start, n = time.monotonic(), 0
                    while more and time.monotonic() - start < SLICE_SECONDS:
                        removed, more = step(self.con)
                        n += removed
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                self.busy = True
                break
            total += n
            if more:
                time.sleep(time.monotonic() - start)
        return total


@contextmanager
def in_slices(path: Path, seconds: float) -> Iterator[Slices]:
    """Slices over a connection of their own to the log at `path`. Raises EventLogError when SQLite refuses one."""
    con = connect(path)
    try:
        con.execute("PRAGMA secure_delete = ON")
        yield Slices(con, seconds)
    except sqlite3.Error as error:
        raise EventLogError(f"{path}: {error}{full_disk(path.parent)}") from error
    finally:
        con.close()
