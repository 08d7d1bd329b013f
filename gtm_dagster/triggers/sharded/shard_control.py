"""The topic `control`: what a person wants of the rules of shards, from any machine that reaches the brokers.

It is compacted: a rule's last status stays, an erasure goes when the resolver has passed it on. The resolver gives it to the
shards at one place in the order of all partitions, and each shard says in `starts` that it has it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from gtm_dagster.eventlog.kafka_topic import client_of
from gtm_dagster.triggers.sharded.shard_messages import shard_of
from gtm_dagster.triggers.sharded.shard_starts import ErasedThere, StartMessage, SwitchedThere, decoded_start
from gtm_dagster.triggers.sharded.shard_topics import ShardError, ShardTopics

REQUEST_SECONDS = 10.0


class SwitchRule(Struct, frozen=True, tag="switch"):
    """A rule is paused, or runs again."""

    rule: str
    status: Literal["paused", "active"]
    at_us: int


class ErasePersons(Struct, frozen=True, tag="erase"):
    """Persons, as the log has them, are erased, and the anonymous ids that belong to them."""

    persons: tuple[str, ...]
    at_us: int


Control = SwitchRule | ErasePersons
_encode = msgspec.json.Encoder().encode
decoded_control = msgspec.json.Decoder(Control).decode


class Reached(Struct, frozen=True):
    """The shards that have it, of those that have to."""

    shards: frozenset[int]
    of: frozenset[int]

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(sorted(self.of - self.shards))


def switch_rule(
    topics: ShardTopics, rule: str, status: Literal["paused", "active"], now_us: int, wait_seconds: float
) -> Reached:
    """Pause a rule in all shards, or let it run; says which have it after `wait_seconds` at most. The others take it, in the
    order of the log, when a resolver and a worker run. Raises ShardError, and then nothing is asked for.
    """
    shards = topics.shards()
    answers = _Answers(topics, shards)
    try:
        answers.ask(f"rule:{rule}", SwitchRule(rule, status, now_us))
        reached: set[int] = set()
        for each in answers.until(wait_seconds, lambda: len(reached) == shards):
            if isinstance(each, SwitchedThere) and (each.rule, each.status) == (rule, status):
                reached.add(each.shard)
    finally:
        answers.close()
    return Reached(frozenset(reached), frozenset(range(shards)))


def erase_from_shards(topics: ShardTopics, persons: set[str], now_us: int, wait_seconds: float) -> Reached:
    """Erase persons (as the log has them: pseudonyms) and the anonymous ids linked to them from the links of the resolver,
    the state of the shards and the `triggers.db` that their outbox fills; says which of the persons' shards have done it after
    `wait_seconds` at most. What is asked for stays asked for.

    A hash stays, by which later events of theirs reach no shard. What stands in `events.by_person`, `state.moved`, `actions`,
    `nonsends` and `starts` goes with `kafka.retention_days`, what stands in `changelog` and `resolver` when the broker compacts
    them (a day at most after the segment is closed). Raises ShardError, and then nothing is asked for.
    """
    shards = topics.shards()
    of = frozenset(shard_of(person, shards) for person in persons)
    answers = _Answers(topics, shards)
    try:
        answers.ask(f"erase:{secrets.token_hex(16)}", ErasePersons(tuple(sorted(persons)), now_us))
        left = set(persons)
        for each in answers.until(wait_seconds, lambda: not left):
            if isinstance(each, ErasedThere) and each.at_us >= now_us:
                left.discard(each.person)
    finally:
        answers.close()
    return Reached(of - {shard_of(person, shards) for person in left}, of)


class _Answers:
    """What stands in `starts` from now on."""

    def __init__(self, topics: ShardTopics, shards: int) -> None:
        self._topics = topics
        self._error = client_of(topics.topic(topics.prefix), "KafkaException")
        place = client_of(topics.topic(topics.prefix), "TopicPartition")
        self._consumer = topics.client(
            "Consumer", group_id=f"{topics.prefix}.control", enable_auto_commit=False, isolation_level="read_committed",
            fetch_wait_max_ms=20,
        )  # fmt: skip
        places = [place(topics.starts, number) for number in range(shards)]
        try:
            for each in places:
                _, each.offset = self._consumer.get_watermark_offsets(each, timeout=REQUEST_SECONDS)
            self._consumer.assign(places)
        except self._error as error:
            self.close()
            raise ShardError(f"kafka://{topics.servers}/{topics.starts}: cannot be read ({error})") from error

    def ask(self, key: str, control: Control) -> None:
        """Write it durably. Raises ShardError."""
        topics, failed = self._topics, []
        producer = topics.client("Producer", enable_idempotence=True, delivery_timeout_ms=int(REQUEST_SECONDS * 1000))
        producer.produce(
            topics.control, _encode(control), key=key.encode(), partition=0,
            on_delivery=lambda error, _: failed.append(error) if error is not None else None,
        )  # fmt: skip
        if producer.flush(REQUEST_SECONDS + 5) or failed:
            raise ShardError(
                f"kafka://{topics.servers}/{topics.control}: cannot be written ({(failed or ['no answer'])[0]})"
            )

    def until(self, seconds: float, enough: Callable[[], bool]) -> Iterator[StartMessage]:
        """What the shards say, until it is `enough` or the time is over."""
        end = time.monotonic() + seconds
        while not enough() and (left := end - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, 0.2))
            if message is not None and message.error() is None:
                yield decoded_start(message.value())

    def close(self) -> None:
        self._consumer.close()
