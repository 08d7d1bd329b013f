"""A topic as its readers follow it: one sequence of offsets over all partitions, an identity, and whose offsets it holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import frame_rows, kafka_index
from gtm_dagster.eventlog import log_identity as identity
from gtm_dagster.eventlog.kafka_messages import table_of
from gtm_dagster.eventlog.kafka_reader import PartitionReader
from gtm_dagster.eventlog.kafka_topic import Topic
from gtm_dagster.eventlog.log import Acceptance, LogChangedError, Position
from gtm_dagster.eventlog.log_file import reading, record_acceptance, state_of, transaction
from gtm_dagster.eventlog.log_tables import new_log_id

if TYPE_CHECKING:
    import pyarrow as pa

MOST_AT_ONCE = 100_000
"""Records of one read: a message in memory is some kilobytes."""


class TopicSequence:
    """Reads of any thread and process of one state directory; the index of the topic lies in `folder`.

    What asks the broker raises EventLogError when it does not answer, LogChangedError when records are gone.
    """

    def __init__(self, topic: Topic, folder: Path, keep_days: int) -> None:
        self.topic = topic
        self.folder = folder
        self._reader = PartitionReader(topic, keep_days)
        self._lock = threading.RLock()
        self._path: Path | None = None
        self._receipt: tuple[str, int, int] | None = None

    def read_arrow(self, after: int, limit: int = MOST_AT_ONCE) -> tuple[pa.Table, int]:
        """Up to about `limit` records behind offset `after` as a table of the landing columns, and the last offset read."""
        self.last_seq()
        with self._index() as con:
            ranges = kafka_index.ranges_behind(con, after, min(limit, MOST_AT_ONCE))
        with self._lock:
            return table_of(self._reader.fetch(ranges)), ranges[-1].last_seq if ranges else after

    def read_records(self, after: int, limit: int = 10_000) -> tuple[list[Record], int]:
        """As `read_arrow`, as Records."""
        table, last = self.read_arrow(after, limit)
        return [Record(**row) for row in table.to_pylist()], last

    def last_seq(self) -> int:
        """The newest offset; what is new in the topic gets its offsets by this."""
        with self._index() as con:
            before = kafka_index.ends(con)
            bounds = self._bounds()  # after it: what is in the index by now was in the topic before
            if kafka_index.is_behind(con, bounds):
                with transaction(con):
                    if kafka_index.ends(con) == before:
                        return kafka_index.extend(con, bounds, self.topic.place)
                return self.last_seq()  # another process went on meanwhile
            return int(con.execute("SELECT seq FROM log").fetchone()[0])

    @property
    def log_id(self) -> str:
        """The log's identity, 16 hex characters: that of the index, which is of one topic."""
        with self._index() as con:
            return str(con.execute("SELECT log_id FROM log").fetchone()[0])

    def first_seq(self) -> int:
        """The oldest offset that has not left the topic, `last_seq() + 1` when there is none."""
        self._refresh()
        with self._index() as con:
            return state_of(con, self._index_path()).first_seq

    def count(self, after: int, upto: int) -> int:
        """Records with after < offset <= upto, counted from the index."""
        with self._index() as con:
            return frame_rows.count(con, after, upto)

    def offset_before(self, received_us: int) -> int:
        """An offset behind which every record received at `received_us` or later lies that is still kept."""
        self._refresh()
        with self._lock:
            offsets = self._reader.offsets_at(received_us)
        with self._index() as con:
            return kafka_index.seq_before(con, offsets)

    # Identity

    def resume(self, position: Position | None, *, from_start: bool = False) -> int:
        """As EventLog.resume."""
        self._refresh()
        with self._index() as con:
            state = state_of(con, self._index_path())
        return identity.resume(state, position, self._received, from_start=from_start)

    def continues(self, log_id: str) -> bool:
        """As EventLog.continues."""
        with self._index() as con:
            return state_of(con, self._index_path()).continues(log_id)

    def accept(
        self, positions: Sequence[tuple[Position | None, bool]], *, reason: str, actor: str
    ) -> Acceptance | None:
        """As EventLog.accept; also that a partition lost records that nobody has read."""
        with self._index() as con, transaction(con):
            bounds = self._bounds()  # behind the lock: nobody goes further meanwhile
            kafka_index.cut(con, bounds)
            lost = kafka_index.skip(con, bounds)
            kafka_index.extend(con, bounds, self.topic.place)
            state = state_of(con, self._index_path())
            found = identity.acceptance(state, positions, self._received, new_log_id())
            if lost:
                known = found or Acceptance(state.log_id, "", [], max(state.gap_seq, state.first_seq - 1), [])
                found = msgspec.structs.replace(known, kinds=sorted({*known.kinds, "trimmed"}))
            if found is not None:
                record_acceptance(con, found, reason, actor)
        return found

    def accepted(self) -> list[dict[str, str | int]]:
        """As EventLog.accepted."""
        names = ("at", "actor", "reason", "kind", "log_id", "seq")
        with self._index() as con:
            rows = con.execute("SELECT at, actor, reason, kind, log_id, seq FROM accepted ORDER BY n").fetchall()
            return [dict(zip(names, row, strict=True)) for row in rows]

    # Offsets

    def commit(self, consumer: str, seq: int) -> None:
        """Remember `consumer`'s offset; an offset never goes back."""
        with self._index() as con:
            con.execute(
                "INSERT INTO consumers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
                (consumer, seq),
            )

    def committed(self, consumer: str) -> int:
        """The consumer's offset, 0 before its first commit."""
        with self._index() as con:
            row = con.execute("SELECT seq FROM consumers WHERE name = ?", (consumer,)).fetchone()
            return int(row[0]) if row else 0

    def partition_lag(self, consumer: str) -> dict[int, int]:
        """By partition the records behind the offset that `consumer` committed."""
        self.last_seq()
        after = self.committed(consumer)
        with self._index() as con:
            rows = con.execute(
                """SELECT parts.part, coalesce(sum(min(last_seq - first_seq + 1, max(last_seq - ?, 0))), 0)
                  FROM parts LEFT JOIN frames ON frames.part = parts.part GROUP BY 1""",
                (after,),
            )
            return dict(rows.fetchall())

    def _refresh(self) -> None:
        """Take up what came to the topic and what left it."""
        self.last_seq()
        self._cut()

    def _cut(self) -> int:
        bounds = self._bounds()
        with self._index() as con, transaction(con):
            return kafka_index.cut(con, bounds)

    def _received(self, seq: int) -> int | None:
        """When the record at `seq` was received; None: it is not kept."""
        with self._index() as con:
            log_id = str(con.execute("SELECT log_id FROM log").fetchone()[0])
            if self._receipt is not None and self._receipt[:2] == (log_id, seq):
                return self._receipt[2]
            ranges = kafka_index.ranges_behind(con, seq - 1, 1)
        if not ranges or ranges[0].first_seq != seq:
            return None
        try:
            with self._lock:
                table = table_of(self._reader.fetch([ranges[0]._replace(last_seq=seq)]))
        except LogChangedError:
            return None
        self._receipt = (log_id, seq, int(table["received_us"][0].as_py()))
        return self._receipt[2]

    def _bounds(self) -> kafka_index.Bounds:
        with self._lock:
            return self._reader.bounds()

    def _index_path(self) -> Path:
        with self._lock:
            if self._path is None:
                path = self.folder / f"index-{self._reader.state().topic_id}.db"
                kafka_index.make(path)
                self._path = path
            return self._path

    @contextmanager
    def _index(self) -> Iterator[Connection]:
        with reading(self._index_path()) as con:
            yield con
