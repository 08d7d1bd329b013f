"""Sends the messages of triggers: takes what is due, asks consent once more, sends each destination at its own pace.

One thread has the database; each attempt has a thread of its own, at most `in_flight` a destination, so a receiver that
hangs costs itself alone. Exactly once is not on offer: killed between the request and its mark, a message goes out again
when its lease ends, under the same id; one of a destination that takes no message twice is given up then.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gtm_dagster.delivery.attempt import Attempt, Leased
from gtm_dagster.delivery.message_endings import Endings
from gtm_dagster.delivery.message_store import MessageStore, open_database
from gtm_dagster.delivery.message_taking import Taking
from gtm_dagster.delivery.worker_wiring import Lane, Wiring, lanes_of

POLL_SECONDS = 0.05
"""Between two rounds when nothing comes: a message that is due again is this late."""
LOOK_SECONDS = 0.01
"""Between two looks at whether another process or thread wrote to the file, which cost some 10 microseconds each."""
SPACING_SECONDS = 0.01
"""Between two rounds when much comes: what ends and is due meanwhile shares their transactions."""
FAULT_SECONDS = 1.0
SWEEP_US = 10_000_000
PRUNE_US = 3_600_000_000
STOP_SECONDS = 3.0
THROTTLED_SECONDS = 5.0
_log = logging.getLogger("gtm_dagster.delivery")


@dataclass(frozen=True)
class _Ended:
    lane: Lane
    messages: Sequence[Leased]
    attempt: Attempt


class MessageWorker:
    """`run(stop)` until told to stop, or `round()` by round. Several may work on one file: each message is sent once."""

    def __init__(self, path: Path, wiring: Wiring) -> None:
        self._wiring = wiring
        self._store = MessageStore(open_database(path), wiring.turn)
        self._lanes = lanes_of(wiring)
        self._taking = Taking(self._store, wiring, self._lanes)
        self._endings = Endings(self._store, wiring)
        self._ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._awake = threading.Event()
        self._unmarked = 0
        self._swept_us = self._pruned_us = 0

    def wake(self) -> None:
        """Look at the table at once; from any thread."""
        self._awake.set()

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set; then wait a moment for what is under way. A database that fails is tried again."""
        version = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                version = self._store.data_version()
                self.round()
                pause = POLL_SECONDS
            except Exception as error:  # noqa: BLE001 - the thread outlives a fault
                _log.error("messages of triggers: %s: %s; again in %g s", type(error).__name__, error, FAULT_SECONDS)
                pause = FAULT_SECONDS
            stop.wait(max(0.0, began + SPACING_SECONDS - time.monotonic()))
            self._wait(pause, version)
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until and self.settle():
            pass

    def _wait(self, seconds: float, version: int) -> None:
        """Until somebody wakes this worker, or wrote to the file since `version`, at most so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._awake.wait(min(left, LOOK_SECONDS)) or self._store.data_version() != version:
                break
        self._awake.clear()

    def close(self) -> None:
        """Give the database back; what is under way is sent again when its lease ends."""
        self._store.con.close()

    def round(self) -> None:
        """Write down what ended, begin what is due. Raises sqlite3.Error."""
        self._mark()
        now_us = self._wiring.clock_us()
        self._sweep(now_us)
        if due := self._taking.due(now_us):
            with self._store.transaction():
                begun = self._taking.take(due, now_us)
            for lane, messages in begun:
                self._start(lane, messages, now_us)

    def drain(self) -> None:
        """Send all that is due now, at the destinations' pace, and wait for it; what is due again later stays."""
        while True:
            self.round()
            if not self.settle():
                if not self._taking.has_due(self._wiring.clock_us()):
                    return
                self._awake.wait(POLL_SECONDS)

    def settle(self, seconds: float = 0.1) -> bool:
        """Wait for an attempt to end, and write it down; False when none is under way any more."""
        if self._unmarked:
            self._awake.wait(seconds)
            self._awake.clear()
            self._mark()
        return self._unmarked > 0

    def _start(self, lane: Lane, messages: Sequence[Leased], now_us: int) -> None:
        lane.pace.began()
        self._unmarked += 1

        def send() -> None:
            try:
                attempt = lane.sender.send(messages, now_us)
            except Exception as error:  # noqa: BLE001 - a fault of one message must not leave it under way for ever
                _log.exception("fault while sending to %s", lane.name)
                attempt = Attempt("unknown", error=f"fault ({type(error).__name__})")
            self._ended.put(_Ended(lane, messages, attempt))
            self._awake.set()

        threading.Thread(target=send, name=f"gtm-{lane.name}", daemon=True).start()

    def _mark(self) -> None:
        """Write down the attempts that ended, all in one transaction; those of one that fails come with the next."""
        ended: list[_Ended] = []
        while not self._ended.empty():
            ended.append(self._ended.get())
        if not ended:
            return
        now_us = self._wiring.clock_us()
        try:
            with self._store.transaction():
                for each in ended:
                    self._endings.ended(each.lane, each.messages, each.attempt, now_us)
        except Exception:
            for each in ended:
                self._ended.put(each)
            raise
        self._endings.send_alerts()
        for each in ended:
            self._unmarked -= 1
            _note_pace(each, now_us)

    def _sweep(self, now_us: int) -> None:
        """End what is too late, and delete what is old, now and then."""
        if now_us - self._swept_us < SWEEP_US:
            return
        self._swept_us = now_us
        with self._store.transaction():
            self._taking.expire(now_us)
        if now_us - self._pruned_us >= PRUNE_US:
            self._pruned_us = now_us
            self._store.prune(now_us)


def _note_pace(ended: _Ended, now_us: int) -> None:
    """What an attempt says about its destination: it works, it fails, it has too much to do."""
    pace, attempt = ended.lane.pace, ended.attempt
    pace.ended()
    if attempt.throttled:
        pace.pause(now_us, attempt.wait_seconds or THROTTLED_SECONDS)
    elif attempt.outcome == "delivered" or attempt.suppressed:
        pace.worked()
    elif attempt.blamed and pace.failed(now_us):
        seconds = (pace.open_until_us - now_us) / 1e6
        _log.warning(
            "%s fails again and again (%s): nothing is sent to it for %g s", ended.lane.name, attempt.error, seconds
        )
