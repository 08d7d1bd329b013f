"""The queue of events that wait, and the thread that empties it: batches, retries, heartbeats, exit and fork."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import msgspec

from gtm_dagster.tracking.collector_client import Answer, Transport, Verdict
from gtm_dagster.tracking.spool import Spool

logger = logging.getLogger("gtm_dagster.tracking")

OnDrop = Callable[[str, tuple[str, ...]], None]
"""Told the reason and the ids of dropped events."""
COMPACT_AFTER = 1000
"""Lines of finished events after which the spool is rewritten although others still wait."""
EXIT_TIMEOUT = 5.0
"""Seconds all trackers of a process together may take to deliver what waits when it exits."""
_MAX_PAUSE = 30.0
_BEAT_AFTER_BATCH = 5.0
_TRACKING_US = 100_000
"""An event is queued within this time of its own timestamp."""
_LOG_EVERY = 10.0


class TrackerStats(msgspec.Struct, frozen=True):
    """Counts of events since the tracker was made (in a forked child: since the fork).

    `sent` were answered by the collector = accepted + duplicates + quarantined + suppressed; `dropped` were given up;
    `waiting` are queued or under way.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    dropped: int = 0
    waiting: int = 0
    suppressed: int = 0


class _Item(msgspec.Struct, frozen=True, gc=False):
    event_id: str
    line: bytes
    at: float
    event_us: int


class Outbox:
    """Owns the waiting events of one tracker and the daemon thread that sends them; times in seconds."""

    beat_interval = 30.0
    backoff = 0.5

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        batch_size: int,
        flush_interval: float,
        retries: int,
        spool: Path | None,
        max_queue: int,
        producer: str,
        on_drop: OnDrop | None,
    ) -> None:
        self._make_transport = make_transport
        self._batch_size = min(batch_size, max_queue)
        self._flush_interval = flush_interval
        self._retries = retries
        self._max_queue = max_queue
        self._producer = producer
        self._on_drop = on_drop
        self._closed = False
        self._spool: Spool | None = None
        self._begin()
        if spool is not None:
            self._spool = Spool(spool)
            self._load(self._spool)
        _LIVE.add(self)
        self._thread.start()

    def _begin(self) -> None:
        """Fresh queue, counts, lock, connection and (unstarted) thread: for a new tracker and for a forked child."""
        self._cond = threading.Condition(threading.Lock())
        self._queue: deque[_Item] = deque()
        self._inflight = 0
        self._enqueued = self._settled = self._failures = self._dropped = 0
        self._flush_target = 0
        self._accepted = self._duplicates = self._quarantined = self._suppressed = 0
        self._rest_until = 0.0  # our own pause after a failed batch; a flush ends it
        self._held_until = 0.0  # the collector's Retry-After; nothing ends it early
        self._sending_us: int | None = None  # of the oldest event under way
        self._instance = os.urandom(6).hex()
        self._next_beat = 0.0
        self._last_beat = 0.0
        self._stopped = False
        self._unlogged = 0
        self._log_again = 0.0
        self._transport = self._make_transport()
        self._thread: threading.Thread = threading.Thread(target=self._run, name="gtm-tracker", daemon=True)

    def put(self, event_id: str, line: bytes, event_us: int) -> None:
        """Queues one encoded event that happened at `event_us`; RuntimeError after `close()`."""
        with self._cond:
            if self._closed:
                raise RuntimeError(f"event {event_id} was not sent: the tracker is closed; make a new one")
            if self._spool is not None:
                self._spool.append(line)  # before the queue: what is queued is kept
            self._queue.append(_Item(event_id, line, time.monotonic(), event_us))
            self._enqueued += 1
            lost = self._trim()
            if len(self._queue) == 1 or len(self._queue) >= self._batch_size:
                self._cond.notify_all()
        self._report(f"more than {self._max_queue} events waited", lost, overflow=True)

    def flush(self, timeout: float | None) -> bool:
        """Sends what waits now; True when the collector answered for all of it within `timeout`."""
        deadline = inf if timeout is None else time.monotonic() + timeout
        with self._cond:
            target, failures, dropped = self._enqueued, self._failures, self._dropped
            self._flush_target = target
            self._rest_until = 0.0
            self._cond.notify_all()
            while self._settled < target and self._failures == failures:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._cond.wait(min(left, 60.0))
            return self._settled >= target and self._dropped == dropped

    def close(self, timeout: float) -> None:
        """Sends what waits for at most `timeout`, then stops the thread; the rest stays in the spool or is lost."""
        deadline = time.monotonic() + timeout
        with self._cond:
            if self._closed:
                return
            self._closed = True
        _LIVE.discard(self)
        self.flush(timeout)
        with self._cond:
            self._stopped = True
            self._cond.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._cond:
            waiting = len(self._queue) + self._inflight
            spool, self._spool = self._spool, None
        if waiting:
            kept = "they stay in the spool" if spool is not None else "they are lost"
            logger.warning("tracker closed with %d events not delivered; %s", waiting, kept)
        if spool is not None:
            spool.close()

    def stats(self) -> TrackerStats:
        """The counts so far, at one instant."""
        with self._cond:
            return TrackerStats(
                sent=self._accepted + self._duplicates + self._quarantined + self._suppressed,
                accepted=self._accepted,
                duplicates=self._duplicates,
                quarantined=self._quarantined,
                dropped=self._dropped,
                waiting=len(self._queue) + self._inflight,
                suppressed=self._suppressed,
            )

    def _after_fork(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None
            logger.warning("a forked tracker has no spool; make the tracker, with a spool of its own, in the child")
        self._begin()
        self._thread.start()

    def _load(self, spool: Spool) -> None:
        now = time.monotonic()
        with self._cond:
            for event_id, line, event_us in spool.load():
                self._queue.append(_Item(event_id, line, now, event_us))
            self._enqueued = len(self._queue)
            lost = self._trim()
        self._report(f"more than {self._max_queue} events waited in the spool", lost)

    def _trim(self) -> tuple[str, ...]:
        """Drops the oldest past `max_queue`; the lock is held."""
        lost = []
        while len(self._queue) > self._max_queue:
            lost.append(self._queue.popleft().event_id)
        if lost:
            self._dropped += len(lost)
            self._done_with(len(lost))
        return tuple(lost)

    def _done_with(self, events: int) -> None:
        """Counts events that need no more work and tidies the spool; the lock is held."""
        self._settled += events
        if self._spool is not None:
            self._spool.stale += events
            if not self._inflight and (not self._queue or self._spool.stale >= COMPACT_AFTER):
                self._spool.rewrite([item.line for item in self._queue])
        self._cond.notify_all()

    def _report(self, reason: str, lost: tuple[str, ...], *, overflow: bool = False) -> None:
        if not lost:
            return
        now = time.monotonic()
        self._unlogged += len(lost)
        if not overflow or now >= self._log_again:  # a full queue drops at every event: one line for many
            logger.warning("dropped %d events: %s", self._unlogged, reason)
            self._unlogged, self._log_again = 0, now + _LOG_EVERY
        if self._on_drop is not None:
            try:
                self._on_drop(reason, lost)
            except Exception:
                logger.exception("on_drop failed")

    def _run(self) -> None:
        while True:
            self._sleep_until(self._batch_due)
            with self._cond:
                if self._stopped:
                    break
                batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
                self._inflight = len(batch)
                self._sending_us = min((item.event_us for item in batch), default=None)
            try:
                left = self._deliver(batch)
            except Exception:
                logger.exception("delivery failed unexpectedly")
                left = batch[len(batch) - self._inflight :]
            if left:
                self._put_back(left)
            else:
                self._sending_us = None
                if time.monotonic() - self._last_beat >= _BEAT_AFTER_BATCH:
                    self._beat()
        self._beat(closing=True)
        self._transport.close()

    def _beat(self, *, closing: bool = False) -> None:
        """Says up to when everything was delivered. A tracker that closes with events left says nothing more."""
        with self._cond:
            held = [item.event_us for item in self._queue]
            if self._sending_us is not None:
                held.append(self._sending_us)
        if closing and held:
            return
        now_us = time.time_ns() // 1000
        ts_us = min([now_us - (0 if closing else _TRACKING_US), *(event_us - 1 for event_us in held)])
        self._last_beat = time.monotonic()
        self._next_beat = self._last_beat + self.beat_interval
        if not self._transport.beat(self._producer, self._instance, _rfc3339(ts_us), _rfc3339(now_us), closing):
            logger.debug("heartbeat was not taken")

    def _batch_due(self) -> float:
        """When the next batch leaves, on the monotonic clock; the lock is held."""
        if not self._queue:
            return inf
        earliest = max(self._rest_until, self._held_until)
        if len(self._queue) >= self._batch_size or self._flush_target > self._settled:
            return earliest
        return max(earliest, self._queue[0].at + self._flush_interval)

    def _sleep_until(self, due: Callable[[], float]) -> None:
        """Waits for `due()`, asked again at every wake, or the stop; sends heartbeats meanwhile."""
        while True:
            with self._cond:
                while True:
                    now, at = time.monotonic(), due()
                    if self._stopped or now >= at:
                        return
                    if now >= self._next_beat:
                        break
                    self._cond.wait(min(at, self._next_beat) - now)
            self._beat()

    def _deliver(self, batch: list[_Item]) -> list[_Item]:
        """Sends the batch, split where it is too large; returns what is to be tried again, in order."""
        answer = self._attempt(batch)
        if answer.verdict is Verdict.LATER:
            logger.warning("%d events wait for another try: %s", len(batch), answer.reason)
            return batch
        if answer.verdict is Verdict.SPLIT and len(batch) > 1:
            half = len(batch) // 2
            left = self._deliver(batch[:half])
            return left + batch[half:] if left else self._deliver(batch[half:])
        self._settle(batch, answer)
        return []

    def _attempt(self, batch: list[_Item]) -> Answer:
        lines = [item.line for item in batch]
        for attempt in range(self._retries + 1):
            answer = self._transport.send(lines)
            if answer.verdict is not Verdict.LATER:
                return answer
            pause = random.uniform(0, min(_MAX_PAUSE, self.backoff * 2**attempt))  # noqa: S311
            if answer.retry_after is not None:
                pause = answer.retry_after + random.uniform(0, self.backoff)  # noqa: S311
                self._held_until = time.monotonic() + pause
            if attempt < self._retries:
                until = time.monotonic() + pause
                self._sleep_until(lambda until=until: until)  # type: ignore[misc]
                if self._stopped:
                    break
        return answer

    def _settle(self, batch: list[_Item], answer: Answer) -> None:
        done = answer.verdict is Verdict.DONE
        with self._cond:
            if done:
                self._accepted += answer.accepted
                self._duplicates += answer.duplicates
                self._quarantined += answer.quarantined
                self._suppressed += answer.suppressed
            else:
                self._dropped += len(batch)
            self._inflight -= len(batch)
            self._done_with(len(batch))
        if answer.quarantined:
            logger.warning("the collector quarantined %d of %d events", answer.quarantined, len(batch))
        if not done:
            self._report(f"the collector refused them: {answer.reason}", tuple(item.event_id for item in batch))

    def _put_back(self, left: list[_Item]) -> None:
        with self._cond:
            self._queue.extendleft(reversed(left))
            self._inflight = 0
            self._sending_us = None
            lost = self._trim()
            self._failures += 1
            self._flush_target = 0
            self._rest_until = time.monotonic() + self._flush_interval
            self._cond.notify_all()
        self._report(f"more than {self._max_queue} events waited", lost, overflow=True)


def _rfc3339(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


_LIVE: set[Outbox] = set()


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    for outbox in list(_LIVE):
        outbox.close(max(0.0, deadline - time.monotonic()))


def _fork_all() -> None:
    for outbox in list(_LIVE):
        outbox._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
