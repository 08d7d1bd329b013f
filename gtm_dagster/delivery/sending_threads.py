"""Threads that send to one destination: one more whenever all are busy, and each ends when it has nothing to do."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

IDLE_SECONDS = 10.0


class SendingThreads:
    """`run` from one thread. How many there are is bounded by who calls it (`Pace`); no thread keeps a process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        """Threads that wait and that no task is on its way to."""

    def run(self, task: Callable[[], None]) -> None:
        """Do `task`, which does not raise, in a thread that is free, or in a new one."""
        with self._lock:
            is_free = self._idle > 0
            self._idle -= is_free
        self._tasks.put(task)
        if not is_free:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue
            task()
            with self._lock:
                self._idle += 1
