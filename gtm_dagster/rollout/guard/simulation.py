"""Drawn traffic through the guard's own detector: how often it is wrong, and how long it takes to be right.

Here belong the traffic, the naive rule it is compared with, and the counting of outcomes; the evaluation is `trace`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.rule import Rule

PER_MINUTE = 60_000_000 / SLOT_US
PER_HOUR = 60 * PER_MINUTE
MOST_HOURS = 8784
MOST_VISITORS = 50_000_000
NAIVE_MINUTES = 5
NAIVE_UNITS = 30


@dataclass(frozen=True)
class Scenario:
    """A flow: `visitors_per_minute` of both arms, treated `split`, `base_rate` of conversion within the window.

    From `drop_at_hours` on, newly exposed treated visitors convert at (1 - drop) of the rate. `ramp`: (hour, treated
    share) steps that follow on `split`. `season`: the rate swings by this share over each 24 hours, as a sine from hour
    0. `drift`: the rate has changed by this share at the end of the run, evenly, as when the mix of visitors shifts.
    `delay_minutes`: mean of the exponential time to a conversion, cut at the window; 0 is at once. `treated_delay_minutes`:
    the treated arm's, where it is another; `later_minutes`: so much later each treated conversion comes besides. Raises
    ValueError naming the value and what is allowed.
    """

    visitors_per_minute: float
    split: float = 0.5
    base_rate: float = 0.2
    drop: float = 0.0
    hours: float = 24.0
    drop_at_hours: float = 0.0
    ramp: tuple[tuple[float, float], ...] = ()
    season: float = 0.0
    delay_minutes: float = 0.0
    treated_delay_minutes: float | None = None
    later_minutes: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        _check("visitors per minute", self.visitors_per_minute, 0 < self.visitors_per_minute < math.inf, "above 0")
        _check("split", self.split, 0 < self.split < 1, "a treated share between 0 and 1, both excluded")
        _check("base rate", self.base_rate, 0 < self.base_rate < 1, "between 0 and 1, both excluded")
        _check("drop", self.drop, 0 <= self.drop <= 1, "a share from 0 to 1")
        _check("hours", self.hours, 0 < self.hours <= MOST_HOURS, f"above 0 and at most {MOST_HOURS}, a year")
        _check(
            "drop at", self.drop_at_hours, 0 <= self.drop_at_hours < self.hours, f"from 0 to below {self.hours:g} hours"
        )
        for delay in (self.delay_minutes, self.treated_delay, self.later_minutes):
            _check("delay", delay, 0 <= delay <= 10_080, "from 0 to 10080 minutes")
        highest = self.base_rate * (1 + abs(self.season)) * (1 + max(self.drift, 0.0))
        _check("season", self.season, abs(self.season) < 1 and highest <= 1, f"between -1 and 1 with base rate * (1 + season) <= 1, here {highest:.3g}")  # fmt: skip
        _check("drift", self.drift, self.drift > -1 and highest <= 1, "above -1, and no rate above 1")
        for hour, share in self.ramp:
            _check("ramp", f"{hour:g}:{share:g}", 0 <= hour < math.inf and 0 <= share < 1, "HOUR:SHARE, hours from 0, shares from 0 to below 1")  # fmt: skip
        hours = [hour for hour, _ in self.ramp]
        _check("ramp", hours, hours == sorted(set(hours)), "hours that rise from step to step")
        visitors = self.visitors_per_minute * 60 * self.hours
        _check("visitors of a run", f"{visitors:,.0f}", visitors <= MOST_VISITORS, f"at most {MOST_VISITORS:,}; draw fewer hours or less traffic")  # fmt: skip

    @property
    def treated_delay(self) -> float:
        """Mean minutes to a treated conversion, without those that each comes later."""
        return self.delay_minutes if self.treated_delay_minutes is None else self.treated_delay_minutes


def _check(name: str, value: object, ok: bool, allowed: str) -> None:
    if not ok:
        raise ValueError(f"{name}: {value} is not allowed; give {allowed}")


def draw(scenario: Scenario, window_minutes: float, rng: np.random.Generator) -> Counts:
    """One history of the scenario, as the guard would have counted it up to its last minute."""
    slots = max(round(scenario.hours * PER_HOUR), 1)
    hour = np.arange(slots) / PER_HOUR
    share = np.full(slots, scenario.split)
    for since, step in scenario.ramp:
        share[hour >= since] = step
    rate = scenario.base_rate * (1 + scenario.season * np.sin(2 * np.pi * hour / 24))
    rate *= 1 + scenario.drift * hour / scenario.hours
    treated = rate * np.where(hour >= scenario.drop_at_hours, 1 - scenario.drop, 1.0)
    pace = scenario.visitors_per_minute / PER_MINUTE
    exposed = np.array([rng.poisson(pace * (1 - share)), rng.poisson(pace * share)], dtype=np.int64)
    converted = [rng.binomial(exposed[0], rate), rng.binomial(exposed[1], treated)]
    end_us = slots * SLOT_US
    means = (scenario.delay_minutes, scenario.treated_delay)
    if not any(means) and not scenario.later_minutes:
        where = [np.flatnonzero(counted) for counted in converted]
        slot = np.concatenate(where)
        arm = np.repeat([0, 1], [len(slots_of_arm) for slots_of_arm in where])
        n = np.concatenate([counted[some] for counted, some in zip(converted, where, strict=True)])
        return Counts(0, exposed, slot, np.zeros(len(slot), np.int64), arm, n, end_us)
    slot = np.concatenate([np.repeat(np.arange(slots), counted) for counted in converted])
    arm = np.repeat([0, 1], [int(counted.sum()) for counted in converted])
    window = max(math.ceil(window_minutes * PER_MINUTE), 1)
    age = np.concatenate(
        [_ages(mean * PER_MINUTE, window, int((arm == number).sum()), rng) for number, mean in enumerate(means)]
    )
    age = np.minimum(age + np.where(arm == 1, round(scenario.later_minutes * PER_MINUTE), 0), window - 1)
    seen = slot + age < slots
    return Counts(0, exposed, slot[seen], age[seen], arm[seen], np.ones(int(seen.sum()), np.int64), end_us)


def _ages(mean: float, window: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ages at conversion in slots: exponential, cut at the window by inversion; mean 0 is at once."""
    if mean == 0:
        return np.zeros(n, np.int64)
    within = -np.expm1(-window / mean)
    drawn = -mean * np.log1p(-rng.random(n) * within)
    return np.minimum(drawn, window - 1).astype(np.int64)


def naive_us(counts: Counts, threshold: float, least_units: int = 0) -> int | None:
    """When the rule of rolling windows fires, microseconds UTC; None when it never does.

    The rule: conversions over exposures of the last 5 minutes, the treated arm's more than `threshold` below the
    control's, for longer than 5 minutes; `least_units`: both arms must have as many in the window.
    """
    slots = counts.exposed.shape[1]
    events = np.zeros((2, slots), np.int64)
    at = counts.conv_slot - counts.slot0 + counts.conv_age
    inside = at < slots
    np.add.at(events, (counts.conv_arm[inside], at[inside]), counts.conv_n[inside])
    span = round(NAIVE_MINUTES * PER_MINUTE)
    units, conversions = _rolling(counts.exposed, span), _rolling(events, span)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = conversions / units
        below = (1 - rates[1] / rates[0] > threshold) & (conversions[0] > 0) & (units[1] > 0)
    below &= (units >= least_units).all(axis=0)
    broken = np.maximum.accumulate(np.where(below, -1, np.arange(slots)))
    fired = np.flatnonzero(np.arange(slots) - broken > span)
    return int(counts.slot0 + fired[0] + 1) * SLOT_US if len(fired) else None


def _rolling(values: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    total = np.cumsum(values, axis=1)
    total[:, span:] -= np.cumsum(values, axis=1)[:, :-span]
    return total


@dataclass(frozen=True)
class Outcomes:
    """When a rule fired over all runs. Minutes and visitors (of both arms) count from the break on.

    `before_share`: runs that fired before the break. The median is over the other runs and None when fewer than half
    of them fired, the 90 % quantile when fewer than 90 % did. `share_error`, `median_error`: one standard error.
    """

    share: float
    before_share: float
    median_minutes: float | None
    p90_minutes: float | None
    median_visitors: float | None
    share_error: float
    median_error: float | None


@dataclass(frozen=True)
class Simulation:
    """What became of `runs`: rollbacks (evidence, estimate and hold), bare evidence at its level, and the naive rules."""

    runs: int
    rollbacks: Outcomes
    evidence: Outcomes
    naive: Outcomes | None
    naive_30: Outcomes | None


def simulate(
    scenario: Scenario,
    rule: Rule,
    runs: int,
    seed: int,
    *,
    naive: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Draw `runs` histories and evaluate each; the same seed gives the same result. Raises ValueError."""
    _check("runs", runs, 1 <= runs <= 100_000, "a number from 1 to 100000")
    _check("seed", seed, seed >= 0, "a number from 0 on")
    fired: dict[str, list[int | None]] = {"rollbacks": [], "evidence": [], "naive": [], "naive_30": []}
    visitors: list[NDArray[np.int64]] = []
    break_slot = round(scenario.drop_at_hours * PER_HOUR)
    for done, child in enumerate(np.random.SeedSequence(seed).spawn(runs), start=1):
        counts = draw(scenario, rule.window_minutes, np.random.default_rng(child))
        history = trace(counts, rule)
        fired["rollbacks"].append(decided_us(history, rule.hold_minutes, counts.watermark_us))
        fired["evidence"].append(first_at(history.times_us, history.log_e, rule.log_budget))
        if naive:
            fired["naive"].append(naive_us(counts, rule.threshold))
            fired["naive_30"].append(naive_us(counts, rule.threshold, NAIVE_UNITS))
        visitors.append(np.append(0, np.cumsum(counts.exposed.sum(axis=0)[break_slot:])))
        if progress:
            progress(done, runs)
    break_us = break_slot * SLOT_US
    return Simulation(
        runs,
        outcomes(fired["rollbacks"], visitors, break_us),
        outcomes(fired["evidence"], visitors, break_us),
        outcomes(fired["naive"], visitors, break_us) if naive else None,
        outcomes(fired["naive_30"], visitors, break_us) if naive else None,
    )


def first_at(times_us: NDArray[np.int64], log_e: NDArray[np.float64], level: float) -> int | None:
    """The first time the evidence is at `level` or over it."""
    index = np.flatnonzero(log_e >= level)
    return int(times_us[index[0]]) if len(index) else None


def outcomes(fired_us: list[int | None], visitors: list[NDArray[np.int64]], break_us: int) -> Outcomes:
    """Sum up the times a rule fired; `visitors[i][k]`: those of run i in the first k slots after the break."""
    runs = len(fired_us)
    before = sum(at is not None and at <= break_us and break_us > 0 for at in fired_us)
    minutes, seen = [], []
    for at, came in zip(fired_us, visitors, strict=True):
        if at is None:
            minutes.append(math.inf)
            seen.append(math.inf)
        elif at > break_us or break_us == 0:
            minutes.append((at - break_us) / 60e6)
            seen.append(float(came[min(-(-(at - break_us) // SLOT_US), len(came) - 1)]))
    return Outcomes(
        share=sum(at is not None for at in fired_us) / runs,
        before_share=before / runs,
        median_minutes=_quantile(minutes, 0.5),
        p90_minutes=_quantile(minutes, 0.9),
        median_visitors=_quantile(seen, 0.5),
        share_error=share_error(sum(at is not None for at in fired_us), runs),
        median_error=median_error(minutes),
    )


def share_error(found: int, runs: int) -> float:
    """One standard error of a share; none or all of a few runs are not certain (Wilson's estimate at z = 1)."""
    share = (found + 0.5) / (runs + 1)
    return math.sqrt(share * (1 - share) / runs)


def median_error(values: list[float]) -> float | None:
    """One standard error of the median, from the values around it; of those below it alone where those above it are not
    finite. None without a finite median."""
    if not values:
        return None
    ordered, spread = sorted(values), math.sqrt(len(values)) / 2
    middle = math.ceil(len(ordered) / 2) - 1
    below, median, above = (
        ordered[min(max(at, 0), len(ordered) - 1)] for at in (round(middle - spread), middle, round(middle + spread))
    )
    if not math.isfinite(median):
        return None
    return (above - below) / 2 if math.isfinite(above) else median - below


def _quantile(values: list[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed; None when it is infinite or there are none."""
    if not values:
        return None
    found = sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
    return found if math.isfinite(found) else None
