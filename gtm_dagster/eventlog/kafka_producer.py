"""Delivering to the topic: a group of messages is delivered when the broker has acknowledged each of them.

Idempotent, `acks=all`, zstd, one group at a time. What is not acknowledged in time stays with the client, which goes on
trying: it is neither lost nor sent a second time as long as this process lives.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gtm_dagster.eventlog.kafka_topic import Topic, TopicRefusedError, client_of, ensure, made, reason
from gtm_dagster.eventlog.log import EventLogError

_QUEUED_KILOBYTES, _QUEUED_MESSAGES = 1_048_576, 500_000
"""What the client queues at most; a group is far below it (see collector.commits)."""
_RETRY_SECONDS = 1.0
"""Pause after a topic that could not be had: who waits for it holds up everybody behind."""

Message = dict[str, str | bytes]
"""`key` and `value` of a message."""


class KafkaProducer:
    """Used by one thread. `fault`: why the newest group could not be delivered, None when it was."""

    def __init__(self, topic: Topic, keep_days: int) -> None:
        self.fault: str | None = None
        self._topic = topic
        self._keep_days = keep_days
        self._producer: Any = None
        self._try_again_at = 0.0
        self._errors: list[str] = []

    def deliver(self, messages: Sequence[Message], seconds: float) -> bool:
        """Whether the broker acknowledged all of them within about `seconds`.

        When not, `waiting` says whether the client goes on with them; those it gave up have to be delivered again.
        Raises TopicRefusedError when the topic may not be used as it is.
        """
        producer = self._ready()
        if producer is None:
            return False
        self._errors.clear()
        try:
            queued = producer.produce_batch(self._topic.name, list(messages))
        except (BufferError, client_of(self._topic, "KafkaException")) as error:
            self._errors.append(reason(error))
            queued = len(messages)
        if queued < len(messages):
            self._errors.append(f"the client took {queued} of {len(messages)} messages")
        return self.settled(seconds) is True

    def settled(self, seconds: float) -> bool | None:
        """Whether what was handed to the client is acknowledged; None while it still tries. Waits for about `seconds`."""
        if self._producer is None:
            return False
        until = time.monotonic() + seconds
        while (left := self._producer.flush(min(0.1, seconds))) and not self._errors and time.monotonic() < until:
            pass
        if self._errors:
            self.fault = f"{self._topic.place}: {self._errors[0]}"
            self.drop()
            return False
        if left:
            self.fault = f"{self._topic.place}: the broker has not acknowledged {left} events"
            return None
        self.fault = None
        return True

    def drop(self) -> None:
        """Give up what the client still has, and the client."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            producer.flush(0)

    def _ready(self) -> Any:
        """The client; None while the topic cannot be had."""
        if self._producer is not None:
            return self._producer
        if time.monotonic() < self._try_again_at:
            return None
        try:
            ensure(self._topic, made(self._topic, "AdminClient"), self._keep_days)
        except TopicRefusedError:
            raise
        except EventLogError as error:
            self.fault = str(error)
            self._try_again_at = time.monotonic() + _RETRY_SECONDS
            return None
        self._producer = made(
            self._topic, "Producer", enable_idempotence=True, acks="all", compression_type="zstd", linger_ms=5,
            partitioner="murmur2_random", message_timeout_ms=0, delivery_report_only_error=True,
            queue_buffering_max_kbytes=_QUEUED_KILOBYTES, queue_buffering_max_messages=_QUEUED_MESSAGES,
            on_delivery=self._failed, error_cb=self._erred,
        )  # fmt: skip
        return self._producer

    def _failed(self, error: Any, _: Any) -> None:
        """A message was given up: `delivery.report.only.error` leaves the others unsaid."""
        if error is not None:
            self._errors.append(reason(Exception(error)))

    def _erred(self, error: Any) -> None:
        """An error of the client; one that it cannot recover from ends it. Others it goes on after by itself."""
        if error.fatal():
            self._errors.append(reason(Exception(error)))
