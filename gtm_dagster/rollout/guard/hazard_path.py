"""The bets of detector 1 and their evidence over time, as evidence of its time is recomputed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gtm_dagster.rollout.guard.counts import SLOT_US, Ints
from gtm_dagster.rollout.guard.e_process import log_e_values
from gtm_dagster.rollout.guard.hazard_cells import Floats, HazardCells

HOUR_SLOTS = 3_600_000_000 // SLOT_US
RESTART_SLOTS = 300_000_000 // SLOT_US
BETS = (0.86, 0.7, 0.54, 0.25, 0.086)
"""Treated over control rate of each bet, as a share of the null's boundary."""
BET_WEIGHTS = (0.03, 0.20, 0.19, 0.17, 0.41)
"""The stake on each bet, 1 in all: drops of 30 to 90 % are then proven equally close to the bound (docs/benchmarks.md)."""


@dataclass(frozen=True, eq=False)
class HazardPath:
    """Cumulative log e-value by bet, and the two sums of the Mantel-Haenszel ratio, after each completion time.

    Index 0 is before the first. `mh_treated`: treated conversions weighted by the control's share of units;
    `mh_control`: the control's weighted by the treated share. Their ratio is the treated arm's relative rate.
    """

    slots: Ints
    bets: Floats  # (bets, T + 1)
    mh_treated: Floats  # (T + 1,)
    mh_control: Floats


def hazard_path(cells: HazardCells, margin: float) -> HazardPath:
    """The bets' log e-values as the cells become complete, against the null of `margin`."""
    slots, index = np.unique(cells.end_slot, return_inverse=True)
    size = len(slots)
    bets = np.zeros((len(BETS), size + 1))
    for row, share in enumerate(BETS):
        drop = 1.0 - share * (1.0 - margin)
        values = log_e_values(
            cells.treated, cells.treated_converted, cells.control, cells.control_converted, cells.control_rate, drop,
            margin,
        )  # fmt: skip
        bets[row, 1:] = np.cumsum(np.bincount(index, values, size))
    units = np.maximum(cells.treated + cells.control, 1.0)
    both = (cells.treated > 0) & (cells.control > 0)
    treated = np.where(both, cells.treated_converted * cells.control / units, 0.0)
    control = np.where(both, cells.control_converted * cells.treated / units, 0.0)
    zero = np.zeros(1)
    return HazardPath(
        slots,
        bets,
        np.concatenate([zero, np.cumsum(np.bincount(index, treated, size))]),
        np.concatenate([zero, np.cumsum(np.bincount(index, control, size))]),
    )


def restarts_between(first: int, last: int) -> tuple[Ints, Floats]:
    """Slots of the restarts from `first` on, and the logarithm of their weights (1 an hour in all)."""
    slots = np.arange(first, last + 1, RESTART_SLOTS, dtype=np.int64)
    fine = 0.5 * RESTART_SLOTS / HOUR_SLOTS
    weights = np.where((slots - first) % HOUR_SLOTS == 0, 0.5 + fine, fine)
    weights[0] += 1.0
    return slots, np.log(weights)


@dataclass(frozen=True, eq=False)
class HazardSums:
    """Log e-values summed over a set of restarts, at the moments behind the first of them.

    `bet` and `since` name the bet and the restart (its slot; `start` is its index in the path) with the most evidence;
    `estimate` is the relative drop since that restart, NaN without control conversions.
    """

    moment: Ints
    log_e: Floats
    estimate: Floats
    bet: Ints
    since: Ints
    start: Ints


def sum_over_restarts(path: HazardPath, restarts: Ints, weights: Floats) -> HazardSums:
    """The e-detector's statistic over these restarts, and which of them supports it most."""
    begun = np.searchsorted(path.slots, restarts, side="right")  # a cell complete at the restart came before it
    reached = np.searchsorted(restarts, path.slots, side="left") - 1  # the last restart before each moment
    moment = np.flatnonzero(reached >= 0)
    reached = reached[moment]
    head = weights + np.log(BET_WEIGHTS)[:, None] - path.bets[:, begun]
    level = path.bets[:, moment + 1]
    summed = np.logaddexp.accumulate(head, axis=1)[:, reached] + level
    log_e = np.logaddexp.reduce(summed, axis=0)
    best_head = np.maximum.accumulate(head, axis=1)
    best_restart = np.maximum.accumulate(np.where(head >= best_head, np.arange(len(restarts)), 0), axis=1)
    bet = np.argmax(best_head[:, reached] + level, axis=0)
    restart = best_restart[bet, reached]
    start = begun[restart]
    with np.errstate(divide="ignore", invalid="ignore"):
        treated = path.mh_treated[moment + 1] - path.mh_treated[start]
        control = path.mh_control[moment + 1] - path.mh_control[start]
        estimate = np.where(control > 1e-9, 1.0 - treated / control, np.nan)
    return HazardSums(moment, log_e, estimate, bet, restarts[restart], start)
