"""The serving copy as pages read it: attached in a DuckDB of its own, another one as soon as another file is published.

A second `duckdb.connect` to an open path returns the file that was there first, and so shows yesterday for ever. A new
in-memory database with the file attached sees the file that lies there now.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from gtm_dagster.dashboard.notices import Notice, UnavailableError
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.engine import close_off, connect
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.read_only import only_statement
from gtm_dagster.warehouse.serving import reason_of

THREADS = 2
MEMORY = "1GB"
"""Where the settings name no limit."""
AT_ONCE = 8
"""Statements that run at the same time; more requests wait."""
KEPT = 400
"""Results kept of one file: its tables do not change."""
KEPT_ROWS = 5_000
"""Rows above which a result is not kept."""
LONGEST = 12_000
"""Characters of a statement that a person writes."""
REFRESH = "gtm refresh"

Identity = tuple[int, int, int]
"""Inode, size and time of change: another file has another one."""


@dataclass(frozen=True)
class Rows:
    """The result of a statement; `is_cut`: there are more rows than these."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool = False

    def records(self) -> list[dict[str, Any]]:
        """The rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold nothing but numbers, and one at least."""
        kinds = [{type(value) for value in column if value is not None} for column in zip(*self.rows, strict=True)]
        return [bool(kind) and kind <= {int, float, Decimal} for kind in kinds] or [False] * len(self.columns)

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


class Snapshot:
    """One published file. `published` is when it was put in place, UTC."""

    def __init__(self, path: Path, identity: Identity, settings: Settings) -> None:
        self.identity = identity
        self.published = datetime.fromtimestamp(identity[2] / 1e9, UTC)
        self.path = path
        self.readers = 0
        self.is_replaced = False
        self.memory: dict[str, Any] = {}
        """What screens keep as long as this file is the published one."""
        self._seconds = settings.dashboard.statement_seconds
        self._kept: OrderedDict[str, Rows] = OrderedDict()
        self._lock = threading.Lock()
        self._con = connect(":memory:", settings)
        try:
            self._con.execute(f"SET threads = {THREADS}")
            self._con.execute("SET temp_directory = ''")  # a statement that does not fit into memory is refused
            if not settings.warehouse.memory_limit:
                self._con.execute(f"SET memory_limit = '{MEMORY}'")
            self._con.execute(composed("ATTACH $path AS serving (READ_ONLY)", path=literal(path)))
            close_off(self._con)
        except BaseException:
            self._con.close()
            raise

    def rows(self, statement: str) -> Rows:
        """The rows of a statement of this repository; kept for the next request. Raises UnavailableError."""
        with self._lock:
            if statement in self._kept:
                self._kept.move_to_end(statement)
                return self._kept[statement]
        found = self._run(statement, None, checked=False)
        if len(found.rows) <= KEPT_ROWS:
            with self._lock:
                self._kept[statement] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found

    def asked(self, statement: str, most: int) -> Rows:
        """At most `most` rows of a statement that a person wrote. Raises UnavailableError for one that is too long, or does
        not only read."""
        if len(statement) > LONGEST:
            words = f"The statement has {len(statement):,} characters; {LONGEST:,} fit here."
            raise UnavailableError(Notice(words, "gtm query -"))
        return self._run(statement, most, checked=True)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on the tables for what several statements make, ended as one statement is. Raises UnavailableError."""
        cursor = self._con.cursor()
        ending = threading.Timer(self._seconds, cursor.interrupt)
        ending.daemon = True
        try:
            cursor.execute("USE serving")  # a cursor begins in the instance's own database, whatever its parent uses
            ending.start()
            yield cursor
        except duckdb.Error as error:
            raise UnavailableError(self._notice(error, checked=False)) from error
        finally:
            ending.cancel()
            cursor.close()

    def _run(self, statement: str, most: int | None, *, checked: bool) -> Rows:
        cursor = self._con.cursor()
        ending = threading.Timer(self._seconds, cursor.interrupt)
        ending.daemon = True
        try:
            cursor.execute("USE serving")  # a cursor begins in the instance's own database, whatever its parent uses
            ending.start()
            if checked:
                allowed = only_statement(cursor, statement)
                if isinstance(allowed, str):
                    raise UnavailableError(Notice(allowed))
                cursor.execute(allowed)
            else:
                cursor.execute(statement)
            columns = tuple(column[0] for column in cursor.description or ())
            rows = cursor.fetchall() if most is None else cursor.fetchmany(most + 1)
        except duckdb.Error as error:
            raise UnavailableError(self._notice(error, checked=checked)) from error
        finally:
            ending.cancel()
            cursor.close()
        is_cut = most is not None and len(rows) > most
        return Rows(columns, tuple(rows[:most]), is_cut)

    def _notice(self, error: duckdb.Error, *, checked: bool) -> Notice:
        first = str(error).strip().splitlines()[0]
        if isinstance(error, duckdb.InterruptException):
            return Notice(
                f"This took longer than {self._seconds:g} seconds and was ended.",
                why="Take a shorter period, or set dashboard.statement_seconds.",
            )
        if checked:
            return Notice(reason_of(error))
        if isinstance(error, duckdb.CatalogException):
            return Notice(
                f"The serving copy lacks what this needs: {first.removeprefix('Catalog Error: ')}",
                REFRESH, self.published, "It was published by an earlier version, or the table is not built yet.",
            )  # fmt: skip
        if isinstance(error, duckdb.BinderException):
            return Notice(
                f"The serving copy was published by another version: {first.removeprefix('Binder Error: ')}",
                REFRESH, self.published,
            )  # fmt: skip
        return Notice(f"The serving copy cannot be read: {first}", REFRESH, self.published)

    def close(self) -> None:
        """Give the file back."""
        self._con.close()


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class Snapshots:
    """The published file at any moment; safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.serving_path
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._current: Snapshot | None = None
        self._problem: tuple[Identity | None, Notice] | None = None

    @contextmanager
    def current(self) -> Iterator[Snapshot]:
        """The file that is published now, until the end of the `with`. Raises UnavailableError when there is none."""
        if not self._slots.acquire(timeout=self._settings.dashboard.statement_seconds * 2):
            raise UnavailableError(Notice("Too many requests at once; reload the page in a moment."))
        try:
            with self._lock:
                snapshot = self._newest()
                snapshot.readers += 1
            try:
                yield snapshot
            finally:
                with self._lock:
                    snapshot.readers -= 1
                    if snapshot.is_replaced and snapshot.readers == 0:
                        snapshot.close()
        finally:
            self._slots.release()

    @property
    def published(self) -> Identity | None:
        """The file that is published now, which nobody may have opened yet; None without one."""
        try:
            return _identity(self._path)
        except OSError:
            return None

    def _newest(self) -> Snapshot:
        try:
            identity = _identity(self._path)
        except OSError as error:
            since = self._current.published if self._current else None
            self._replace(None)
            raise UnavailableError(
                Notice(
                    f"There is no serving copy at {self._path}.", REFRESH, since,
                    "Nothing was published yet." if isinstance(error, FileNotFoundError) else str(error.strerror),
                )
            ) from None  # fmt: skip
        if self._current is not None and self._current.identity == identity:
            return self._current
        if self._problem is not None and self._problem[0] == identity:
            raise UnavailableError(self._problem[1])
        try:
            snapshot = Snapshot(self._path, identity, self._settings)
        except duckdb.Error as error:
            since = datetime.fromtimestamp(identity[2] / 1e9, UTC)
            reason = str(error).strip().splitlines()[0]
            notice = Notice(f"The serving copy at {self._path} cannot be opened.", REFRESH, since, reason)
            self._problem = (identity, notice)
            self._replace(None)
            raise UnavailableError(notice) from error
        self._problem = None
        self._replace(snapshot)
        return snapshot

    def _replace(self, snapshot: Snapshot | None) -> None:
        before, self._current = self._current, snapshot
        if before is not None:
            before.is_replaced = True
            if before.readers == 0:
                before.close()

    def close(self) -> None:
        """Close the file; requests that still read it end first."""
        with self._lock:
            self._replace(None)
