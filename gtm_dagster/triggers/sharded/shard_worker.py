"""A worker of the consumer group: the shards of its partitions, whose inputs, state and outputs move in one transaction.

A kill at any moment leaves all of a transaction or nothing. The position stands in the changelog, with the state; the group's
offsets are written in the same transaction, so that a worker which lost its partitions cannot commit any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from gtm_dagster.eventlog.kafka_topic import client_of
from gtm_dagster.triggers.live_figures import LiveFigures
from gtm_dagster.triggers.live_runner import machine_clock
from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_figures import look_at_shards
from gtm_dagster.triggers.sharded.shard_messages import Happened, decoded_message, decoded_move
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics, whole

BATCH_MESSAGES, BATCH_SECONDS, LINGER_SECONDS = 1_000, 0.05, 0.003
"""A transaction takes this many messages, for this long, and ends before when none came for the linger."""
SESSION_SECONDS = 10
LOOK_SECONDS = 1.0
REQUEST_SECONDS = 10.0
_log = logging.getLogger("gtm_dagster.triggers")


class ShardWorker:
    """`name`: of this process, another one for each that runs at a time (a second of the same name ends the first). `figures`:
    of the process, for its metrics.
    """

    def __init__(
        self, topics: ShardTopics, name: str, *, clock: Callable[[], int] = machine_clock,
        session_seconds: float = SESSION_SECONDS, figures: LiveFigures | None = None,
    ) -> None:  # fmt: skip
        self._topics, self._clock, self._name = topics, clock, name
        self._figures = figures or LiveFigures()
        self._looked_at = 0.0
        self._place = client_of(topics.topic(topics.prefix), "TopicPartition")
        self.shards: dict[int, Shard] = {}
        self._open: dict[int, Any] = {}
        """By shard, the message that waits for a move."""
        self._moves: dict[int, dict[int, int]] = {}
        """By shard and `seq`, the offset of a move that came."""
        self._busy: set[int] = set()
        self._failed = False
        """A transaction did not end: what the shards did since belongs to nobody, and the next worker does it again."""
        self._producer = topics.producer(f"{topics.group}.{name}")
        self._producer.init_transactions(REQUEST_SECONDS * 3)
        self._consumer = topics.client(
            "Consumer", group_id=topics.group, enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="earliest", partition_assignment_strategy="range", fetch_wait_max_ms=20,
            session_timeout_ms=int(session_seconds * 1000), heartbeat_interval_ms=int(session_seconds * 200),
        )  # fmt: skip
        self._consumer.subscribe([topics.events], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose)

    def round(self) -> int:
        """One transaction, or none when nothing came; how many messages it took."""
        until = time.monotonic() + BATCH_SECONDS
        taken = 0
        while taken < BATCH_MESSAGES and (left := until - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, LINGER_SECONDS) if self._busy else left)
            if message is not None:
                taken += self._take(message)
            elif self._busy:
                break
        began = time.monotonic()
        self._commit()
        for shard in self.shards.values():
            self._figures.take(shard.count(), 0, 0.0)
        self._figures.busy_seconds += time.monotonic() - began
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            look_at_shards(self._figures, self.shards, self._lag(), self._clock())
        return taken

    def close(self) -> None:
        """Leave the group; what is not committed is done again by the next owner."""
        look_at_shards(self._figures, {}, 0, self._clock())
        self._consumer.close()

    def _lag(self) -> int:
        """Messages in the partitions behind what was taken, as the last answers of the brokers have it."""
        behind = 0
        for number, shard in self.shards.items():
            _, end = self._consumer.get_watermark_offsets(self._place(self._topics.events, number), cached=True)
            behind += max(end - shard.position.get("events", 0) - 1, 0)  # a transaction ends with a record of its own
        return behind

    def _take(self, message: Any) -> int:
        if (error := message.error()) is not None:
            if error.fatal():
                raise client_of(self._topics.topic(self._topics.prefix), "KafkaException")(error)
            return 0
        number = message.partition()
        shard = self.shards.get(number)
        if shard is None:
            return 0
        self._busy.add(number)
        if message.topic() == self._topics.moved:
            move = decoded_move(message.value())
            shard.take_move(move)
            self._moves[number][move.seq] = message.offset()
            shard.position["moved"] = message.offset() + 1
            if number in self._open and self._feed(number, self._open[number]):
                del self._open[number]
                self._consumer.resume([self._place(self._topics.events, number)])
        elif not self._feed(number, message):
            self._open[number] = message
            self._consumer.pause([self._place(self._topics.events, number)])
        return 1

    def _feed(self, number: int, message: Any) -> bool:
        shard = self.shards[number]
        found = decoded_message(message.value())
        if not shard.take(found):
            return False
        self._figures.events += isinstance(found, Happened)
        shard.position["events"] = message.offset() + 1
        return True

    def _commit(self) -> None:
        """Write what the shards did since the last time."""
        if not self._busy:
            return
        producer, topics = self._producer, self._topics
        self._failed = True
        producer.begin_transaction()
        names = {"actions": topics.actions, "nonsends": topics.nonsends, "starts": topics.starts, "moved": topics.moved}
        offsets = []
        for number in sorted(self._busy):
            shard = self.shards[number]
            waiting = shard.waiting_moves
            self._moves[number] = {seq: at for seq, at in self._moves[number].items() if seq in waiting}
            next_move = min(self._moves[number].values(), default=shard.position.get("moved", 0))
            read_to = shard.position.get("moved", 0)
            shard.position["moved"] = next_move
            changelog, outputs = shard.flush()
            shard.position["moved"] = read_to
            for key, value in changelog.items():
                self._produce(topics.changelog, value, key, number)
            for output in outputs:
                self._produce(names[output.topic], output.value, output.key.encode(), output.partition)
            offsets.append(self._place(topics.events, number, shard.position.get("events", 0)))
        producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), REQUEST_SECONDS)
        producer.commit_transaction(REQUEST_SECONDS)
        self._failed = False
        self._busy.clear()

    def _produce(self, topic: str, value: bytes | None, key: bytes, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, partition=partition)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _assign(self, consumer: Any, places: Any) -> None:
        """Restore the shards of the partitions that came. Called inside `poll`."""
        numbers = sorted(place.partition for place in places)
        # With read_committed this waits until transactions of a former owner are over.
        consumer.committed([self._place(self._topics.events, number) for number in numbers], timeout=30)
        self._forget()
        began = time.monotonic()
        assigned = []
        for number in numbers:
            shard = self.shards[number] = Shard(number, self._clock, self._name)
            self._moves[number] = {}
            shard.restore(whole(self._topics, self._topics.changelog, number))
            assigned.append(self._place(self._topics.events, number, shard.position.get("events", 0)))
            assigned.append(self._place(self._topics.moved, number, shard.position.get("moved", 0)))
        consumer.assign(assigned)
        consumer.resume(assigned)  # a partition that was paused when it was revoked comes back paused
        _log.info("triggers: shards %s, restored in %.1f s", numbers, time.monotonic() - began)

    def _revoke(self, consumer: Any, places: Any) -> None:
        if not self._failed:
            self._commit()
        self._forget()

    def _lose(self, consumer: Any, places: Any) -> None:
        self._forget()

    def _forget(self) -> None:
        self.shards.clear()
        self._open.clear()
        self._moves.clear()
        self._busy.clear()
