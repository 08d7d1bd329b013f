"""The event log: append once, read after an offset, commit a consumer.

Here belongs durability, deduplication at the edge and offsets. Not here: what an event means, or when it is landed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gtm_dagster.admission.record import LANDING_COLUMNS, Record

if TYPE_CHECKING:
    import pyarrow as pa


class AppendResult(msgspec.Struct, frozen=True):
    """What became of an append. `statuses` has one of accepted, duplicate, conflict, quarantined, suppressed a record.

    `first_seq` and `last_seq` are the offsets of what was stored; last_seq < first_seq when nothing was.
    """

    first_seq: int
    last_seq: int
    accepted: int
    duplicates: int
    statuses: list[str]


class Heartbeat(msgspec.Struct, frozen=True):
    """A producer has sent everything that happened up to `ts_us`, and said so at `received_us` (microseconds UTC)."""

    producer: str
    ts_us: int
    received_us: int


class EventLog(Protocol):
    """What every log can do; offsets are consecutive integers from 1, one a stored record."""

    def append(self, records: list[Record]) -> AppendResult:
        """Store the records once and for all; returns only when they are durable."""
        ...

    def read_arrow(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Up to about `limit` records behind offset `after` as a table of the landing columns, and the last offset read."""
        ...

    def last_seq(self) -> int:
        """The offset of the newest record, 0 when empty."""
        ...

    def beat(self, producer: str, ts_us: int, received_us: int, closing: bool = False, instance: str = "") -> bool:
        """Store a producer's heartbeat; False when there are too many producers."""
        ...

    def heartbeats(self) -> list[Heartbeat]:
        """Each producer's last word."""
        ...

    def offset_before(self, received_us: int) -> int:
        """An offset behind which every record received at `received_us` or later lies."""
        ...

    def count(self, after: int, upto: int) -> int:
        """Records the log itself counts with after < offset <= upto."""
        ...

    def commit(self, consumer: str, seq: int) -> None:
        """Remember that `consumer` is done up to `seq`."""
        ...

    def committed(self, consumer: str) -> int:
        """The offset `consumer` committed, 0 before the first."""
        ...


__all__ = ["LANDING_COLUMNS", "AppendResult", "EventLog", "Heartbeat", "Record"]
