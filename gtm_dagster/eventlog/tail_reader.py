"""The end of a log, read as soon as it grows: one connection that stays open, and rows without pyarrow."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from gtm_dagster.eventlog.frame_rows import frames_behind
from gtm_dagster.eventlog.frames import to_rows
from gtm_dagster.eventlog.log import EventLogError
from gtm_dagster.eventlog.log_file import connect, file_id
from gtm_dagster.storage.disk_space import full_disk


class Tail(msgspec.Struct, frozen=True):
    """Log `log_id`, which ended at offset `end` when `rows` were read; the rows' first value is the offset."""

    log_id: str
    end: int
    rows: list[tuple[Any, ...]]


class TailReader:
    """Reads the log in `path`, of one thread. Raises EventLogError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._con: sqlite3.Connection | None = None
        self._file = file_id(self.path)

    def changes(self) -> int:
        """A number that is another one after every commit of somebody else; costs a few microseconds."""
        try:
            return int(self._connection().execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def read(self, after: int, limit: int, columns: Sequence[str]) -> Tail:
        """Whole frames behind offset `after` until at least `limit` records, with the offset before the other columns."""
        con = self._connection()
        try:
            con.execute("BEGIN")
            try:
                log_id, end = con.execute("SELECT log_id, seq FROM log").fetchone()
                frames = frames_behind(con, after, limit) if end > after else []
            finally:
                con.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        rows = [row for row in to_rows(frames, ("row_no", *columns)) if row[0] > after]
        return Tail(log_id, end, rows)

    def check_file(self) -> None:
        """Open the file anew when another one took its place."""
        if (found := file_id(self.path)) != self._file:
            self.close()
            self._file = found

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        if self._con is None:
            self._con = connect(self.path)
        return self._con

    def _failed(self, error: sqlite3.Error) -> EventLogError:
        self.close()
        return EventLogError(f"{self.path}: {error}{full_disk(self.path.parent, error)}")
