"""`GtmTracker`: the queue between a product and the collector, and the thread that empties it."""

from __future__ import annotations

import atexit
import logging
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from gtm_dagster.taxonomy import EventValidator, FieldError, Plan, Rejected, load_plan
from gtm_dagster.tracking.delivery import Answer, Transport, Verdict

if TYPE_CHECKING:
    from gtm_dagster.tracking.spool import Spool

logger = logging.getLogger("gtm_dagster.tracking")

OnDrop = Callable[[str, tuple[str, ...]], None]
EXIT_TIMEOUT = 5.0
"""Seconds all trackers of a process together may take to deliver what waits when it exits."""
_MAX_PAUSE = 30.0


class InvalidEvent(ValueError):
    """The event breaks the tracking plan; `errors` holds every reason."""

    def __init__(self, event_name: str, errors: tuple[FieldError, ...]) -> None:
        self.event_name = event_name
        self.errors = errors
        reasons = "; ".join(f"{e.path or 'event'}: {e.message} ({e.code})" for e in errors)
        super().__init__(f"event {event_name!r} was not sent, it breaks the tracking plan: {reasons}")


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


class GtmTracker:
    """Sends events to a collector from a background thread; thread safe, made once per process.

    `endpoint` is the collector's URL, with or without `/ingest`. A batch leaves when `batch_size` events wait or the
    oldest has waited `flush_interval` seconds. A batch that fails is tried `retries` more times (full jitter, at least
    the collector's Retry-After), then goes back to the front of the queue. More than `max_queue` waiting events drop
    the oldest; `on_drop(reason, event_ids)` is called from the thread that notices, and a warning is logged.
    `spool` names a file, one per process, that keeps unsent events across a crash of the process.
    `producer` names this program in heartbeats (default: the host's name).

    Call `close()` at the end, or use it as a context manager. At a normal exit what waits is sent for at most
    `EXIT_TIMEOUT` seconds. SIGTERM is not hooked, and processes that end by `os._exit` (children of
    `multiprocessing`) run no exit hooks: both must call `close()`. A forked child starts with an empty queue and its
    own thread, without spool. ValueError for an endpoint or number that makes no sense.
    """

    def __init__(
        self,
        endpoint: str,
        write_key: str,
        *,
        batch_size: int = 50,
        flush_interval: float = 5.0,
        retries: int = 3,
        spool: str | os.PathLike[str] | None = None,
        max_queue: int = 10_000,
        plan: Plan | None = None,
        producer: str | None = None,
        on_drop: OnDrop | None = None,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("retries", retries, 0), ("max_queue", max_queue, 1)):
            if value < least:
                raise ValueError(f"{name}={value!r} is below {least}")
        if not flush_interval > 0:
            raise ValueError(f"flush_interval={flush_interval!r} must be seconds above 0")
        self._make_transport = lambda: Transport(endpoint, write_key)
        self._batch_size = batch_size
        self._flush_interval = flush_interval
        self._retries = retries
        self._max_queue = max_queue
        self._validator = EventValidator(plan if plan is not None else load_plan())
        self._producer = producer or socket.gethostname()
        self._on_drop = on_drop
        self._backoff = 0.5
        self._beat_interval = 30.0
        self._closed = False
        self._spool: Spool | None = None
        self._begin()
        if spool is not None:
            from gtm_dagster.tracking.spool import Spool

            self._spool = Spool(Path(spool))
            self._load(self._spool)
        _LIVE.add(self)
        self._thread.start()

    def track(
        self,
        event_name: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Queues one event and returns its id at once; nothing waits for the network.

        `timestamp` is when it happened (aware datetime or RFC 3339 text; now when None). Raises InvalidEvent with
        every reason when the event breaks the plan, RuntimeError after `close()`.
        """
        if event_id is None:
            event_id = uuid7()
        if timestamp is None:
            timestamp = datetime.now(UTC)
        if isinstance(timestamp, datetime):
            timestamp = timestamp.isoformat().replace("+00:00", "Z")
        event: dict[str, Any] = {"event_id": event_id, "event_name": event_name, "timestamp": timestamp}
        for field, value in (("user_id", user_id), ("anonymous_id", anonymous_id), ("session_id", session_id)):
            if value is not None:
                event[field] = value
        event["properties"] = dict(properties or {})
        if context:
            event["context"] = dict(context)
        verdict = self._validator.validate(event, live=True)
        if isinstance(verdict, Rejected):
            raise InvalidEvent(event_name, verdict.errors)
        line = msgspec.json.encode(event)
        with self._cond:
            if self._closed:
                raise RuntimeError(f"event {event_name!r} was not sent: the tracker is closed; make a new one")
            if self._spool is not None:
                self._spool.append(line)
            self._queue.append(_Item(event_id, line, time.monotonic()))
            self._enqueued += 1
            lost = self._trim()
            if len(self._queue) == 1 or len(self._queue) >= self._batch_size:
                self._cond.notify_all()
        self._report(f"more than {self._max_queue} events waited", lost)
        return event_id

    def identify(self, user_id: str, anonymous_id: str) -> str:
        """Says that the visitor `anonymous_id` is `user_id` (the event `user_identified`); returns the event's id."""
        return self.track("user_identified", user_id=user_id, anonymous_id=anonymous_id)

    def flush(self, timeout: float | None = None) -> bool:
        """Sends what waits now; True when the collector answered for all of it.

        False when `timeout` seconds passed, when a batch failed after its retries (it stays queued), or when events
        were dropped. Without a timeout it waits for the first of these.
        """
        deadline = inf if timeout is None else time.monotonic() + timeout
        with self._cond:
            target, failures, dropped = self._enqueued, self._failures, self._dropped
            self._flush_target = max(self._flush_target, target)
            self._rest_until = 0.0
            self._cond.notify_all()
            while self._settled < target and self._failures == failures:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._cond.wait(min(left, 60.0))
            return self._settled >= target and self._dropped == dropped

    def close(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Sends what waits for at most `timeout` seconds and stops the thread; further `track` raises RuntimeError.

        What could not be sent stays in the spool when there is one; else it is lost and a warning says how much.
        """
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- state ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Fresh queue, counts, lock, connection and (unstarted) thread: for a new tracker and for a forked child."""
        self._cond = threading.Condition(threading.Lock())
        self._queue: deque[_Item] = deque()
        self._inflight = 0
        self._enqueued = self._settled = self._flush_target = self._failures = 0
        self._accepted = self._duplicates = self._quarantined = self._suppressed = self._dropped = 0
        self._rest_until = 0.0  # our own pause after a failed batch; a flush ends it
        self._held_until = 0.0  # the collector's Retry-After; nothing ends it early
        self._next_beat = 0.0
        self._stopped = False
        self._transport = self._make_transport()
        self._thread = threading.Thread(target=self._run, name="gtm-tracker", daemon=True)

    def _after_fork(self) -> None:
        if self._spool is not None:
            self._spool.abandon()
            self._spool = None
            logger.warning("a forked tracker has no spool; make the tracker, with a spool of its own, in the child")
        self._begin()
        self._thread.start()

    def _load(self, spool: Spool) -> None:
        now = time.monotonic()
        with self._cond:
            for event_id, line in spool.load():
                self._queue.append(_Item(event_id, line, now))
            self._enqueued = len(self._queue)
            lost = self._trim()
        self._report(f"more than {self._max_queue} events waited in the spool", lost)

    def _trim(self) -> tuple[str, ...]:
        """Drops the oldest past `max_queue`; the lock is held."""
        lost = []
        while len(self._queue) > self._max_queue:
            lost.append(self._queue.popleft().event_id)
        self._dropped += len(lost)
        self._settled += len(lost)
        return tuple(lost)

    def _report(self, reason: str, lost: tuple[str, ...]) -> None:
        if not lost:
            return
        logger.warning("dropped %d events: %s", len(lost), reason)
        if self._on_drop is not None:
            try:
                self._on_drop(reason, lost)
            except Exception:
                logger.exception("on_drop failed")

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._sleep_until(self._batch_due)
            with self._cond:
                if self._stopped:
                    break
                batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
                self._inflight = len(batch)
            try:
                left = self._deliver(batch)
            except Exception:
                logger.exception("delivery failed unexpectedly")
                left = batch[len(batch) - self._inflight :]
            if left:
                self._put_back(left)
        self._transport.close()

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
            self._next_beat = time.monotonic() + self._beat_interval
            if not self._transport.beat(self._producer, datetime.now(UTC).isoformat().replace("+00:00", "Z")):
                logger.debug("heartbeat was not taken")

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
            pause = random.uniform(0, min(_MAX_PAUSE, self._backoff * 2**attempt))  # noqa: S311
            if answer.retry_after is not None:
                pause = answer.retry_after + random.uniform(0, self._backoff)  # noqa: S311
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
            self._settled += len(batch)
            self._inflight -= len(batch)
            if self._spool is not None:
                rest = None if self._inflight else [item.line for item in self._queue]
                self._spool.settled(len(batch), rest)
            self._cond.notify_all()
        if answer.quarantined:
            logger.warning("the collector quarantined %d of %d events", answer.quarantined, len(batch))
        if not done:
            self._report(f"the collector refused them: {answer.reason}", tuple(item.event_id for item in batch))

    def _put_back(self, left: list[_Item]) -> None:
        with self._cond:
            self._queue.extendleft(reversed(left))
            self._inflight = 0
            lost = self._trim()
            self._failures += 1
            self._flush_target = 0
            self._rest_until = time.monotonic() + self._flush_interval
            self._cond.notify_all()
        self._report(f"more than {self._max_queue} events waited", lost)


def uuid7() -> str:
    """A UUID version 7 (RFC 9562): milliseconds since the epoch, then 74 random bits. Sorts by time."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_LIVE: set[GtmTracker] = set()


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    for tracker in list(_LIVE):
        tracker.close(max(0.0, deadline - time.monotonic()))


def _fork_all() -> None:
    for tracker in list(_LIVE):
        tracker._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
