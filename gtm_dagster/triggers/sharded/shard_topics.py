"""The topics between the stages, and reading a compacted one whole.

Of `kafka://host:9092/gtm`: `gtm.events.by_person`, `gtm.state.moved` and `gtm.changelog` have one partition a shard,
`gtm.actions`, `gtm.nonsends` and `gtm.starts` as many, `gtm.resolver`, `gtm.control` and `gtm.records` one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from gtm_dagster.eventlog.kafka_topic import REQUEST_SECONDS, Topic, client_of, made, reason
from gtm_dagster.settings.broker import Kafka

RESTORE_SECONDS = 120.0
"""Longest wait for a changelog to be readable to its end: transactions of a process that died end within 10 s."""
TRANSACTION_SECONDS = 10
_COMPACTED = {
    "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", "segment.ms": "3600000", "max.compaction.lag.ms": "86400000",
}  # fmt: skip


class ShardError(Exception):
    """The topics cannot be used; the message names them and the reason."""


class ShardTopics(Struct, frozen=True):
    """Names of the topics at an address; `settings`: those of `[kafka]`."""

    servers: str
    prefix: str
    settings: Kafka = Kafka()

    @classmethod
    def at(cls, address: str, settings: Kafka) -> ShardTopics:
        """The topics at `kafka://host:port[,host:port]/prefix`."""
        topic = Topic.at(address, settings)
        return cls(topic.servers, topic.name, settings)

    @property
    def events(self) -> str:
        return f"{self.prefix}.events.by_person"

    @property
    def moved(self) -> str:
        return f"{self.prefix}.state.moved"

    @property
    def changelog(self) -> str:
        return f"{self.prefix}.changelog"

    @property
    def actions(self) -> str:
        return f"{self.prefix}.actions"

    @property
    def nonsends(self) -> str:
        return f"{self.prefix}.nonsends"

    @property
    def records(self) -> str:
        return f"{self.prefix}.records"

    @property
    def starts(self) -> str:
        return f"{self.prefix}.starts"

    @property
    def resolver(self) -> str:
        return f"{self.prefix}.resolver"

    @property
    def control(self) -> str:
        return f"{self.prefix}.control"

    @property
    def group(self) -> str:
        """The consumer group of the workers."""
        return f"{self.prefix}.shards"

    def topic(self, name: str) -> Topic:
        """One of the topics, for `eventlog.kafka_topic`."""
        return Topic(self.servers, name, self.settings)

    def client(self, kind: str, **own: Any) -> Any:
        """A Producer, Consumer or AdminClient."""
        return made(self.topic(self.prefix), kind, **own)

    def producer(self, transactional_id: str) -> Any:
        """A transactional producer; another one of the same id is fenced."""
        return self.client(
            "Producer", transactional_id=transactional_id, transaction_timeout_ms=TRANSACTION_SECONDS * 1000, linger_ms=0,
            compression_type="lz4",
        )  # fmt: skip

    def ensure(self, shards: int) -> int:
        """Make the topics that are missing; returns how many shards there are, which `shards` changes for new ones only.

        Raises ShardError.
        """
        admin = self.client("AdminClient")
        kept = {"cleanup.policy": "delete", "retention.ms": str(self.settings.retention_days * 86_400_000)}
        configs = {
            self.events: kept,
            self.moved: kept,
            self.actions: kept,
            self.nonsends: kept,
            self.starts: kept,
            self.changelog: _COMPACTED,
        }
        refusal, codes = (
            client_of(self.topic(self.prefix), "KafkaException"),
            client_of(self.topic(self.prefix), "KafkaError"),
        )
        new_topic = client_of(self.topic(self.prefix), "NewTopic")
        topics = [new_topic(name, shards, -1, config=config) for name, config in configs.items()]
        topics += [new_topic(name, 1, -1, config=_COMPACTED) for name in (self.resolver, self.control)]
        topics.append(new_topic(self.records, 1, -1, config=kept))
        for name, done in admin.create_topics(topics, request_timeout=REQUEST_SECONDS).items():
            try:
                done.result()
            except refusal as error:
                if error.args[0].code() != codes.TOPIC_ALREADY_EXISTS:
                    raise ShardError(
                        f"kafka://{self.servers}/{name}: the topic cannot be made ({reason(error)})"
                    ) from error
        return self._shards(admin, configs)

    def shards(self) -> int:
        """How many shards there are. Raises ShardError when the topics are not there, or no broker answers."""
        admin = self.client("AdminClient")
        refusal = client_of(self.topic(self.prefix), "KafkaException")
        try:
            known = admin.list_topics(timeout=REQUEST_SECONDS).topics
        except refusal as error:
            raise ShardError(
                f"kafka://{self.servers}/{self.prefix}: no broker answers ({reason(error)}); the shards' topics are there"
            ) from error
        missing = [name for name in (self.events, self.starts, self.control) if name not in known]
        if missing:
            raise ShardError(
                f"kafka://{self.servers}/{self.prefix}: there is no topic {missing[0]}; `gtm trigger run` makes it when it starts"
            )
        return len(known[self.events].partitions)

    def ends(self) -> dict[int, int]:
        """The offset behind the last message for each shard. Raises ShardError."""
        consumer = self.client("Consumer", group_id=f"{self.prefix}.status", enable_auto_commit=False)
        place = client_of(self.topic(self.prefix), "TopicPartition")
        try:
            return {
                number: consumer.get_watermark_offsets(place(self.events, number), timeout=REQUEST_SECONDS)[1]
                for number in range(self.shards())
            }
        except client_of(self.topic(self.prefix), "KafkaException") as error:
            raise ShardError(f"kafka://{self.servers}/{self.events}: no broker answers ({reason(error)})") from error
        finally:
            consumer.close()

    def _shards(self, admin: Any, names: Any) -> int:
        until = time.monotonic() + REQUEST_SECONDS
        while True:
            known = admin.list_topics(timeout=REQUEST_SECONDS).topics
            counts = {name: len(known[name].partitions) for name in names if name in known}
            if len(counts) == len(names) and min(counts.values()) > 0:
                break
            if time.monotonic() > until:
                raise ShardError(f"kafka://{self.servers}/{self.prefix}: the topics were made and are not there yet")
            time.sleep(0.05)
        if len(set(counts.values())) > 1:
            raise ShardError(
                f"kafka://{self.servers}/{self.prefix}: the topics have different numbers of partitions ({counts}); a person's state "
                "stands in the partition of its number: name another prefix, and the shards begin anew"
            )
        return int(counts[self.events])


def whole(topics: ShardTopics, name: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
    """The newest value of each key of a partition, its open transactions awaited. Raises ShardError."""
    common = {"group_id": f"{topics.prefix}.restore", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    place = client_of(topics.topic(name), "TopicPartition")(name, partition, 0)
    looking = topics.client("Consumer", isolation_level="read_uncommitted", **common)
    try:
        first, end = looking.get_watermark_offsets(place, timeout=REQUEST_SECONDS)
    finally:
        looking.close()
    values: dict[bytes, bytes] = {}
    if end > first:
        place.offset = first
        consumer = topics.client(
            "Consumer", isolation_level="read_committed", enable_partition_eof=True, fetch_wait_max_ms=20, **common
        )
        try:
            consumer.assign([place])
            _fill(consumer, place, end, values, topics)
        finally:
            consumer.close()
    yield from values.items()


def _fill(consumer: Any, place: Any, end: int, values: dict[bytes, bytes], topics: ShardTopics) -> None:
    until = time.monotonic() + RESTORE_SECONDS
    while time.monotonic() < until:
        for message in consumer.consume(1000, timeout=0.5):
            if message.error() is None:
                values.pop(message.key(), None)
                if message.value() is not None:
                    values[message.key()] = message.value()
        if consumer.position([place])[0].offset >= end:
            return
    raise ShardError(
        f"kafka://{topics.servers}/{place.topic}: partition {place.partition} cannot be read to offset {end} in {RESTORE_SECONDS:g} s"
    )
