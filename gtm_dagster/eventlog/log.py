"""What every log can do, and the values its readers and writers exchange."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import msgspec

from gtm_dagster.admission.record import Record

if TYPE_CHECKING:
    import pyarrow as pa


class EventLogError(Exception):
    """The log cannot be opened, read or written (disk full, no permission); the message carries the reason."""


class LogChangedError(EventLogError):
    """The log does not continue what its reader remembers: another log, an older copy, or records gone before they were read.

    `kind` is `other`, `restored` or `trimmed`. The message names the offsets found and the way out.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Position(msgspec.Struct, frozen=True):
    """Where a consumer stands: it has read log `log_id` up to offset `seq`.

    `log_id` "" is a position stored before logs had an identity. `received_us` is the receipt of the record at `seq`
    where the consumer knows it: an older copy of the log that has grown past `seq` is then recognised.
    """

    log_id: str
    seq: int
    received_us: int | None = None


class AppendResult(msgspec.Struct, frozen=True):
    """The outcome of an append. `statuses` has one of accepted, duplicate, conflict, quarantined, suppressed a record.

    `first_seq` and `last_seq` are the offsets of what was stored; last_seq < first_seq when nothing was, 0 and -1
    where the log gives offsets when it is read. `offsets` has the offset of each record; that of a duplicate or conflict is
    where the first copy lies, None where that is not known; it is empty where the log gives none.
    """

    first_seq: int
    last_seq: int
    accepted: int
    duplicates: int
    statuses: list[str]
    offsets: list[int | None] = []


class Heartbeat(msgspec.Struct, frozen=True):
    """A producer has sent everything that happened up to `ts_us`, as it reported at `received_us` (microseconds UTC).

    `write_key`: of the key it beats with, "" for the collector itself; one name with two keys is two producers.
    `skew_us`: receipt minus its own clock when it sent the beat, None when it did not say.
    """

    producer: str
    ts_us: int
    received_us: int
    write_key: str = ""
    skew_us: int | None = None


class Refusal(msgspec.Struct, frozen=True):
    """`n` requests of a UTC day (ISO date) that were refused, the last at `last_us` (microseconds UTC).

    `write_key`: the name of the key they came with, "" without one that is good; `code`: the reason as it was answered.
    """

    day: str
    route: str
    write_key: str
    code: str
    n: int
    last_us: int


class Acceptance(msgspec.Struct, frozen=True):
    """What `accept` recorded: the log's id from now on, the ids it continues, and the offset up to which a gap is accepted.

    `renamed_from` is the id the log had when it got a new one, else "".
    """

    log_id: str
    renamed_from: str
    continues: list[str]
    gap_seq: int
    kinds: list[str]


@runtime_checkable
class Spooling(Protocol):
    """What a log can do beside that when a broker stands behind it."""

    folder: Path

    def spooled(self) -> int:
        """Events that wait on this disk for the broker."""
        ...

    def broker_fault(self) -> str | None:
        """Why the broker does not take what this process appends, None while it does."""
        ...

    def partition_lag(self, consumer: str) -> dict[int, int]:
        """By partition the records behind the offset that `consumer` committed."""
        ...


class EventLog(Protocol):
    """What every log can do; offsets are consecutive integers from 1, one a stored record. `closing` ends it, as `with` does."""

    @property
    def log_id(self) -> str:
        """The log's identity, 16 hex characters; it stays with the file."""
        ...

    def append(self, records: list[Record]) -> AppendResult:
        """Store the records once and for all; returns only when they are durable."""
        ...

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        ...

    def waiting(self) -> int:
        """Records whose append is queued or being committed; a heartbeat counts as one."""
        ...

    def writer_fault(self) -> str | None:
        """None while appends succeed; else why the newest one did not, or why nothing can be appended any more."""
        ...

    def read_arrow(self, after: int, limit: int = 100_000) -> tuple[pa.Table, int]:
        """Up to about `limit` records behind offset `after` as a table of the landing columns, and the last offset read."""
        ...

    def first_seq(self) -> int:
        """The offset of the oldest record still kept, `last_seq() + 1` when there is none."""
        ...

    def last_seq(self) -> int:
        """The offset of the newest record, 0 when empty."""
        ...

    def resume(self, position: Position | None, *, from_start: bool = False) -> int:
        """The offset to read after for a consumer that stands at `position` (None: it has read nothing).

        `from_start`: a consumer that has read nothing needs every record from offset 1; else it starts at what is kept.
        Raises LogChangedError when records that this consumer has not read are not in this log.
        """
        ...

    def continues(self, log_id: str) -> bool:
        """Whether positions in log `log_id` ("": from before logs had an identity) may be carried over to this log."""
        ...

    def accept(
        self, positions: Sequence[tuple[Position | None, bool]], *, reason: str, actor: str
    ) -> Acceptance | None:
        """Record that what the consumers at `positions` (each with its `from_start`) miss is gone on purpose.

        None, and nothing changed, when this log continues them all.
        """
        ...

    def accepted(self) -> list[dict[str, str | int]]:
        """The acceptances recorded in this log, oldest first: at (UTC), actor, reason, kind, log_id, seq."""
        ...

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
        """Store a producer's heartbeat (see Heartbeat); False when its key has too many producers."""
        ...

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
        ...

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Queue counts of what the edge refused; the future is done when they are durable."""
        ...

    def heartbeats(self) -> list[Heartbeat]:
        """The newest heartbeat of each producer."""
        ...

    def offset_before(self, received_us: int) -> int:
        """An offset behind which every record received at `received_us` or later lies."""
        ...

    def count(self, after: int, upto: int) -> int:
        """Records the log itself counts with after < offset <= upto."""
        ...

    def edge_counts(self) -> dict[str, dict[str, int]]:
        """The answers of the edge, by UTC day and status."""
        ...

    def commit(self, consumer: str, seq: int) -> None:
        """Remember that `consumer` is done up to `seq`."""
        ...

    def committed(self, consumer: str) -> int:
        """The offset `consumer` committed, 0 before the first."""
        ...

    def trim(self, before_day: str) -> int:
        """Delete records of days before `before_day` (ISO date) that every consumer has read; returns how many.

        No append waits for it, and a call ends in bounded time: the next one goes on.
        """
        ...

    def end_sealed(self, before: date) -> int:
        """Delete the sealed originals of records received on UTC days before this one; returns how many.

        Their records stay and have NULL for it. Bounded as `trim`.
        """
        ...

    def close(self) -> None:
        """Commit what waits and end; what cannot be committed within seconds fails with EventLogError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
