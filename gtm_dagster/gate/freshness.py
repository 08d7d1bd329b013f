"""How old the provider's state is: from its events and, where it reports one, from its last successful fetch."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from gtm_dagster.gate.contained import Contained

logger = logging.getLogger("gtm_dagster.rollout")


class Freshness:
    """Stale before the first healthy state, and `limit` seconds after the last one.

    `synced_at` returns the Unix seconds of the last successful fetch, None for never; a time more than `limit` seconds
    in the future is not believed. Without it the provider's events alone decide.
    """

    def __init__(
        self,
        limit: float,
        synced_at: Callable[[], float | None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit
        self._synced_at = synced_at
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._unhealthy_since: float | None = -math.inf
        self._was_stale = False

    def healthy(self) -> None:
        """The provider is up to date."""
        with self._lock:
            self._unhealthy_since = None

    def unhealthy(self) -> None:
        """The provider could not refresh; it may go on answering from what it knew."""
        with self._lock:
            if self._unhealthy_since is None:
                self._unhealthy_since = self._clock()

    def lost(self) -> None:
        """The provider will not come back by itself: stale at once."""
        with self._lock:
            self._unhealthy_since = -math.inf

    def stale(self) -> bool:
        """Whether answers are too old to be served; changes are logged."""
        since = self._unhealthy_since
        stale = (since is not None and self._clock() - since >= self._limit) or self._fetched_long_ago()
        if stale != self._was_stale:
            self._was_stale = stale
            if stale:
                logger.warning("flag provider without a healthy state for %g s: serving the old flow", self._limit)
            else:
                logger.warning("flag provider is up to date again")
        return stale

    def _fetched_long_ago(self) -> bool:
        if self._synced_at is None:
            return False
        try:
            with Contained():
                at = self._synced_at()
        except Exception:  # noqa: BLE001 - a hook that fails says nothing, and nothing known is stale
            return True
        return at is None or not abs(self._wall() - at) <= self._limit
