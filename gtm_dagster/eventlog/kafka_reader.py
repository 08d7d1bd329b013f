"""Reading partitions by offset, without a consumer group: whoever reads keeps the offsets itself, with what it made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gtm_dagster.eventlog.kafka_index import Bounds, Range
from gtm_dagster.eventlog.kafka_topic import REQUEST_SECONDS, Topic, TopicState, client_of, ensure, made, reason
from gtm_dagster.eventlog.log import EventLogError, LogChangedError
from gtm_dagster.eventlog.log_identity import WAY_OUT

if TYPE_CHECKING:
    from confluent_kafka import Message

SILENT_SECONDS = 10.0
"""Without a message for this long, offsets that the broker has are given up."""
_LOOK_AGAIN_SECONDS = 30.0
"""Partitions may be added to a topic."""
_CONSUMED_AT_ONCE = 5_000


class PartitionReader:
    """Used by one thread at a time; the connection is made with the first question."""

    def __init__(self, topic: Topic, keep_days: int) -> None:
        self._topic = topic
        self._keep_days = keep_days
        self._consumer: Any = None
        self._state: TopicState | None = None
        self._looked_at = 0.0

    def state(self) -> TopicState:
        """The topic, made when there is none. Raises EventLogError when the broker does not answer."""
        if self._state is None or time.monotonic() - self._looked_at > _LOOK_AGAIN_SECONDS:
            self._state = ensure(self._topic, made(self._topic, "AdminClient"), self._keep_days)
            self._looked_at = time.monotonic()
        return self._state

    def bounds(self) -> Bounds:
        """The oldest offset of each partition and the one behind its newest. Raises EventLogError."""
        partition = client_of(self._topic, "TopicPartition")
        asked = {part: partition(self._topic.name, part) for part in self.state().partitions}
        return {part: self._answer(partial(_bounds_of, each)) for part, each in asked.items()}

    def offsets_at(self, received_us: int) -> dict[int, int]:
        """By partition the first offset that was appended at this moment or later; not of those without one."""
        partition = client_of(self._topic, "TopicPartition")
        asked = [partition(self._topic.name, part, max(received_us, 0) // 1000) for part in self.state().partitions]
        found = self._answer(lambda consumer: consumer.offsets_for_times(asked, timeout=REQUEST_SECONDS))
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def _answer(self, ask: Callable[[Any], Any]) -> Any:
        """What the broker answers; asked again while a partition has just been made, or changes its leader."""
        refusal, codes = client_of(self._topic, "KafkaException"), client_of(self._topic, "KafkaError")
        passing = (codes.NOT_LEADER_FOR_PARTITION, codes.LEADER_NOT_AVAILABLE, codes.UNKNOWN_TOPIC_OR_PART)
        until = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                return ask(self._connected())
            except refusal as error:
                if error.args[0].code() not in passing or time.monotonic() > until:
                    raise EventLogError(
                        f"{self._topic.place}: the broker does not say what it has ({reason(error)})"
                    ) from error
            time.sleep(0.05)

    def fetch(self, ranges: Sequence[Range]) -> list[tuple[int, Message]]:
        """The messages of the ranges in their order, each with its offset in the log.

        Raises EventLogError when the broker does not bring them, LogChangedError when it has deleted some.
        """
        if not ranges:
            return []
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        for each in ranges:
            starts.setdefault(each.part, each.first_offset)
            ends[each.part] = each.end
        found = self._consumed(starts, ends)
        messages: list[tuple[int, Message]] = []
        for each in ranges:
            those, offsets = found[each.part], range(each.first_offset, each.end)
            try:
                messages += [(seq, those[offset]) for seq, offset in enumerate(offsets, each.first_seq)]
            except KeyError as error:
                raise self._gone(each.part, error.args[0]) from None
        return messages

    def close(self) -> None:
        """Leave the broker."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _consumed(self, starts: dict[int, int], ends: dict[int, int]) -> dict[int, dict[int, Message]]:
        """By partition and offset, what lies between."""
        consumer, partition = self._connected(), client_of(self._topic, "TopicPartition")
        found: dict[int, dict[int, Message]] = {part: {} for part in starts}
        missing = sum(ends[part] - start for part, start in starts.items())
        open_parts = set(starts)
        until = time.monotonic() + SILENT_SECONDS
        consumer.assign([partition(self._topic.name, part, start) for part, start in starts.items()])
        try:
            while open_parts and time.monotonic() < until:
                messages = consumer.consume(max(min(missing, _CONSUMED_AT_ONCE), 1), timeout=0.5)
                newest: dict[int, int] = {}
                for message in messages:
                    if (error := message.error()) is not None:
                        self._look_at(error, message, starts)
                        continue
                    part, offset = message.partition(), message.offset()
                    found[part][offset] = message
                    newest[part] = offset
                if newest:
                    until = time.monotonic() + SILENT_SECONDS
                missing -= len(messages)
                done = [part for part in open_parts if newest.get(part, -1) >= ends[part] - 1]
                open_parts.difference_update(done)
                if done and open_parts:
                    consumer.incremental_unassign([partition(self._topic.name, part) for part in done])
        finally:
            consumer.unassign()
        if open_parts:
            part = min(open_parts)
            raise EventLogError(
                f"{self._topic.place}: the broker did not bring partition {part} up to offset {ends[part] - 1} "
                f"within {SILENT_SECONDS:g} s"
            )
        return found

    def _look_at(self, error: Any, message: Message, starts: dict[int, int]) -> None:
        """Raise what a reader cannot wait for."""
        codes = client_of(self._topic, "KafkaError")
        if error.code() in (codes._AUTO_OFFSET_RESET, codes.OFFSET_OUT_OF_RANGE):
            part = message.partition() or 0
            raise self._gone(part, starts.get(part, 0))
        if error.fatal() or error.code() in (codes.TOPIC_AUTHORIZATION_FAILED, codes.UNKNOWN_TOPIC_OR_PART):
            raise EventLogError(f"{self._topic.place}: cannot be read ({error.str()})")

    def _gone(self, part: int, offset: int) -> LogChangedError:
        return LogChangedError(
            f"{self._topic.place}: partition {part} has no offset {offset} any more: the topic deleted records before they were "
            f"read; restore the topic, {WAY_OUT}",
            "trimmed",
        )

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = made(
                self._topic, "Consumer", group_id="gtm-dagster", enable_auto_commit=False, enable_auto_offset_store=False,
                auto_offset_reset="error", fetch_wait_max_ms=20, queued_min_messages=20_000,
                queued_max_messages_kbytes=32_768, check_crcs=True, error_cb=lambda _: None,
            )  # fmt: skip
        return self._consumer


def _bounds_of(asked: Any, consumer: Any) -> Any:
    return consumer.get_watermark_offsets(asked, timeout=REQUEST_SECONDS)
