"""The thread in which rules run live: it waits for news of the log, and outlives whatever fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from gtm_dagster.triggers.live_figures import LiveFigures
from gtm_dagster.triggers.live_runner import LOOK_SECONDS, LiveRunner
from gtm_dagster.triggers.wal_checkpoints import WalCheckpoints

POLL_SECONDS, SPACING_SECONDS = 0.005, 0.010
"""Between two looks at the log when nothing comes, and between the commits of small batches."""
QUIET_SECONDS, QUIET_POLL_SECONDS = 2.0, 0.020
"""After so long without news of the log, and then between two looks: each wakes the process up."""
MOST_PAUSE = 30.0
_JOIN_SECONDS = 10.0
_log = logging.getLogger("gtm_dagster.triggers")


class RunnerThread:
    """`with RunnerThread(make):` runs what `make` returns until the end of the `with`.

    What fails is tried again from what is stored, after 1 s and longer every time; `figures.error` says why. `on_messages`
    is called when new messages are committed.
    """

    def __init__(self, make: Callable[[], LiveRunner]) -> None:
        self.figures = LiveFigures()
        self.on_messages: Callable[[], None] = lambda: None
        self._make = make
        self._news_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gtm-triggers", daemon=True)

    def __enter__(self) -> RunnerThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            try:
                runner = self._make()
            except Exception as error:  # noqa: BLE001 - the guards of this process go on
                pause = self._failed(error, pause)
                continue
            try:
                runner.figures = self.figures
                with WalCheckpoints(runner.path, runner.turn) as checkpoints:
                    while not self._stop.is_set():
                        self._once(runner, checkpoints)
                        pause, self.figures.error = 0.0, None
                runner.commit_offset()
            except Exception as error:  # noqa: BLE001
                pause = self._failed(error, pause)
            finally:
                runner.close()

    def _failed(self, error: Exception, pause: float) -> float:
        pause = min(MOST_PAUSE, 2 * pause or 1.0)
        self.figures.error = f"{type(error).__name__}: {error}" if isinstance(error, sqlite3.Error) else str(error)
        _log.error("triggers: %s; trying again in %g s", self.figures.error or repr(error), pause)
        self._stop.wait(pause)
        return pause

    def _once(self, runner: LiveRunner, checkpoints: WalCheckpoints) -> None:
        """A round, and then the time until there is something for the next one; small batches keep a distance."""
        began = time.monotonic()
        seen = runner.changes()
        sent = self.figures.sent
        more = runner.round()
        checkpoints.wrote(runner.rows_written)
        if self.figures.sent != sent:
            self.on_messages()
        if more:
            return
        self._stop.wait(max(0.0, began + SPACING_SECONDS - time.monotonic()))
        looks_at = time.monotonic() + LOOK_SECONDS / 4
        while not self._stop.is_set() and (now := time.monotonic()) < looks_at:
            if runner.changes() != seen:
                self._news_at = now
                return
            if runner.is_due():
                return
            self._stop.wait(POLL_SECONDS if now - self._news_at < QUIET_SECONDS else QUIET_POLL_SECONDS)
