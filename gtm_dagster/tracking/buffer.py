"""The events of one tracker that wait for the collector: order, limit, spool, counts, and when the next batch is due."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

import msgspec

from gtm_dagster.tracking.collector_client import Answer, Verdict
from gtm_dagster.tracking.delivery_log import DeliveryLog, OnDrop
from gtm_dagster.tracking.spool import Spool
from gtm_dagster.tracking.tracker_stats import TrackerStats

logger = logging.getLogger("gtm_dagster.tracking")

MAX_QUEUE_BYTES = 50_000_000
"""Bytes of waiting events, as they are sent, past which the oldest are dropped."""
MAX_REST = 60.0
"""Longest pause between two tries while the collector is away, in seconds."""
COMPACT_AFTER = 1000
"""Lines of finished events after which the spool is rewritten although others still wait."""


class FlushTarget(NamedTuple):
    """What a flush waits for: `settled` to reach a count; and what was counted when it began."""

    settled: int
    failures: int
    dropped: int


class WaitingEvent(msgspec.Struct, frozen=True, gc=False):
    """One encoded event; `queued_at` on the monotonic clock, `event_us` its own time in microseconds UTC.

    `traceparent`: of the request it was tracked in (W3C Trace Context), None without one.
    """

    event_id: str
    line: bytes
    queued_at: float
    event_us: int
    traceparent: str | None = None


class Buffer:
    """The queue of one tracker, filled by the product's threads and emptied by the sender's; times in seconds.

    `changed` is its lock, and wakes the sender and whoever waits for a flush; a signal handler that tracks may take it
    again. Methods take the lock unless they say that the caller holds it. `settled` counts events that need no more work,
    `failures` batches that were put back; `listeners` are called, with the lock, whenever one grew, and must not wait.
    """

    def __init__(
        self, *, batch_size: int, flush_interval: float, max_queue: int, spool: Path | None, on_drop: OnDrop | None
    ) -> None:
        self._batch_size = min(batch_size, max_queue)
        self._flush_interval = flush_interval
        self._max_queue = max_queue
        self._log = DeliveryLog(on_drop)
        self._closed = self._is_let_go = False
        self.listeners: frozenset[Callable[[], None]] = frozenset()
        self._spool: Spool | None = None
        self._child_spool: Path | None = None
        self._reset()
        if spool is not None:
            self._spool = Spool(spool)
            self._load(self._spool)

    def _reset(self) -> None:
        """Fresh lock, queue and counts: for a new tracker and for a forked child."""
        self.changed = threading.Condition(threading.RLock())
        self.settled = self.failures = self.dropped = self._withheld = 0
        self._failures_in_a_row = 0
        self._bytes = 0
        self._queue: deque[WaitingEvent] = deque()
        self._under_way: deque[WaitingEvent] = deque()
        self._enqueued = 0
        self._flush_target = 0
        self._accepted = self._duplicates = self._quarantined = self._suppressed = 0
        self._rest_until = 0.0  # our own pause after a failed batch; a flush ends it
        self._retry_after_until = 0.0  # the collector's Retry-After; nothing ends it early

    def reset_after_fork(self) -> None:
        """Empties the child's copy; the spool stays with the parent, and the child opens one beside it."""
        if self._spool is not None:
            self._child_spool = self._spool.of_child()
            self._spool.let_go()
            self._spool = None
        self.listeners = frozenset()
        self._reset()

    def open_child_spool(self) -> None:
        """Opens the spool of a forked child whose parent has one."""
        path, self._child_spool = self._child_spool, None
        if path is None:
            return
        try:
            self._spool = Spool(path)
            self._load(self._spool)
        except (OSError, ValueError) as error:
            logger.warning("this forked process keeps no spool: %s", error)

    def withhold(self) -> None:
        """Counts an event that its person did not agree to."""
        with self.changed:
            self._withheld += 1

    def put(self, event_id: str, line: bytes, event_us: int, traceparent: str | None = None) -> None:
        """Queues one encoded event that happened at `event_us`; RuntimeError after the close."""
        with self.changed:
            if self._closed:
                raise RuntimeError(f"event {event_id} was not sent: the tracker is closed; create a new one")
            if self._spool is not None:
                self._spool.append(line)  # before the queue: what is queued is kept
            queue = self._queue
            queue.append(WaitingEvent(event_id, line, time.monotonic(), event_us, traceparent))
            self._enqueued += 1
            self._bytes += len(line)
            waiting = len(queue)
            dropped = self._trim() if waiting > self._max_queue or self._bytes > MAX_QUEUE_BYTES else ()
            if waiting == 1 or waiting == self._batch_size:  # else the sender is awake, or knows when to be
                self.changed.notify_all()
        if dropped:
            self._log.dropped(self._full(), dropped, overflow=True)

    def _full(self) -> str:
        return f"more than {self._max_queue} events waited, or {MAX_QUEUE_BYTES // 1_000_000} MB of them"

    def due(self) -> float:
        """When the next batch may leave, on the monotonic clock; the caller holds the lock."""
        if not self._queue:
            return inf
        earliest = max(self._rest_until, self._retry_after_until)
        if len(self._queue) >= self._batch_size or self._flush_target > self.settled:
            return earliest
        return max(earliest, self._queue[0].queued_at + self._flush_interval)

    def begin_flush(self) -> FlushTarget:
        """Makes all that waits due, unless the collector asked to wait."""
        with self.changed:
            self._flush_target = self._enqueued
            self._rest_until = 0.0
            self.changed.notify_all()
            return FlushTarget(self._flush_target, self.failures, self.dropped)

    def is_over(self, flush: FlushTarget) -> bool:
        """Whether all that a flush waits for needs no more work, or a batch failed meanwhile."""
        return self.settled >= flush.settled or self.failures != flush.failures

    def is_delivered(self, flush: FlushTarget) -> bool:
        """Whether the collector answered for all that a flush waits for."""
        return self.settled >= flush.settled and self.dropped == flush.dropped

    def listen(self, listener: Callable[[], None], *, to: bool) -> None:
        """Adds a listener, or takes it away."""
        with self.changed:
            self.listeners = self.listeners | {listener} if to else self.listeners - {listener}

    def wake(self) -> None:
        """Wakes who waits; the caller holds the lock."""
        self.changed.notify_all()
        for listener in self.listeners:
            listener()

    def retry_after(self, seconds: float) -> None:
        """Lets no batch leave for so long, which is what the collector asked for."""
        with self.changed:
            self._retry_after_until = time.monotonic() + seconds

    def take(self) -> list[WaitingEvent]:
        """The next batch, which is under way until it is settled or put back; the caller holds the lock."""
        batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
        self._under_way = deque(batch)
        return batch

    def settle(self, batch: list[WaitingEvent], answer: Answer) -> None:
        """Counts the first events under way as answered by the collector, or as dropped when it refused them."""
        done = answer.verdict is Verdict.DONE
        with self.changed:
            if done:
                self._accepted += answer.accepted
                self._duplicates += answer.duplicates
                self._quarantined += answer.quarantined
                self._suppressed += answer.suppressed
            else:
                self.dropped += len(batch)
            for _ in batch:
                self._bytes -= len(self._under_way.popleft().line)
            self._failures_in_a_row = 0
            self._finish(len(batch))
        self._log.answered(len(batch), answer)
        if not done:
            self._log.dropped(f"the collector refused them: {answer.reason}", tuple(event.event_id for event in batch))

    def put_back(self) -> bool:
        """Queues what is still under way before all others; False when nothing is."""
        with self.changed:
            if not self._under_way:
                return False
            self._queue.extendleft(reversed(self._under_way))
            self._under_way.clear()
            dropped = self._trim()
            self.failures += 1
            self._failures_in_a_row += 1
            self._flush_target = 0
            doubled = self._flush_interval * 2.0 ** min(self._failures_in_a_row - 1, 30)
            rest = max(self._flush_interval, min(doubled, MAX_REST))
            self._rest_until = time.monotonic() + random.uniform(rest / 2, rest)  # noqa: S311
            if self._failures_in_a_row == 2:
                logger.warning("the collector is away: one try every %g to %g s from now on", rest / 2, MAX_REST)
            self.wake()
        self._log.dropped(self._full(), dropped, overflow=True)
        return True

    @property
    def has_spool(self) -> bool:
        """Whether events are written to a disk before they are queued."""
        return self._spool is not None or self._child_spool is not None

    @property
    def is_collector_away(self) -> bool:
        """Whether the last batch failed with all its tries: the next one is tried once, after a pause that doubles."""
        return self._failures_in_a_row > 0

    def oldest_us(self) -> int | None:
        """The earliest event time of all that is not delivered, None when nothing waits."""
        with self.changed:
            times = [event.event_us for events in (self._under_way, self._queue) for event in events]
        return min(times, default=None)

    def refuse_new(self) -> bool:
        """Lets no further event in; False when it did not already."""
        with self.changed:
            before, self._closed = self._closed, True
            return not before

    def close(self) -> None:
        """Lets go of the spool and says what was not delivered."""
        with self.changed:
            waiting = 0 if self._is_let_go else len(self._queue) + len(self._under_way)
            spool, self._spool = self._spool, None
            self._is_let_go = True
        if waiting:
            fate = "they stay in the spool" if spool is not None else "they are lost"
            logger.warning("tracker closed with %d events not delivered; %s", waiting, fate)
        if spool is not None:
            spool.close()

    def stats(self) -> TrackerStats:
        """The counts so far, at one instant."""
        with self.changed:
            return TrackerStats(
                sent=self._accepted + self._duplicates + self._quarantined + self._suppressed,
                accepted=self._accepted,
                duplicates=self._duplicates,
                quarantined=self._quarantined,
                dropped=self.dropped,
                waiting=len(self._queue) + len(self._under_way),
                suppressed=self._suppressed,
                withheld=self._withheld,
            )

    def _load(self, spool: Spool) -> None:
        now = time.monotonic()
        with self.changed:
            for event_id, line, event_us in spool.load():
                self._queue.append(WaitingEvent(event_id, line, now, event_us))
                self._bytes += len(line)
            self._enqueued = len(self._queue)
            dropped = self._trim()
        self._log.dropped(f"{self._full()} in the spool", dropped)

    def _trim(self) -> tuple[str, ...]:
        """Drops the oldest past the limits and returns their ids; the caller holds the lock."""
        dropped = []
        while len(self._queue) > self._max_queue or (self._bytes > MAX_QUEUE_BYTES and len(self._queue) > 1):
            event = self._queue.popleft()
            self._bytes -= len(event.line)
            dropped.append(event.event_id)
        if dropped:
            self.dropped += len(dropped)
            self._finish(len(dropped))
        return tuple(dropped)

    def _finish(self, events: int) -> None:
        """Counts events that need no more work and tidies the spool; the caller holds the lock."""
        self.settled += events
        if self._spool is not None:
            self._spool.stale += events
            if not self._under_way and (not self._queue or self._spool.stale >= COMPACT_AFTER):
                self._spool.rewrite([event.line for event in self._queue])
        self.wake()
