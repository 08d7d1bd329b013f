"""Large requests: worked on beside the event loop, few at once, in bounded memory, so that small ones never wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from gtm_dagster.collector.response import RETRY_SECONDS, Refused

LARGE_BYTES = 65_536
"""A longer text is split and judged by a worker thread; the hardest text up to it costs the loop some 15 ms."""
LARGE_EVENTS = 100
"""More events than this are judged by a worker thread: one that breaks the plan takes 0.2 ms."""
MAX_BYTES = 40_000_000
"""Bytes of large bodies that are kept at once while they arrive and wait for a worker."""
_WORKERS = 2
_MAX_QUEUED = 32
_BUSY = "large requests wait already; send it again, or send fewer events a request"
_T = TypeVar("_T")


class LargeBodies:
    """The workers of one collector, and what waits for them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="large-body")
        self._free = asyncio.Semaphore(_WORKERS)
        self._queued = 0
        self._bytes = 0

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """What `read_body` asks for room. Its body counts from LARGE_BYTES on, until the end of the `with`."""
        counted = 0

        def room(size: int) -> None:
            nonlocal counted
            if size > LARGE_BYTES:
                if self._bytes + size - counted > MAX_BYTES:
                    raise Refused(503, "busy", _BUSY, RETRY_SECONDS)
                self._bytes += size - counted
                counted = size

        try:
            yield room
        finally:
            self._bytes -= counted

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of one large request to use `work`. Raises Refused 503 when too many wait for theirs."""
        if self._queued >= _MAX_QUEUED:
            raise Refused(503, "busy", _BUSY, RETRY_SECONDS)
        self._queued += 1
        try:
            async with self._free:
                yield
        finally:
            self._queued -= 1

    async def work(self, task: Callable[[], _T]) -> _T:
        """The result of `task`, by a worker."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, task)
