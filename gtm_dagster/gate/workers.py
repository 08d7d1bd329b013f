"""Calls with a deadline: daemon threads that can be left behind when a call never comes back.

A ThreadPoolExecutor cannot do this: its threads are joined at exit, and after as many hung calls as it has threads it
serves nobody, even when what they called has healed.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from gtm_dagster.gate.contained import ForeignError


class DeadlineExceeded(Exception):
    """The call was not answered, or not begun, in time."""


class Workers:
    """At most `size` calls at once; a call past its deadline is left behind and its thread replaced.

    Never more than `size + stuck_limit` threads: with `stuck_limit` calls left behind nothing is begun until one of
    them comes back. Threads are started when they are needed.
    """

    def __init__(self, size: int, stuck_limit: int) -> None:
        self.stuck_limit = stuck_limit
        self._size = size
        self._slots = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._stuck = 0
        self._closed = False

    @property
    def stuck(self) -> int:
        """Threads in calls nobody waits for, probes under way included."""
        return self._stuck

    def call(self, work: Callable[[], Any], seconds: float) -> Any:
        """What `work` returns; DeadlineExceeded after `seconds`, the wait for a free thread included.

        Raises the Exception `work` raises, ForeignError for anything else: what ends a thread must not end its caller's.
        """
        deadline = time.monotonic() + seconds
        if not self._slots.acquire(timeout=seconds):
            raise DeadlineExceeded("every thread is busy")
        try:
            job = _Job(work)
            self._begin(job)
            try:
                job.done.acquire(timeout=max(0.0, deadline - time.monotonic()))
            finally:
                self._leave(job)
            if not job.finished:
                raise DeadlineExceeded("no answer in time")
            if job.error is not None:
                if isinstance(job.error, Exception):
                    raise job.error
                raise ForeignError.of(job.error) from job.error
            return job.result
        finally:
            self._slots.release()

    def start(self, work: Callable[[], Any]) -> bool:
        """Run `work` and wait for nothing; False when too many threads are stuck. `work` handles its own errors."""
        job = _Job(work)
        with self._lock:
            if self._stuck >= self.stuck_limit:
                return False
            self._stuck += 1
            job.left = True
        try:
            self._begin(job)
        except BaseException:
            with self._lock:
                self._stuck -= 1
            raise
        return True

    def close(self) -> None:
        """End the idle threads; busy ones end when their call does."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.hand(None)

    def _begin(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise DeadlineExceeded("closed")
            if not job.left and self._stuck >= self.stuck_limit:
                raise DeadlineExceeded("too many calls never came back")
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(self)
            worker.start()
        worker.hand(job)

    def _leave(self, job: _Job) -> None:
        with self._lock:
            if not job.finished:
                job.left = True
                self._stuck += 1

    def _finish(self, job: _Job, worker: _Worker) -> bool:
        """Called by the thread when its call came back; whether the thread stays."""
        with self._lock:
            job.finished = not job.left
            if job.left:
                self._stuck -= 1
            stays = not self._closed and len(self._idle) < self._size
            if stays:
                self._idle.append(worker)
        job.done.release()
        return stays


class _Job:
    __slots__ = ("done", "error", "finished", "left", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Lock()
        self.done.acquire()
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.left = False


class _Worker(threading.Thread):
    _numbers = itertools.count(1)

    def __init__(self, workers: Workers) -> None:
        super().__init__(name=f"gtm-gate-{next(self._numbers)}", daemon=True)
        self._workers = workers
        self._mail = threading.Lock()
        self._mail.acquire()
        self._job: _Job | None = None

    def hand(self, job: _Job | None) -> None:
        self._job = job
        self._mail.release()

    def run(self) -> None:
        while True:
            self._mail.acquire()
            job, self._job = self._job, None
            if job is None:
                return
            try:
                job.result = job.work()
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who may be gone
                job.error = error
            if not self._workers._finish(job, self):
                return
            del job
