"""Sends the messages of triggers: takes what is due, asks consent once more, sends each destination at its own pace.

One thread has the database; each destination has threads of its own, at most `in_flight`, so a receiver that hangs costs
itself alone. Exactly once is not on offer: killed between the request and its mark, a message goes out again
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
from gtm_dagster.delivery.message_taking import Begun, Taking
from gtm_dagster.delivery.worker_wiring import Lane, Wiring, lanes_of

POLL_SECONDS = 0.05
"""Between two rounds while something is due that there is no room for, or under way: an attempt is written down this late."""
IDLE_SECONDS = 0.5
"""Between two rounds while nothing is due; what is due again before ends the pause."""
LOOK_SECONDS, WOKEN_LOOK_SECONDS = 0.01, 0.1
"""Between two looks at whether somebody else wrote to the file, and where who adds messages calls `wake`."""
SPACING_SECONDS = 0.01
"""Between two rounds when much comes: what ends and is due meanwhile shares their transactions."""
FAULT_SECONDS = 1.0
SWEEP_US = 10_000_000
PRUNE_US = 3_600_000_000
STOP_SECONDS = 3.0
THROTTLED_SECONDS = 5.0
_log = logging.getLogger("gtm_dagster.delivery")


@dataclass
class _Ended:
    lane: Lane
    messages: Sequence[Leased]
    attempt: Attempt
    is_noted: bool = False


class MessageWorker:
    """`run(stop)` until told to stop, or `round()` by round. Several may work on one file: each message is sent once.

    `woken`: who adds messages calls `wake`, so that the file is looked at seldom.
    """

    def __init__(self, path: Path, wiring: Wiring, *, woken: bool = False) -> None:
        self._wiring = wiring
        self._look_seconds = WOKEN_LOOK_SECONDS if woken else LOOK_SECONDS
        self._store = MessageStore(open_database(path), wiring.turn)
        self._lanes = lanes_of(wiring)
        self._taking = Taking(self._store, wiring, self._lanes)
        self._endings = Endings(self._store, wiring)
        self._ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._awake, self._one_ended = threading.Event(), threading.Event()
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
            self._awake.clear()
            try:
                version = self._store.data_version()
                self.round()
                pause = self._pause()
            except Exception as error:  # noqa: BLE001 - the thread outlives a fault
                _log.error("messages of triggers: %s: %s; again in %g s", type(error).__name__, error, FAULT_SECONDS)
                pause = FAULT_SECONDS
            stop.wait(max(0.0, began + SPACING_SECONDS - time.monotonic()))
            self._wait(pause, version)
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until and self.settle():
            pass

    def _pause(self) -> float:
        """How long nothing has to be done, unless something is added."""
        if self._unmarked or self._taking.is_waiting:
            return POLL_SECONDS
        next_us = self._taking.next_us
        return IDLE_SECONDS if next_us is None else min((next_us - self._wiring.clock_us()) / 1e6, IDLE_SECONDS)

    def _wait(self, seconds: float, version: int) -> None:
        """Until somebody wakes this worker, or wrote to the file since `version`, at most so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._awake.wait(min(left, self._look_seconds)) or self._store.data_version() != version:
                break

    def close(self) -> None:
        """Give the database back; what is under way is sent again when its lease ends."""
        self._store.con.close()
        for lane in self._lanes.values():
            lane.kept.close()

    def round(self) -> None:
        """Write down what ended, begin what is due: one transaction, or none where there is neither. Raises sqlite3.Error."""
        now_us = self._wiring.clock_us()
        self._sweep(now_us)
        ended = self._collected(now_us)
        begun: list[Begun] = []
        if ended:
            try:
                with self._store.transaction():
                    self._write_down(ended, now_us)
                    if due := self._taking.due(now_us):
                        begun = self._taking.take(due, now_us)
            except Exception:
                self._put_back(ended)
                self._mark()  # without what may have been at fault
                raise
            self._marked(ended)
        elif due := self._taking.due(now_us):
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
                self._awake.clear()

    def settle(self, seconds: float = 0.1) -> bool:
        """Wait for an attempt to end, and write it down; False when none is under way any more."""
        if self._unmarked:
            self._one_ended.wait(seconds)
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
            self._one_ended.set()
            if lane.pace.in_flight >= lane.pace.most or attempt.outcome != "delivered":
                self._awake.set()  # else the next round is soon enough, and has more to write down

        lane.threads.run(send)

    def _collected(self, now_us: int) -> list[_Ended]:
        """The attempts that ended, and what they say about their destinations."""
        self._one_ended.clear()
        ended: list[_Ended] = []
        while not self._ended.empty():
            ended.append(self._ended.get())
        for each in ended:
            if not each.is_noted:
                each.is_noted = True
                _note_pace(each, now_us)
        return ended

    def _write_down(self, ended: Sequence[_Ended], now_us: int) -> None:
        for each in ended:
            self._endings.ended(each.lane, each.messages, each.attempt, now_us)

    def _marked(self, ended: Sequence[_Ended]) -> None:
        self._unmarked -= len(ended)
        self._endings.send_alerts()

    def _put_back(self, ended: Sequence[_Ended]) -> None:
        for each in ended:
            self._ended.put(each)

    def _mark(self) -> None:
        """Write down the attempts that ended, all in one transaction; those of one that fails come with the next."""
        now_us = self._wiring.clock_us()
        if not (ended := self._collected(now_us)):
            return
        try:
            with self._store.transaction():
                self._write_down(ended, now_us)
        except Exception:
            self._put_back(ended)
            raise
        self._marked(ended)

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
