"""Tasks beside the counting, each in a thread of its own: a call that hangs holds up nobody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger("gtm_dagster.stream")


class SideTasks:
    """`with SideTasks({"flags": (10.0, watcher.look)}):` does each task at once and then every so many seconds.

    A task that raises is logged, once while it raises the same, and done again at its next time. What hangs at the end
    is left behind after 3 s.
    """

    def __init__(self, tasks: dict[str, tuple[float, Callable[[], object]]]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, seconds, task), name=f"gtm-{name}", daemon=True)
            for name, (seconds, task) in tasks.items()
        ]

    def _repeat(self, name: str, seconds: float, task: Callable[[], object]) -> None:
        last = ""
        while not self._stop.is_set():
            try:
                task()
                last = ""
            except Exception as error:  # noqa: BLE001 - the thread outlives a fault
                message = f"{type(error).__name__}: {error}"
                if message != last:
                    _log.error("%s: %s; again every %g s", name, message, seconds)
                last = message
            self._stop.wait(seconds)

    def __enter__(self) -> SideTasks:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(3.0)
