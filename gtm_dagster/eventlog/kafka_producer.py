"""Delivering to the topic: a group of messages is delivered when the broker has acknowledged each of them.

Idempotent, `acks=all`, one group at a time. What is not acknowledged in time stays with the client, which goes on
trying: it is neither lost nor sent a second time as long as this process lives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from gtm_dagster.eventlog.kafka_topic import Topic, TopicRefusedError, client_of, ensure, made, reason
from gtm_dagster.eventlog.log import EventLogError

_QUEUED_KILOBYTES, _QUEUED_MESSAGES = 1_048_576, 500_000
"""What the client queues at most; a group is far below it (see collector.commits)."""
_RETRY_SECONDS = 1.0
"""Pause after a topic that could not be had."""
_COMPRESSION = "lz4"
"""Unless `kafka.client` says another: a group of 50 events is some ten messages for each partition, and zstd sets itself up
for each such batch, which took half of what delivering it cost.
"""

Message = dict[str, str | bytes]
"""`key` and `value` of a message."""


class KafkaProducer:
    """Used by one thread. `fault`: why the newest group could not be delivered, None when it was."""

    def __init__(self, topic: Topic, keep_days: int) -> None:
        self.fault: str | None = None
        self._topic = topic
        self._keep_days = keep_days
        self._producer: Any = None
        self._look: threading.Thread | None = None
        self._has_topic = False
        self._refused: TopicRefusedError | None = None
        self._errors: list[str] = []

    def deliver(self, messages: Sequence[Message], seconds: float) -> bool | None:
        """Whether the broker acknowledged all of them within about `seconds`; None while the client still tries.

        After False they have to be delivered again, after None `settled` says what became of them. Raises
        TopicRefusedError when the topic may not be used as it is.
        """
        producer = self._ready(seconds)
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
        return self.settled(seconds)

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

    def _ready(self, seconds: float) -> Any:
        """The client; None when the topic cannot be had within `seconds`."""
        if self._producer is not None:
            return self._producer
        if not self._has_topic:
            if self._look is None or not self._look.is_alive():
                self._refused = None
                self._look = threading.Thread(target=self._look_for_topic, name="eventlog-topic", daemon=True)
                self._look.start()
            self._look.join(seconds)
            if self._refused is not None:
                self.fault = str(self._refused)
                raise self._refused
            if not self._has_topic:
                self.fault = self.fault or f"{self._topic.place}: the broker does not answer"
                return None
        self._producer = made(
            self._topic, "Producer", enable_idempotence=True, acks="all",
            compression_type=self._topic.settings.client.get("compression.type", _COMPRESSION), linger_ms=5,
            partitioner="murmur2_random", message_timeout_ms=0, delivery_report_only_error=True,
            queue_buffering_max_kbytes=_QUEUED_KILOBYTES, queue_buffering_max_messages=_QUEUED_MESSAGES,
            on_delivery=self._failed, error_cb=self._erred,
        )  # fmt: skip
        return self._producer

    def _look_for_topic(self) -> None:
        """In a thread of its own: a broker that is away takes seconds to be silent, and appends go on meanwhile."""
        try:
            ensure(self._topic, made(self._topic, "AdminClient"), self._keep_days)
            self._has_topic = True
        except TopicRefusedError as error:
            self._refused = error
        except EventLogError as error:
            self.fault = str(error)
            time.sleep(_RETRY_SECONDS)

    def _failed(self, error: Any, _: Any) -> None:
        """A message was given up: `delivery.report.only.error` leaves the others unsaid."""
        if error is not None:
            self._errors.append(reason(Exception(error)))

    def _erred(self, error: Any) -> None:
        """An error of the client; one that it cannot recover from ends it. Others it goes on after by itself."""
        if error.fatal():
            self._errors.append(reason(Exception(error)))
