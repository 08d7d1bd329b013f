"""Betting e-values on concurrent blocks of control and treated units, exact for any block size and any base rate.

The null hypothesis of margin m: in every cell the treated conversion probability is at least (1 - m) times the
control's. For a bet (t, c) with t < (1 - m) c let (t0, c0) be the point of the null closest to it in Kullback-Leibler
divergence, weighted by the cell's sizes. Then

    e = (t/t0)^kt ((1-t)/(1-t0))^(nt-kt) (c/c0)^kc ((1-c)/(1-c0))^(nc-kc)

has expectation at most 1 under the null: E[e] = A(theta_t)^nt B(theta_c)^nc with A and B linear and 1 at (t0, c0), its
logarithm is concave, and at the projection its gradient points out of the null. Extends Turner, Ly and Grunwald,
"Generic E-variables for exact sequential k-sample tests" (2021), by the margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def closest_null(
    treated: ArrayLike, control: ArrayLike, t: ArrayLike, c: ArrayLike, margin: float
) -> tuple[Floats, Floats]:
    """(t0, c0): the null point with t0 = (1 - margin) c0 closest to (t, c), for cells of `treated` and `control` units.

    c0 is the smaller root of the derivative of nt KL(t, (1-m) q) + nc KL(c, q), a quadratic in q.
    """
    nt, nc, t, c = (np.asarray(value, dtype=np.float64) for value in (treated, control, t, c))
    ratio = 1.0 - margin
    expected = nt * t + nc * c
    if margin == 0.0:
        pooled = expected / np.maximum(nt + nc, 1e-300)
        return pooled, pooled
    misses_t, misses_c = nt * ratio * (1.0 - t), nc * (1.0 - c)
    square = ratio * (expected + misses_c) + misses_t
    linear = expected * (1.0 + ratio) + misses_t + misses_c
    root = np.sqrt(np.maximum(linear * linear - 4.0 * square * expected, 0.0))
    # The smaller root in the form that does not cancel when rates are tiny.
    c0 = 2.0 * expected / np.maximum(linear + root, 1e-300)
    return ratio * c0, c0


@dataclass(frozen=True, eq=False)
class Bet:
    """A bet on cells whose outcomes may be known later: `treated` and `control` units, and the logarithms of what each one
    that converts multiplies the e-value by, and each one that does not.
    """

    treated: Floats
    control: Floats
    treated_hit: Floats
    treated_miss: Floats
    control_hit: Floats
    control_miss: Floats

    @classmethod
    def of(cls, treated: Floats, control: Floats, control_rate: Floats, drop: float, margin: float) -> Bet:
        """The bet that the treated arm converts at (1 - drop) times the `control_rate`, which must be known before the outcomes."""
        c = np.clip(control_rate, 1e-5, 1.0 - 1e-5)
        t = c * (1.0 - drop)
        t0, c0 = closest_null(treated, control, t, c, margin)
        t0, c0 = np.clip(t0, 1e-12, 1.0 - 1e-12), np.clip(c0, 1e-12, 1.0 - 1e-12)
        return cls(
            treated,
            control,
            np.log(t / t0),
            np.log1p(-t) - np.log1p(-t0),
            np.log(c / c0),
            np.log1p(-c) - np.log1p(-c0),
        )

    def log_e_values(self, treated_converted: Floats, control_converted: Floats) -> Floats:
        """Log e-value of each cell. One without both arms says nothing: 0."""
        value = (
            treated_converted * self.treated_hit
            + (self.treated - treated_converted) * self.treated_miss
            + control_converted * self.control_hit
            + (self.control - control_converted) * self.control_miss
        )
        return np.where((self.treated > 0) & (self.control > 0), value, 0.0)


def log_e_values(
    treated: Floats,
    treated_converted: Floats,
    control: Floats,
    control_converted: Floats,
    control_rate: Floats,
    drop: float,
    margin: float,
) -> Floats:
    """Log e-value of each cell for the bet that the treated arm converts at (1 - drop) times the `control_rate`."""
    return Bet.of(treated, control, control_rate, drop, margin).log_e_values(treated_converted, control_converted)


def srm_log_e_value(treated: int, control: int, share: float, weight: float = 150.0) -> float:
    """Log e-value of a sample ratio mismatch: beta-binomial around the planned treated share over the plan itself.

    The prior is Beta(weight share, weight (1 - share)): some 4 points around an even split. An e-process in the number of units.
    """
    from math import lgamma, log

    a, b = weight * share, weight * (1.0 - share)
    mixed = lgamma(a + treated) + lgamma(b + control) - lgamma(a + b + treated + control)
    mixed += lgamma(a + b) - lgamma(a) - lgamma(b)
    return mixed - treated * log(share) - control * log(1.0 - share)
