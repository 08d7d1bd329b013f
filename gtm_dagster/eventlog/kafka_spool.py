"""What one commit of the collector does when the log is a topic: the broker's acknowledgement first, else the spool.

Ids, counts and heartbeats are committed to spool.db, and with them, in the same transaction, what the broker did not
acknowledge in time. While something is spooled all that comes goes behind it, so the topic gets events in the order in which
they came; `Drain` delivers the oldest and deletes it. What the client still tries to deliver when it is spooled is
watched, not sent again: only a killed process sends it a second time, and staging drops that.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.group_commit import Beat, Drain, store, store_beat
from gtm_dagster.eventlog.kafka_messages import packed
from gtm_dagster.eventlog.kafka_producer import KafkaProducer, Message
from gtm_dagster.eventlog.log import AppendResult, EventLogError
from gtm_dagster.eventlog.log_tables import MIGRATIONS
from gtm_dagster.eventlog.refusals import Refusals, store_refusals
from gtm_dagster.storage.migrations import Migration

_TABLES = (
    "CREATE TABLE spooled (n INTEGER PRIMARY KEY AUTOINCREMENT, events INTEGER NOT NULL, messages BLOB NOT NULL)",
    "CREATE TABLE spool (only INTEGER PRIMARY KEY CHECK (only = 1), events INTEGER NOT NULL)",
    "INSERT INTO spool VALUES (1, 0)",
)
_DRAINED_AT_ONCE = 5_000
_DRAIN_SECONDS = 0.1
"""Longest wait for the broker while draining: appends wait as long, and the next look goes on waiting."""
_UNKNOWN = (0, -1)
"""First and last offset of what was appended: the index gives offsets when somebody reads."""


def _tables(con: sqlite3.Connection) -> None:
    for statement in _TABLES:
        con.execute(statement)


SPOOL_MIGRATIONS = (*MIGRATIONS, Migration("spool_0001_messages", _tables))
"""Those of events.db, whose ids, counts and heartbeats the collector uses, and the spool."""


class Spool:
    """Stores groups for the log's writer, in its thread. `filled`: whether something may be spooled; others may look."""

    def __init__(self, producer: KafkaProducer, ack_seconds: float, most_events: int) -> None:
        self.filled = True
        self._producer = producer
        self._ack_seconds = ack_seconds
        self._most = most_events
        self._with_client: int | None = None  # the newest row whose messages the client has

    def __call__(
        self, con: sqlite3.Connection, path: Path, items: Sequence[list[Record] | Beat | Refusals | Drain]
    ) -> list[Any]:
        """As `group_commit.stored`; for Drain the events delivered."""
        self._forget_undone(con)
        before = spooled(con)
        if before >= self._most and not any(isinstance(item, Drain) for item in items):
            raise self._full(con)
        batches = [item for item in items if isinstance(item, list)]
        appended = iter(store(con, path, batches, self._keep) if batches else ())
        outcomes: list[Any] = []
        for item in items:
            if isinstance(item, Drain):
                outcomes.append(self._drain(con))
            elif isinstance(item, Beat):
                outcomes.append(self._beat(con, item))
            elif isinstance(item, Refusals):
                outcomes.append(store_refusals(con, item))
            else:
                outcomes.append(_without_offsets(next(appended)))
        self.filled = spooled(con) > 0 or before > 0
        return outcomes

    def _forget_undone(self, con: sqlite3.Connection) -> None:
        """The client has messages of a row whose commit failed: nobody was told that they are stored."""
        if self._with_client is not None:
            (newest,) = con.execute("SELECT max(n) FROM spooled").fetchone()
            if (newest or 0) < self._with_client:
                self._producer.drop()
                self._with_client = None

    def _keep(self, con: sqlite3.Connection, _: int, new: list[Record]) -> None:
        messages = [packed(record) for record in new]
        delivered: bool | None = False
        before = spooled(con)
        if not before:
            delivered = self._producer.deliver(messages, self._ack_seconds)
            if delivered:
                return
        elif before + len(new) > self._most:
            raise self._full(con)
        pairs = [(message["key"], message["value"]) for message in messages]
        row = con.execute(
            "INSERT INTO spooled (events, messages) VALUES (?, ?)",
            (len(new), zlib.compress(msgspec.msgpack.encode(pairs), 1)),
        ).lastrowid
        con.execute("UPDATE spool SET events = events + ?", (len(new),))
        if delivered is None:
            self._with_client = row

    def _drain(self, con: sqlite3.Connection) -> int:
        """Deliver the oldest rows; returns their events, 0 when the broker takes none now."""
        if self._with_client is not None:
            settled = self._producer.settled(_DRAIN_SECONDS)
            if settled is None:
                return 0
            upto, self._with_client = self._with_client, None
            return _delete(con, upto) if settled else 0
        messages, upto = _oldest(con)
        if not messages:
            return 0
        delivered = self._producer.deliver(messages, _DRAIN_SECONDS)
        if delivered:
            return _delete(con, upto)
        if delivered is None:
            self._with_client = upto
        return 0

    def _beat(self, con: sqlite3.Connection, beat: Beat) -> bool:
        """Store a heartbeat; while something is spooled its producer has delivered no more than it had before.

        One that was not known before is told nothing and kept when the topic has all that came before it.
        """
        if not beat.closing and spooled(con):
            known = con.execute(
                "SELECT ts_us FROM heartbeats WHERE write_key = ? AND producer = ? AND instance = ?",
                (beat.write_key, beat.producer, beat.instance),
            ).fetchone()
            if known is None:
                return True
            beat = msgspec.structs.replace(beat, ts_us=min(known[0], beat.ts_us))
        return store_beat(con, beat)

    def _full(self, con: sqlite3.Connection) -> EventLogError:
        return EventLogError(
            f"{self._producer.fault or 'the broker takes nothing'}; the spool holds {spooled(con):,} events and takes no more "
            f"(kafka.spool_events = {self._most})"
        )


def spooled(con: sqlite3.Connection) -> int:
    """Events that wait for the broker."""
    return int(con.execute("SELECT events FROM spool").fetchone()[0])


def _oldest(con: sqlite3.Connection) -> tuple[list[Message], int]:
    """The messages of the oldest rows, at most `_DRAINED_AT_ONCE` or those of one row; and the last row's number."""
    messages: list[Message] = []
    upto = 0
    cursor = con.execute("SELECT n, events, messages FROM spooled ORDER BY n")
    for n, events, packed_messages in cursor:
        if messages and len(messages) + events > _DRAINED_AT_ONCE:
            break
        pairs = msgspec.msgpack.decode(zlib.decompress(packed_messages), type=list[tuple[str, bytes]])
        messages += [{"key": key, "value": value} for key, value in pairs]
        upto = n
    cursor.close()
    return messages, upto


def _delete(con: sqlite3.Connection, upto: int) -> int:
    (events,) = con.execute("SELECT coalesce(sum(events), 0) FROM spooled WHERE n <= ?", (upto,)).fetchone()
    con.execute("DELETE FROM spooled WHERE n <= ?", (upto,))
    con.execute("UPDATE spool SET events = events - ?", (events,))
    return int(events)


def _without_offsets(result: AppendResult) -> AppendResult:
    first, last = _UNKNOWN
    return msgspec.structs.replace(result, first_seq=first, last_seq=last, offsets=[])
