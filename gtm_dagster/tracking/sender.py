"""The thread that delivers a tracker's buffer: batches, retries, heartbeats, and what happens at exit and fork."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf

from gtm_dagster.tracking.buffer import Buffer, WaitingEvent
from gtm_dagster.tracking.collector_client import Answer, Transport, Verdict

logger = logging.getLogger("gtm_dagster.tracking")

EXIT_TIMEOUT = 5.0
"""Seconds all trackers of a process together may take to deliver what waits when it exits."""
_MAX_PAUSE = 30.0
_BEAT_AFTER_BATCH = 5.0
_TRACKING_US = 100_000
"""An event is queued within this time of its own timestamp."""


class Sender:
    """Sends the events of one `buffer` from a daemon thread; times in seconds."""

    beat_interval = 30.0
    backoff = 0.5

    def __init__(self, buffer: Buffer, make_transport: Callable[[], Transport], *, retries: int, producer: str) -> None:
        self._buffer = buffer
        self._make_transport = make_transport
        self._retries = retries
        self._producer = producer
        _LIVE.add(self)
        self._start()

    def _start(self) -> None:
        """Fresh connection and thread: for a new tracker and for a forked child."""
        self._instance = os.urandom(6).hex()
        self._next_beat = 0.0
        self._last_beat = 0.0
        self._stopped = False
        self._transport = self._make_transport()
        self._thread: threading.Thread = threading.Thread(target=self._run, name="gtm-tracker", daemon=True)
        self._thread.start()

    def flush(self, timeout: float | None) -> bool:
        """Sends what waits now; True when the collector answered for all of it within `timeout`."""
        deadline = inf if timeout is None else time.monotonic() + timeout
        buffer = self._buffer
        with buffer.changed:
            target, failures, dropped = buffer.flush_now(), buffer.failures, buffer.dropped
            while buffer.settled < target and buffer.failures == failures:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                buffer.changed.wait(min(left, 60.0))
            return buffer.settled >= target and buffer.dropped == dropped

    def close(self, timeout: float) -> None:
        """Sends what waits for at most `timeout`, then stops the thread; the rest stays in the spool or is lost."""
        deadline = time.monotonic() + timeout
        if not self._buffer.refuse_new():
            return
        _LIVE.discard(self)
        self.flush(timeout)
        with self._buffer.changed:
            self._stopped = True
            self._buffer.changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._buffer.close()

    def _after_fork(self) -> None:
        self._buffer.reset_after_fork()
        self._start()

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

    def _deliver(self, batch: list[WaitingEvent]) -> bool:
        """Sends the batch, split where it is too large; False when the rest of it has to be tried again."""
        answer = self._attempt(batch)
        if answer.verdict is Verdict.LATER:
            logger.warning("%d events wait for another try: %s", len(batch), answer.reason)
            return False
        if answer.verdict is Verdict.SPLIT and len(batch) > 1:
            half = len(batch) // 2
            return self._deliver(batch[:half]) and self._deliver(batch[half:])
        self._buffer.settle(batch, answer)
        return True

    def _attempt(self, batch: list[WaitingEvent]) -> Answer:
        lines = [event.line for event in batch]
        for attempt in range(self._retries + 1):
            answer = self._transport.send(lines)
            if answer.verdict is not Verdict.LATER:
                return answer
            pause = random.uniform(0, min(_MAX_PAUSE, self.backoff * 2**attempt))  # noqa: S311
            if answer.retry_after is not None:
                pause = answer.retry_after + random.uniform(0, self.backoff)  # noqa: S311
                self._buffer.retry_after(pause)
            if attempt < self._retries:
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
        if not self._transport.beat(self._producer, self._instance, _rfc3339(ts_us), _rfc3339(now_us), closing):
            logger.debug("the collector did not take the heartbeat")


def _rfc3339(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


_LIVE: set[Sender] = set()


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    for sender in list(_LIVE):
        sender.close(max(0.0, deadline - time.monotonic()))


def _fork_all() -> None:
    for sender in list(_LIVE):
        sender._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
