"""Guard counting as a reducer: a guard is a part. It knows epochs, conversion windows, and a flag's watermark.

A guard that is behind holds the watermark of its flag, so nobody judges counts that are not complete. Counting records
again changes nothing, so a guard may begin again at any offset.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from gtm_dagster.gate.exposures import EXPOSED
from gtm_dagster.opsstore import GuardProgress, OpsStore
from gtm_dagster.rollout.control.armed_rule import as_armed
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.metric_rule import metric_rules
from gtm_dagster.rollout.guard.unit_links import IDENTIFIED
from gtm_dagster.settings import Guard
from gtm_dagster.stream.guard_counts import Epochs, count, end_epochs, window_us
from gtm_dagster.stream.guard_events import COLUMNS, GuardEvents, events_by_guard
from gtm_dagster.stream.guard_pruning import GuardPruning
from gtm_dagster.stream.reducer import Batch, Rows, Start, Wanted

_log = logging.getLogger("gtm_dagster.stream")


class GuardReducer:
    """Counts exposures and conversions for `guards` into `store`; a part is a guard's key."""

    name = "guard"

    def __init__(self, store: OpsStore, guards: Sequence[Guard]) -> None:
        self._store = store
        self._guards = {guard.key: guard for guard in guards}
        self._epochs: dict[str, Epochs] = {}
        self._progress: dict[str, GuardProgress] = {}
        self._pruning = GuardPruning(store)

    def load(self) -> None:
        """Make the rows of guards that have none, and take up what each was counted by."""
        for guard in self._guards.values():
            self._store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
        self._progress = self._store.guard_progress()
        self._epochs, self._pruning = {}, GuardPruning(self._store)

    def starts(self) -> list[Start]:
        """Guards that were armed since the last call. One of a new epoch, or another window, begins again."""
        armed = self._store.epochs()
        starts = []
        for key, guard in self._guards.items():
            epochs = armed.get(key)
            if not epochs or self._epochs.get(key) == epochs:
                continue
            self._epochs[key] = epochs
            guard = self._guards[key] = self._as_armed(guard, epochs[-1][0])
            progress = self._progress.get(key)
            if progress == GuardProgress(epochs[-1][0], _rule(guard)):
                starts.append(Start(key, epochs[-1][1]))
            else:  # from the first epoch that its counts do not hold
                known = progress.epoch if progress and progress.rule == _rule(guard) else 0
                starts.append(Start(key, min(since for epoch, since in epochs if epoch > known), again=True))
        return starts

    def _as_armed(self, guard: Guard, epoch: int) -> Guard:
        """The guard with the conversion window and metrics it was armed with, whatever the settings say meanwhile."""
        rule = self._store.epoch_rule(guard.key, epoch)
        return guard if rule is None else as_armed(guard, rule)

    def begin(self, con: Connection, start: Start, behind: bool) -> None:
        """Hold the flag's watermark while the guard is behind."""
        if start.again:
            self._follow(con, self._guards[start.part], self._epochs[start.part])
        if behind:
            self._store.hold(con, start.part, start.since_us, _now_us())

    def _follow(self, con: Connection, guard: Guard, epochs: Epochs) -> None:
        """End the epochs that a new one ends, or forget what was counted by another window."""
        fresh, progress = GuardProgress(epochs[-1][0], _rule(guard)), self._progress.get(guard.key)
        if progress is not None and progress.rule == fresh.rule:
            end_epochs(self._store, con, guard, epochs)
            self._store.forget_records(con, guard.key, since_us=epochs[-1][1])
        else:
            if progress is not None:
                _log.warning(
                    "%s: counted by another conversion window or other metrics; counting again what the log still holds",
                    guard.key,
                )
            self._store.forget_counts(con, guard.key)
        self._store.set_guard_progress(con, guard.key, fresh)
        self._progress[guard.key] = fresh

    def wanted(self, parts: Sequence[str]) -> Wanted:
        """Exposures, what the guards count as conversions, and who is who."""
        guards = [self._guards[key] for key in parts]
        events = {EXPOSED, IDENTIFIED, *(guard.conversion for guard in guards)}
        events |= {metric.event for guard in guards for metric in guard.metrics}
        return Wanted(frozenset(events), COLUMNS, drills=True, refused=True)

    def divide(self, rows: Rows, parts: Sequence[str]) -> Mapping[str, GuardEvents]:
        """Exposures and conversions by guard."""
        return events_by_guard(rows, [self._guards[key] for key in parts])

    def apply(self, con: Connection, part: str, rows: Any, batch: Batch) -> int:
        """Count; returns the units whose counts changed. What the counts do not need any more is pruned."""
        guard, epochs = self._guards[part], self._epochs[part]
        changed = count(self._store, con, guard, epochs, rows)
        self._pruning.after_batch(con, guard, epochs, batch.received_us, self._guards)
        return changed

    def caught_up(self, con: Connection, part: str) -> None:
        """Let the flag's watermark go on."""
        self._store.release(con, part)

    def failed(self, con: Connection, part: str) -> None:
        """The flag's watermark stays where it is."""
        self._store.hold(con, part, self._store.watermark_us(self._guards[part].flag) or 0, _now_us())


def _rule(guard: Guard) -> int:
    """Changes with what makes counts incomparable: the window, the length of a slot, and what further metrics count."""
    counted = [
        (each.name, each.figure, each.event, each.value, each.cap, each.limit) for each in metric_rules(guard)[1:]
    ]
    return zlib.crc32(f"{SLOT_US} {window_us(guard)}{f' {sorted(counted, key=str)}' if counted else ''}".encode())


def _now_us() -> int:
    return time.time_ns() // 1000
