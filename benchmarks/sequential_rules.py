"""Rules of others, from their published formulas, on cumulative counts of two arms: when each would turn a flow off.

All look at totals since the start, once a slot of 15 s unless said; none waits for a hold. They are given the benefit of
every doubt: conversions at once, equal arms, no job that polls every ten minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts

ALPHA = 0.05
TUNING = 5000
GROWTHBOOK_LEAST = 150
LOOKS = 24
HOUR_SLOTS = 3_600_000_000 // SLOT_US

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Totals:
    """Units and conversions of both arms in the first k + 1 slots; conversions count at the slot of their exposure."""

    control: Floats
    treated: Floats
    control_converted: Floats
    treated_converted: Floats


def totals(counts: Counts) -> Totals:
    """The running totals of counts whose conversions come at once."""
    slots = counts.exposed.shape[1]
    converted = np.zeros((2, slots))
    np.add.at(converted, (counts.conv_arm, counts.conv_slot - counts.slot0), counts.conv_n)
    units = np.cumsum(counts.exposed, axis=1).astype(np.float64)
    hits = np.cumsum(converted, axis=1)
    return Totals(units[0], units[1], hits[0], hits[1])


def growthbook_us(total: Totals, least_conversions: int = 0) -> int | None:
    """The one-sided asymptotic confidence sequence of the difference of rates lies below 0.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences" (arXiv 2103.06476, eq. 134), as GrowthBook's safe rollouts have it: absolute differences, tuned to 5,000
    units, no verdict while an arm has no conversion (its variance is 0). `least_conversions`: of the larger arm, 150 by default there.
    """
    n = total.control + total.treated
    with np.errstate(divide="ignore", invalid="ignore"):
        pc, pt = total.control_converted / total.control, total.treated_converted / total.treated
        variance = pt * (1 - pt) / total.treated + pc * (1 - pc) / total.control
        rho2 = (-2 * math.log(2 * ALPHA) + math.log(-2 * math.log(2 * ALPHA) + 1)) / TUNING
        reach = n * rho2 + 1
        width = np.sqrt(variance * n) * np.sqrt(2 * reach / (n**2 * rho2) * np.log(1 + np.sqrt(reach) / (2 * ALPHA)))
        enough = np.maximum(total.control_converted, total.treated_converted) >= max(least_conversions, 1)
        fired = (pt - pc + width < 0) & (total.treated_converted > 0) & (total.control_converted > 0) & enough
    return _first(fired)


def msprt_us(total: Totals, spread: float = 0.2) -> int | None:
    """The mixture sequential probability ratio test has reached 1 / alpha and the treated arm is the worse.

    Johari, Koomen, Pekelis and Walsh, "Peeking at A/B tests" (2017): the difference of rates is mixed over a normal of
    `spread` times the pooled rate; the variance is the pooled one, so that a dead flow is seen.
    """
    units, pooled = _pooled(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = pooled * (1 - pooled) * units
        mixed = (spread * pooled) ** 2
        gap = total.treated_converted / total.treated - total.control_converted / total.control
        log_ratio = 0.5 * np.log(variance / (variance + mixed))
        log_ratio += gap**2 * mixed / (2 * variance * (variance + mixed))
        fired = (log_ratio >= -math.log(ALPHA)) & (gap < 0)
    return _first(fired)


def obrien_fleming_us(total: Totals) -> int | None:
    """One of 24 hourly looks is beyond the boundary c sqrt(24 / k) (O'Brien and Fleming, 1979), one-sided."""
    units, pooled = _pooled(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total.treated_converted / total.treated - total.control_converted / total.control
        z = gap / np.sqrt(pooled * (1 - pooled) * units)
    for look in range(1, LOOKS + 1):
        at = look * HOUR_SLOTS - 1
        if at < len(z) and z[at] <= -obrien_fleming_bound(LOOKS, ALPHA) * math.sqrt(LOOKS / look):
            return (at + 1) * SLOT_US
    return None


@lru_cache
def obrien_fleming_bound(looks: int, alpha: float) -> float:
    """c with P(some look k has W(k / looks) >= c) = alpha: the recursion of Armitage, McPherson and Rowe (1969)."""

    def crossed(bound: float) -> float:
        grid = np.linspace(-5.0, bound, 600)
        step = grid[1] - grid[0]
        scale = math.sqrt(1 / looks)
        density = np.exp(-0.5 * (grid / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        kernel = np.exp(-0.5 * ((grid[:, None] - grid) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        weights = np.full(len(grid), step)
        weights[[0, -1]] /= 2
        for _ in range(looks - 1):
            density = kernel @ (density * weights)
        return 1 - float(density @ weights)

    low, high = 1.0, 4.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if crossed(middle) > alpha else (low, middle)
    return (low + high) / 2


def _pooled(total: Totals) -> tuple[Floats, Floats]:
    """1 / n of both arms added up, and the rate of both together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        units = 1 / total.control + 1 / total.treated
        pooled = (total.control_converted + total.treated_converted) / (total.control + total.treated)
    return units, pooled


def _first(fired: NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(fired)
    return int(found[0] + 1) * SLOT_US if len(found) else None
