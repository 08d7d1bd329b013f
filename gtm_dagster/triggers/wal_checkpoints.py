"""The write-ahead log of `triggers.db` goes into the file beside the rules, not in the middle of one of their commits.

SQLite's own way is that whoever commits past a size copies thousands of pages and waits for the disk twice, while timers
wait. Here a thread copies them while others write, and takes the writers' turn only for what they wrote meanwhile: then the
log is whole in the file, and the next writer begins it anew. SQLite's own way stays for when this thread cannot (`CHECKPOINT`).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

ROWS = 10_000
"""So many rows that a runner changes are some 30 MB of the log."""
_JOIN_SECONDS = 10.0
_log = logging.getLogger("gtm_dagster.triggers")


class WalCheckpoints:
    """`with WalCheckpoints(path, turn) as checkpoints:` does it in a thread until the end of the block.

    `turn`: is held by whoever of this process writes. `done`: how often it was done.
    """

    def __init__(self, path: Path, turn: threading.Lock, rows: int = ROWS) -> None:
        self.done = 0
        self._path, self._turn, self._rows = path, turn, rows
        self._written = 0
        self._due, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="gtm-checkpoints", daemon=True)

    def wrote(self, rows: int) -> None:
        """The runner's connection has changed so many rows since it was opened."""
        if rows - self._written >= self._rows:
            self._written = rows
            self._due.set()

    def __enter__(self) -> WalCheckpoints:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._due.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)) as con:
                while self._due.wait() and not self._stopped:
                    self._due.clear()
                    self._copy(con)
        except sqlite3.Error as error:
            _log.warning("%s: its write-ahead log is copied by whoever commits (%s)", self._path, error)

    def _copy(self, con: sqlite3.Connection) -> None:
        con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        with self._turn:
            con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.done += 1
