"""What the log and the application learn of events that were not kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gtm_dagster.tracking.collector_client import Answer

logger = logging.getLogger("gtm_dagster.tracking")

OnDrop = Callable[[str, tuple[str, ...]], None]
"""Called with the reason and the ids of dropped events."""
_LOG_EVERY = 10.0


class DeliveryLog:
    """The log of one tracker, and its `on_drop`."""

    def __init__(self, on_drop: OnDrop | None) -> None:
        self._on_drop = on_drop
        self._unlogged = 0
        self._log_again = 0.0
        self._suppression_logged = False

    def answered(self, events: int, answer: Answer) -> None:
        """Logs what was not kept and why; suppression once, since a visitor's refusal is nobody's mistake."""
        for count, what, reason in (
            (answer.quarantined, "quarantined", answer.quarantined_for),
            (0 if self._suppression_logged else answer.suppressed, "suppressed", answer.suppressed_for),
        ):
            if count:
                logger.warning(
                    "the collector %s %d of %d events%s",
                    what,
                    count,
                    events,
                    f"; the first: {reason}" if reason else "",
                )
        self._suppression_logged |= answer.suppressed > 0

    def dropped(self, reason: str, ids: tuple[str, ...], *, overflow: bool = False) -> None:
        """Logs dropped events and calls `on_drop`. `overflow`: a full queue drops at every event, so one line for many."""
        if not ids:
            return
        now = time.monotonic()
        self._unlogged += len(ids)
        if not overflow or now >= self._log_again:
            logger.warning("dropped %d events: %s", self._unlogged, reason)
            self._unlogged, self._log_again = 0, now + _LOG_EVERY
        if self._on_drop is not None:
            try:
                self._on_drop(reason, ids)
            except Exception:
                logger.exception("on_drop failed")
