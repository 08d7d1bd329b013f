"""How long the log's writer takes from the receipt of a record to its commit, as far as a reader sees it."""

from __future__ import annotations

import time
from collections import deque

LEAST_US, MOST_US = 50_000, 5_000_000
_MINUTE = 60.0


class CommitLag:
    """`us`: a record received longer ago than this is in the log, or will not be: twice the longest wait of the last minute.

    At least 50 ms, at most 5 s. On a machine whose disk is slow timers are later, and not wrong.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self.us = LEAST_US

    def see(self, lag_us: int) -> None:
        """A record was found in the log `lag_us` after its receipt, by a reader that had been at the log's end before."""
        now = time.monotonic()
        while self._seen and (self._seen[0][0] < now - _MINUTE):
            self._seen.popleft()
        while self._seen and self._seen[-1][1] <= lag_us:  # only what may become the longest is kept
            self._seen.pop()
        self._seen.append((now, lag_us))
        self.us = min(max(2 * self._seen[0][1], LEAST_US), MOST_US)
