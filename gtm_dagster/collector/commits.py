"""Waiting for the event log: success is answered only after the commit, and what is counted as waiting is what is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

from gtm_dagster.collector.response import RETRY_SECONDS, Refused
from gtm_dagster.eventlog import AppendResult, EventLogError, Heartbeat, Record, Refusal
from gtm_dagster.eventlog.receipts import Receipt, unannounced

COMMIT_SECONDS = 30.0
"""Longest wait for the log's commit; after it the answer is 503, and a resend is a duplicate if the commit came later."""
MAX_WAITING_BYTES = 64_000_000
"""Bytes of the events that wait for the log, as they were sent."""
SLICE_BYTES = 1_000_000
"""Bytes of events, as sent, that are handed to the log at once."""
MAX_WAITING_BEATS = 1000
_UNAVAILABLE_RETRY_SECONDS = 5
_log = logging.getLogger("gtm_dagster.collector")
_T = TypeVar("_T")


class Appender(Protocol):
    """The part of an event log the collector needs."""

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        ...

    def submit_beat(
        self,
        producer: str,
        ts_us: int,
        received_us: int,
        closing: bool = False,
        instance: str = "",
        write_key: str = "",
        skew_us: int | None = None,
    ) -> Future[bool]:
        """Queue a heartbeat; the future is done when it is durable, False when there are too many producers."""
        ...

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Queue counts of what was refused; the future is done when they are durable."""
        ...

    def writer_fault(self) -> str | None:
        """None while appends succeed; else why the newest one did not, or why nothing can be appended any more."""
        ...


class Place:
    """The place of `events` events of `size` bytes among those that wait: left when the log is done with them.

    Used in a `with`: its end leaves the place too, unless the events were handed to the log. `receipt`: what says of them
    that they are on their way to the log, so that their time of receipt is read after the place was taken.
    """

    def __init__(self, leave: Callable[[Place], None], events: int, size: int, receipt: Receipt) -> None:
        self.receipt = receipt
        self.events = events
        self.size = size
        self.since: float | None = None
        self._leave = leave

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.since is None:
            self.leave()

    def leave(self) -> None:
        """These events wait no more."""
        self._leave(self)
        self.receipt.arrived()

    def shared(self, records: list[Record], count: int) -> list[tuple[list[Record], Place]]:
        """The records in some `count` slices, each with its share of this place, which is theirs from now on."""
        self.since = time.monotonic()
        length = -(-len(records) // count)
        parts = [records[start : start + length] for start in range(0, len(records), length)]
        sizes = [self.size // len(parts)] * len(parts)
        sizes[-1] += self.size - sum(sizes)
        self.receipt.parts = len(parts)
        return [
            (part, Place(self._leave, len(part), size, self.receipt)) for part, size in zip(parts, sizes, strict=True)
        ]


class Commits:
    """Appends of one collector. `waiting` counts the events that were taken and that the log is not done with.

    `receiving` announces each receipt to who follows the log (`EventLog.receiving`).
    """

    def __init__(self, log: Appender, max_waiting_events: int, receiving: Callable[[], Receipt] = unannounced) -> None:
        self.waiting = 0
        self._receiving = receiving
        self._log = log
        self._max_events = max_waiting_events
        self._bytes = 0
        self._beats = 0
        self._pending: dict[Place, None] = {}

    def place(self, events: int, size: int) -> Place:
        """A place for this many more events. Raises Refused 503 when too much waits already."""
        if self.waiting and (
            self.waiting + events > self._max_events or self._bytes + size > max(MAX_WAITING_BYTES, size)
        ):
            raise Refused(503, "queue_full", f"{self.waiting} events wait for the log; send it again", RETRY_SECONDS)
        try:
            receipt = self._receiving() if events else unannounced()
        except EventLogError as error:
            _log.error("%s", error)
            words = "the event log cannot be written; send it again"
            raise Refused(503, "log_unavailable", words, _UNAVAILABLE_RETRY_SECONDS) from None
        self.waiting += events
        self._bytes += size
        return Place(self._leave_events, events, size, receipt)

    async def append(self, records: list[Record], place: Place) -> AppendResult:
        """The log's verdicts, once the records are durable. Raises Refused 503.

        Many bytes are appended in slices: each is a commit, and the events of others need not wait for the last.
        """
        slices = -(-place.size // SLICE_BYTES)
        if slices <= 1 or len(records) <= 1:
            return await self._durable(lambda: self._log.submit(records), place)
        with ExitStack() as stack:
            shares = [(part, stack.enter_context(share)) for part, share in place.shared(records, slices)]
            appended = [await self._durable(partial(self._log.submit, part), share) for part, share in shares]
        return AppendResult(
            appended[0].first_seq,
            appended[-1].last_seq,
            sum(each.accepted for each in appended),
            sum(each.duplicates for each in appended),
            [status for each in appended for status in each.statuses],
            [offset for each in appended for offset in each.offsets],
        )

    async def beat(self, beat: Heartbeat, closing: bool, instance: str) -> bool:
        """Whether a heartbeat is stored; False when there are too many producers of its key. Raises Refused 503."""
        if self._beats >= MAX_WAITING_BEATS:
            raise Refused(503, "queue_full", f"{self._beats} heartbeats wait for the log", RETRY_SECONDS)
        self._beats += 1
        with Place(self._leave_beat, 1, 0, unannounced()) as place:
            return await self._durable(
                lambda: self._log.submit_beat(
                    beat.producer, beat.ts_us, beat.received_us, closing, instance, beat.write_key, beat.skew_us
                ),
                place,
            )

    async def refusals(self, rows: tuple[Refusal, ...]) -> int:
        """How many refused requests are stored. Raises Refused 503."""
        with self.place(0, 0) as place:
            return await self._durable(lambda: self._log.submit_refusals(rows), place)

    async def prove(self, seconds: float) -> None:
        """Returns when the log takes a write. Raises Refused 503 when it does not within `seconds`."""
        if fault := self._stalled():
            raise Refused(503, "log_slow", fault, _UNAVAILABLE_RETRY_SECONDS)
        with self.place(0, 0) as place:
            await self._durable(lambda: self._log.submit([]), place, seconds, advice="")

    def fault(self) -> str | None:
        """Why the log takes nothing now: its own word, or what waits has waited for COMMIT_SECONDS; else None."""
        if fault := self._log.writer_fault():
            return f"the event log takes nothing: {fault}"
        return self._stalled()

    def _stalled(self) -> str | None:
        oldest = next(iter(self._pending), None)
        waited = 0.0 if oldest is None or oldest.since is None else time.monotonic() - oldest.since
        return f"the event log has not committed for {waited:.0f} s" if waited > COMMIT_SECONDS else None

    async def _durable(
        self,
        submit: Callable[[], Future[_T]],
        place: Place,
        seconds: float | None = None,
        advice: str = "; send it again",
    ) -> _T:
        seconds = COMMIT_SECONDS if seconds is None else seconds
        waiting: asyncio.Future[_T] | None = None
        try:
            waiting = asyncio.wrap_future(submit())
            place.since = time.monotonic()
            self._pending[place] = None
            waiting.add_done_callback(partial(self._done, place))
            # Shielded: a cancelled request must not cancel a future the log's writer is about to complete.
            async with asyncio.timeout(seconds):
                return await asyncio.shield(waiting)
        except EventLogError as error:
            _log.error("%s", error)
            message = f"the event log cannot be written{advice}"
            raise Refused(503, "log_unavailable", message, _UNAVAILABLE_RETRY_SECONDS) from None
        except asyncio.CancelledError:
            if waiting is None or not waiting.cancelled():
                raise  # the request was cancelled
            message = f"the event log gave this up{advice}"
            raise Refused(503, "log_unavailable", message, _UNAVAILABLE_RETRY_SECONDS) from None
        except TimeoutError:
            _log.error("no commit within %g s", seconds)
            message = f"the event log did not commit within {seconds:g} s{advice}"
            raise Refused(503, "log_slow", message, _UNAVAILABLE_RETRY_SECONDS) from None
        finally:
            waiting = None  # what it raised has this frame in its traceback: a cycle that keeps the events in memory

    def _done(self, place: Place, waiting: asyncio.Future[object]) -> None:
        if not waiting.cancelled():
            waiting.exception()  # looked at here: nobody else may be left who does, and asyncio would log a traceback
        del self._pending[place]
        place.leave()

    def _leave_events(self, place: Place) -> None:
        self.waiting -= place.events
        self._bytes -= place.size

    def _leave_beat(self, place: Place) -> None:
        self._beats -= 1
