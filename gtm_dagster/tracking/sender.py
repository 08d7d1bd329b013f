"""The thread that delivers a tracker's buffer: batches, retries and heartbeats."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from math import inf

from gtm_dagster.tracking import process_end
from gtm_dagster.tracking.buffer import Buffer, WaitingEvent
from gtm_dagster.tracking.collector_client import Answer, Transport, Verdict
from gtm_dagster.tracking.event_time import rfc3339

logger = logging.getLogger("gtm_dagster.tracking")

_MAX_PAUSE = 30.0
_BEAT_AFTER_BATCH = 5.0
_TRACKING_US = 100_000
"""An event is queued within this time of its own timestamp."""


class Sender:
    """Sends the events of one `buffer` from a daemon thread; times in seconds.

    `is_started` is false in a forked child until its first event: a child that tracks nothing is no producer.
    """

    beat_interval = 30.0
    backoff = 0.5

    def __init__(
        self,
        buffer: Buffer,
        make_transport: Callable[[], Transport],
        *,
        retries: int,
        producer: str,
        handle_sigterm: bool = True,
    ) -> None:
        self._buffer = buffer
        self._make_transport = make_transport
        self._retries = retries
        self._producer = producer
        self._start_lock = threading.Lock()
        self.is_started = False
        self._stopped = False
        self._thread: threading.Thread | None = None
        process_end.register(self, handle_sigterm=handle_sigterm)
        self.start()

    def start(self) -> None:
        """Opens a connection and begins the thread, unless it runs: for a new tracker and at a forked child's first event."""
        with self._start_lock:
            if self.is_started or self._stopped:
                return
            self._buffer.open_child_spool()
            self._instance = os.urandom(6).hex()
            self._next_beat = 0.0
            self._last_beat = 0.0
            self._transport = self._make_transport()
            self._thread = threading.Thread(target=self._run, name="gtm-tracker", daemon=True)
            self._thread.start()
            self.is_started = True

    def flush(self, timeout: float | None) -> bool:
        """Sends what waits now; True when the collector answered for all of it within `timeout`."""
        deadline = inf if timeout is None else time.monotonic() + timeout
        buffer = self._buffer
        with buffer.changed:
            flush = buffer.begin_flush()
            while not buffer.is_over(flush):
                left = deadline - time.monotonic()
                if left <= 0 or not self.is_alive:
                    break
                buffer.changed.wait(min(left, 60.0))
            return buffer.is_delivered(flush)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, so that what waits can still be delivered."""
        return self._thread is not None and self._thread.is_alive()

    def close(self, timeout: float) -> None:
        """Sends what waits for at most `timeout`, then stops the thread; the rest stays in the spool or is lost."""
        timeout = min(timeout, threading.TIMEOUT_MAX / 2)
        deadline = time.monotonic() + timeout
        if self.begin_close():
            self.flush(timeout)
            self.stop()
            self.join(max(0.0, deadline - time.monotonic()))

    def begin_close(self) -> bool:
        """Lets no further event in; False when it was closed already."""
        process_end.unregister(self)
        return self._buffer.refuse_new()

    def stop(self) -> None:
        """Lets the thread end after what it is doing, and let go of the spool; does not wait for it."""
        with self._buffer.changed:
            self._stopped = True
            self._buffer.wake()

    def join(self, timeout: float) -> None:
        """Waits for the end of a stopped thread; the spool is free afterwards, also when the time was too short."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._buffer.close()

    def after_fork(self) -> None:
        """Makes a forked child's copy of this sender one of its own, with nothing waiting and no thread yet."""
        self._buffer.reset_after_fork()
        self._start_lock = threading.Lock()
        self._thread = None
        self._stopped = False
        self.is_started = False

    def _run(self) -> None:
        while True:
            self._sleep_until(self._buffer.due)
            with self._buffer.changed:
                if self._stopped:
                    break
                batch = self._buffer.take()
            try:
                self._deliver(batch)
            except Exception:
                logger.exception("delivery failed unexpectedly")
            if not self._buffer.put_back() and time.monotonic() - self._last_beat >= _BEAT_AFTER_BATCH:
                self._beat()
        self._beat(closing=True)
        self._transport.close()
        self._buffer.close()

    def _deliver(self, batch: list[WaitingEvent]) -> bool:
        """Sends the batch, split where it is too large; False when the rest of it has to be tried again."""
        answer = self._attempt(batch)
        if answer.verdict is Verdict.LATER:
            logger.log(
                logging.DEBUG if self._buffer.is_collector_away else logging.WARNING,
                "%d events wait for another try: %s",
                len(batch),
                answer.reason,
            )
            return False
        if answer.verdict is Verdict.SPLIT and len(batch) > 1:
            half = len(batch) // 2
            return self._deliver(batch[:half]) and self._deliver(batch[half:])
        self._buffer.settle(batch, answer)
        return True

    def _attempt(self, batch: list[WaitingEvent]) -> Answer:
        lines = [event.line for event in batch]
        retries = 0 if self._buffer.is_collector_away else self._retries
        for attempt in range(retries + 1):
            answer = self._transport.send(lines)
            if answer.verdict is not Verdict.LATER:
                return answer
            pause = random.uniform(0, min(_MAX_PAUSE, self.backoff * 2**attempt))  # noqa: S311
            if answer.retry_after is not None:
                pause = answer.retry_after + random.uniform(0, self.backoff)  # noqa: S311
                self._buffer.retry_after(pause)
            if attempt < retries:
                until = time.monotonic() + pause
                self._sleep_until(lambda until=until: until)  # type: ignore[misc]
                if self._stopped:
                    break
        return answer

    def _sleep_until(self, due: Callable[[], float]) -> None:
        """Waits for `due()`, asked again at every wake, or the stop; sends heartbeats meanwhile."""
        changed = self._buffer.changed
        while True:
            with changed:
                while True:
                    now, at = time.monotonic(), due()
                    if self._stopped or now >= at:
                        return
                    if now >= self._next_beat:
                        break
                    changed.wait(min(at, self._next_beat) - now)
            self._beat()

    def _beat(self, *, closing: bool = False) -> None:
        """Says up to when everything was delivered. A tracker that closes with events left says nothing more."""
        oldest_us = self._buffer.oldest_us()
        if closing and oldest_us is not None:
            return
        now_us = time.time_ns() // 1000
        ts_us = now_us - (0 if closing else _TRACKING_US)
        if oldest_us is not None:
            ts_us = min(ts_us, oldest_us - 1)
        self._last_beat = time.monotonic()
        self._next_beat = self._last_beat + self.beat_interval
        try:
            if not self._transport.beat(self._producer, self._instance, rfc3339(ts_us), rfc3339(now_us), closing):
                logger.debug("the collector did not take the heartbeat")
        except Exception:  # the thread goes on: with it events would wait for ever
            logger.exception("a heartbeat failed unexpectedly")
