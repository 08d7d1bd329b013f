"""The event log as a topic of Kafka, with the promises of events.db.

Appending is the writer of events.db with `kafka_spool` behind it: an append is done when the broker has acknowledged it or,
while the broker is away, when it is spooled on this disk. Reading is `kafka_sequence`.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.kafka_producer import KafkaProducer
from gtm_dagster.eventlog.kafka_sequence import TopicSequence
from gtm_dagster.eventlog.kafka_spool import SPOOL_MIGRATIONS, Spool, spooled
from gtm_dagster.eventlog.kafka_topic import Topic
from gtm_dagster.eventlog.log import AppendResult, EventLogError, Heartbeat, Refusal
from gtm_dagster.eventlog.log_file import reading
from gtm_dagster.eventlog.log_writer import CLOSE_SECONDS
from gtm_dagster.eventlog.sqlite import SqliteEventLog

LONGEST_EVENT_BYTES = 200_000
"""Of an event as sent: its record is a few times as long when it is refused, and brokers take messages of 1 MB."""
_DRAIN_SECONDS = 0.1
_TRIM_SECONDS = 3600.0
_log = logging.getLogger("gtm_dagster.eventlog")


class KafkaEventLog(TopicSequence):
    """The log in `topic`; `folder` has its index and the spool. Appends from any thread of one process.

    `dedup_days`: how long this collector remembers an accepted id. `keep_days`: how long a sealed original may be kept.
    """

    def __init__(self, topic: Topic, folder: Path, dedup_days: int = 32, keep_days: int = 30) -> None:
        super().__init__(topic, folder, keep_days)
        self._producer = KafkaProducer(topic, keep_days)
        self._filling = Spool(self._producer, topic.settings.ack_seconds, topic.settings.spool_events)
        self._spool = SqliteEventLog(folder / "spool.db", dedup_days, self._filling, SPOOL_MIGRATIONS)
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._drainer: threading.Thread | None = None

    # Appending

    def append(self, records: list[Record]) -> AppendResult:
        """Store the records; returns when the broker has acknowledged them, or when they are spooled.

        As SqliteEventLog.append, for the ids this collector has accepted. Offsets are not known yet. Raises
        EventLogError when neither the broker nor the spool takes them.
        """
        return self.submit(records).result()

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        self._start_drainer()
        return self._spool.submit(records)

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
        """As SqliteEventLog.beat; while something is spooled its producer has delivered no more than it had before."""
        return self.submit_beat(producer, ts_us, received_us, closing, instance, write_key, skew_us).result()

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Queue counts of what the edge refused; the future is done when they are durable."""
        return self._spool.submit_refusals(rows)

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
        self._start_drainer()
        return self._spool.submit_beat(producer, ts_us, received_us, closing, instance, write_key, skew_us)

    def waiting(self) -> int:
        """As SqliteEventLog.waiting."""
        return self._spool.waiting()

    def writer_fault(self) -> str | None:
        """None while appends succeed, also into the spool; else why the newest one did not."""
        return self._spool.writer_fault()

    def spooled(self) -> int:
        """Events that wait on this disk for the broker."""
        with reading(self._spool.path) as con:
            return spooled(con)

    def broker_fault(self) -> str | None:
        """Why the broker does not take what this process appends, None while it does."""
        return self._producer.fault

    # What the collector keeps

    def edge_counts(self) -> dict[str, dict[str, int]]:
        """What this collector answered, by UTC day and status."""
        return self._spool.edge_counts()

    def heartbeats(self) -> list[Heartbeat]:
        """The newest heartbeat of each producer that sends to this collector."""
        return self._spool.heartbeats()

    def trim(self, before_day: str) -> int:
        """Forget what the broker has deleted, and ids past `dedup_days`; returns the records.

        The topic itself ends its records, by its retention.
        """
        self._spool.trim(before_day)
        return self._cut()

    def end_sealed(self, before: date) -> int:
        """0: sealed originals end with their records, whose retention `keep_days` bounds."""
        return 0

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Commit what waits and end; what is spooled stays for the next start."""
        self._closing.set()
        if self._drainer is not None:
            self._drainer.join(seconds)
        self._spool.close(seconds)
        self._producer.drop()
        with self._lock:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_drainer(self) -> None:
        if self._drainer is None:
            with self._starting:
                if self._drainer is None:
                    self._drainer = threading.Thread(target=self._drain, name="eventlog-drain", daemon=True)
                    self._drainer.start()

    def _drain(self) -> None:
        """Bring what is spooled to the broker as soon as it takes it, and forget old ids, until the log is closed."""
        trimmed_at, away = time.monotonic(), False
        while not self._closing.wait(_DRAIN_SECONDS):
            try:
                while self._filling.filled and self.spooled() and not self._closing.is_set():
                    if not away:
                        away = True
                        _log.warning("%s; events are spooled in %s", self._producer.fault, self._spool.path)
                    if not self._spool.drain().result():
                        break
                if away and not self.spooled():
                    away = False
                    _log.warning("%s: the broker is back, nothing is spooled any more", self.topic.place)
                if time.monotonic() - trimmed_at > _TRIM_SECONDS:
                    trimmed_at = time.monotonic()
                    self._spool.trim(datetime.now(UTC).date().isoformat())
            except EventLogError as error:
                _log.error("%s", error)
                self._closing.wait(1.0)
