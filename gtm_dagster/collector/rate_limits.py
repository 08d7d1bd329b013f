"""How many events a key may send: a rate and a burst (generic cell rate algorithm, ITU-T I.371).

Of each key one moment is kept: when everything it has sent would have come at its rate. Worker processes share it in a
file, so that a key has one limit whichever of them it reaches.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gtm_dagster.collector.response import Refused
from gtm_dagster.settings.collector_limits import RateLimit

_MOMENT = struct.Struct("d")


class _Moment:
    """A moment by the monotonic clock that one process keeps; `changing` yields it in a list to read and write."""

    def __init__(self) -> None:
        self._value = [0.0]
        self._lock = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[list[float]]:
        with self._lock:
            yield self._value


class _SharedMoment:
    """The same in a file that processes of this machine share; that clock is the same for all of them."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._descriptor, _MOMENT.size)
        self._map = mmap.mmap(self._descriptor, _MOMENT.size)

    @contextmanager
    def changing(self) -> Iterator[list[float]]:
        import fcntl  # here: there is none on Windows

        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                value = list(_MOMENT.unpack_from(self._map))
                yield value
                _MOMENT.pack_into(self._map, 0, *value)
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class RateLimits:
    """The limits of one collector: `every` key's, and those of the keys `by_key` names instead.

    `shared`: the folder where the worker processes of the collector keep them; None for a single process.
    """

    def __init__(
        self, every: RateLimit | None = None, by_key: Mapping[str, RateLimit] | None = None, shared: Path | None = None
    ) -> None:
        self._every = every
        self._by_key = dict(by_key or {})
        self._shared = shared
        self._moments: dict[str, _Moment | _SharedMoment] = {}

    def check(self, key: str) -> None:
        """Raises Refused 429 while the key may send nothing, before its request is read."""
        limit = self._limit(key)
        if limit is not None:
            self._ask(key, limit, 1, take=False)

    def take(self, key: str, events: int) -> None:
        """Count so many events of the key. Raises Refused 429, and counts none, when they are too many now.

        A request of more events than the burst is taken when nothing else came lately; what follows it waits longer.
        """
        limit = self._limit(key)
        if limit is not None and events:
            self._ask(key, limit, events, take=True)

    def _limit(self, key: str) -> RateLimit | None:
        return self._by_key.get(key, self._every)

    def _ask(self, key: str, limit: RateLimit, events: int, *, take: bool) -> None:
        rate, burst = limit.events_per_second, limit.burst_events
        now = time.monotonic()
        with self._moment(key).changing() as moment:
            due = max(moment[0], now)
            wait = due - now + min(events, burst) / rate - burst / rate
            if wait <= 1e-9:
                if take:
                    moment[0] = due + events / rate
                return
        seconds = max(math.ceil(wait), 1)
        message = f"key {key!r} may send {rate:g} events a second and {burst} at once; send it again in {seconds} s"
        raise Refused(429, "rate_limited", message, seconds)

    def _moment(self, key: str) -> _Moment | _SharedMoment:
        moment = self._moments.get(key)
        if moment is None:
            if self._shared is None:
                moment = _Moment()
            else:
                name = hashlib.sha256(key.encode()).hexdigest()[:32]
                moment = _SharedMoment(self._shared / f"{name}.rate")
            moment = self._moments.setdefault(key, moment)
        return moment
