"""The detector: where the evidence of a loss has reached its level, and for how long the loss has lasted since.

An e-Shiryaev-Roberts statistic (`log_e_path`) decides when a loss is proven; the estimate has to stay at the threshold
or over it. A loss that has recovered is over, and what supported it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.cells import Cells, Floats, cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.log_e_path import (
    LogEPath,
    RestartSums,
    log_e_path,
    restarts_between,
    sum_over_restarts,
)
from gtm_dagster.rollout.guard.rule import Rule

RECOVERED = log(50.0)
"""Evidence for the best bet that has fallen by this much from its peak says the loss is over."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trace:
    """The verdict at every moment at which a cell became complete.

    `estimate`: relative drop since the supported restart (NaN without control conversions); `above`: the evidence has
    reached its level and since then the estimate stayed at the threshold or over it without recovering; `fires`: above
    without a break for the hold time.
    """

    times_us: Ints
    log_e: Floats
    estimate: Floats
    since_us: Ints
    above: Flags
    fires: Flags


def trace(counts: Counts, rule: Rule) -> Trace:
    """The verdict at every moment, for simulation, backtest and pictures."""
    return traced(counts, rule)[0]


def traced(counts: Counts, rule: Rule) -> tuple[Trace, Ints, Cells]:
    """The trace, with what the verdict needs besides: where in the path the supported restart lies, and the cells."""
    cells = cells_of(counts, rule.window_minutes)
    path = log_e_path(cells, rule.margin)
    size = len(path.slots)
    none = np.zeros(0, np.int64)
    if not size:
        empty = Trace(none, np.zeros(0), np.zeros(0), none, np.zeros(0, bool), np.zeros(0, bool))
        return empty, none, cells
    restarts, weights = restarts_between(counts.first_slot, int(path.slots[-1]))
    log_e, estimate = np.zeros(size), np.full(size, np.nan)
    since, start = np.full(size, restarts[0]), np.zeros(size, np.int64)
    above = np.zeros(size, bool)
    first = 0
    while True:
        sums = sum_over_restarts(path, restarts[first:], weights[first:])
        lost = np.nan_to_num(sums.estimate, nan=-inf) >= rule.threshold
        # The budget is spent at the first crossing: evidence may dip below the level again while the loss goes on.
        proven = lost & _proven_in_run(sums.log_e >= rule.log_budget, lost)
        recovered = _recovered(path, sums, proven)
        over = np.flatnonzero(recovered)
        end = sums.moment[int(over[0])] + 1 if len(over) else size
        mine = sums.moment < end
        at = sums.moment[mine]
        log_e[at], estimate[at], above[at] = sums.log_e[mine], sums.estimate[mine], (proven & ~recovered)[mine]
        since[at], start[at] = sums.since[mine], sums.start[mine]
        if end == size:
            break
        # A proven loss that has recovered is over: the e-processes that saw it are dropped, which only lowers the sum.
        first = int(np.searchsorted(restarts, path.slots[end - 1], side="left"))
        if first == len(restarts):
            break
    fires = _lasting(path.slots, above, rule.hold_minutes)
    return Trace(path.slots * SLOT_US, log_e, estimate, since * SLOT_US, above, fires), start, cells


def decided_us(history: Trace, hold_minutes: float, watermark_us: int) -> int | None:
    """The first time (microseconds UTC, up to the watermark) at which a breach had lasted the hold; None when none did.

    What a trace says at a moment stands until the next one, so at a slow flow the hold runs out in between.
    """
    above = history.above
    if not above.any():
        return None
    edges = np.diff(np.concatenate([[0], above.astype(np.int8), [0]]))
    begins, ends = history.times_us[np.flatnonzero(edges == 1)], np.flatnonzero(edges == -1)
    over = np.append(history.times_us, watermark_us + 1)[ends]
    due = begins + round(hold_minutes * 60_000_000)
    found = np.flatnonzero(due < over)
    return int(due[found[0]]) if len(found) else None


def run_starts(above: Flags) -> Ints:
    """Index of the first moment of the unbroken run each moment lies in (itself where not above)."""
    index = np.arange(len(above))
    begins = above & ~np.concatenate([[False], above[:-1]])
    run = np.maximum.accumulate(np.where(begins, index, 0))
    return np.where(above, run, index)


def _recovered(path: LogEPath, sums: RestartSums, where: Flags) -> Flags:
    """Where the best bet's evidence has fallen from its peak since the supported restart by more than RECOVERED."""
    found = np.zeros(len(where), bool)
    moments = np.flatnonzero(where)
    for row, begin in {(int(sums.bet[i]), int(sums.start[i])) for i in moments}:
        level = path.bets[row, begin:]
        fallen = np.maximum.accumulate(level) - level >= RECOVERED
        mine = moments[(sums.bet[moments] == row) & (sums.start[moments] == begin)]
        found[mine] = fallen[sums.moment[mine] + 1 - begin]
    return found


def _proven_in_run(proven: Flags, lost: Flags) -> Flags:
    """Where the evidence has reached its level since the loss began without a break."""
    reached = np.maximum.accumulate(np.where(proven & lost, np.arange(len(lost)), -1))
    return lost & (reached >= run_starts(lost))


def _lasting(slots: Ints, above: Flags, minutes: float) -> Flags:
    """Where it has been above without a break for so many minutes."""
    return above & ((slots - slots[run_starts(above)]) * (SLOT_US / 60_000_000) >= minutes)
