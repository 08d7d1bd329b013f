"""The bets and their evidence over time: cumulative log e-values of each bet, and their sum over restarts.

At each restart a new e-process begins; their weighted sum, with weights of 1 an hour, has a mean time to a false alarm
of at least G hours when it is stopped at G, whatever the base rate does (Shin, Ramdas and Rinaldo, "E-detectors",
2022). Half of the weight lies on full hours, half on every fifth minute, so that a break in the middle of an hour is
not diluted by what was healthy before it. The start of an epoch and of each ramp step carries a stake of its own,
because most broken flows are broken from their first minute: it fires falsely with at most the probability of that
stake, however long it is watched (Ville).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gtm_dagster.rollout.guard.cells import AGE_SHARES, DAY_SLOTS, HORIZON_SLOTS, Cells, Floats
from gtm_dagster.rollout.guard.counts import SLOT_US, Ints
from gtm_dagster.rollout.guard.e_process import Bet

HOUR_SLOTS = 3_600_000_000 // SLOT_US
RESTART_SLOTS = 300_000_000 // SLOT_US
BETS = (0.75, 0.6, 0.25)
"""Treated over control rate of each bet, as a share of the null's boundary."""
BET_WEIGHTS = (0.45, 0.20, 0.35)
"""The stake on each bet, 1 in all: small losses and dead flows are found about equally close to the bound (docs/benchmarks.md)."""
AGE_WEIGHTS = (0.4, 0.3, 0.3)
"""The stake on each age at which cells are taken, 1 in all; where customers convert at once the ages are the same."""
ROWS = tuple((age, bet) for age in range(len(AGE_SHARES)) for bet in range(len(BETS)))
ROW_LOG_WEIGHTS = np.log([AGE_WEIGHTS[age] * BET_WEIGHTS[bet] for age, bet in ROWS])


@dataclass(frozen=True, eq=False)
class LogEPath:
    """Cumulative log e-value by row (age and bet), and sums of the Mantel-Haenszel ratio by age, at each moment.

    Index 0 is before the first moment. `treated`: treated conversions weighted by the control's share of units; `control`:
    the control's weighted by the treated share; their ratio is the treated arm's relative rate. `early_treated` and
    `early_control`: the same with the treated arm's conversions by the control's age, known sooner.
    """

    slots: Ints
    bets: Floats  # (rows, T + 1)
    treated: Floats  # (ages, T + 1)
    control: Floats
    early_treated: Floats
    early_control: Floats
    early_bets: Floats  # (rows, T + 1)
    cells: Cells

    def begun(self, restarts: Ints, early: bool = False) -> Ints:
        """(ages, restarts): the index from which on there are blocks of units exposed at or after each restart alone.

        Not before the restart, nor while a block that began before it may still grow: whenever one looks, it is the same.
        """
        ends = self.cells.known_early if early else self.cells.known
        found = np.zeros((len(AGE_SHARES), len(restarts)), np.int64)
        before = np.searchsorted(self.cells.begins, restarts, side="left")
        for age in range(len(AGE_SHARES)):
            last = np.concatenate([[-1], ends[age]])[before]
            found[age] = np.searchsorted(self.slots, np.maximum(last, restarts), side="right")
        return found


def log_e_path(cells: Cells, margin: float, now_slot: int, shares: Sequence[float] = BETS) -> LogEPath:
    """The log e-values of the bets on `shares` as the cells become complete, against the null of `margin`, up to `now_slot`."""
    complete = cells.end_slot <= now_slot
    end_slot = cells.end_slot[complete]
    first = int(min(end_slot.min(initial=now_slot), cells.early_slot.min(initial=now_slot)))
    seen = np.zeros(now_slot - first + 1, bool)
    seen[end_slot - first] = seen[cells.early_slot - first] = True
    slots, position = first + np.flatnonzero(seen), np.cumsum(seen) - 1
    size = len(slots)
    index, early_index = position[end_slot - first], position[cells.early_slot - first]
    age = cells.age[complete]

    def summed(values: Floats, ages: Ints, at: Ints) -> Floats:
        total = np.bincount(ages * (size + 1) + at + 1, values, len(AGE_SHARES) * (size + 1))
        path: Floats = np.cumsum(total.reshape(len(AGE_SHARES), size + 1), axis=1)
        return path

    bets, early_bets = np.zeros((2, len(ROWS), size + 1))
    for number, share in enumerate(shares):
        drop = 1.0 - share * (1.0 - margin)
        bet = Bet.of(cells.treated, cells.control, cells.control_rate, drop, margin)
        values = bet.log_e_values(cells.treated_converted, cells.control_converted)[complete]
        bets[number :: len(BETS)] = summed(values, age, index)
        early = bet.log_e_values(cells.early, cells.control_converted)
        early_bets[number :: len(BETS)] = summed(early, cells.age, early_index)
    units = np.maximum(cells.treated + cells.control, 1.0)
    both = (cells.treated > 0) & (cells.control > 0)
    of_treated = np.where(both, cells.control / units, 0.0)
    of_control = np.where(both, cells.control_converted * cells.treated / units, 0.0)
    return LogEPath(
        slots,
        bets,
        summed((of_treated * cells.treated_converted)[complete], age, index),
        summed(of_control[complete], age, index),
        summed(of_treated * cells.early, cells.age, early_index),
        summed(of_control, cells.age, early_index),
        early_bets,
        cells,
    )


def first_day(first_slot: int, now_slot: int) -> int:
    """The first day since the epoch's first slot whose cohorts lie wholly within the horizon."""
    return max(-(-(now_slot - HORIZON_SLOTS - first_slot) // DAY_SLOTS), 0)


def restarts_between(
    first: int, last: int, starts: Sequence[int], start_hours: float, whole: bool
) -> tuple[Ints, Floats]:
    """Slots of the restarts from `first` on, and the logarithm of their weights (1 an hour in all).

    `starts`: slots at which a ramp step begins, each a restart that carries `start_hours` more, as the first slot does
    where it is the epoch's (`whole`).
    """
    staked = {start for start in ({first, *starts} if whole else set(starts)) if first <= start <= last}
    staked = staked if start_hours > 0 else set()
    grid = np.arange(first, last + 1, RESTART_SLOTS, dtype=np.int64)
    slots = np.union1d(grid, np.array(sorted(staked), dtype=np.int64))
    fine = 0.5 * RESTART_SLOTS / HOUR_SLOTS
    behind = slots - first
    weights = np.where(behind % HOUR_SLOTS == 0, 0.5 + fine, np.where(behind % RESTART_SLOTS == 0, fine, 0.0))
    weights[np.searchsorted(slots, sorted(staked))] += start_hours
    return slots, np.log(weights)


@dataclass(frozen=True, eq=False)
class RestartSums:
    """Log e-values summed over a set of restarts, at the moments behind the first of them.

    `row` and `since` name the row of the path and the restart (its slot; `start` is its index in the path) with the most
    evidence (`early_start`: where conversions by the control's age begin to count); `estimate` is the relative drop since that restart, NaN without control conversions; `early_estimate` the
    same of conversions by the control's age.
    """

    moment: Ints
    log_e: Floats
    estimate: Floats
    early_estimate: Floats
    row: Ints
    since: Ints
    start: Ints
    early_start: Ints


def sum_over_restarts(path: LogEPath, restarts: Ints, weights: Floats) -> RestartSums:
    """The e-detector's statistic over these restarts, and which of them supports it most."""
    begun, begun_early = path.begun(restarts), path.begun(restarts, early=True)
    moment = np.flatnonzero(path.slots > restarts[0])
    of_row = np.arange(len(ROWS)) // len(BETS)
    # The last restart of which the blocks before it are complete; none yet: no evidence, 0.
    reached = np.array([np.searchsorted(begun[age], moment, side="right") - 1 for age in range(len(AGE_SHARES))])[
        of_row
    ]
    rows = np.arange(len(ROWS))[:, None]
    at = np.maximum(reached, 0)
    head = weights + ROW_LOG_WEIGHTS[:, None] - path.bets[rows, begun[of_row]]
    level = np.where(reached >= 0, path.bets[:, moment + 1], -np.inf)
    log_e = np.logaddexp.reduce(np.logaddexp.accumulate(head, axis=1)[rows, at] + level, axis=0)
    log_e = np.where(np.isneginf(log_e), 0.0, log_e)
    best_head = np.maximum.accumulate(head, axis=1)
    best_restart = np.maximum.accumulate(np.where(head >= best_head, np.arange(len(restarts)), 0), axis=1)
    row = np.argmax(best_head[rows, at] + level, axis=0)
    restart = best_restart[row, at[row, np.arange(len(moment))]]
    age = row // len(BETS)
    start = begun[age, restart]
    return RestartSums(
        moment,
        log_e,
        _drop(path.treated, path.control, age, moment, start),
        _drop(path.early_treated, path.early_control, age, moment, begun_early[age, restart]),
        row,
        restarts[restart],
        start,
        begun_early[age, restart],
    )


def _drop(treated: Floats, control: Floats, age: Ints, moment: Ints, start: Ints) -> Floats:
    start = np.minimum(start, moment + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        converted = treated[age, moment + 1] - treated[age, start]
        of_control = control[age, moment + 1] - control[age, start]
        drop: Floats = np.where(of_control > 1e-9, 1.0 - converted / of_control, np.nan)
    return drop
