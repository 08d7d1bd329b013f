"""What traffic can prove: the bounds of information theory, and the visitors and minutes this detector takes.

A visitor brings at most KL(what happens || the nearest unharmed flow) nats of evidence. No rule, however clever, can do
with fewer visitors than log(budget) over that rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gtm_dagster.rollout.guard.cells import AGE_SHARES, FIRST_MINUTES, SLOWER_TIMES
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.e_process import closest_null
from gtm_dagster.rollout.guard.first_passage import staying
from gtm_dagster.rollout.guard.log_e_path import AGE_WEIGHTS, BET_WEIGHTS, BETS
from gtm_dagster.rollout.guard.rule import Rule

_SPARED = 0.5
"""Nats the best bet is spared: the other bets and the first hour's weight add more than learning the rate costs."""
LATENCY_MINUTES = 2 * SLOT_US / 60e6
"""From a visitor to the completion of the cell that counts them."""
_AGES_COST = 1.6
"""Where customers do not convert at once, the ages share the stake and have to be learned."""
_FLOOR, _START_FLOOR, _GRID = 3.0, 8.0, 120
"""How far evidence may fall, in nats: restarts keep it up, and nothing does so for the stake on a start."""
_STEEPEST = math.expm1(0.5)
"""The most that steps up outnumber those down, as a share of the latter: of a steeper walk, as of a dead flow that nearly
everybody used, the sum over its waves loses all digits. It then spreads a little more than it does, and drifts as it does."""
_FAR_MINUTES = 10.0 * 365 * 1440


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence in nats of a yes-or-no outcome of probability `p` from one of probability `q`."""
    yes = p * math.log(p / q) if p > 0 else 0.0
    no = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return yes + no


@dataclass(frozen=True)
class LogEMoments:
    """The log e-value a visitor (of either arm) adds, in nats: its mean, and the mean of its square."""

    mean: float
    mean_square: float


def log_e_per_visitor(
    base_rate: float, drop: float, treated_share: float, margin: float = 0.0, bet: float | None = None
) -> LogEMoments:
    """The log e-value of a bet on a drop of `bet` (default: on the drop itself, the best there is) per visitor.

    Two arms, baseline unknown; the treated arm converts at p1 = (1 - drop) p0. The best bet earns
    w KL(p1||t0) + (1-w) KL(p0||c0), with (t0, c0) the closest point of the null hypothesis "treated >= (1 - margin)
    control" (growth rate of Gruenwald, de Heide and Koolen, "Safe testing", 2024). A drop within the margin, and a
    split without one of the arms, earns nothing.
    """
    w = treated_share
    if drop <= margin or not 0.0 < w < 1.0:
        return LogEMoments(0.0, 0.0)
    treated, backed = base_rate * (1.0 - drop), base_rate * (1.0 - (drop if bet is None else bet))
    t0, c0 = (float(value) for value in closest_null(w, 1.0 - w, backed, base_rate, margin))
    mean = square = 0.0
    for share, p, q, q0 in ((w, treated, backed, t0), (1.0 - w, base_rate, base_rate, c0)):
        for chance, predicted, null in ((p, q, q0), (1.0 - p, 1.0 - q, 1.0 - q0)):
            if chance > 0:
                log_e = math.log(predicted / null)
                mean += share * chance * log_e
                square += share * chance * log_e**2
    return LogEMoments(mean, square)


def best_bet(
    base_rate: float, drop: float, treated_share: float, margin: float, log_level: float
) -> tuple[LogEMoments, float]:
    """The log e-value per visitor of the quickest of this detector's own bets, and the level it has to reach.

    A bet with a share of the stake has to reach more than the level, by the logarithm of the share's inverse.
    """
    bets = [
        (
            log_e_per_visitor(base_rate, drop, treated_share, margin, 1.0 - bet * (1.0 - margin)),
            log_level - math.log(stake),
        )
        for bet, stake in zip(BETS, BET_WEIGHTS, strict=True)
    ]
    return max(bets, key=lambda bet: bet[0].mean / bet[1])


def visitors_needed(
    base_rate: float, drop: float, treated_share: float, log_level: float, margin: float = 0.0
) -> float:
    """Visitors of both arms that any test needs on average to gather `log_level` nats; infinite for a drop within the margin.

    Wald, "Sequential tests of statistical hypotheses" (1945), and for a break at an unknown time Lorden (1971):
    E[N] >= log(1/alpha) / rate, mean delay >= log(mean time between false alarms) / rate.
    """
    mean = log_e_per_visitor(base_rate, drop, treated_share, margin).mean
    return log_level / mean if mean > 0 else math.inf


def treated_visitors_needed(base_rate: float, drop: float, log_level: float) -> float:
    """Visitors of the treated arm that any test needs on average when the baseline is known: log_level / KL(p1||p0)."""
    return log_level / divergence(base_rate * (1.0 - drop), base_rate)


def smallest_where(holds: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest value from `low` to `high` of which a monotone `holds` is true; None when it never is."""
    if not holds(high):
        return None
    if holds(low):
        return low
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def smallest_drop(
    base_rate: float, visitors: float, treated_share: float, log_level: float, margin: float = 0.0
) -> float | None:
    """The smallest relative drop (share of 1) that `visitors` of both arms prove on average; None: not even a dead flow."""

    def proven(drop: float) -> bool:
        return visitors * log_e_per_visitor(base_rate, drop, treated_share, margin).mean >= log_level

    return smallest_where(proven, margin, 1.0)


@lru_cache(maxsize=4096)
def visitors_to_proof(
    base_rate: float, treated_share: float, drop: float, rule: Rule, quantile: float, at_start: bool = False
) -> float | None:
    """Visitors of both arms after whom this detector's evidence is at its level in `quantile` of the cases.

    `at_start`: the flow is broken from the first minute of its epoch or ramp step, which has a stake of its own; it lies
    on the first age alone until later ones are known. None for a split without one of the arms. The evidence of the best
    bet is a random walk with drift, absorbed at the level and kept from falling far: a birth-and-death chain on a grid,
    with the mean and the square of a step as rates because visitors come as a Poisson process. A drop near the threshold
    takes up to twice as long, for then the estimate is below the threshold half of the time.
    """
    levels = [(rule.log_budget - _SPARED, _FLOOR)]
    if at_start and rule.start_risk > 0:
        levels.append((-math.log(rule.start_risk) - math.log(AGE_WEIGHTS[0]), _START_FLOOR))
    found = []
    for level, floor in levels:
        step, bet_level = best_bet(base_rate, drop, treated_share, rule.margin_drop, level)
        if step.mean_square > 0:
            found.append(_passage(step, bet_level, floor, quantile))
    return min(found, default=None)


def _passage(step: LogEMoments, level: float, floor: float, quantile: float) -> float:
    """Visitors until the chain has passed the level in `quantile` of the cases."""
    width = (level + floor) / _GRID
    drift = step.mean / width
    down = max((step.mean_square / (width * width) - drift) / 2, drift / _STEEPEST)
    up = max(down + drift, 1e-9 * down)
    weights, rates = staying(up, down, _GRID, round(floor / width))

    def passed(visitors: float) -> bool:
        return float((weights * np.exp(rates * visitors)).sum()) <= 1.0 - quantile

    far = 1.0
    while not passed(far):
        far *= 2
    found = smallest_where(passed, 0.0, far)
    return far if found is None else found


def minutes_to_proof(
    base_rate: float,
    visitors_per_minute: float,
    treated_share: float,
    drop: float,
    rule: Rule,
    *,
    delay_minutes: float = 0.0,
    quantile: float = 0.5,
    at_start: bool = False,
) -> float | None:
    """Minutes from a break to the proof of it in `quantile` of the cases; None: not within ten years.

    The least over the ages at which cells are taken: an early one waits less, a late one has seen more conversions.
    """
    found = []
    for age in _ages(delay_minutes, at_start):
        later = max(age + rule.slower_minutes, SLOWER_TIMES * age) if rule.slower_minutes else age
        allowed = min(later, max(rule.window_minutes, age))
        share, later = (_converted_by(minutes, delay_minutes, rule.window_minutes) for minutes in (age, allowed))
        # What the cell shows: the treated arm is allowed to have converted later.
        seen = 1.0 - (1.0 - drop) * later / share
        visitors = visitors_to_proof(base_rate * share, treated_share, seen, rule, quantile, at_start)
        if visitors is not None and visitors <= visitors_per_minute * _FAR_MINUTES:
            cost = _AGES_COST if delay_minutes > 0 else 1.0
            found.append(cost * visitors / visitors_per_minute + allowed + LATENCY_MINUTES)
    return min(found, default=None)


def _ages(delay_minutes: float, at_start: bool) -> tuple[float, ...]:
    """The ages in minutes at which cells are taken, at a mean delay; where nothing is known yet those of the start."""
    if delay_minutes <= 0:
        return (0.0,)
    return FIRST_MINUTES if at_start else tuple(-delay_minutes * math.log1p(-share) for share in AGE_SHARES)


def _converted_by(age: float, delay_minutes: float, window_minutes: float) -> float:
    """The share of an arm's conversions that have come by an age, in minutes, with exponential delays cut at the window."""
    if delay_minutes <= 0:
        return 1.0
    return min(math.expm1(-age / delay_minutes) / math.expm1(-window_minutes / delay_minutes), 1.0)


def minimum_detectable_effect(
    base_rate: float,
    visitors_per_minute: float,
    treated_share: float,
    minutes: float,
    rule: Rule,
    *,
    delay_minutes: float = 0.0,
) -> float | None:
    """Smallest drop this guard proves within `minutes` of a break at any time (median; share of 1, never below the threshold).

    None: not even a dead flow can be proven.
    """

    def proven(drop: float) -> bool:
        needed = minutes_to_proof(
            base_rate, visitors_per_minute, treated_share, drop, rule, delay_minutes=delay_minutes
        )
        return needed is not None and needed <= minutes

    return smallest_where(proven, rule.threshold, 1.0)
