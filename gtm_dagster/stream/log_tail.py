"""The event log as the worker follows it: what is read is of the log, and behind the offset, that the position names."""

from __future__ import annotations

import msgspec
import pyarrow as pa

from gtm_dagster.eventlog import EventLog, EventLogError, Position
from gtm_dagster.opsstore import ProducerRow
from gtm_dagster.stream.reducer import Start

CONSUMER = "stream"
_SLACK_US = 600_000_000
"""Records stand in the log in order of receipt, up to the time a commit may take (10 min is far beyond it)."""


class LogEnd(msgspec.Struct, frozen=True):
    """What the producers had reported when the log ended at `seq`: true of the reducers once they reach `seq`."""

    seq: int
    producers: list[ProducerRow]


class LogTail:
    """Reads of about `records` records. Raises EventLogError; LogChangedError when the log does not go on from a position."""

    def __init__(self, log: EventLog, records: int) -> None:
        self._log = log
        self._records = records

    def end(self) -> LogEnd:
        """The heartbeats first and the log's end after it: so it holds all that they report."""
        rows = [
            ProducerRow(each.producer, each.ts_us, each.received_us, each.write_key, each.skew_us)
            for each in self._log.heartbeats()
        ]
        return LogEnd(self._log.last_seq(), rows)

    def ends_at(self, offset: int) -> bool:
        """Whether the newest record is the one at `offset`."""
        return self._log.last_seq() == offset

    def resumed(self, position: Position | None) -> Position:
        """Where the log goes on from `position`; None: from what it still keeps."""
        log_id = self._log.log_id  # before the offset: accepting a log may give it another id, and offset, in between
        seq = self._log.resume(position)
        return Position(log_id, seq, position.received_us if position is not None and position.seq == seq else None)

    def beginning(self, start: Start, stored: Position | None, most: Position) -> Position:
        """Where a part begins that stood at `stored`, never behind `most`."""
        at = most if stored is None else min(self.resumed(stored), most, key=lambda position: position.seq)
        if stored is None or start.again:
            # What happened at `since_us` was received then or later: events count no later than their receipt.
            since = max(self._log.offset_before(start.since_us - _SLACK_US), self._log.first_seq() - 1)
            if since < at.seq:
                return Position(at.log_id, since)
        return at

    def read(self, after: Position, upto: int | None = None) -> tuple[pa.Table, Position]:
        """Records behind `after`, of which there are some, up to offset `upto`; and the position of the last one."""
        table, last = self._log.read_arrow(after.seq, self._records)
        first = table["row_no"][0].as_py() if table.num_rows else None
        if first != after.seq + 1 or self._log.log_id != after.log_id:
            self._log.resume(after)
            raise EventLogError(f"the event log changed while the records behind offset {after.seq} were read")
        if upto is not None and upto < last:
            table, last = table.slice(0, upto - after.seq), upto
        return table, Position(after.log_id, last, table["received_us"][-1].as_py())

    def at(self, after: Position, seq: int) -> Position:
        """The position of the record at offset `seq` of the same log."""
        return self.read(Position(after.log_id, seq - 1), seq)[1]

    def commit(self, offset: int) -> None:
        """Report to the log that nobody here needs records up to `offset` any more; only trimming reads it."""
        self._log.commit(CONSUMER, offset)
