"""The detector: where the evidence of a loss has reached its level, and for how long the loss has lasted since.

An e-Shiryaev-Roberts statistic (`log_e_path`) decides when a loss is proven; the estimate has to stay at the threshold
or over it. A loss that has recovered is over, and what supported it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import inf, log

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.cells import DAY_SLOTS, HORIZON_SLOTS, Cells, Floats, cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.log_e_path import (
    RestartSums,
    first_day,
    log_e_path,
    restarts_between,
    sum_over_restarts,
)
from gtm_dagster.rollout.guard.mean_evidence import mean_evidence
from gtm_dagster.rollout.guard.metric_rule import MEAN
from gtm_dagster.rollout.guard.rule import Rule

RECOVERED, RECOVERED_EARLY = log(50.0), log(1000.0)
"""Evidence for the best bet that has fallen by this much from its peak says the loss is over; that of conversions by the
control's age shows it sooner and wavers more.
"""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trace:
    """The verdict at every moment at which something became known.

    `estimate`: relative drop since the supported restart (NaN without control conversions); `above`: the evidence has
    reached its level and since then the estimate stayed at the threshold or over it without recovering; `lasting`: the
    treated arm has lost the threshold when compared at the control's ages, which is known sooner. A guard acts when it is
    above and lasting without a break for the hold time.
    """

    times_us: Ints
    log_e: Floats
    estimate: Floats
    since_us: Ints
    above: Flags
    lasting: Flags


@dataclass(frozen=True, eq=False)
class RestartIndex:
    """Where the most evidence comes from at each moment: the row of the path, and the index of its restart there."""

    row: Ints
    start: Ints


def trace(counts: Counts, rule: Rule, progress: Callable[[int, int], None] | None = None) -> Trace:
    """The verdict at every moment of a history of any length, for simulation, backtest and pictures.

    Each moment as a guard sees it then: with the cohorts of the horizon before it. Counts whose old cohorts are folded
    have the moments of the last day alone.
    """
    now = counts.watermark_us // SLOT_US
    last = first_day(counts.first_slot, now)
    if last == 0 or counts.folded:
        return traced(counts, rule)[0]
    parts = []
    for day in range(last + 1):
        until = min(counts.first_slot + HORIZON_SLOTS + day * DAY_SLOTS, now)
        part = traced(counts, rule, until)[0]
        new = part.times_us > (until - DAY_SLOTS) * SLOT_US if day else part.times_us > 0
        parts.append([getattr(part, field.name)[new] for field in fields(Trace)])
        if progress:
            progress(day + 1, last + 1)
    return Trace(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def traced(counts: Counts, rule: Rule, until_slot: int | None = None) -> tuple[Trace, RestartIndex, Cells]:
    """The trace of the horizon before `until_slot` (default: the watermark); with what a verdict needs besides: row of the
    path and index of the supported restart at each moment, and the cells.
    """
    now = counts.watermark_us // SLOT_US if until_slot is None else until_slot
    day = first_day(counts.first_slot, now)
    if rule.figure == MEAN:
        cells, path = mean_evidence(counts, rule.window_minutes, rule.margin_drop, day, now, rule.bets)
    else:
        cells = cells_of(counts, rule.window_minutes, rule.slower_minutes, day, now)
        path = log_e_path(cells, rule.margin_drop, now, rule.bets)
    size = len(path.slots)
    none = np.zeros(0, np.int64)
    if not size:
        empty = Trace(none, np.zeros(0), np.zeros(0), none, np.zeros(0, bool), np.zeros(0, bool))
        return empty, RestartIndex(none, none), cells
    begin = counts.first_slot + (day + 1) * DAY_SLOTS if day else counts.first_slot
    steps = [since_us // SLOT_US for since_us, _ in rule.shares[1:]]
    restarts, weights = restarts_between(begin, max(int(path.slots[-1]), begin), steps, rule.start_hours, day == 0)
    log_e, estimate = np.zeros(size), np.full(size, np.nan)
    since, start = np.full(size, restarts[0]), np.zeros(size, np.int64)
    row = np.zeros(size, np.int64)
    above, lasting = np.zeros(size, bool), np.zeros(size, bool)
    first = 0
    while True:
        sums = sum_over_restarts(path, restarts[first:], weights[first:])
        lost = np.nan_to_num(sums.estimate, nan=-inf) >= rule.threshold
        lost_early = np.nan_to_num(sums.early_estimate, nan=-inf) >= rule.threshold
        # The budget is spent at the first crossing: evidence may dip below the level again while the loss goes on.
        proven = lost & _proven_in_run(sums.log_e >= rule.log_budget, lost)
        recovered = _recovered(path.bets, sums, sums.start, proven, RECOVERED)
        recovered |= _recovered(path.early_bets, sums, sums.early_start, proven, RECOVERED_EARLY)
        if rule.pages:  # a page is sent once and takes nothing back
            recovered[:] = False
        over = np.flatnonzero(recovered)
        end = sums.moment[int(over[0])] + 1 if len(over) else size
        mine = sums.moment < end
        at = sums.moment[mine]
        log_e[at], estimate[at], above[at] = sums.log_e[mine], sums.estimate[mine], (proven & ~recovered)[mine]
        since[at], start[at], row[at] = sums.since[mine], sums.start[mine], sums.row[mine]
        lasting[at] = lost_early[mine]
        if end == size:
            break
        # A proven loss that has recovered is over: the e-processes that saw it are dropped, which only lowers the sum.
        first = int(np.searchsorted(restarts, path.slots[end - 1], side="left"))
        if first == len(restarts):
            break
    return (
        Trace(path.slots * SLOT_US, log_e, estimate, since * SLOT_US, above, lasting),
        RestartIndex(row, start),
        cells,
    )


def decided_us(history: Trace, hold_minutes: float, watermark_us: int) -> int | None:
    """The first time (microseconds UTC, up to the watermark) at which a loss is proven and has lasted the hold; None: never.

    What a trace says at a moment stands until the next one, so at a slow flow the hold runs out in between.
    """
    if not history.above.any():
        return None
    lasting = history.lasting
    since = history.times_us[run_starts(lasting)]
    until = np.append(history.times_us[1:], watermark_us + 1)
    due = np.maximum(history.times_us, since + round(hold_minutes * 60_000_000))
    found = np.flatnonzero(history.above & lasting & (due < until))
    return int(due[found[0]]) if len(found) else None


def run_starts(above: Flags) -> Ints:
    """Index of the first moment of the unbroken run each moment lies in (itself where not above)."""
    index = np.arange(len(above))
    begins = above & ~np.concatenate([[False], above[:-1]])
    run = np.maximum.accumulate(np.where(begins, index, 0))
    return np.where(above, run, index)


def _recovered(bets: Floats, sums: RestartSums, start: Ints, where: Flags, fall: float) -> Flags:
    """Where the best bet's evidence has fallen by `fall` from its peak since the supported restart."""
    found = np.zeros(len(where), bool)
    moments = np.flatnonzero(where)
    for row, begin in {(int(sums.row[i]), int(start[i])) for i in moments}:
        level = bets[row, begin:]
        fallen = np.maximum.accumulate(level) - level >= fall
        mine = moments[(sums.row[moments] == row) & (start[moments] == begin)]
        found[mine] = fallen[sums.moment[mine] + 1 - begin]
    return found


def _proven_in_run(proven: Flags, lost: Flags) -> Flags:
    """Where the evidence has reached its level since the loss began without a break."""
    reached = np.maximum.accumulate(np.where(proven & lost, np.arange(len(lost)), -1))
    return lost & (reached >= run_starts(lost))
