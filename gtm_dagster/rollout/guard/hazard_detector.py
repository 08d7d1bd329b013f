"""The verdict of detector 1, which evidence of formats 1 and 2 rests on: hazards age by age, restarts since the epoch's start.

It recomputes what was decided then and decides nothing any more: its budget wore off with an epoch's age, and it took a
flow that converts later for one that loses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import numpy as np

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.detector import RECOVERED, Flags, run_starts
from gtm_dagster.rollout.guard.hazard_cells import Floats, HazardCells, hazard_cells_of
from gtm_dagster.rollout.guard.hazard_path import (
    HazardPath,
    HazardSums,
    hazard_path,
    restarts_between,
    sum_over_restarts,
)
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict, bare_verdict, nothing_yet, reason


@dataclass(frozen=True, eq=False)
class HazardTrace:
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


def traced(counts: Counts, rule: Rule) -> tuple[HazardTrace, Ints, HazardCells]:
    """The trace, with what the verdict needs besides: where in the path the supported restart lies, and the cells."""
    budget = log(rule.budget_hours + 1.0)
    cells = hazard_cells_of(counts, rule.window_minutes)
    path = hazard_path(cells, rule.threshold / 2.0)
    size = len(path.slots)
    none = np.zeros(0, np.int64)
    if not size:
        empty = HazardTrace(none, np.zeros(0), np.zeros(0), none, np.zeros(0, bool), np.zeros(0, bool))
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
        proven = lost & _proven_in_run(sums.log_e >= budget, lost)
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
    return HazardTrace(path.slots * SLOT_US, log_e, estimate, since * SLOT_US, above, fires), start, cells


def _recovered(path: HazardPath, sums: HazardSums, where: Flags) -> Flags:
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


def hazard_verdict(counts: Counts, rule: Rule) -> Verdict:
    """The verdict of detector 1 at the counts' watermark."""
    history, start, cells = traced(counts, rule)
    bare = bare_verdict(counts, rule, cells.blocks, log(rule.budget_hours + 1.0))
    if not len(history.times_us):
        return replace(bare, reason=nothing_yet(bare))
    estimate = float(history.estimate[-1])
    known = not np.isnan(estimate)
    low, high = _interval(cells, int(start[-1]), history.times_us) if known else (None, None)
    verdict = replace(
        bare,
        log_e=float(history.log_e[-1]),
        peak_log_e=float(history.log_e.max()),
        estimate=estimate if known else None,
        low=low,
        high=high,
        supported_since_us=int(history.since_us[-1]),
    )
    if history.above[-1]:
        above_since = int(history.times_us[run_starts(history.above)[-1]])
        minutes = (counts.watermark_us - above_since) / 60_000_000
        verdict = replace(
            verdict, above_since_us=above_since, above_minutes=minutes, fires=minutes >= rule.hold_minutes
        )
    return replace(verdict, reason=reason(verdict, rule))


def _interval(cells: HazardCells, start: int, times_us: Ints) -> tuple[float, float]:
    """95 % interval of the drop since a restart: Greenland and Robins' variance of the Mantel-Haenszel ratio (1985).

    Without a treated conversion: the exact limit from the control's conversions alone (rule of three, conditional).
    """
    after = cells.end_slot * SLOT_US >= times_us[start]
    both = after & (cells.treated > 0) & (cells.control > 0)
    columns = (cells.treated, cells.control, cells.treated_converted, cells.control_converted)
    nt, nc, kt, kc = (column[both] for column in columns)
    units = nt + nc
    treated, control = float((kt * nc / units).sum()), float((kc * nt / units).sum())
    if treated == 0.0:
        converting = kc > 0
        share = float(np.average(nt[converting] / units[converting], weights=kc[converting]))
        most = 1.0 - 0.025 ** (1.0 / float(kc.sum()))
        ratio = most / max(1.0 - most, 1e-12) * (1.0 - share) / share
        return 1.0 - ratio, 1.0
    spread = float((((kt + kc) * nt * nc) / units**2 - kt * kc / units).sum())
    error = sqrt(max(spread, 0.0) / (treated * control))
    ratio = treated / control
    return 1.0 - ratio * exp(1.96 * error), 1.0 - ratio * exp(-1.96 * error)
