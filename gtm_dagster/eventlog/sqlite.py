"""The embedded event log: one SQLite file in WAL mode with synchronous=FULL.

One writer thread commits whatever has queued up (group commit): deduplication, frames, counts and offsets go into one
transaction, so an acknowledged event is durable and an event is stored once. Readers use short read transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import frame_rows, sealed_tables, trimming
from gtm_dagster.eventlog import log_identity as identity
from gtm_dagster.eventlog.frames import to_arrow
from gtm_dagster.eventlog.group_commit import Beat, Drain
from gtm_dagster.eventlog.log import Acceptance, AppendResult, EventLogError, Heartbeat, Position, Refusal
from gtm_dagster.eventlog.log_file import (
    connect,
    file_id,
    reading,
    receipt_of,
    record_acceptance,
    state_of,
    transaction,
)
from gtm_dagster.eventlog.log_tables import MIGRATIONS, new_log_id, prepare
from gtm_dagster.eventlog.log_writer import CLOSE_SECONDS, LogWriter, Store
from gtm_dagster.eventlog.newest_events import edge_answers, newest_heartbeats
from gtm_dagster.eventlog.receipts import Receipt, Receipts, unannounced
from gtm_dagster.eventlog.refusals import Refusals
from gtm_dagster.eventlog.slices import CALL_SECONDS, in_slices
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.migrations import Migration

if TYPE_CHECKING:
    import pyarrow as pa


class SqliteEventLog:
    """The log in `path`. Appends from any thread of one process; reads from any process.

    `dedup_days`: how long an accepted id is remembered at the edge (the warehouse remembers it for ever). `store`: what
    stores a group of appends and heartbeats, in the tables of `migrations`; None: `group_commit.stored`.
    """

    def __init__(
        self,
        path: Path,
        dedup_days: int = 32,
        store: Store | None = None,
        migrations: Sequence[Migration[sqlite3.Connection]] = MIGRATIONS,
    ) -> None:
        self.path = Path(path)
        self.dedup_days = dedup_days
        con = connect(self.path, new=True)
        try:
            prepare(con, self.path, migrations)
        except sqlite3.Error as error:
            raise EventLogError(
                f"{path}: cannot prepare the event log ({error}){full_disk(self.path.parent, error)}"
            ) from error
        finally:
            con.close()
        self._writer = LogWriter(self.path, file_id(self.path), store)
        self._receipts = Receipts(self.path) if store is None else None

    # Appending

    def append(self, records: list[Record]) -> AppendResult:
        """Store accepted, quarantined and suppressed records; returns after the commit reached the disk.

        A second copy of an accepted (write_key, event_id) is counted, not stored: `duplicate`, or `conflict` when its
        content differs. Raises EventLogError when the log cannot be written; then nothing of the batch is stored.
        """
        return self.submit(records).result()

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        receipt = self.receiving() if records else unannounced()
        try:
            future = self._writer.submit(records)
        except BaseException:
            receipt.arrived()
            raise
        future.add_done_callback(lambda _: receipt.arrived())
        return future

    def receiving(self) -> Receipt:
        """To be asked for before the clock is read for the receipt of records, until their append is done.

        A reader that decides by what was not received by a moment waits for them (`receipts`). Raises EventLogError.
        """
        try:
            return self._receipts.receiving() if self._receipts is not None else unannounced()
        except OSError as error:
            raise EventLogError(
                f"{self.path}: a receipt cannot be announced ({error}){full_disk(self.path.parent, error)}"
            ) from error

    def beat(
        self,
        producer: str,
        ts_us: int,
        received_us: int,
        closing: bool = False,
        instance: str = "",
        write_key: str = "",
        skew_us: int | None = None,
    ) -> bool:
        """Store that `producer` has sent what happened up to `ts_us` (never after `received_us`); durable on return.

        A producer may be several processes: each is an `instance` and beats for itself. `closing` forgets the
        instance, and with its last one the producer. `write_key` and `skew_us` as in Heartbeat. False when MAX_PRODUCERS
        others of its key are remembered.
        """
        return self.submit_beat(producer, ts_us, received_us, closing, instance, write_key, skew_us).result()

    def submit_beat(
        self,
        producer: str,
        ts_us: int,
        received_us: int,
        closing: bool = False,
        instance: str = "",
        write_key: str = "",
        skew_us: int | None = None,
    ) -> Future[bool]:
        """As `beat`; the future is done when it is durable."""
        ts_us = min(ts_us, received_us)
        return self._writer.submit(Beat(producer, instance, ts_us, received_us, closing, write_key, skew_us))

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Queue counts of what the edge refused; the future is done when they are durable."""
        return self._writer.submit(Refusals(rows))

    def drain(self) -> Future[int]:
        """Bring on what is spooled; the future has how many events, 0 for a log without a spool."""
        return self._writer.submit(Drain())

    def waiting(self) -> int:
        """Records whose append is queued or being committed; a heartbeat counts as one."""
        return self._writer.waiting()

    def writer_fault(self) -> str | None:
        """None while appends succeed; else why the newest one did not, or why nothing can be appended any more."""
        return self._writer.fault()

    # Reading

    def read_arrow(self, after: int, limit: int = 100_000) -> tuple[pa.Table, int]:
        """Whole frames behind `after` until at least `limit` records, as the landing columns; `row_no` is the offset."""
        with reading(self.path) as con:
            con.execute("BEGIN")  # frames and their originals of one moment
            frames = frame_rows.frames_behind(con, after, limit)
            table = to_arrow(frames)
            if frames and frames[0][0] <= after:
                table = table.slice(after - frames[0][0] + 1)
            return sealed_tables.joined(con, table), frames[-1][1] if frames else after

    def read_records(self, after: int, limit: int = 10_000) -> tuple[list[Record], int]:
        """As `read_arrow`, as Records."""
        table, last = self.read_arrow(after, limit)
        return [Record(**row) for row in table.to_pylist()], last

    # Identity

    @property
    def log_id(self) -> str:
        """The log's identity, 16 hex characters; read anew each time, `accept` may change it."""
        with reading(self.path) as con:
            return str(con.execute("SELECT log_id FROM log").fetchone()[0])

    def resume(self, position: Position | None, *, from_start: bool = False) -> int:
        """The offset to read after for a consumer that stands at `position` (None: it has read nothing).

        `from_start`: a consumer that has read nothing needs every record from offset 1; else it starts at what is kept.
        Raises LogChangedError when records that this consumer has not read are not in this log.
        """
        with reading(self.path) as con:
            return identity.resume(
                state_of(con, self.path), position, lambda seq: receipt_of(con, seq), from_start=from_start
            )

    def continues(self, log_id: str) -> bool:
        """Whether positions in log `log_id` ("": from before logs had an identity) may be carried over to this log."""
        with reading(self.path) as con:
            return state_of(con, self.path).continues(log_id)

    def accept(
        self, positions: Sequence[tuple[Position | None, bool]], *, reason: str, actor: str
    ) -> Acceptance | None:
        """Record that what the consumers at `positions` (each with its `from_start`) miss is gone on purpose.

        None, and nothing changed, when this log continues them all.
        """
        with reading(self.path) as con:
            with transaction(con):
                found = identity.acceptance(
                    state_of(con, self.path), positions, lambda seq: receipt_of(con, seq), new_log_id()
                )
                if found is not None:
                    record_acceptance(con, found, reason, actor)
            return found

    def accepted(self) -> list[dict[str, str | int]]:
        """What people accepted, oldest first: at (UTC), actor, reason, kind, log_id, seq."""
        names = ("at", "actor", "reason", "kind", "log_id", "seq")
        with reading(self.path) as con:
            rows = con.execute("SELECT at, actor, reason, kind, log_id, seq FROM accepted ORDER BY n").fetchall()
            return [dict(zip(names, row, strict=True)) for row in rows]

    def first_seq(self) -> int:
        """The oldest offset still kept, `last_seq() + 1` when there is none."""
        with reading(self.path) as con:
            return state_of(con, self.path).first_seq

    def last_seq(self) -> int:
        """The newest offset, 0 when nothing was ever stored."""
        with reading(self.path) as con:
            return int(con.execute("SELECT seq FROM log").fetchone()[0])

    def count(self, after: int, upto: int) -> int:
        """Records stored with after < offset <= upto, counted from the frames' own bounds."""
        with reading(self.path) as con:
            return frame_rows.count(con, after, upto)

    def edge_counts(self) -> dict[str, dict[str, int]]:
        """What the edge answered, by UTC day and status."""
        return edge_answers(self.path)

    def heartbeats(self) -> list[Heartbeat]:
        """Each producer's last word, by name: the earliest `ts_us` of its instances and its newest `received_us`.

        Its skew is the largest of its instances.
        """
        return newest_heartbeats(self.path)

    def offset_before(self, received_us: int) -> int:
        """An offset behind which every record received at `received_us` or later lies that is still kept."""
        with reading(self.path) as con:
            return frame_rows.offset_before(con, received_us)

    # Offsets and retention

    def commit(self, consumer: str, seq: int) -> None:
        """Remember `consumer`'s offset; an offset never goes back."""
        with reading(self.path) as con:
            con.execute(
                "INSERT INTO consumers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
                (consumer, seq),
            )

    def committed(self, consumer: str) -> int:
        """The consumer's offset, 0 before its first commit."""
        with reading(self.path) as con:
            row = con.execute("SELECT seq FROM consumers WHERE name = ?", (consumer,)).fetchone()
            return int(row[0]) if row else 0

    def trim(self, before_day: str, seconds: float = CALL_SECONDS) -> int:
        """Delete frames of days before `before_day` (ISO date) that every consumer has read, and ids past `dedup_days`.

        A consumer of MAY_LAG that stands still keeps its frames for IDLE_DAYS more; then they go, with a warning.
        Returns the records deleted. Without a consumer nothing is deleted. Works in slices that no append waits for,
        and for about `seconds`; the next call goes on.
        """
        return trimming.trim(self.path, date.fromisoformat(before_day), self.dedup_days, seconds)

    def end_sealed(self, before: date, seconds: float = CALL_SECONDS) -> int:
        """Delete the sealed originals of records received on UTC days before this one; returns how many.

        Their bytes are overwritten, and the write-ahead log is emptied of them: now, or by the next call when a reader
        is in the way. Works as `trim`.
        """
        with in_slices(self.path, seconds) as slices:
            return sealed_tables.end(slices, before.isoformat())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Commit what waits and stop the writer; what is not committed within `seconds` fails with EventLogError."""
        self._writer.close(seconds)
        if self._receipts is not None:
            self._receipts.close()
