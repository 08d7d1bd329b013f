"""A cursor: one part of a reducer and where it stands in the log; it knows when to try again after a fault."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gtm_dagster.eventlog import EventLogError, LogChangedError, Position
from gtm_dagster.opsstore import OpsStoreError
from gtm_dagster.stream.reducer import Batch, Reducer, Start

MAX_PAUSE = 60.0


def is_of_one(error: Exception) -> bool:
    """Whether the error holds back one part or reducer; else it is the store's or the log's, and all wait."""
    return isinstance(error, LogChangedError) or not isinstance(error, OperationalError | OpsStoreError | EventLogError)


class Pause:
    """Seconds to wait after a fault: 1, doubled with every further one, at most 60."""

    def __init__(self) -> None:
        self.seconds = self._until = 0.0

    def longer(self) -> float:
        """Wait from now on; returns for how long."""
        self.seconds = min(MAX_PAUSE, 2 * self.seconds or 1.0)
        self._until = time.monotonic() + self.seconds
        return self.seconds

    def over(self) -> bool:
        """Whether it is time to try (again)."""
        return self._until <= time.monotonic()

    def end(self) -> None:
        """It went well."""
        self.seconds = self._until = 0.0


class Cursor:
    """`position` is where the part stands, None before it stood anywhere; not `placed`: `start` is still to be carried out."""

    def __init__(self, reducer: Reducer, start: Start, stored: Mapping[str, Position]) -> None:
        self.reducer = reducer
        self.part = start.part
        self.name = f"{reducer.name}:{start.part}"
        self.start = start
        self.position = stored.get(self.name)
        self.placed = False
        self.pause = Pause()

    def stands_at(self, position: Position) -> None:
        """The part has begun, or taken a batch."""
        self.position = position
        self.placed = True
        self.start = msgspec.structs.replace(self.start, again=False)
        self.pause.end()

    def behind(self, offset: int) -> bool:
        """Whether there are records up to `offset` that the part has not had."""
        return not self.placed or self.position is None or self.position.seq < offset

    def apply(self, con: Connection, shares: Mapping[str, Any], batch: Batch) -> int:
        """Apply the part's share of a batch, as `shares_of` returned it; returns how much changed."""
        share = shares[self.name]
        if isinstance(share, Exception):
            raise share
        return self.reducer.apply(con, self.part, share, batch)


def shares_of(cursors: Iterable[Cursor], table: pa.Table) -> dict[str, Any]:
    """The rows of `table` as each cursor takes them, by its name; instead of them what its reducer raised."""
    groups: dict[str, list[Cursor]] = {}
    for cursor in cursors:
        groups.setdefault(cursor.reducer.name, []).append(cursor)
    shares: dict[str, Any] = {}
    for group in groups.values():
        reducer, parts = group[0].reducer, [cursor.part for cursor in group]
        try:
            rows = reducer.divide(reducer.wanted(parts).rows(table), parts)
            shares |= {cursor.name: rows[cursor.part] for cursor in group}
        except Exception as error:
            if not is_of_one(error):
                raise
            shares |= {cursor.name: error for cursor in group}
    return shares
