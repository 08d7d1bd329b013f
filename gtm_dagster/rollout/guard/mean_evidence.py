"""Betting on the mean of a bounded value a unit, such as revenue up to a cap: e-values exact for any distribution.

Each unit has a value x from 0 to 1 (its share of the cap), known once its window is over. The null hypothesis of margin m:
in every block the treated arm's mean is at least r = 1 - m times the control's, whatever the distributions are. For a bet
that the means are (t, c) with t < r c let (t0, c0) = (r q, q) be the closest point of the null in squares weighted by the
block's units, q = (nt r t + nc c) / (nt r^2 + nc), and v a scale that is fixed before the block's outcomes. Then

    e = product over treated units of 1 + (t - t0)/v (x - t0), times that over control units of 1 + (c - c0)/v (x - c0)

has expectation at most 1 under the null: with independent units E[e] = (1 + (t - t0)/v (mt - t0))^nt (1 + (c - c0)/v
(mc - c0))^nc for means (mt, mc), its logarithm is concave, 0 at (t0, c0), and its gradient there points straight out of the
null: nt (t - t0) r + nc (c - c0) = 0 by the choice of q. Each factor is the bet of Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting" (2024); with x of 0 and 1 and v = t0 (1 - t0) it is the Bernoulli factor of
`e_process`. The best v is about the variance of a value, which is learned from the blocks before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

import numpy as np

from gtm_dagster.rollout.guard.cells import AGE_SHARES, Blocks, Cells, Floats, blocks_of, nothing, window_slots
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.log_e_path import BETS, LogEPath

LEVELS = 200
"""A unit's value is judged in so many steps of the cap, rounded to the nearest: half a percent of it each."""
_MOST_STAKED = 0.8
"""A unit takes at most this share of what was won so far."""
_PRIOR_UNITS, _PRIOR_MEAN = 8.0, 0.05


def mean_evidence(
    counts: Counts, window_minutes: float, margin: float, first_day: int, now: int, shares: Sequence[float] = BETS
) -> tuple[Cells, LogEPath]:
    """The cells and the bets' evidence of a mean, where `counts` holds levels as ages; a block has one cell, at its window's end.

    The three groups of rows that a share has by age are the same here.
    """
    blocks = blocks_of(counts, first_day, now)
    window = window_slots(window_minutes)
    known_slot = blocks.last + 1 + window
    size = int(np.searchsorted(known_slot, now, side="right"))
    if not size:
        return nothing(), _path(nothing(), np.zeros((len(BETS), 0)))
    near = np.flatnonzero((counts.conv_slot >= blocks.first[0]) & (counts.conv_slot <= blocks.last[size - 1]))
    block = np.searchsorted(blocks.last, counts.conv_slot[near])
    inside = counts.conv_slot[near] >= blocks.first[block]
    near, block = near[inside], block[inside]
    arm, n, value = counts.conv_arm[near], counts.conv_n[near], counts.conv_age[near] / LEVELS
    sums, squares, valued = np.zeros((3, 2, size))
    for total, weight in ((sums, n * value), (squares, n * value**2), (valued, n)):
        np.add.at(total, (arm, block), weight)
    units = blocks.units[:, :size]
    begin = np.searchsorted(blocks.day, blocks.day - 1)[:size]
    c = np.clip(_before(sums[0], units[0], begin, _PRIOR_MEAN), 1e-6, 1 - 1e-6)
    # A value of 0 or 1 varies most: so it is until there is something to know.
    second = _before(squares.sum(axis=0), units.sum(axis=0), begin, _PRIOR_MEAN)
    mean = _before(sums.sum(axis=0), units.sum(axis=0), begin, _PRIOR_MEAN)
    variance = np.maximum(second - mean**2, 1e-9)
    bets = np.zeros((len(BETS), size))
    for number, share in enumerate(shares):
        factors = _factors(units, c * share * (1.0 - margin), c, 1.0 - margin, variance)
        for of_arm, (centre, stake) in enumerate(factors):
            bets[number] += (units[of_arm] - valued[of_arm]) * np.log1p(-stake * centre)
            mine = arm == of_arm
            at = block[mine]
            np.add.at(bets[number], at, n[mine] * np.log1p(stake[at] * (value[mine] - centre[at])))
    cells = _cells(blocks, size, known_slot, units, sums, c, window)
    return cells, _path(cells, bets)


def _factors(units: Floats, t: Floats, c: Floats, ratio: float, variance: Floats) -> tuple[tuple[Floats, Floats], ...]:
    """(centre, stake) of the control's and of the treated units: a unit of value x multiplies by 1 + stake (x - centre)."""
    q = (units[1] * ratio * t + units[0] * c) / (units[1] * ratio**2 + units[0])
    t0, c0 = ratio * q, q
    least = np.maximum((t0 - t) * (1.0 - t0), (c - c0) * c0) / _MOST_STAKED
    scale = np.maximum(variance + (t - t0) ** 2, least)
    return (c0, (c - c0) / scale), (t0, (t - t0) / scale)


def _before(values: Floats, units: Floats, begin: Ints, prior: float) -> Floats:
    """The mean a unit over the blocks before each one, of its day and the day before; a prior worth eight units."""
    index = np.arange(len(units))
    total, of = (np.concatenate([[0.0], np.cumsum(each)]) for each in (values, units))
    mean: Floats = (total[index] - total[begin] + _PRIOR_UNITS * prior) / (of[index] - of[begin] + _PRIOR_UNITS)
    return mean


def _cells(
    blocks: Blocks, size: int, known_slot: Ints, units: Floats, sums: Floats, rate: Floats, window: int
) -> Cells:
    """One cell a block, in each of the groups of rows; converted is the sum of the values."""
    groups = len(AGE_SHARES)
    begins = np.concatenate([blocks.first, blocks.rest])
    order = np.argsort(begins, kind="stable")
    ends = np.maximum.accumulate(np.append(known_slot, blocks.rest_end + window)[order])
    by_end = np.argsort(np.tile(known_slot[:size], groups), kind="stable")

    def tiled(values: Floats | Ints) -> Floats:
        every: Floats = np.tile(values, groups)[by_end].astype(np.float64)
        return every

    end_slot = np.tile(known_slot[:size], groups)[by_end]
    known = np.tile(ends, (groups, 1))
    return Cells(
        np.tile(blocks.first[:size], groups)[by_end], end_slot, np.repeat(np.arange(groups), size)[by_end],
        tiled(units[1]), tiled(sums[1]), tiled(units[0]), tiled(sums[0]), tiled(rate), end_slot, tiled(sums[1]), tiled(sums[0]),
        len(blocks.last), begins[order], known, known,
    )  # fmt: skip


def _path(cells: Cells, bets: Floats) -> LogEPath:
    """Evidence over time; what a share knows early is known no sooner here."""
    groups, size = len(AGE_SHARES), bets.shape[1]
    mine = cells.age == 0
    ends, (treated, control) = cells.end_slot[mine], (cells.treated[mine], cells.control[mine])
    slots = np.unique(ends)
    index = np.searchsorted(slots, ends)

    def summed(values: Floats) -> Floats:
        total = np.zeros((len(values), len(slots) + 1))
        for row, each in zip(total, values, strict=True):
            np.add.at(row, index + 1, each)
        path: Floats = np.cumsum(total, axis=1)
        return path

    both = np.maximum(treated + control, 1.0)
    of_treated = np.tile(summed((cells.treated_converted[mine] * control / both)[None]), (groups, 1))
    of_control = np.tile(summed((cells.control_converted[mine] * treated / both)[None]), (groups, 1))
    evidence = np.tile(summed(bets if size else np.zeros((len(BETS), len(ends)))), (groups, 1))
    return LogEPath(slots, evidence, of_treated, of_control, of_treated, of_control, evidence, cells)


def mean_interval(
    counts: Counts, cells: tuple[Floats, Floats, Floats, Floats], since_us: int, until_slot: int, z: float
) -> tuple[float, float, float]:
    """The relative loss of a mean and its interval, by the variances of both arms' values in these slots (delta method).

    `cells`: treated units and sums, control units and sums, by block. Without any treated value the upper limit of its mean is
    the one of a value of 0 or 1, which hides best.
    """
    nt, st, nc, sc = cells
    both = nt + nc
    treated, control = float((st * nc / both).sum()), float((sc * nt / both).sum())
    if treated == 0.0:
        most = 1.0 - 0.025 ** (1.0 / float(nt.sum()))
        return 1.0, 1.0 - most * float(nc.sum()) / float(sc.sum()), 1.0
    slots = counts.slot0 + np.arange(counts.exposed.shape[1])
    inside = (slots * SLOT_US >= since_us) & (slots < until_slot)
    mine = (counts.conv_slot * SLOT_US >= since_us) & (counts.conv_slot < until_slot)
    spread = []
    for arm, weight, n in ((1, nc, nt), (0, nt, nc)):
        of_arm = mine & (counts.conv_arm == arm)
        units = max(float(counts.exposed[arm, inside].sum()), 1.0)
        value = counts.conv_age[of_arm] / LEVELS
        mean = float((counts.conv_n[of_arm] * value).sum()) / units
        variance = max(float((counts.conv_n[of_arm] * value**2).sum()) / units - mean**2, 0.0)
        spread.append(variance * float(((weight / both) ** 2 * n).sum()))
    error = sqrt(spread[0] / treated**2 + spread[1] / control**2)
    ratio = treated / control
    return 1.0 - ratio, 1.0 - ratio * exp(z * error), 1.0 - ratio * exp(-z * error)
