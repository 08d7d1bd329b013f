"""Waiting for the event log: an answer of success comes only after the commit (ack means durable)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from gtm_dagster.collector.response import Refused
from gtm_dagster.eventlog import AppendResult, EventLogError, Record

COMMIT_SECONDS = 30.0
"""Longest wait for the log's commit; after it the answer is 503, and a resend is a duplicate if the commit came later."""
_UNAVAILABLE_RETRY_SECONDS = 5
_log = logging.getLogger("gtm_dagster.collector")
_T = TypeVar("_T")


class Appender(Protocol):
    """The part of an event log the collector needs."""

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        ...

    def submit_beat(
        self, producer: str, ts_us: int, received_us: int, closing: bool = False, instance: str = ""
    ) -> Future[bool]:
        """Queue a heartbeat; the future is done when it is durable, False when there are too many producers."""
        ...


async def committed(
    submit: Callable[[], Future[_T]], seconds: float | None = None, advice: str = "; send it again"
) -> _T:
    """The result of what `submit` queues, once it is durable.

    Raises Refused 503 when the log cannot be written or does not commit within `seconds` (COMMIT_SECONDS when None);
    `advice` ends its message.
    """
    seconds = COMMIT_SECONDS if seconds is None else seconds
    try:
        # Shielded: a cancelled request must not cancel a future the log's writer is about to complete.
        async with asyncio.timeout(seconds):
            return await asyncio.shield(asyncio.wrap_future(submit()))
    except EventLogError as error:
        _log.error("%s", error)
        message = f"the event log cannot be written{advice}"
        raise Refused(503, "log_unavailable", message, _UNAVAILABLE_RETRY_SECONDS) from None
    except TimeoutError:
        _log.error("no commit within %g s", seconds)
        message = f"the event log did not commit within {seconds:g} s{advice}"
        raise Refused(503, "log_slow", message, _UNAVAILABLE_RETRY_SECONDS) from None
