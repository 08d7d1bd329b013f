"""The event log: append once, read after an offset, commit a consumer.

Here belongs durability, deduplication at the edge and offsets. Not here: what an event means, or when it is landed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gtm_dagster.eventlog.records import LANDING_COLUMNS, Record

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

    def count(self, after: int, upto: int) -> int:
        """Records the log itself counts with after < offset <= upto."""
        ...

    def commit(self, consumer: str, seq: int) -> None:
        """Remember that `consumer` is done up to `seq`."""
        ...

    def committed(self, consumer: str) -> int:
        """The offset `consumer` committed, 0 before the first."""
        ...


__all__ = ["LANDING_COLUMNS", "AppendResult", "EventLog", "Record"]
