"""A circuit breaker: after some failures in a row nobody asks any more, except for one probe a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum


class Permit(Enum):
    """What a caller may do: ask, be the one who probes, or go without."""

    ASK = "ask"
    PROBE = "probe"
    REFUSED = "refused"


class Breaker:
    """Opens after `failures` in a row and permits one probe every `pause()` seconds until one succeeds. Thread safe.

    A probe that never comes back counts as one that failed: the next is permitted after the next pause.
    """

    def __init__(self, failures: int, pause: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._streak = 0
        self._probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody may ask."""
        return self._probe_at is not None

    def permit(self) -> Permit:
        """What this caller may do now; PROBE is for one caller a pause."""
        if self._probe_at is None:
            return Permit.ASK
        with self._lock:
            if self._probe_at is None:
                return Permit.ASK
            now = self._clock()
            if now < self._probe_at:
                return Permit.REFUSED
            self._probe_at = now + self._pause()
            return Permit.PROBE

    def failed(self) -> bool:
        """Note a failed call; True when it opened the breaker. While open, it changes nothing."""
        with self._lock:
            if self._probe_at is not None:
                return False
            self._streak += 1
            if self._streak < self._failures:
                return False
            self._probe_at = self._clock() + self._pause()
            return True

    def succeeded(self) -> None:
        """Note a call that was answered. While open it changes nothing: only a probe closes."""
        if self._streak:
            with self._lock:
                if self._probe_at is None:
                    self._streak = 0

    def probed(self) -> bool:
        """Note a probe that was answered: closed again. True when it was open."""
        with self._lock:
            was_open = self._probe_at is not None
            self._probe_at, self._streak = None, 0
            return was_open
