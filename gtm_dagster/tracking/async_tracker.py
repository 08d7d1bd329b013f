"""`AsyncGtmTracker`: the tracker of an asyncio application."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self, TypedDict, TypeVar, Unpack

from gtm_dagster.taxonomy import Plan
from gtm_dagster.tracking.consent_gate import Consent
from gtm_dagster.tracking.delivery_log import OnDrop
from gtm_dagster.tracking.process_end import EXIT_TIMEOUT
from gtm_dagster.tracking.tracker import GtmTracker
from gtm_dagster.tracking.tracker_stats import TrackerStats

_T = TypeVar("_T")


class TrackerOptions(TypedDict, total=False):
    """The options of `GtmTracker`."""

    batch_size: int
    flush_interval: float
    retries: int
    spool: str | os.PathLike[str] | None
    max_queue: int
    plan: Plan | None
    producer: str | None
    on_drop: OnDrop | None
    device_type: str | None
    consent: Consent
    pseudonym_key: bytes | str | None
    handle_sigterm: bool


class AsyncGtmTracker:
    """A `GtmTracker` whose calls never block the event loop: what waits for a disk or the network does so elsewhere.

    Same arguments, validation, queue, retries and counts. `async with` closes it at the end. It belongs to no loop: the
    same tracker serves one after another. Cancelling a call cancels the waiting, not the delivery. Making one reads the
    plan, and the spool where there is one: make it before the loop is busy. `on_drop` is called from another thread.
    """

    def __init__(self, endpoint: str, write_key: str, **options: Unpack[TrackerOptions]) -> None:
        self._tracker = GtmTracker(endpoint, write_key, **options)

    async def track(
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
        """Queues one event and returns its id, as `GtmTracker.track` does; returns when it is in the spool, if there is one.

        Without a spool it does not wait at all. Raises InvalidEvent and, after `close()`, RuntimeError.
        """
        tracker = self._tracker
        built = tracker.builder.build(
            event_name, user_id, anonymous_id, session_id, properties, context, timestamp, event_id
        )
        return await self._off_loop(lambda: tracker.queue(built))

    async def identify(self, user_id: str, anonymous_id: str) -> str:
        """Says that the visitor `anonymous_id` is `user_id` (the event `user_identified`); returns the event's id."""
        return await self.track("user_identified", user_id=user_id, anonymous_id=anonymous_id)

    async def flush(self, timeout: float | None = None) -> bool:
        """Sends what waits now; True when the collector answered for all of it, else as `GtmTracker.flush`."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        buffer, sender = self._tracker.buffer, self._tracker.sender

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:  # the loop was closed with the flush under way
                pass

        await self._off_loop(lambda: buffer.listen(wake, to=True))
        try:
            flush = await self._off_loop(buffer.begin_flush)
            async with asyncio.timeout(timeout):
                while not buffer.is_over(flush) and sender.is_alive:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            buffer.listen(wake, to=False)
        return buffer.is_delivered(flush)

    async def close(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Sends what waits for at most `timeout` seconds and stops; further `track` raises RuntimeError.

        Cancelled, it stops at once: what could not be sent stays in the spool, else it is lost.
        """
        deadline = time.monotonic() + timeout
        sender = self._tracker.sender
        if not sender.begin_close():
            return
        try:
            await self.flush(timeout)
        finally:
            sender.stop()
        await asyncio.to_thread(sender.join, max(0.0, deadline - time.monotonic()))

    def stats(self) -> TrackerStats:
        """The counts so far, at one instant."""
        return self._tracker.stats()

    async def _off_loop(self, call: Callable[[], _T]) -> _T:
        """The result of a call that takes the queue's lock, which others hold while they write the spool."""
        return await asyncio.to_thread(call) if self._tracker.buffer.has_spool else call()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
