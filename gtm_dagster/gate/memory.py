"""What the gate remembers of each flag: its epoch, whether its split was interrupted, and a breaker for its errors."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping

from gtm_dagster.gate.breaker import Breaker

INTERRUPTED = 10.0
"""Seconds without a split, with other answers meanwhile, after which a split that comes back is a new one."""


class FlagMemory:
    """One flag, as far as its answers show.

    `epoch` is the one its metadata named last, 0 when it named none. Providers without metadata (Unleash) never do:
    for them `run` counts the splits that came back after an off or a kill, so that units are emitted again.
    """

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self.breaker = breaker
        self.epoch = 0
        self.run = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._split_at = math.inf
        self._interrupted = False

    def split(self, metadata: object) -> None:
        """Note an answer that was a split."""
        epoch = _epoch(metadata)
        self.epoch = epoch or 0
        now = self._clock()
        if self._interrupted:
            with self._lock:
                if self._interrupted:
                    self._interrupted = False
                    self.run += epoch is None and now - self._split_at > INTERRUPTED
        self._split_at = now

    def static(self, metadata: object) -> None:
        """Note an answer that was the same for everybody."""
        self.epoch = _epoch(metadata) or 0
        self._interrupted = True

    def killed(self) -> None:
        """Note that the flag was on the kill list."""
        self._interrupted = True


def _epoch(metadata: object) -> int | None:
    """The epoch a flag's metadata carries; None when it has none that is a whole number from 0."""
    epoch = metadata.get("epoch") if isinstance(metadata, Mapping) else None
    if isinstance(epoch, str) and epoch.isdecimal():
        return int(epoch)
    if isinstance(epoch, float) and epoch.is_integer():
        epoch = int(epoch)
    return epoch if isinstance(epoch, int) and not isinstance(epoch, bool) and epoch >= 0 else None
