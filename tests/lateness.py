"""How late this machine is: what a bound on the clock has to leave to a machine that is busy with other things."""

from __future__ import annotations

import threading
import time

STEP = 0.005


class Lateness:
    """Within the block a thread sleeps in steps of 5 ms; `lost` is by how many seconds all its steps were too long,
    `longest` by how many the worst of them was.

    A bound holds of the time that is the product's own: `assert took < 1 + late.lost`. On an idle machine both are next to
    nothing; where a thread that only sleeps loses a second, no thread could have kept the bound.
    """

    def __init__(self) -> None:
        self.lost = self.longest = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sleep, daemon=True)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sleep(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            time.sleep(STEP)
            late = time.monotonic() - began - STEP
            self.lost += late
            self.longest = max(self.longest, late)
