"""Follows the event log for reducers: what they make of a batch and their positions are stored in one transaction.

The worker has a position of its own, where all stand that are not behind: they share a batch. A part that failed, or
begins further back, has batches of its own until it has caught up. The producers' heartbeats are stored where the log's
end is reached, so they are true of what the reducers hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from gtm_dagster.eventlog import EventLog, EventLogError, LogChangedError, Position
from gtm_dagster.opsstore import OpsStore, OpsStoreError, OpsStoreReplacedError, ProducerRow
from gtm_dagster.stream.cursor import MAX_PAUSE, Cursor, Pause, is_of_one, shares_of
from gtm_dagster.stream.log_tail import CONSUMER, LogEnd, LogTail
from gtm_dagster.stream.reducer import Batch, Reducer

BATCH_RECORDS = 50_000
IDLE_SECONDS = 0.2
LOOK_SECONDS = 1.0
COMMIT_SECONDS = 60.0
_log = logging.getLogger("gtm_dagster.stream")


class Worker:
    """Feeds `reducers` from `log` and keeps their positions in `store`. One at a time: hold the StreamLock.

    `changed` adds up what the reducers report of their batches. A log that does not go on from the stored position is a
    LogChangedError, and nothing moves before a person restored the log or accepted it.
    """

    def __init__(self, log: EventLog, store: OpsStore, reducers: Sequence[Reducer], batch: int = BATCH_RECORDS) -> None:
        self.changed = 0
        self.rounds = 0  # that came to their end: while they do, the worker lives
        self._tail = LogTail(log, batch)
        self._store = store
        self._reducers = reducers
        self._committed_at = self._checked_at = time.monotonic()
        self._load()

    def _load(self) -> None:
        """Take up what the store holds."""
        for reducer in self._reducers:
            reducer.load()
        self._stored = self._store.positions()
        self._at = self._stored.get(CONSUMER)
        self._cursors: dict[str, Cursor] = {}
        self._pauses = {reducer.name: Pause() for reducer in self._reducers}
        self._end: LogEnd | None = None
        self._producers: list[ProducerRow] | None = None
        self._looked_at: float | None = None

    @property
    def offset(self) -> int:
        """The offset up to which all have had the log but those behind."""
        return 0 if self._at is None else self._at.seq

    def behind(self) -> list[str]:
        """Parts that have not come as far as the others (for guards, their keys), and reducers that cannot begin."""
        parts = [cursor.part for cursor in self._cursors.values() if cursor.behind(self.offset)]
        return sorted([*parts, *(name for name, pause in self._pauses.items() if pause.seconds)])

    def run(self, stop: threading.Event) -> None:
        """Follow the log until `stop` is set. A store or log that fails is tried again, from what is stored.

        Raises OpsStoreReplacedError: what is counted from then on would be lost, so whoever started the worker has to look.
        """
        pause = 0.0
        while not stop.is_set():
            try:
                self._check_store()
                if pause:
                    self._load()
                busy = self.step()
                pause = 0.0
            except OpsStoreReplacedError:
                raise
            except (OpsStoreError, EventLogError) as error:
                pause = min(MAX_PAUSE / 2, 2 * pause or 1.0)
                _log.error("stream: %s; trying again in %g s", error, pause)
                stop.wait(pause)
                continue
            if not busy or self._at_end():
                stop.wait(IDLE_SECONDS if self._cursors else LOOK_SECONDS)
        if not pause:
            self._commit()

    def once(self) -> None:
        """Take what the log holds now and return. Raises OpsStoreError and EventLogError, LogChangedError among them."""
        self._look_again()
        while self._end is not None or any(
            cursor.behind(self.offset) and not cursor.pause.seconds for cursor in self._cursors.values()
        ):
            self.step(look=False)
        self._commit()

    def step(self, look: bool = True) -> bool:
        """One round: parts that begin, a batch for those behind, a batch for the rest. True when anything was read."""
        if look and self._end is None:
            self._look()
        self._begin()
        caught = self._catch_up()
        moved = self._forward()
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self._commit()
        self.rounds += 1
        return caught or moved

    def _at_end(self) -> bool:
        """Whether all stand where the log ended at the last look: batches of a few records would cost more than they bring."""
        return self._end is None and not any(cursor.behind(self.offset) for cursor in self._cursors.values())

    def _check_store(self) -> None:
        if time.monotonic() - self._checked_at >= LOOK_SECONDS:
            self._checked_at = time.monotonic()
            self._store.check_file()

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        placed = [cursor.position.seq for cursor in self._cursors.values() if cursor.placed and cursor.position]
        self._tail.commit(min([self.offset, *placed]))

    def _look(self) -> None:
        due = self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_SECONDS
        if due or not self._tail.ends_at(self.offset):
            self._look_again()

    def _look_again(self) -> None:
        self._looked_at = time.monotonic()
        end = self._tail.end()
        self._resume()  # after it: so the end is of the log that goes on from here
        self._end = end

    def _resume(self) -> None:
        """Take up the log where it goes on from the worker's position; with a new position, the parts begin again too."""
        at = self._tail.resumed(self._at)
        if at == self._at:
            return
        with self._transaction() as con:
            self._store.set_position(con, CONSUMER, at)
        self._at = self._stored[CONSUMER] = at
        for cursor in self._cursors.values():
            cursor.placed = False

    def _begin(self) -> None:
        for reducer in self._reducers:
            pause = self._pauses[reducer.name]
            if pause.over():
                try:
                    for start in reducer.starts():
                        cursor = Cursor(reducer, start, self._stored)
                        self._cursors[cursor.name] = cursor
                    pause.end()
                except Exception as error:
                    if not is_of_one(error):
                        raise
                    _report(reducer.name, pause, error)
        for cursor in self._cursors.values():
            if not cursor.placed and cursor.pause.over():
                self._place(cursor)

    def _place(self, cursor: Cursor) -> None:
        """Put the part where it begins."""
        assert self._at is not None  # noqa: S101 - the log was looked at
        try:
            at = self._tail.beginning(cursor.start, cursor.position, self._at)
            with self._transaction() as con:
                cursor.reducer.begin(con, cursor.start, at.seq < self._at.seq)
                self._store.set_position(con, cursor.name, at)
        except Exception as error:
            if not is_of_one(error):
                raise
            self._hold_back([cursor], error)
        else:
            self._stored[cursor.name] = at
            cursor.stands_at(at)

    def _catch_up(self) -> bool:
        """One batch for the parts that stand furthest back, up to where the others stand."""
        behind = [
            (cursor.position, cursor)
            for cursor in self._cursors.values()
            if cursor.placed and cursor.position and cursor.behind(self.offset) and cursor.pause.over()
        ]
        if not behind:
            return False
        after = min((position for position, _ in behind), key=lambda position: position.seq)
        cursors = [cursor for position, cursor in behind if position.seq == after.seq]
        try:
            table, last = self._tail.read(after, self.offset)
        except LogChangedError as error:
            for cursor in cursors:
                cursor.placed = False
            self._hold_back(cursors, error)
        else:
            self._apply(cursors, table, after, last, None)
        return True

    def _forward(self) -> bool:
        """One batch for all that are not behind; where the log's end is reached, the producers are stored with it."""
        end, at = self._end, self._at
        if end is None or at is None:
            return False
        moved = at.seq < end.seq
        abreast = [cursor for cursor in self._cursors.values() if not cursor.behind(at.seq)]
        if moved and abreast:
            table, last = self._tail.read(at)
            self._apply(abreast, table, at, last, end)
        elif moved:
            self._apply([], None, at, self._tail.at(at, end.seq), end)
        elif end.producers != self._producers:
            self._apply([], None, at, at, end)
        if self.offset >= end.seq:
            self._producers, self._end = end.producers, None
        return moved

    def _apply(
        self, cursors: Sequence[Cursor], table: pa.Table | None, after: Position, last: Position, end: LogEnd | None
    ) -> None:
        """Apply `table` for the cursors and put them at `last`; with the log's end, the worker too."""
        shares = {} if table is None else shares_of(cursors, table)
        batch = Batch(after.seq, last.seq, 0 if table is None else pc.max(table["received_us"]).as_py() or 0)
        abreast = end is not None or last.seq >= self.offset
        changed: dict[str, int] = {}
        with self._transaction() as con:
            for cursor in cursors:
                try:
                    with con.begin_nested():
                        n = cursor.apply(con, shares, batch)
                        self._store.set_position(con, cursor.name, last)
                        if abreast:
                            cursor.reducer.caught_up(con, cursor.part)
                    changed[cursor.name] = n
                except Exception as error:
                    if not is_of_one(error):
                        raise
                    self._fault(con, cursor, error)
            if end is not None:
                self._store.set_position(con, CONSUMER, last)
                if last.seq >= end.seq and end.producers != self._producers:
                    self._store.set_producers(con, end.producers)
        self.changed += sum(changed.values())
        for cursor in cursors:
            if cursor.name in changed:
                self._stored[cursor.name] = last
                cursor.stands_at(last)
        if end is not None:
            self._at = self._stored[CONSUMER] = last

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Without other workers; OpsStoreError when one has worked since ours began."""
        with self._store.transaction() as con:
            if self._store.lock_position(con, CONSUMER) != self._at:
                raise OpsStoreError(f"{self._store.address}: another stream worker moved the offset; run only one")
            yield con

    def _hold_back(self, cursors: Iterable[Cursor], error: Exception) -> None:
        with self._transaction() as con:
            for cursor in cursors:
                self._fault(con, cursor, error)

    def _fault(self, con: Connection, cursor: Cursor, error: Exception) -> None:
        """The part stays where it is and is tried again later."""
        try:
            with con.begin_nested():
                cursor.reducer.failed(con, cursor.part)
        except Exception as further:
            if not is_of_one(further):
                raise
            error.add_note(f"and then: {further!r}")
        _report(cursor.name, cursor.pause, error)


def _report(name: str, pause: Pause, error: Exception) -> None:
    known = isinstance(error, LogChangedError)  # its message says all
    _log.error(
        "%s: cannot go on, again in %g s: %s", name, pause.longer(), error if known else repr(error),
        exc_info=None if known else error,
    )  # fmt: skip
