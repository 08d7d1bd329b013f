"""From the topics of the shards into `triggers.db`, where `gtm deliver` finds messages and everybody else how the rules stand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.eventlog.kafka_topic import client_of
from gtm_dagster.triggers import runner_rows as rows
from gtm_dagster.triggers.live_runner import OCCURRENCES_KEPT_US, PRUNE_SECONDS, PRUNED_AT_ONCE, machine_clock
from gtm_dagster.triggers.sharded.resolver_process import (
    LINK,
    RULES,
    STATE,
    ResolverState,
    decoded_rules,
    decoded_state,
)
from gtm_dagster.triggers.sharded.shard_journal import Refused, ShardAction
from gtm_dagster.triggers.sharded.shard_ledger import ShardLedger
from gtm_dagster.triggers.sharded.shard_messages import ShardRecord, decoded_record
from gtm_dagster.triggers.sharded.shard_meta import Meta, decoded_meta
from gtm_dagster.triggers.sharded.shard_starts import decoded_start
from gtm_dagster.triggers.sharded.shard_store import META, person_record
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics
from gtm_dagster.triggers.trigger_db import open_trigger_db

POLL_SECONDS, STANDING_SECONDS = 0.1, 1.0
_action = msgspec.json.Decoder(ShardAction).decode
_refused = msgspec.json.Decoder(Refused).decode


class OutboxProcess:
    """Fills `triggers.db` at `path`; one for all of a group, since they would share the topics."""

    def __init__(self, topics: ShardTopics, path: Path) -> None:
        self._topics = topics
        self._con = open_trigger_db(path)
        self._con.execute("DELETE FROM shards WHERE number >= ?", (topics.shards(),))  # of topics that had more
        self._ledger = ShardLedger(self._con)
        self._metas: dict[int, Meta] = {}
        self._resolver: ResolverState | None = None
        self._stored_at = self._pruned_at = time.monotonic()
        self._leaves_bytes = False
        """Whether what was erased is still in the write-ahead log."""
        self._consumer = topics.client(
            "Consumer", group_id=f"{topics.prefix}.outbox", enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="earliest", fetch_wait_max_ms=20, session_timeout_ms=10_000,
        )  # fmt: skip
        self._consumer.subscribe([topics.actions, topics.nonsends, topics.starts, topics.changelog, topics.records, topics.resolver])  # fmt: skip

    def round(self) -> int:
        """What the topics hold now, up to 1,000 messages, in one transaction; how many messages it took."""
        found = self._consumer.consume(1000, timeout=POLL_SECONDS)
        for message in found:
            if (error := message.error()) is not None and error.fatal():
                raise client_of(self._topics.topic(self._topics.prefix), "KafkaException")(error)
        messages = [message for message in found if message.error() is None]
        news = [message for message in messages if not self._remember(message)]
        has_standing = bool(self._metas) or self._resolver is not None
        if news or (has_standing and time.monotonic() - self._stored_at >= STANDING_SECONDS):
            self._store(news)
        if messages:
            self._consumer.commit(asynchronous=False)
        if self._leaves_bytes:
            self._leaves_bytes = bool(self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            rows.end_old_rows(self._con, machine_clock() - OCCURRENCES_KEPT_US, PRUNED_AT_ONCE)
        return len(messages)

    def close(self) -> None:
        self._consumer.close()
        self._con.close()

    def _remember(self, message: Any) -> bool:
        """Whether it says how a shard or the resolver stands: the newest of each is written, once a second."""
        record = self._record(message)
        if record is not None and record.key == META:
            self._metas[record.shard] = decoded_meta(record.value)
        elif message.key() == STATE and message.topic() == self._topics.resolver:
            self._resolver = decoded_state(message.value())
        else:
            return False
        return True

    def _record(self, message: Any) -> ShardRecord | None:
        """A record of a shard's state, wherever it stands; None for another message, and for the end of a record."""
        if message.topic() == self._topics.records:
            return decoded_record(message.value())
        if message.topic() == self._topics.changelog and message.value() is not None:
            return ShardRecord(message.partition(), message.key(), message.value())
        return None

    def _store(self, messages: list[Any]) -> None:
        con, ledger = self._con, self._ledger
        con.execute("BEGIN IMMEDIATE")
        try:
            ledger.begin(machine_clock())
            for message in messages:
                self._take(message)
            if self._metas:
                ledger.standing(self._metas)
            if self._resolver is not None and self._resolver.at is not None:
                rows.store_position(con, self._resolver.at, self._resolver.looked_us)
                rows.note(con, "rules_error", self._resolver.rules_error)
            con.execute("COMMIT")
        finally:
            if con.in_transaction:
                con.execute("ROLLBACK")
        self._metas, self._resolver, self._stored_at = {}, None, time.monotonic()
        self._leaves_bytes = self._leaves_bytes or ledger.erased

    def _take(self, message: Any) -> None:
        topics, ledger = self._topics, self._ledger
        topic, key, value = message.topic(), message.key(), message.value()
        if topic == topics.actions:
            ledger.action(_action(value))
        elif topic == topics.nonsends:
            ledger.refused(_refused(value))
        elif topic == topics.starts:
            ledger.start(decoded_start(value))
        elif (record := self._record(message)) is not None:
            if (found := person_record(record.key, record.value)) is not None:
                ledger.person(*found)
        elif topic != topics.resolver or value is None:
            return
        elif key == RULES:
            ledger.rules(decoded_rules(value))
        elif key.startswith(LINK):
            ledger.link(key.removeprefix(LINK).decode(), value.decode())
